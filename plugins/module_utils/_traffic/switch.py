# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The switch: many routes, one decision. Knows no provider and no Ansible. Private to this collection.

Read and check all routes, commit them side by side behind one barrier, verify each, and when anything
goes wrong put back, in reverse order, those that were moved.
"""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from .._errors import (
    BlueGreenError,
    ConflictError,
    DriftError,
    InvalidError,
    MissingError,
    NotReadyError,
    NotVerifiedError,
    PartialError,
    TimeLimitError,
    UnreachableError,
    UnsupportedError,
)
from .._wait import SYSTEM_CLOCK, Clock, until
from .fence import Fence, held
from .route import Outcome, Route, later, named, of_all, side_by_side, utc_now, with_routes
from .router import Activity, Router
from .split import Split, describe, percent
from .undo import put_back

BARRIER_TIMEOUT = 30.0
LOST = (MissingError, TimeLimitError, UnreachableError)
"""What befalls a route whose load balancer does not answer any more."""
LONGEST_LEAD = 300.0
"""Seconds that the instant to commit at may be ahead."""

WALL_CLOCK = Clock(now=time.time)


@dataclass(frozen=True)
class Order:
    """What is wanted of every route in one switch."""

    wanted: Split
    expect: Split | None = None
    mend_drift: bool = False
    force: bool = False
    verify_timeout: float = 10.0
    verify_interval: float = 0.1
    commit_at: float | None = None
    """When to change the routes, in seconds since the epoch by this host's clock. None: as soon as all are ready."""
    keep_partial: bool = False
    """When some routes are lost in the change, leave the others where they were sent."""
    all_or_nothing: bool = True
    """False: each route for itself, for the way home, which one that is lost must not keep the others from."""
    plan: tuple[Split, ...] = ()
    """What is to follow: refused now where a route could never hold it."""


class Watchdog(t.Protocol):
    """Puts the traffic back by itself if nobody confirms the change in time."""

    def arm(self, planned: t.Sequence[Outcome], expect: Split | None) -> None:
        """Before anything is changed; raises, and then nothing is.

        ``expect`` is the split that the caller has left: one that is found instead, and is the wanted one, was
        either put there by an earlier try of this very step, or by chance, which is a ``conflict``.
        """

    def holding(self) -> contextlib.AbstractContextManager[None]:
        """Around one change: refused when the watchdog is armed no more, which cannot bite while it lasts."""

    def stand_down(self) -> dict[str, t.Any] | None:
        """In the end: disarm when there is nothing left to put back; never raises."""


@dataclass(frozen=True)
class _Guards:
    """Who must agree to a change at the very moment that it is made."""

    fence: Fence | None
    watchdog: Watchdog | None

    @contextlib.contextmanager
    def held(self) -> t.Iterator[None]:
        with held(self.fence), self.watchdog.holding() if self.watchdog else contextlib.nullcontext():
            yield


def switch(
    routes: t.Sequence[Route],
    order: Order,
    *,
    dry_run: bool = False,
    fence: Fence | None = None,
    watchdog: Watchdog | None = None,
    clock: Clock = SYSTEM_CLOCK,
    wall: Clock = WALL_CLOCK,
) -> list[Outcome]:
    """Move every route to ``order.wanted``, or none; or each for itself, where that is ordered.

    The fence is raised before anything is read, so that no older release can change what is read here; the
    watchdog is armed before anything is changed.
    Raises a ``BlueGreenError`` whose ``details["routes"]`` says for each route what was found, done and left.
    """
    _check_instant(order.commit_at, wall)
    if fence:
        fence.check() if dry_run else fence.raise_up()
    if not order.all_or_nothing:
        return _each_for_itself(routes, order, dry_run, fence)
    found = prepare(routes, order)
    if dry_run:
        of_all(lambda route: _rehearse(route, found, order.wanted), routes)
        return found
    if watchdog:
        watchdog.arm(found, order.expect)
    to_do = [(route, outcome) for route, outcome in zip(routes, found) if outcome.changed]
    start = _Start(len(to_do), order.commit_at, wall)
    done = _commit(to_do, order, start, _Guards(fence, watchdog), clock)
    moved = {outcome.name: outcome for outcome in done}
    outcomes = [moved.get(outcome.name, outcome) for outcome in found]
    if start.late:
        raise with_routes(_too_late(start.late), [replace(o, after=o.before, changed=False) for o in outcomes])
    causes = [outcome.error for outcome in outcomes if outcome.error]
    if causes and order.keep_partial and _only_lost(done):
        raise with_routes(_partial([one.name for one in outcomes if one.error], causes, order), outcomes)
    if causes:
        raise put_back([route for route, _planned in to_do], outcomes, causes[0], fence=fence, clock=clock)
    return outcomes


def _each_for_itself(routes: t.Sequence[Route], order: Order, dry_run: bool, fence: Fence | None) -> list[Outcome]:
    alone = replace(order, all_or_nothing=True)
    for route in routes:
        route.router.home = True
    done = side_by_side(lambda route: switch([route], alone, dry_run=dry_run, fence=fence)[0], routes)
    failed = [one for one in done if isinstance(one, BlueGreenError)]
    if not failed:
        return [t.cast(Outcome, one) for one in done]
    lost = [route.name for route, one in zip(routes, done) if isinstance(one, BlueGreenError)]
    error = failed[0] if len(failed) == len(done) else _partial(lost, failed, order)
    told = [one.details.get("routes", []) if isinstance(one, BlueGreenError) else [one.as_result()] for one in done]
    error.details["routes"] = [route for routes_of_one in told for route in routes_of_one]
    raise error


def _only_lost(done: t.Sequence[Outcome]) -> bool:
    """Whether some routes have moved, and all others do not answer."""
    failed = [outcome.error for outcome in done if outcome.error]
    return len(failed) < len(done) and all(isinstance(error, LOST) for error in failed)


def _partial(lost: list[str], causes: t.Sequence[BlueGreenError], order: Order) -> BlueGreenError:
    return PartialError(
        "; ".join(BlueGreenError(error.found, error.expected).message for error in causes),
        f"{order.wanted} on every route",
        "The other routes are there. When these can be reached again, run the playbook bluegreen.deploy.recover",
        lost=lost,
    )


def skew_ms(outcomes: t.Sequence[Outcome]) -> float | None:
    """From the first commit to the last, in milliseconds. None: nothing was committed."""
    times = [datetime.fromisoformat(outcome.committed_at) for outcome in outcomes if outcome.committed_at]
    return (max(times) - min(times)) / timedelta(milliseconds=1) if times else None


def prepare(routes: t.Sequence[Route], order: Order) -> list[Outcome]:
    """Read and check every route, changing nothing; the outcome is what a switch would then do."""
    looked = side_by_side(lambda route: _plan(route, order), routes)
    failed = [error for error in looked if isinstance(error, BlueGreenError)]
    if failed:
        left = [replace(o, after=o.before, changed=False) for o in looked if isinstance(o, Outcome)]
        raise with_routes(failed[0], left, len(failed))
    return [t.cast(Outcome, outcome) for outcome in looked]


def _plan(route: Route, order: Order) -> Outcome:
    router = route.router
    step = router.capabilities.finest_step
    for split in (order.wanted, *order.plan):
        if split.first_share % step:
            raise UnsupportedError(f"the split {split} is too fine", f"multiples of {percent(step)} %")
    router.forced = order.force
    router.check(order.wanted)
    before = router.read()
    drift = router.drift()
    moves = before != order.wanted
    if moves and order.expect is not None and before != order.expect:
        raise ConflictError(
            "; ".join((f"the split is {describe(before)}", *drift)),
            f"{order.expect}",
            "It was changed since then, by somebody else or by a load balancer that lost its state: look at it before "
            "you move it again",
        )
    if drift and not order.mend_drift:
        raise DriftError(
            " and ".join(drift),
            "one and the same answer everywhere",
            "Put it right, or set on_drift to mend to go by what is in force now",
        )
    raised = order.wanted.raised_from(before)
    if raised and not order.force:
        _need_ready(router, raised)
    for split in order.plan:
        with contextlib.suppress(NotReadyError, MissingError):  # members may still come
            router.rehearse(split)
    return Outcome(route.name, before, order.wanted, changed=moves or bool(drift), drift=drift)


def _rehearse(route: Route, planned: t.Sequence[Outcome], wanted: Split) -> None:
    (plan,) = [outcome for outcome in planned if outcome.name == route.name]
    if plan.changed:
        route.router.rehearse(wanted)


def _need_ready(router: Router, colour: str) -> None:
    seen = router.observe()
    if seen is not None and seen[colour].gaps and not router.home:
        raise NotReadyError(
            f"{colour} is not ready everywhere: {'; '.join(seen[colour].gaps)}", "as many as are needed", "Start them"
        )
    if seen is not None and seen[colour].ready < 1 and not (router.home and _nobody_is_ready(seen)):
        why = f" ({'; '.join(seen[colour].unready)})" if seen[colour].unready else ""
        raise NotReadyError(
            f"{colour} has {seen[colour].members} members and none is ready{why}",
            "at least one that the load balancer would send a request to",
            f"Start {colour} and wait until its health checks pass",
        )


def _nobody_is_ready(seen: t.Mapping[str, Activity]) -> bool:
    """Then there is nothing to lose by going home, and a load balancer that fails open sends requests there."""
    return not any(activity.ready for activity in seen.values())


class _Start:
    """The one moment at which all routes begin, or none of them."""

    def __init__(self, many: int, commit_at: float | None, wall: Clock) -> None:
        self._barrier = threading.Barrier(max(1, many), action=self._decide)
        self._commit_at, self._wall = commit_at, wall
        self.late = 0.0
        """Seconds by which the last route came too late to all that is then done: nothing."""

    def wait(self) -> bool:
        """Wait for the others and for the instant; false if it is too late to begin."""
        self._barrier.wait(BARRIER_TIMEOUT)
        while not self.late and (left := self._left()) > 0:
            self._wall.sleep(min(left, 0.5))  # the host's clock may be set meanwhile
        return not self.late

    def _decide(self) -> None:
        self.late = max(0.0, -self._left())

    def _left(self) -> float:
        return 0.0 if self._commit_at is None else self._commit_at - self._wall.now()


def _commit(
    to_do: t.Sequence[tuple[Route, Outcome]], order: Order, start: _Start, guards: _Guards, clock: Clock
) -> list[Outcome]:
    plans = {route.name: plan for route, plan in to_do}

    def one(route: Route) -> Outcome:
        plan = plans[route.name]
        try:
            if not start.wait():
                return plan
            with guards.held():
                began = time.monotonic()
                route.router.apply(order.wanted, plan.before)
                took = (time.monotonic() - began) * 1000
                plan = replace(plan, committed_at=utc_now(), took_ms=round(took, 3))
            plan = replace(plan, verified=_verified(route.router, order, clock))
            until_then = later(route.router.lingers(plan.before, order.wanted))
            return replace(plan, old_until=until_then, cached_until=until_then if route.router.caches_answers else None)
        except Exception as error:  # noqa: BLE001 -- whatever it is, what was moved must be put back
            return replace(plan, error=named(route, error))

    return [t.cast(Outcome, outcome) for outcome in side_by_side(one, [route for route, _plan in to_do])]


def _check_instant(commit_at: float | None, wall: Clock) -> None:
    if commit_at is not None and not 0 < commit_at <= wall.now() + LONGEST_LEAD:
        raise InvalidError(
            f"commit_at is {commit_at:.3f}, and the clock of this host {wall.now():.3f}",
            f"an instant at most {LONGEST_LEAD:g} s ahead, in seconds since the epoch",
        )


def _too_late(late: float) -> BlueGreenError:
    return TimeLimitError(
        f"the routes were ready {late:.3f} s after the instant to commit at",
        "all of them before it",
        "Nothing was changed. Take a larger lead, or more forks",
    )


def _verified(router: Router, order: Order, clock: Clock) -> bool | None:
    def look() -> tuple[bool | None, bool]:
        answer = router.verify(order.wanted)
        return answer, answer is False and router.read() is None

    (answer, nobody), done = until(
        look,
        lambda seen: seen[0] is not False or seen[1],
        timeout=order.verify_timeout,
        interval=order.verify_interval,
        clock=clock,
    )
    if nobody and order.force:
        return None  # as it was ordered: whether it is so will be seen when a member is ready
    if nobody:  # each moment of it fails requests
        raise NotVerifiedError(
            "after the change nobody serves: no member of either colour would be given a request",
            f"{order.wanted}",
            "See why its members take no traffic, with traffic_info and in the load balancer's own status",
        )
    if not done:
        raise NotVerifiedError(
            f"after {order.verify_timeout:g} s the split is {describe(router.read())}",
            f"{order.wanted}",
            "See with traffic_info whether its members take traffic, and whether another program writes to it",
        )
    return answer
