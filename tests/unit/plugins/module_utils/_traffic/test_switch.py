# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import threading
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils._errors import (
    BlueGreenError,
    ConflictError,
    DeniedError,
    DriftError,
    InvalidError,
    MissingError,
    NotReadyError,
    NotVerifiedError,
    PartialError,
    TimeLimitError,
    UndoFailedError,
    UnreachableError,
    UnsupportedError,
)
from plugins.module_utils._traffic.fence import Fence, StaleTokenError
from plugins.module_utils._traffic.route import Outcome, Route, of_all
from plugins.module_utils._traffic.split import Split
from plugins.module_utils._traffic.switch import Order, skew_ms, switch
from plugins.module_utils._traffic.undo import put_back
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


@pytest.mark.parametrize("error", [UnreachableError("gone"), TimeLimitError("hangs"), MissingError("no socket")])
@pytest.mark.parametrize("many", [2, 5])
def test_when_one_is_lost_the_others_are_kept_if_that_is_asked_for(many: int, error: BlueGreenError) -> None:
    routes, routers, _log = fakes(*[BLUE] * many)
    routers[0].raises["apply"] = [error]
    caught = fails(PartialError, routes, replace(TO_GREEN, keep_partial=True))
    assert [router.split for router in routers] == [BLUE, *[GREEN] * (many - 1)]
    assert [bool(route["error"]) for route in caught.details["routes"]] == [True, *[False] * (many - 1)]


@pytest.mark.parametrize("error", [DeniedError("no"), ConflictError("moved"), NotVerifiedError("not so")])
def test_only_what_does_not_answer_is_a_reason_to_keep_the_others(error: BlueGreenError) -> None:
    routes, routers, _log = fakes(BLUE, BLUE)
    routers[0].raises["apply"] = [error]
    fails(type(error), routes, replace(TO_GREEN, keep_partial=True))
    assert [router.split for router in routers] == [BLUE, BLUE]


def test_where_all_are_lost_nothing_is_kept() -> None:
    routes, routers, _log = fakes(BLUE, BLUE)
    for router in routers:
        router.raises["apply"] = [UnreachableError("gone")]
    fails(UnreachableError, routes, replace(TO_GREEN, keep_partial=True))
    assert [router.split for router in routers] == [BLUE, BLUE]


@pytest.mark.parametrize("method", ["read", "check", "apply"])
def test_on_the_way_home_one_that_is_lost_keeps_no_other_from_it(method: str) -> None:
    routes, routers, _log = fakes(GREEN, GREEN, GREEN)
    routers[1].raises[method] = [UnreachableError("gone")] * 9
    caught = fails(PartialError, routes, Order(BLUE, all_or_nothing=False))
    assert [router.split for router in routers] == [BLUE, GREEN, BLUE]
    assert "route r1: gone" in caught.found
    assert {route["name"] for route in caught.details["routes"] if route["changed"]} == {"r0", "r2"}


def test_each_for_itself_is_like_together_when_all_is_well() -> None:
    routes, routers, _log = fakes(GREEN, BLUE)
    outcomes = switch(routes, Order(BLUE, all_or_nothing=False))
    assert [(outcome.name, outcome.changed) for outcome in outcomes] == [("r0", True), ("r1", False)]
    assert [router.split for router in routers] == [BLUE, BLUE]


def test_each_for_itself_has_its_own_error_where_none_is_moved() -> None:
    routes, routers, _log = fakes(GREEN, GREEN)
    for router in routers:
        router.raises["read"] = [UnreachableError("gone")]
    fails(UnreachableError, routes, Order(BLUE, all_or_nothing=False))


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
    routers[1].verdicts = [True, *[False] * 60]
    with pytest.raises(UndoFailedError) as caught:
        switch(routes, Order(GREEN), clock=FakeTime().clock())
    assert "route r1: " in caught.value.found


def test_a_way_back_is_given_time_until_it_is_in_force() -> None:
    routes, routers, _log = fakes(BLUE, BLUE)
    routers[0].raises["apply"] = [DeniedError("no rights")]
    routers[1].verdicts = [True, False, False]
    with pytest.raises(DeniedError) as caught:
        switch(routes, Order(GREEN), clock=FakeTime().clock())
    assert left(caught.value)["r1"]["restored"] is True


def test_the_way_back_leads_from_whatever_a_failed_change_has_made() -> None:
    routes, routers, _log = fakes(BLUE)
    routers[0].verdicts = [False] * 7

    def part_of_it() -> None:
        routers[0].split = green(15)

    def verify(wanted: Split) -> bool | None:
        if wanted == GREEN:
            part_of_it()
        return routers[0].split == wanted

    routers[0].verify = verify  # type: ignore[method-assign]
    with pytest.raises(NotVerifiedError) as caught:
        switch(routes, Order(GREEN, verify_timeout=5, verify_interval=1), clock=FakeTime().clock())
    assert "is blue 85 %, green 15 %" in caught.value.found
    assert (routers[0].split, left(caught.value)["r0"]["restored"]) == (BLUE, True)


@pytest.mark.parametrize("force", [False, True])
def test_a_change_after_which_nobody_serves_is_undone_at_once(force: bool) -> None:
    routes, routers, _log = fakes(BLUE)
    time = FakeTime()

    def verify(wanted: Split) -> bool | None:
        if wanted == GREEN:
            routers[0].split = None
        return routers[0].split == wanted

    routers[0].verify = verify  # type: ignore[method-assign]
    if force:
        assert switch(routes, Order(GREEN, force=True), clock=time.clock())[0].verified is None
        return
    with pytest.raises(NotVerifiedError) as caught:
        switch(routes, Order(GREEN), clock=time.clock())
    assert "after the change nobody serves" in caught.value.found
    assert (routers[0].split, time.slept) == (BLUE, 0)


def test_where_nobody_serves_any_colour_can_be_brought_up() -> None:
    routes, routers, _log = fakes(BLUE, BLUE)
    routers[1].split = None
    outcomes = switch(routes, Order(GREEN))
    assert [outcome.as_result()["before"] for outcome in outcomes] == [
        {"blue": 100, "green": 0},
        {"blue": 0, "green": 0},
    ]
    assert [router.split for router in routers] == [GREEN, GREEN]


def test_where_nobody_served_there_is_nothing_to_go_back_to() -> None:
    routes, routers, _log = fakes(BLUE, BLUE)
    routers[0].split = None
    routers[1].raises["apply"] = [DeniedError("no rights")]
    error = fails(DeniedError, routes)
    assert [router.split for router in routers] == [GREEN, BLUE]
    assert left(error)["r0"]["restored"] is None


def test_who_expects_a_split_is_told_that_nobody_serves() -> None:
    routes, routers, _log = fakes(BLUE)
    routers[0].split = None
    with pytest.raises(ConflictError) as caught:
        switch(routes, Order(GREEN, expect=BLUE))
    assert caught.value.found == "route r0: the split is none, as nobody serves"


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
    assert caught.value.found == "route r1: after 5 s the split is blue 0 %, green 100 %"
    assert [router.split for router in routers] == [BLUE, BLUE]


def test_a_look_that_fails_puts_all_back() -> None:
    routes, routers, _log = fakes(BLUE, BLUE)
    routers[0].raises["verify"] = [UnreachableError("nobody answers")]
    assert fails(UnreachableError, routes).details["routes"][0]["restored"] is True
    assert [router.split for router in routers] == [BLUE, BLUE]


# --- A fence, an instant, a watchdog ----------------------------------------------------------------------


class Guard:
    """A watchdog in memory, which does what it is told to at each moment."""

    def __init__(self, **at: t.Callable[[], object]) -> None:
        self.at, self.seen = at, t.cast("list[t.Any]", [])

    def _moment(self, name: str, *more: t.Any) -> None:
        self.seen.append((name, *more))
        self.at.get(name, lambda: None)()

    def arm(self, planned: t.Sequence[Outcome], _expect: Split | None) -> None:
        self._moment("arm", [outcome.changed for outcome in planned])

    @contextlib.contextmanager
    def holding(self) -> t.Iterator[None]:
        self._moment("hold")
        yield

    def stand_down(self) -> dict[str, t.Any] | None:
        self._moment("stand down")
        return {"state": "undone"}


def taken_over(fence: Fence, state_dir: Path) -> None:
    Fence(str(state_dir), "shop", fence.token + 1).raise_up()


def test_the_fence_is_raised_before_anything_is_read(tmp_path: Path) -> None:
    routes, routers, _log = fakes(BLUE)
    routers[0].raises["read"] = [UnreachableError("nobody answers")]
    with pytest.raises(UnreachableError):
        switch(routes, TO_GREEN, fence=Fence(str(tmp_path), "shop", 4))
    assert (tmp_path / "shop.fence").read_text() == "4\n"


def test_a_dry_run_refuses_a_stale_token_and_raises_no_fence(tmp_path: Path) -> None:
    routes, _routers, log = fakes(BLUE)
    fence = Fence(str(tmp_path / "state"), "shop", 4)
    assert switch(routes, TO_GREEN, dry_run=True, fence=fence, watchdog=Guard(arm=lambda: 1 / 0))[0].changed
    assert not (tmp_path / "state").exists()
    taken_over(fence, tmp_path / "state")
    with pytest.raises(StaleTokenError):
        switch(routes, TO_GREEN, dry_run=True, fence=fence)
    assert log == []


def test_who_is_taken_over_before_the_commit_changes_nothing(tmp_path: Path) -> None:
    routes, routers, log = fakes(BLUE, BLUE)
    fence = Fence(str(tmp_path), "shop", 4)
    with pytest.raises(StaleTokenError) as caught:
        switch(routes, TO_GREEN, fence=fence, watchdog=Guard(arm=lambda: taken_over(fence, tmp_path)))
    assert ([router.split for router in routers], log) == ([BLUE, BLUE], [])
    assert [(route["changed"], route["restored"]) for route in left(caught.value).values()] == [(False, None)] * 2


def test_who_is_taken_over_before_the_way_back_leaves_the_traffic_to_the_successor(tmp_path: Path) -> None:
    routes, routers, log = fakes(BLUE)
    fence = Fence(str(tmp_path), "shop", 4)
    routers[0].verify = lambda _wanted: taken_over(fence, tmp_path)  # type: ignore[method-assign,return-value]
    routers[0].verdicts = []
    switch(routes, TO_GREEN, fence=fence)
    cause = DeniedError("the watch failed", watched={"verdict": "fail"})
    (outcome,) = [Outcome("r0", BLUE, GREEN, changed=True, committed_at="then")]
    error = put_back(routes, [outcome], cause, fence=fence)
    assert (error.__class__, routers[0].split, log) == (StaleTokenError, GREEN, [("r0", GREEN)])
    assert error.message.startswith("the watch failed. And the traffic was left as it is: token 4 of shop is stale")
    assert "bluegreen.deploy.status" in error.todo
    assert (error.details["watched"], error.details["routes"][0]["restored"]) == ({"verdict": "fail"}, False)


def test_the_watchdog_is_armed_after_all_are_read_and_asked_at_each_commit() -> None:
    routes, _routers, log = fakes(BLUE, GREEN, BLUE)
    guard = Guard(arm=lambda: log.append("armed"))
    switch(routes, TO_GREEN, watchdog=guard)
    assert guard.seen == [("arm", [True, False, True]), ("hold",), ("hold",)]
    assert (log[0], len(log)) == ("armed", 3)


@pytest.mark.parametrize("moment", ["arm", "hold"])
def test_what_cannot_be_armed_is_not_changed(moment: str) -> None:
    routes, routers, log = fakes(BLUE, BLUE)

    def refuse() -> None:
        raise ConflictError("the watchdog has fired")

    with pytest.raises(ConflictError):
        switch(routes, TO_GREEN, watchdog=Guard(**{moment: refuse}))
    assert ([router.split for router in routers], log) == ([BLUE, BLUE], [])


@pytest.mark.parametrize("many", [1, 3])
def test_all_wait_for_the_instant(many: int) -> None:
    routes, routers, _log = fakes(*[BLUE] * many)
    time, at = FakeTime(), []
    time.now = 1000.0
    for router in routers:
        router.at_apply = lambda: at.append(time.now)
    order = Order(GREEN, commit_at=1002.25)
    switch(routes, order, wall=time.clock())
    assert len(at) == many
    assert min(at) >= 1002.25
    if many == 1:
        assert (at, time.slept) == ([1002.25], 5)


def test_when_one_is_too_late_none_is_changed() -> None:
    routes, routers, log = fakes(BLUE, BLUE, GREEN)
    wall = FakeTime()
    wall.now = 1000.0
    routers[1].drifts = ("the file says green",)
    guard = Guard(arm=lambda: wall.sleep(5))
    with pytest.raises(TimeLimitError) as caught:
        switch(routes, Order(GREEN, commit_at=1002.0, mend_drift=True), wall=wall.clock(), watchdog=guard)
    assert caught.value.found == "the routes were ready 3.000 s after the instant to commit at"
    assert "Nothing was changed" in caught.value.todo
    assert ([router.split for router in routers], log) == ([BLUE, BLUE, GREEN], [])
    assert [(route["changed"], route["after"], route["restored"]) for route in left(caught.value).values()] == [
        (False, router.split.percents(), None) for router in routers
    ]
    assert guard.seen == [("arm", [True, True, False])]


def test_where_nothing_is_to_do_nobody_waits() -> None:
    routes, _routers, _log = fakes(GREEN)
    wall = FakeTime()
    switch(routes, Order(GREEN, commit_at=100.0), wall=wall.clock())
    assert wall.slept == 0


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("trouble", "plan", "said"),
    [
        (None, (green(10), green(12.34)), "the split blue 87.66 %, green 12.34 % is too fine"),
        (UnsupportedError("no weights hold it"), (green(10), green(50)), "no weights hold it"),
        (DeniedError("no right to"), (GREEN,), "no right to"),
    ],
)
def test_a_plan_that_a_route_could_never_hold_is_refused_before_anything_moves(
    dry_run: bool, trouble: BlueGreenError | None, plan: tuple[Split, ...], said: str
) -> None:
    routes, routers, log = fakes(BLUE, BLUE)
    routers[1].raises["check"] = [None, *[None] * (len(plan) - 1), trouble]
    with pytest.raises(BlueGreenError, match=said):
        switch(routes, Order(green(10), plan=plan), dry_run=dry_run)
    assert log == []


@pytest.mark.parametrize("error", [NotReadyError("none is ready"), MissingError("no server belongs to green")])
def test_members_that_are_not_there_yet_are_no_objection_to_a_plan(error: BlueGreenError) -> None:
    routes, routers, _log = fakes(BLUE)
    routers[0].raises["check"] = [None, error, error]
    assert not switch(routes, Order(BLUE, plan=(green(50), GREEN)), dry_run=True)[0].changed
    assert routers[0].raises["check"] == []


@pytest.mark.parametrize("ahead", [300.001, float("inf"), float("nan"), -2000.0])
@pytest.mark.parametrize("dry_run", [False, True])
def test_an_instant_that_cannot_be_right_is_invalid(ahead: float, dry_run: bool) -> None:
    routes, _routers, log = fakes(BLUE)
    wall = FakeTime()
    wall.now = 1000.0
    with pytest.raises(InvalidError):
        switch(routes, Order(GREEN, commit_at=1000.0 + ahead), dry_run=dry_run, wall=wall.clock())
    assert log == []


@pytest.mark.parametrize(
    ("times", "skew"),
    [
        ([], None),
        ([None, None], None),
        (["2026-11-23T03:00:00.000001+00:00", None], 0.0),
        (["2026-11-23T03:00:00.000500+00:00", "2026-11-23T03:00:00.000100+00:00"], 0.4),
    ],
)
def test_the_skew_is_from_the_first_commit_to_the_last(times: list[str | None], skew: float | None) -> None:
    assert skew_ms([Outcome("r", BLUE, GREEN, changed=True, committed_at=time) for time in times]) == skew


def test_the_way_back_by_hand_is_told_for_each_route_that_is_stuck() -> None:
    routes, routers, _log = fakes(BLUE, BLUE, BLUE, BLUE)
    routers[3].raises["apply"] = [DeniedError("no rights")]
    for stuck in (1, 2):
        routers[stuck].raises["apply"] = [None, UnreachableError("nobody answers")]
    routers[1].raises["by_hand"] = [UnreachableError("nobody answers")]
    assert fails(UndoFailedError, routes).todo == (
        "Look at each route named here, and put it back by hand: "
        "route r2: move r2 to blue 100 %, green 0 %; "
        "route r1: to blue 100 %, green 0 % (route r1: nobody answers)"
    )


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
        "old_until": None,
        "cached_until": None,
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
