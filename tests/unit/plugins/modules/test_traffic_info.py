# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What needs no load balancer; with a real one, see tests/integration/targets/haproxy."""

from __future__ import annotations

from plugins.module_utils._traffic.route import Route
from plugins.module_utils._traffic.router import Activity
from plugins.modules import traffic_info
from tests.unit.plugins.module_utils._traffic.fakes import COLOURS, FakeRouter, green

from .process import as_spec, bare, documented_options, run_module

ROUTE = {
    "name": "lb1",
    "provider": "haproxy",
    "haproxy": {"socket": "/nobody/admin.sock", "map": "/nobody/bluegreen.map", "key": "shop"},
}


def test_a_route_is_described_as_it_is() -> None:
    router = FakeRouter(green(10))
    router.drifts, router.sockets["green"] = ("the file says otherwise",), 3
    counted = {"in_flight": 0, "requests": 0, "errors": 0, "latency_ms": 0.0, "answers": None, "long_lived": 0}
    idle = {"members": 2, "ready": 2, "unready": [], "unchecked": 0, **counted}
    assert traffic_info.describe(Route("lb1", router), COLOURS) == {
        "name": "lb1",
        "split": {"blue": 90, "green": 10},
        "live": "blue",
        "drift": ["the file says otherwise"],
        "activity": {"blue": idle, "green": {**idle, "in_flight": 3, "long_lived": 3}},
    }


def test_where_nobody_serves_both_shares_are_0_and_none_is_live() -> None:
    told = traffic_info.describe(Route("lb1", FakeRouter(None)), COLOURS)
    assert (told["split"], told["live"]) == ({"blue": 0, "green": 0}, None)


def test_what_a_provider_does_not_count_is_null() -> None:
    router = FakeRouter()
    router.long_lived = lambda: None  # type: ignore[method-assign]
    activity = traffic_info.activity(router)
    assert activity is not None
    assert [activity[colour]["long_lived"] for colour in COLOURS] == [None, None]
    router.observe = lambda: dict.fromkeys(COLOURS, Activity(3, 2, unready=("p1: crashes",)))  # type: ignore[method-assign]
    nothing = dict.fromkeys(["in_flight", "requests", "errors", "latency_ms", "answers", "long_lived"])
    seen = {"members": 3, "ready": 2, "unready": ["p1: crashes"], "unchecked": 0, **nothing}
    assert traffic_info.activity(router) == {"blue": seen, "green": seen}
    router.observe = lambda: None  # type: ignore[method-assign]
    assert traffic_info.activity(router) is None


def test_a_load_balancer_that_is_not_there_is_an_error_with_a_code() -> None:
    result = run_module("traffic_info", routes=[ROUTE])
    assert (result["failed"], result["failure"]) == (True, {"code": "missing"})


def test_options_and_documentation_agree() -> None:
    assert as_spec(documented_options("traffic_info")) == bare(traffic_info.ARGUMENT_SPEC)
