# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until a colour has no work in flight. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass

from .._errors import TimeLimitError, UnsupportedError
from .._wait import SYSTEM_CLOCK, Clock, until
from .switch import Route, of_all


@dataclass(frozen=True)
class Left:
    """What one route still has in flight on the colour."""

    route: str
    requests: int
    long_lived: int
    """Connections that no answer will end, such as WebSockets."""

    def as_result(self) -> dict[str, t.Any]:
        return asdict(self)


def drain(
    routes: t.Sequence[Route],
    colour: str,
    *,
    wait_for_long_lived: bool,
    allowed: int,
    timeout: float,
    interval: float,
    clock: Clock = SYSTEM_CLOCK,
) -> list[Left]:
    """Wait until each route has at most ``allowed`` in flight on the colour; returns what is left then.

    Raises ``timeout`` with C(left) in its details.
    """

    def work(left: Left) -> int:
        return left.requests + (left.long_lived if wait_for_long_lived else 0)

    left, drained = until(
        lambda: of_all(lambda route: _look(route, colour), routes),
        lambda seen: all(work(one) <= allowed for one in seen),
        timeout=timeout,
        interval=interval,
        clock=clock,
    )
    if not drained:
        busy = [one for one in left if work(one) > allowed]
        what = "; ".join(f"{o.route}: {o.requests} requests, {o.long_lived} long-lived connections" for o in busy)
        raise TimeLimitError(
            f"after {timeout:g} s {colour} still has in flight on {what}",
            f"at most {allowed} on each route",
            "Wait longer, or set long_lived to leave to let long-lived connections go on",
            left=[one.as_result() for one in left],
        )
    return left


def _look(route: Route, colour: str) -> Left:
    seen, long_lived = route.router.observe(), route.router.long_lived()
    if seen is None:
        raise UnsupportedError("this provider does not count connections", "one that does")
    tunnels = long_lived[colour] if long_lived else 0
    return Left(route.name, requests=max(0, seen[colour].in_flight - tunnels), long_lived=tunnels)
