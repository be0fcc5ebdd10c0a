# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A watched switch: it stays when it is good, and goes back by itself when it is not."""

from __future__ import annotations

import pytest

from plugins.module_utils._analysis.watch import Verdict
from plugins.module_utils._errors import BlueGreenError, DeniedError
from plugins.module_utils._traffic.fence import Fence, StaleTokenError
from plugins.module_utils._traffic.guard import guarded_switch
from plugins.module_utils._traffic.route import Route
from plugins.module_utils._traffic.split import Split
from plugins.module_utils._traffic.switch import Order

from .fakes import BLUE, COLOURS, GREEN, FakeRouter

TENTH = Split.only(COLOURS, "green", 1000)


def rig(*splits: Split) -> tuple[list[FakeRouter], list[Route]]:
    routers = [FakeRouter(split, f"r{number}") for number, split in enumerate(splits)]
    return routers, [Route(router.name, router) for router in routers]


@pytest.mark.parametrize("verdict", ["pass", "inconclusive", "blind"])
def test_only_a_failed_watch_moves_the_traffic_back(verdict):
    routers, routes = rig(BLUE, BLUE)
    seen = []
    outcomes, found = guarded_switch(
        routes, Order(TENTH), lambda colour, _put: (seen.append(colour), Verdict(verdict, ""))[1]
    )
    assert [router.split for router in routers] == [TENTH, TENTH]
    assert (seen, found.verdict, [o.changed for o in outcomes]) == (["green"], verdict, [True, True])


def test_a_failed_watch_puts_each_moved_route_back_where_it_was():
    routers, routes = rig(BLUE, TENTH, Split.only(COLOURS, "green", 500))
    with pytest.raises(BlueGreenError) as caught:
        guarded_switch(routes, Order(TENTH), lambda _colour, _put: Verdict("fail", "9 of 10 answers were errors"))
    assert caught.value.code == "threshold_exceeded"
    assert caught.value.details["watched"]["verdict"] == "fail"
    assert [router.split for router in routers] == [BLUE, TENTH, Split.only(COLOURS, "green", 500)]
    told = caught.value.details["routes"]
    assert [(r["restored"], r["changed"], bool(r["restored_at"])) for r in told] == [
        (True, False, True),
        (None, False, False),
        (True, False, True),
    ]


def test_with_back_to_a_route_that_was_there_already_is_watched_and_sent_back():
    routers, routes = rig(GREEN)
    with pytest.raises(BlueGreenError) as caught:
        guarded_switch(routes, Order(GREEN), lambda _colour, _put: Verdict("fail", "bad"), back_to=BLUE)
    assert routers[0].split == BLUE
    assert caught.value.details["routes"][0]["changed"] is True


def test_what_somebody_else_moved_meanwhile_is_left_alone():
    routers, routes = rig(GREEN)

    def watch(_colour, _put):
        routers[0].split = TENTH
        return Verdict("fail", "bad")

    with pytest.raises(BlueGreenError) as caught:
        guarded_switch(routes, Order(GREEN), watch, back_to=BLUE)
    assert (caught.value.code, routers[0].split) == ("undo_failed", TENTH)


def test_a_watch_that_breaks_does_not_leave_the_traffic_unwatched():
    routers, routes = rig(BLUE)

    def watch(_colour, _put):
        raise ZeroDivisionError("oops")

    with pytest.raises(BlueGreenError, match="the watch broke: ZeroDivisionError: oops"):
        guarded_switch(routes, Order(GREEN), watch)
    assert routers[0].split == BLUE


@pytest.mark.parametrize(("split", "dry_run"), [(GREEN, False), (BLUE, True)])
def test_what_was_not_moved_is_not_watched(split, dry_run):
    _routers, routes = rig(split)
    _outcomes, verdict = guarded_switch(routes, Order(GREEN), lambda _colour, _put: 1 / 0, dry_run=dry_run)
    assert verdict is None


def test_who_is_taken_over_while_watching_leaves_the_traffic_to_the_successor(tmp_path):
    routers, routes = rig(BLUE)

    def watch(_colour, _put):
        Fence(str(tmp_path), "shop", 2).raise_up()
        return Verdict("fail", "bad")

    with pytest.raises(StaleTokenError) as caught:
        guarded_switch(routes, Order(GREEN), watch, fence=Fence(str(tmp_path), "shop", 1))
    assert (routers[0].split, caught.value.details["watched"]["verdict"]) == (GREEN, "fail")


def test_without_a_watch_it_is_a_switch():
    routers, routes = rig(BLUE)
    outcomes, verdict = guarded_switch(routes, Order(GREEN))
    assert (routers[0].split, outcomes[0].changed, verdict) == (GREEN, True, None)


def test_a_watch_that_failed_and_could_not_be_undone_says_both():
    routers, routes = rig(BLUE)
    routers[0].raises["apply"] = [None, DeniedError("no rights")]
    with pytest.raises(BlueGreenError) as caught:
        guarded_switch(routes, Order(GREEN), lambda _colour, _put: Verdict("fail", "9 of 10 answers were errors"))
    assert caught.value.found == "9 of 10 answers were errors. And putting it back failed: route r0: no rights"
    assert (caught.value.code, caught.value.details["watched"]["verdict"]) == ("undo_failed", "fail")


def test_a_canary_that_was_out_already_is_watched_by_its_own_colour():
    _routers, routes = rig(TENTH)
    seen = []
    guarded_switch(
        routes, Order(TENTH), lambda colour, _put: (seen.append(colour), Verdict("pass", ""))[1], back_to=BLUE
    )
    assert seen == ["green"]


@pytest.mark.parametrize(
    ("at_the_end", "reason", "code", "ends", "restored"),
    [
        (TENTH, None, None, TENTH, None),
        (None, None, "not_verified", BLUE, True),
        (GREEN, "it started anew", "not_verified", BLUE, True),
        (GREEN, None, "conflict", GREEN, None),
    ],
)
def test_what_was_watched_must_be_there_in_the_end(at_the_end, reason, code, ends, restored):
    """Nobody serves, or the split was lost: back at once. Somebody has moved it: left, and told."""
    routers, routes = rig(BLUE)
    routers[0].by_itself = reason

    def watch(_colour, _put):
        routers[0].split = at_the_end
        return Verdict("pass", "0 of 1000 answers were errors")

    if code is None:
        guarded_switch(routes, Order(TENTH), watch)
    else:
        with pytest.raises(BlueGreenError) as caught:
            guarded_switch(routes, Order(TENTH), watch)
        assert caught.value.code == code
        assert caught.value.found.startswith("route r0: when the watch ended the split was ")
        assert caught.value.details["routes"][0]["restored"] is restored
    assert routers[0].split == ends


def test_a_route_that_cannot_be_read_when_the_watch_ends_makes_the_verdict_blind():
    routers, routes = rig(BLUE)

    def watch(_colour, _put):
        routers[0].raises["read"] = [DeniedError("no rights")]
        return Verdict("pass", "0 of 1000 answers were errors")

    _outcomes, verdict = guarded_switch(routes, Order(TENTH), watch)
    assert (verdict.verdict, "no rights" in verdict.reason, routers[0].split) == ("blind", True, TENTH)


@pytest.mark.parametrize("now", [None, Split.only(COLOURS, "green", 500)])
def test_a_failed_watch_goes_home_from_what_its_members_have_left(now):
    """All members of green died, or one of two did: nobody moved anything."""
    routers, routes = rig(BLUE)

    def watch(_colour, _put):
        routers[0].split, routers[0].stands = now, True
        return Verdict("fail", "9 of 10 answers were errors")

    with pytest.raises(BlueGreenError) as caught:
        guarded_switch(routes, Order(TENTH), watch)
    assert (caught.value.code, routers[0].split) == ("threshold_exceeded", BLUE)


def test_where_the_new_colour_is_dead_its_share_is_taken_away_though_nobody_notices_it():
    routers, routes = rig(BLUE)

    def watch(_colour, _put):
        routers[0].split, routers[0].stands = BLUE, True
        return Verdict("fail", "no member of green is ready")

    with pytest.raises(BlueGreenError):
        guarded_switch(routes, Order(TENTH), watch)
    assert routers[0].log[-1] == ("r0", BLUE)
