# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from plugins.module_utils._wait import Clock, until


class FakeTime:
    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.sleeps.append(seconds)


@pytest.mark.parametrize(
    ("seen", "timeout", "result", "sleeps"),
    [
        ([3], 10, (3, True), []),
        ([1, 2, 3], 10, (3, True), [2, 2]),
        ([1, 2, 3], 0, (1, False), []),
        ([1, 1, 1, 1], 5, (1, False), [2, 2, 1]),
        ([1, 1, 1, 3], 5, (3, True), [2, 2, 1]),  # the last look is at the very end
        ([1, 3], -1, (1, False), []),
    ],
)
def test_it_looks_until_the_time_is_over(
    seen: list[int], timeout: float, result: tuple[int, bool], sleeps: list[float]
) -> None:
    time, looks = FakeTime(), iter(seen)
    clock = Clock(lambda: time.now, time.sleep)
    assert until(lambda: next(looks), lambda look: look == 3, timeout=timeout, interval=2, clock=clock) == result
    assert time.sleeps == sleeps


def test_a_slow_look_counts_as_time() -> None:
    time = FakeTime()

    def look() -> float:
        time.now += 4
        return time.now

    clock = Clock(lambda: time.now, time.sleep)
    assert until(look, lambda seen: seen > 100, timeout=5, interval=0.5, clock=clock) == (8.5, False)
