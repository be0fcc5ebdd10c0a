# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the routes' load balancers count, as the watch wants it. Private to this collection."""

from __future__ import annotations

import typing as t

from .._errors import UnsupportedError
from .._traffic.router import Activity
from .._traffic.switch import Route, of_all
from .watch import Count


def counts(routes: t.Sequence[Route], colour: str) -> Count:
    """The counts of one colour over all routes; latency is the mean over requests."""
    seen = of_all(lambda route: _activity(route, colour), routes)
    requests = sum(one.requests for one in seen)
    waited = sum(one.latency_ms * one.requests for one in seen)
    return Count(requests, sum(one.errors for one in seen), waited / max(1, requests))


def _activity(route: Route, colour: str) -> Activity:
    seen = route.router.observe()
    if seen is None:
        raise UnsupportedError("this provider does not count requests", "one that does", "Watch metrics of the app")
    return seen[colour]
