# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until a colour has no work in flight. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass

from .._errors import TimeLimitError, UnsupportedError
from .._wait import SYSTEM_CLOCK, Clock, until
from .route import Route, counting, of_all


@dataclass(frozen=True)
class Left:
    """What one route still has in flight on the colour, and what came to it meanwhile."""

    route: str
    requests: int
    long_lived: int
    """Connections that no answer will end, such as WebSockets."""
    new_requests: int
    """Requests that reached the colour since the first look."""

    def as_result(self) -> dict[str, t.Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Look:
    """A look at one route, and what it shows together with those before it. Times are of the clock."""

    left: Left
    counted: int
    """Requests by the load balancer's own counter."""
    first: float
    """When the first look ended."""
    still_since: float
    """When the look ended that first saw the counter where it is now."""
    began: float
    """When this look began."""

    @property
    def watched(self) -> float:
        return max(0.0, self.began - self.first)

    @property
    def quiet(self) -> float:
        """Seconds for which surely no new request came."""
        return max(0.0, self.began - self.still_since)


@dataclass(frozen=True)
class _Goal:
    """When a colour is drained."""

    wait_for_long_lived: bool
    allowed: int
    quiet: float

    def busy(self, look: _Look) -> bool:
        work = look.left.requests + (look.left.long_lived if self.wait_for_long_lived else 0)
        return work > self.allowed

    def in_use(self, look: _Look) -> bool:
        return look.quiet < self.quiet

    def reached(self, looks: t.Sequence[_Look]) -> bool:
        return not any(self.busy(look) or self.in_use(look) for look in looks)


def drain(
    routes: t.Sequence[Route],
    colour: str,
    *,
    wait_for_long_lived: bool,
    allowed: int,
    quiet: float,
    timeout: float,
    interval: float,
    clock: Clock = SYSTEM_CLOCK,
) -> list[Left]:
    """Wait until each route has at most ``allowed`` in flight on the colour and got no new request for ``quiet`` s,
    and nobody else leads clients to it if it is to be quiet.

    Returns what is left then on the routes that count. Raises ``timeout`` with C(left) in its details.
    """
    goal = _Goal(wait_for_long_lived, allowed, quiet)
    latest: dict[str, _Look] = {}

    def look() -> tuple[list[_Look], list[str]]:
        looks = of_all(lambda route: _look(route, colour, latest.get(route.name), clock), counting(routes))
        latest.update({one.left.route: one for one in looks})
        return looks, _leading(routes, colour) if quiet else []

    (looks, leading), drained = until(
        look,
        lambda seen: goal.reached(seen[0]) and not seen[1],
        timeout=timeout,
        interval=interval,
        clock=clock,
    )
    if not drained:
        raise _not_drained(colour, goal, looks, leading, timeout)
    return [one.left for one in looks]


def _leading(routes: t.Sequence[Route], colour: str) -> list[str]:
    told = of_all(lambda route: route.router.leads_to(colour), routes)
    return [f"{route.name}: {why}" for route, sentences in zip(routes, told) for why in sentences]


def _look(route: Route, colour: str, before: _Look | None, clock: Clock) -> _Look:
    began = clock.now()
    seen, long_lived = route.router.observe(), route.router.long_lived()
    counters = seen[colour].counted if seen else None
    if counters is None:
        raise UnsupportedError("this provider does not count connections", "one that does")
    now = clock.now()
    tunnels = long_lived[colour] if long_lived else 0
    counted = counters.requests
    return _Look(
        Left(route.name, max(0, counters.in_flight - tunnels), tunnels, _new(counted, before)),
        counted,
        first=before.first if before else now,
        still_since=before.still_since if before and before.counted == counted else now,
        began=began,
    )


def _new(counted: int, before: _Look | None) -> int:
    """Requests since the first look; a counter that went back began anew at 0, as after a reload."""
    if before is None:
        return 0
    return before.left.new_requests + (counted - before.counted if counted >= before.counted else counted)


def _not_drained(
    colour: str, goal: _Goal, looks: t.Sequence[_Look], leading: t.Sequence[str], timeout: float
) -> TimeLimitError:
    busy = [
        f"{look.left.route}: {look.left.requests} requests, {look.left.long_lived} long-lived connections"
        for look in looks
        if goal.busy(look)
    ]
    in_use = [
        f"{look.left.route}: {look.left.new_requests} new requests in {look.watched:.3g} s, "
        f"none in the last {look.quiet:.3g} s"
        for look in looks
        if goal.in_use(look)
    ]
    found = [f"still has in flight on {'; '.join(busy)}"] if busy else []
    found += [f"was not quiet on {'; '.join(in_use)}"] if in_use else []
    found += [f"may still be reached: {'; '.join(leading)}"] if leading else []
    return TimeLimitError(
        f"after {timeout:g} s {colour} {', and '.join(found)}",
        f"at most {goal.allowed} on each route" + (f" and no new request for {goal.quiet:g} s" if goal.quiet else ""),
        _todo(bool(in_use), bool(leading)),
        left=[look.left.as_result() for look in looks],
    )


def _todo(in_use: bool, leading: bool) -> str:
    if in_use:
        return (
            "Look with traffic_info who still sends requests to it, or wait longer. Clients that a cookie, a stick "
            "table or a rule such as use-server keeps on it go on reaching it until it is lowered harder, as with "
            "HAProxy's lower_with: maint"
        )
    if leading:
        return "Wait until those answers have run out"
    return "Wait longer, or set long_lived to leave to let long-lived connections go on"
