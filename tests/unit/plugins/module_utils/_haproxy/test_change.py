# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from plugins.module_utils._errors import DeniedError, NotReadyError
from plugins.module_utils._haproxy.change import Change
from plugins.module_utils._haproxy.members import MAINT, STOPPED, Member
from plugins.module_utils._haproxy.pool import Look

BLUE = Member("shop", "blue1", "blue")
GREEN = Member("shop", "green1", "green", weight=7)


class Api:
    def __init__(self, answer: str = "") -> None:
        self.answer = answer
        self.asked: list[str] = []

    def ask(self, *commands: str) -> list[str]:
        self.asked += commands
        return [self.answer] * len(commands)


def look(*members: Member, queue: int = 0) -> Look:
    return Look(members, {}, {"shop_blue": {"pxname": "shop_blue", "qcur": str(queue)}})


def change(api: Api, looks: Iterable[Look] = (), timeout: float = 20.0) -> Change:
    each = iter(looks)
    return Change(api, lambda: next(each), timeout)  # type: ignore[arg-type]


def test_an_objection_is_told_with_its_command() -> None:
    with pytest.raises(DeniedError) as caught:
        change(Api("No such server.")).tell("set server shop/blue1 weight 1")
    assert caught.value.found == "HAProxy answers 'No such server.' to 'set server shop/blue1 weight 1'"


def test_whoever_comes_out_of_maintenance_is_waited_for_until_it_was_checked() -> None:
    api = Api()
    waiting, passed = replace(GREEN, weight=0, awaits_check=True), replace(GREEN, weight=0)
    seen = change(api, [look(BLUE, waiting), look(BLUE, passed)]).try_out([replace(GREEN, admin=MAINT)])
    assert seen.members == (BLUE, passed)
    assert api.asked == ["set server shop/green1 weight 0", "set server shop/green1 state ready"]


def test_a_colour_is_proven_once_one_of_its_servers_is_up() -> None:
    change(Api(), [look(BLUE, replace(GREEN, op=STOPPED)), look(BLUE, GREEN)]).prove(["green"])


def test_one_that_does_not_come_up_is_told() -> None:
    with pytest.raises(NotReadyError) as caught:
        change(Api(), [look(BLUE, replace(GREEN, op=STOPPED))] * 9, timeout=0.01).prove(["blue", "green"])
    assert "no server of green came up within 0.01 s (green1 is down)" in caught.value.message


def test_whoever_came_out_of_maintenance_proves_nothing_before_a_check() -> None:
    waiting = replace(GREEN, awaits_check=True)
    with pytest.raises(NotReadyError):
        change(Api(), [look(BLUE, waiting), look(BLUE, replace(GREEN, op=STOPPED))]).prove(["green"], patient=False)
    change(Api(), [look(BLUE, waiting), look(BLUE, GREEN)]).prove(["green"], patient=False)


def test_whoever_is_not_checked_in_time_is_taken_for_up() -> None:
    waiting = replace(GREEN, awaits_check=True)
    change(Api(), [look(BLUE, waiting)] * 9, timeout=0.01).prove(["green"])


def test_without_patience_nobody_who_is_down_is_waited_for() -> None:
    with pytest.raises(NotReadyError) as caught:
        change(Api(), [look(BLUE, replace(GREEN, op=STOPPED))]).prove(["green"], patient=False)
    assert "no server of green is up (green1 is down)" in caught.value.message
    assert "Start green" in caught.value.message


def test_queues_are_given_time_and_no_more() -> None:
    change(Api(), [look(queue=2), look(queue=1), look()]).let_queues_pass(["shop_blue"])
    change(Api(), [look(queue=2)] * 9, timeout=0.01).let_queues_pass(["shop_blue"])
