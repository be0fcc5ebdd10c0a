# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import threading
import typing as t
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils._errors import (
    BlueGreenError,
    ConflictError,
    DeniedError,
    DriftError,
    NotReadyError,
    NotVerifiedError,
    TimeLimitError,
    UndoFailedError,
    UnreachableError,
    UnsupportedError,
)
from plugins.module_utils._traffic.split import Split
from plugins.module_utils._traffic.switch import Order, Outcome, Route, of_all, switch
from plugins.module_utils._wait import Clock

from .fakes import BLUE, COLOURS, GREEN, FakeRouter, green

TO_GREEN = Order(GREEN)
SPLITS = st.integers(0, 100).map(green)
NEW_IN_A_RUN: dict[str, t.Any] = {"committed_at": None, "took_ms": None, "verified": None}


class FakeTime:
    def __init__(self) -> None:
        self.now, self.slept = 0.0, 0

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1

    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep)


def fakes(*splits: Split) -> tuple[list[Route], list[FakeRouter], list[t.Any]]:
    """Routes r0, r1, ... with one log of all that is changed."""
    log: list[t.Any] = []
    routers = [FakeRouter(split, f"r{number}", log) for number, split in enumerate(splits)]
    return [Route(router.name, router) for router in routers], routers, log


def fails(error: type[BlueGreenError], routes: t.Sequence[Route], order: Order = TO_GREEN) -> t.Any:
    """The error of a switch that must fail with just this one."""
    with pytest.raises(BlueGreenError) as caught:
        switch(routes, order)
    assert caught.value.__class__ is error, caught.value.message
    assert "\n" not in caught.value.message
    return caught.value


def left(error: BlueGreenError) -> dict[str, dict[str, t.Any]]:
    return {route["name"]: route for route in error.details["routes"]}


# --- What a switch does -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "wanted", "changed"),
    [
        ([BLUE], GREEN, [True]),
        ([GREEN], GREEN, [False]),
        ([BLUE, BLUE, BLUE], GREEN, [True, True, True]),
        ([BLUE, GREEN, green(10)], GREEN, [True, False, True]),
        ([BLUE, green(10)], green(10), [True, False]),
        ([green(50), GREEN], BLUE, [True, True]),
    ],
)
def test_every_route_is_moved_and_what_is_there_is_left(
    before: list[Split], wanted: Split, changed: list[bool]
) -> None:
    routes, routers, log = fakes(*before)
    outcomes = switch(routes, Order(wanted))
    assert [router.split for router in routers] == [wanted] * len(before)
    assert [(o.before, o.after, o.changed, o.error) for o in outcomes] == [
        (split, wanted, moved, None) for split, moved in zip(before, changed)
    ]
    assert [(o.verified, o.committed_at is not None, o.took_ms is not None) for o in outcomes] == [
        (True if moved else None, moved, moved) for moved in changed
    ]
    assert sorted(log) == [(f"r{n}", wanted) for n, moved in enumerate(changed) if moved]


@settings(deadline=None)
@given(st.lists(st.tuples(SPLITS, st.booleans()), min_size=1, max_size=3), SPLITS)
def test_a_dry_run_changes_nothing_and_says_what_a_run_then_does(
    states: list[tuple[Split, bool]], wanted: Split
) -> None:
    routes, routers, log = fakes(*(split for split, _drifts in states))
    for router, (_split, drifts) in zip(routers, states):
        router.drifts = ("the file says otherwise",) if drifts else ()
    order = Order(wanted, mend_drift=True)
    predicted = switch(routes, order, dry_run=True)
    assert (log, [router.split for router in routers]) == ([], [split for split, _drifts in states])
    done = switch(routes, order)
    assert [replace(outcome, **NEW_IN_A_RUN) for outcome in done] == predicted
    assert not any(outcome.changed for outcome in switch(routes, order))


def test_routes_are_changed_side_by_side() -> None:
    routes, routers, _log = fakes(BLUE, BLUE, BLUE, BLUE)
    all_are_in = threading.Barrier(len(routers))  # breaks, and so fails the switch, if one waits for another
    for router in routers:
        router.at_apply = lambda: all_are_in.wait(20)
    assert [outcome.changed for outcome in switch(routes, TO_GREEN)] == [True] * 4


# --- What is refused before anything is touched -----------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "expect", "wanted", "refused"),
    [
        (BLUE, BLUE, GREEN, False),
        (BLUE, GREEN, green(10), True),
        (green(10), BLUE, GREEN, True),
        (green(10), green(10), GREEN, False),
        (GREEN, BLUE, GREEN, False),  # it is there already, as after a second run
        (BLUE, None, GREEN, False),
    ],
)
def test_only_the_expected_split_is_changed(before: Split, expect: Split | None, wanted: Split, refused: bool) -> None:
    routes, routers, log = fakes(before)
    order = Order(wanted, expect=expect)
    if refused:
        assert fails(ConflictError, routes, order).found == f"route r0: the split is {before}"
        assert (routers[0].split, log) == (before, [])
    else:
        switch(routes, order)
        assert routers[0].split == wanted


def test_a_split_that_is_too_fine_is_refused() -> None:
    routes, routers, log = fakes(BLUE, BLUE)
    assert fails(UnsupportedError, routes, Order(green(12.5))).expected == "multiples of 1 %"
    assert (log, routers[0].split) == ([], BLUE)


def test_drift_is_refused_unless_it_is_to_be_mended() -> None:
    routes, routers, log = fakes(BLUE, BLUE)
    routers[1].drifts = ("the file says green", "a server is out")
    error = fails(DriftError, routes)
    assert error.found == "route r1: the file says green and a server is out"
    assert log == []
    outcomes = switch(routes, Order(GREEN, mend_drift=True))
    assert [outcome.drift for outcome in outcomes] == [(), ("the file says green", "a server is out")]
    assert [router.split for router in routers] == [GREEN, GREEN]


def test_drift_alone_is_a_change_when_it_is_to_be_mended() -> None:
    routes, routers, log = fakes(BLUE)
    routers[0].drifts = ("the file says green",)
    (outcome,) = switch(routes, Order(BLUE, mend_drift=True))
    assert (outcome.changed, routers[0].drifts, log) == (True, (), [("r0", BLUE)])


@pytest.mark.parametrize(
    ("before", "wanted", "none_ready", "force", "refused"),
    [
        (BLUE, GREEN, "green", False, True),
        (BLUE, green(1), "green", False, True),
        (BLUE, GREEN, "green", True, False),
        (BLUE, GREEN, "blue", False, False),
        (GREEN, GREEN, "green", False, False),
        (green(50), BLUE, "green", False, False),
        (green(50), BLUE, "blue", False, True),
    ],
)
def test_a_colour_without_a_ready_member_gets_no_more_traffic(
    before: Split, wanted: Split, none_ready: str, force: bool, refused: bool
) -> None:
    routes, routers, log = fakes(before)
    routers[0].ready[none_ready] = 0
    order = Order(wanted, force=force)
    if refused:
        assert fails(NotReadyError, routes, order).found.startswith(f"route r0: {none_ready} has 2 members")
        assert log == []
    else:
        switch(routes, order)
        assert routers[0].split == wanted


@pytest.mark.parametrize("method", ["check", "read", "observe"])
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_one_route_that_cannot_be_prepared_stops_all(method: str, failing: int) -> None:
    routes, routers, log = fakes(BLUE, BLUE, BLUE)
    routers[failing].raises[method] = [UnreachableError("nobody answers")]
    error = fails(UnreachableError, routes)
    assert error.found == f"route r{failing}: nobody answers"
    assert ([router.split for router in routers], log) == ([BLUE] * 3, [])
    assert {name: (route["after"], route["changed"]) for name, route in left(error).items()} == {
        f"r{n}": ({"blue": 100, "green": 0}, False) for n in range(3) if n != failing
    }


def test_all_routes_that_cannot_be_prepared_are_counted() -> None:
    routes, routers, _log = fakes(BLUE, BLUE, BLUE)
    for router in routers[1:]:
        router.raises["check"] = [DeniedError("no rights")]
    assert fails(DeniedError, routes).found == "route r1: no rights (and 1 more routes failed)"


# --- What happens when a change fails ---------------------------------------------------------------------

FAILURES = {
    "refused": (DeniedError("no rights"), False),
    "timed out after it moved": (TimeLimitError("no answer"), True),
    "of an unexpected kind": (RuntimeError("a defect of the provider\nin two lines"), True),
}


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize(("many", "failing"), [(n, k) for n in range(1, 5) for k in range(n)])
def test_when_any_route_fails_all_are_put_back_in_reverse_order(how: str, many: int, failing: int) -> None:
    before = [green(n) for n in range(many)]
    routes, routers, log = fakes(*before)
    cause, moves = FAILURES[how]
    routers[failing].raises["apply"] = [cause]
    routers[failing].moves_before_it_fails = moves
    error = fails(type(cause) if isinstance(cause, BlueGreenError) else BlueGreenError, routes)
    assert error.found.startswith(f"route r{failing}: ")
    assert [router.split for router in routers] == before
    put_back = [name for name, split in log if split != GREEN]
    assert put_back == [f"r{n}" for n in reversed(range(many)) if n != failing or moves]
    for name, route in left(error).items():
        assert (route["before"], route["changed"], route["restored"]) == (route["after"], False, True), name
        assert bool(route["error"]) == (name == f"r{failing}")


def test_routes_that_were_there_before_are_not_touched_by_the_way_back() -> None:
    routes, routers, log = fakes(GREEN, BLUE, BLUE)
    routers[2].raises["apply"] = [DeniedError("no rights")]
    error = fails(DeniedError, routes)
    assert [router.split for router in routers] == [GREEN, BLUE, BLUE]
    assert {name for name, _split in log} == {"r1"}
    assert [route["restored"] for route in error.details["routes"]] == [None, True, True]


def test_a_change_that_cannot_be_undone_is_named_and_the_others_are_undone() -> None:
    routes, routers, _log = fakes(BLUE, BLUE, BLUE, BLUE)
    routers[3].raises["apply"] = [DeniedError("no rights")]
    routers[1].raises["apply"] = [None, UnreachableError("nobody answers")]
    error = fails(UndoFailedError, routes)
    assert error.found == ("route r3: no rights. And putting it back failed: route r1: nobody answers")
    assert [router.split for router in routers] == [BLUE, GREEN, BLUE, BLUE]
    assert {n: (r["after"]["green"], r["restored"]) for n, r in left(error).items()} == {
        "r0": (0, True),
        "r1": (100, False),
        "r2": (0, True),
        "r3": (0, True),
    }


def test_a_way_back_that_is_not_in_force_afterwards_is_no_way_back() -> None:
    routes, routers, _log = fakes(BLUE, BLUE)
    routers[0].raises["apply"] = [DeniedError("no rights")]
    routers[1].verdicts = [True, False]
    assert "route r1: " in fails(UndoFailedError, routes).found


def test_a_foreign_change_found_at_the_commit_is_left_alone() -> None:
    """Somebody else moves a route between our look and our change: ours are undone, theirs stays."""
    routes, routers, log = fakes(BLUE, BLUE, BLUE)
    routers[1].at_apply = lambda: setattr(routers[1], "split", green(30))
    error = fails(ConflictError, routes)
    assert error.found == "route r1: the split is blue 70 %, green 30 %"
    assert [router.split for router in routers] == [BLUE, green(30), BLUE]
    assert "r1" not in {name for name, _split in log}
    foreign = left(error)["r1"]
    assert (foreign["changed"], foreign["after"], foreign["restored"]) == (False, {"blue": 70, "green": 30}, None)


def test_a_foreign_change_made_after_ours_is_left_alone() -> None:
    routes, routers, _log = fakes(BLUE, BLUE)
    routers[1].raises["apply"] = [DeniedError("no rights")]

    def moved_by_somebody_else() -> bool:
        routers[0].split = green(30)
        return True

    routers[0].verify = lambda _wanted: moved_by_somebody_else()  # type: ignore[method-assign]
    error = fails(UndoFailedError, routes)
    assert "route r0: the split is blue 70 %, green 30 %" in error.found
    assert routers[0].split == green(30)


# --- Verifying --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "verified", "looks"),
    [([True], True, 0), ([None], None, 0), ([False, False, True], True, 2), ([False, None], None, 1)],
)
def test_a_change_is_looked_at_until_it_is_in_force(
    verdicts: list[bool | None], verified: bool | None, looks: int
) -> None:
    routes, routers, _log = fakes(BLUE)
    routers[0].verdicts = verdicts
    time = FakeTime()
    (outcome,) = switch(routes, Order(GREEN, verify_timeout=10, verify_interval=1), clock=time.clock())
    assert (outcome.verified, time.slept) == (verified, looks)


def test_a_change_that_does_not_come_into_force_is_put_back() -> None:
    routes, routers, _log = fakes(BLUE, BLUE)
    routers[1].verdicts = [False] * 6  # the sixth look is at the end of the time, the next is the way back's
    with pytest.raises(NotVerifiedError) as caught:
        switch(routes, Order(GREEN, verify_timeout=5, verify_interval=1), clock=FakeTime().clock())
    assert caught.value.found == "route r1: after 5 s the split is still blue 0 %, green 100 %"
    assert [router.split for router in routers] == [BLUE, BLUE]


def test_a_look_that_fails_puts_all_back() -> None:
    routes, routers, _log = fakes(BLUE, BLUE)
    routers[0].raises["verify"] = [UnreachableError("nobody answers")]
    assert fails(UnreachableError, routes).details["routes"][0]["restored"] is True
    assert [router.split for router in routers] == [BLUE, BLUE]


# --- Small things -----------------------------------------------------------------------------------------


def test_the_result_is_plain_data() -> None:
    assert Outcome("lb1", BLUE, green(12.5), changed=True, error=DeniedError("no rights")).as_result() == {
        "name": "lb1",
        "before": {"blue": 100, "green": 0},
        "after": {"blue": 87.5, "green": 12.5},
        "changed": True,
        "verified": None,
        "committed_at": None,
        "took_ms": None,
        "restored": None,
        "restored_at": None,
        "drift": [],
        "error": "no rights",
    }


def test_one_that_fails_fails_all() -> None:
    routes, routers, _log = fakes(BLUE, GREEN)
    assert of_all(lambda route: route.router.live(), routes) == ["blue", "green"]
    routers[1].raises["read"] = [UnreachableError("nobody answers")]
    with pytest.raises(UnreachableError) as caught:
        of_all(lambda route: route.router.read(), routes)
    assert caught.value.found == "route r1: nobody answers"


def test_even_shares_have_no_live_colour() -> None:
    assert [FakeRouter(split).live() for split in (BLUE, green(49), green(50), green(51))] == [
        COLOURS[0],
        COLOURS[0],
        None,
        COLOURS[1],
    ]
