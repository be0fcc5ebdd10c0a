# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import itertools
import threading

from plugins.module_utils._aws.shared import FRESH, Look, Shared
from plugins.module_utils._wait import Clock


class Asked:
    """Numbers, one for each time that it is asked, and a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0
        self.clock = Clock(now=lambda: self.now)
        self.numbers = itertools.count(1)
        self.shared = Shared(lambda: next(self.numbers), self.clock)

    def look(self) -> Look[int]:
        return Look(self.shared, self.clock)


def test_who_looks_at_the_same_moment_shares_an_answer() -> None:
    asked = Asked()
    assert [asked.look().again() for _each in range(20)] == [1] * 20


def test_who_looks_again_asks_again() -> None:
    asked = Asked()
    one, other = asked.look(), asked.look()
    assert (one.again(), other.again(), one.again(), other.again(), one.again()) == (1, 1, 2, 2, 3)


def test_an_answer_is_fresh_for_a_moment() -> None:
    asked = Asked()
    one = asked.look()
    assert not one.is_fresh()
    assert (one.again(), one.is_fresh()) == (1, True)
    asked.now += FRESH * 1.1
    assert (one.is_fresh(), asked.look().again()) == (False, 2)


def test_after_a_change_nobody_is_given_what_was_asked_before_it() -> None:
    asked = Asked()
    one, other = asked.look(), asked.look()
    one.again()
    one.outdated()
    assert not one.is_fresh()
    assert (other.again(), asked.look().again(), one.again()) == (2, 2, 2)


def test_what_does_not_change_is_asked_for_once() -> None:
    asked = Asked()
    assert (asked.look().once(), asked.look().once()) == (1, 1)
    asked.now += 10
    assert asked.look().once() == 1


def test_threads_wait_for_the_one_that_asks() -> None:
    asking, go_on, many = threading.Event(), threading.Event(), itertools.count(1)

    def ask() -> int:
        asking.set()
        assert go_on.wait(10)
        return next(many)

    shared, seen = Shared(ask), []
    threads = [threading.Thread(target=lambda: seen.append(Look(shared).again())) for _each in range(8)]
    for thread in threads:
        thread.start()
    assert asking.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert seen == [1] * 8
