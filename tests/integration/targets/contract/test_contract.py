# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The providers on a HAProxy keep the contract, and so does the fake that the engine's unit tests stand on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from plugins.module_utils._traffic.split import Split
from tests.integration.balancer import Balancer, green
from tests.integration.contract import SHARED_SPLITS, WHOLE_SPLITS, Case, Contract
from tests.unit.plugins.module_utils._traffic.fakes import FakeRouter


def fake(_balancer: Balancer) -> Case:
    router = FakeRouter()
    left = {"nobody serves": lambda: setattr(router, "split", None)}
    return Case(router, lambda: router.split, SHARED_SPLITS, (green(0.5),), left)


def real(way: str, holds: tuple[Split, ...], refuses: tuple[Split, ...]) -> Callable[[Balancer], Case]:
    return lambda balancer: Case(balancer.router(way), balancer.everything, holds, refuses, left(balancer, way))


def left(balancer: Balancer, way: str) -> dict[str, Callable[[], object]]:
    """As people leave it by hand."""
    blue, green_ = (
        [f"{backend}/{member.name}" for member in balancer.rig.of(colour)] for backend, colour in PLACES[way]
    )

    def told(*servers: str, verb: str) -> None:
        assert not any(balancer.ask(*(f"set server {server} {verb}" for server in servers)))

    if way == "map":
        return {"the map file says otherwise": lambda: balancer.map.write_text("shop green:blue:0\n")}
    by_hand: dict[str, Callable[[], object]] = {
        "all are in drain": lambda: told(*blue, *green_, verb="state drain"),
        "all are ready": lambda: told(*blue, *green_, verb="state ready"),
    }
    if way == "one":
        by_hand["all have weight 0"] = lambda: told(*blue, *green_, verb="weight 0")
        by_hand["one of each is in drain"] = lambda: told(blue[0], green_[0], verb="state drain")
    return by_hand


PLACES = {
    "map": (("shop_blue", "blue"), ("shop_green", "green")),
    "one": (("one", "blue"), ("one", "green")),
    "two": (("two_blue", "blue"), ("two_green", "green")),
}

CASES = {
    "fake": fake,
    "haproxy map": real("map", (*SHARED_SPLITS, green(0.01), green(99.99)), ()),
    "haproxy one backend": real("one", SHARED_SPLITS, (green(0.5),)),
    "haproxy two backends": real("two", WHOLE_SPLITS, (green(10), green(50), green(0.5))),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, balancer: Balancer) -> Case:
    return CASES[request.param](balancer)


class TestHAProxy(Contract):
    """In each way."""
