# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

from plugins.module_utils._haproxy import trial
from plugins.module_utils._haproxy.members import DRAIN, MAINT, Member

BLUE = Member("shop", "blue1", "blue", is_checked=True)
GREEN = Member("shop", "green1", "green", admin=MAINT, weight=7, is_checked=True)
RAISED = replace(GREEN, admin=0)


def test_who_comes_out_of_maintenance_and_has_checks_is_tried() -> None:
    assert trial.entrants([BLUE, GREEN], [BLUE, RAISED]) == [GREEN]


def test_nobody_else_is() -> None:
    assert not trial.entrants([BLUE, GREEN], [BLUE, GREEN])
    assert not trial.entrants([replace(GREEN, admin=DRAIN)], [RAISED])  # checked all the time
    assert not trial.entrants([replace(GREEN, is_checked=False)], [RAISED])
    assert not trial.entrants([GREEN], [replace(GREEN, admin=DRAIN)])


def test_it_is_checked_without_traffic_and_can_be_put_back() -> None:
    assert trial.begin([GREEN]) == ["set server shop/green1 weight 0", "set server shop/green1 state ready"]
    assert trial.end([GREEN]) == ["set server shop/green1 state maint", "set server shop/green1 weight 7"]


def test_it_is_over_when_each_of_them_was_checked() -> None:
    waiting = replace(RAISED, weight=0, awaits_check=True)
    assert not trial.is_over([GREEN], [BLUE, waiting])
    assert trial.is_over([GREEN], [replace(BLUE, awaits_check=True), replace(waiting, awaits_check=False)])


def test_then_it_is_planned_for_as_it_was_found() -> None:
    assert trial.as_before([GREEN], [BLUE, replace(RAISED, weight=0)]) == [BLUE, GREEN]


def test_a_repair_that_begins_meanwhile_is_a_conflict() -> None:
    assert trial.interrupted([GREEN], [BLUE, RAISED]) is None
    conflict = trial.interrupted([GREEN], [BLUE, replace(GREEN, weight=0)])
    assert conflict
    assert "green1 was put into maintenance" in conflict.found
