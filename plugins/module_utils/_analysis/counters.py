# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the routes' load balancers count, as the watch wants it. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._errors import UnsupportedError
from .._traffic.route import Route, counting, of_all
from .._traffic.router import Counted
from .watch import Count, Limits, Verdict, check_times, watch

NOBODY_COUNTS = "nothing was watched: the provider of these routes counts no requests"
ONLY_READY = "only its members were watched, which were ready: the provider of these routes counts no requests"


def watcher(routes: t.Sequence[Route], params: t.Mapping[str, t.Any]) -> t.Callable[[str], Verdict]:
    """The watch of a colour that the parameters describe: they are checked, and nothing is begun yet.

    Where nobody counts requests it is seen at least that members are ready, if they are known.
    """
    limits = Limits(params["max_error_share"], params["max_latency_ms"], params["min_requests"])
    times = {name: params[name] for name in ("duration", "interval", "window")}
    check_times(**times)
    if counting(routes):
        return lambda colour: watch(lambda: counts(routes, colour), limits, pooled=params["pooled"], **times)
    return lambda colour: _members(routes, colour, times)


def _members(routes: t.Sequence[Route], colour: str, times: t.Mapping[str, t.Any]) -> Verdict:
    if all(ready is None for ready in of_all(lambda route: _ready(route, colour), routes)):
        return Verdict("inconclusive", NOBODY_COUNTS, counted=False)
    seen = watch(lambda: counts(routes, colour), Limits(None, None, 1), **times)
    return replace(seen, counted=False, reason=ONLY_READY if seen.verdict == "inconclusive" else seen.reason)


def counts(routes: t.Sequence[Route], colour: str) -> Count:
    """The counts of one colour over all routes; latency is the mean over requests, None where a route tells none."""
    counted, rest = counting(routes), [route for route in routes if route not in counting(routes)]
    seen = of_all(lambda route: _counted(route, colour), counted)
    requests = sum(one.answered for one, _ready in seen)
    untold = any(one.latency_ms is None for one, _ready in seen)
    waited = sum((one.latency_ms or 0.0) * one.answered for one, _ready in seen)
    errors = sum(one.errors for one, _ready in seen)
    known = [ready for _one, ready in seen] + of_all(lambda route: _ready(route, colour), rest)
    # a route without a ready member serves nobody, however many another one has
    ready = min((many for many in known if many is not None), default=None)
    return Count(requests, errors, None if untold else waited / max(1, requests), ready)


def _counted(route: Route, colour: str) -> tuple[Counted, int | None]:
    seen = route.router.observe()
    counted = seen[colour].counted if seen else None
    if not seen or counted is None:
        raise UnsupportedError("this provider does not count requests", "one that does", "Watch metrics of the app")
    return counted, seen[colour].ready


def _ready(route: Route, colour: str) -> int | None:
    """Members that would be given a request now. None: the provider does not know its members."""
    seen = route.router.observe()
    return seen[colour].ready if seen else None
