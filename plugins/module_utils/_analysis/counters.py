# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the routes' load balancers count, as the watch wants it. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._errors import UnsupportedError
from .._traffic.route import Route, counting, of_all
from .._traffic.router import Activity, Counted
from .._traffic.split import Split
from .watch import Beside, Count, Limits, Verdict, check_times, watch

if t.TYPE_CHECKING:
    from .._traffic.guard import Watch
    from .front import Front

NOBODY_COUNTS = "nothing could be watched: the provider of these routes counts no requests, and knows no members"
ONLY_MEMBERS = "only its members were watched: the provider of these routes counts no requests"


def watcher(routes: t.Sequence[Route], params: t.Mapping[str, t.Any], shares: bool = False) -> Watch:
    """The watch of a colour that the parameters describe: they are checked, and nothing is begun yet.

    Where nobody counts requests it is seen at least that members are ready, if they are known, and that the front door
    answers. A colour that is about to share the traffic is not blamed for what fails there now.
    """
    limits = Limits(params["max_error_share"], params["max_latency_ms"], params["min_requests"])
    times = {name: params[name] for name in ("duration", "interval", "window")}
    check_times(**times)
    if counting(routes):
        return lambda colour, _put: watch(lambda: counts(routes, colour), limits, pooled=params["pooled"], **times)
    from .front import front_of  # noqa: PLC0415 -- compiled only where nobody counts

    front = front_of(params)
    if front and shares:
        front.look_before()
    return lambda colour, put: _uncounted(routes, colour, _Moves(routes, put), times, front)


def _uncounted(
    routes: t.Sequence[Route], colour: str, moves: _Moves, times: t.Mapping[str, t.Any], front: Front | None
) -> Verdict:
    """The whole time is spent, whatever can be seen: what is wrong may show elsewhere meanwhile."""
    known: list[Activity] = []

    def look() -> Count:
        now = _of(routes, colour)
        known.extend(now)
        if front:  # asked after the provider has answered, which shows that it is not our own network that fails
            front.look()
        return _count([], now)

    beside = Beside(moves.look, front.bad if front else lambda: None, lambda: _seen(bool(known), front))
    return replace(watch(look, Limits(None, None, 1), beside=beside, **times), counted=False)


def _seen(known: bool, front: Front | None) -> str:
    """What was looked at, where nothing was found bad and nothing was counted."""
    if front and front.targets:
        parts = "its members and the front door were" if known else "the front door was"
        return f"only {parts} watched, as the provider of these routes counts no requests: {front.told()}"
    seen = ONLY_MEMBERS if known else NOBODY_COUNTS
    return f"{seen}; {front.told()}" if front else seen


class _Moves:
    """Whether the splits stay what they were: what is seen after somebody put one back says nothing of the colour.

    And whether nobody else gets a share, or contradicts them otherwise.
    """

    def __init__(self, routes: t.Sequence[Route], put: t.Mapping[str, Split | None]) -> None:
        self._routes = routes
        self._began: list[Split | None] = [put[route.name] for route in routes] if put else []
        self._drift: set[str] | None = None

    def look(self) -> str | None:
        now, drift = of_all(lambda route: route.router.read(), self._routes), self._drifts()
        self._began, self._drift = self._began or now, drift if self._drift is None else self._drift
        moved = [route.name for route, was, is_now in zip(self._routes, self._began, now) if was != is_now]
        if moved:
            return f"the split of {' and '.join(moved)} was changed while it was watched"
        new = sorted(drift - self._drift)
        return f"{new[0]}: that was not so when the watch began" if new else None

    def _drifts(self) -> set[str]:
        return {told for route in self._routes for told in route.router.drift()}


def counts(routes: t.Sequence[Route], colour: str) -> Count:
    """The counts of one colour over all routes; latency is the mean over requests, None where a route tells none."""
    counted, rest = counting(routes), [route for route in routes if route not in counting(routes)]
    seen = of_all(lambda route: _counted(route, colour), counted)
    return _count([t.cast(Counted, one.counted) for one in seen], [*seen, *_of(rest, colour)])


def _count(counted: t.Sequence[Counted], known: t.Sequence[Activity]) -> Count:
    requests = sum(one.answered for one in counted)
    waited = sum((one.latency_ms or 0.0) * one.answered for one in counted)
    untold = any(one.latency_ms is None for one in counted)
    # a route without a ready member serves nobody, however many another one has
    fewest = min(known, key=lambda one: one.ready, default=None)
    return Count(
        requests,
        sum(one.errors for one in counted),
        None if untold else waited / max(1, requests),
        fewest.ready if fewest else None,
        fewest.members if fewest else None,
    )


def _counted(route: Route, colour: str) -> Activity:
    seen = route.router.observe()
    if not seen or seen[colour].counted is None:
        raise UnsupportedError("this provider does not count requests", "one that does", "Watch metrics of the app")
    return seen[colour]


def _of(routes: t.Sequence[Route], colour: str) -> list[Activity]:
    """Of the routes whose provider knows its members."""
    seen = of_all(lambda route: route.router.observe(), routes)
    return [each[colour] for each in seen if each]
