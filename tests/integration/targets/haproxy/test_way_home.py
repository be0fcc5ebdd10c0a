# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A way home that leads to a colour that is dead, and that HAProxy takes for up since it was in maintenance."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils._errors import NotReadyError
from plugins.module_utils._traffic.haproxy_servers import HAProxyServers
from plugins.module_utils._traffic.undo import go_back
from tests.haproxies import every_haproxy, haproxy_binary
from tests.integration.haproxy_site import BLUE, FRONTEND, GREEN, ONE_BACKEND, TWO_BACKENDS, Site
from tests.integration.set_ups import SiteMaker, move, refused, site

__all__ = ["haproxy_binary", "site"]

ONE = "backend shop\n    server blue1 @blue1 {checked}\n    server green1 @green1 {checked}\n"
TWO = "backend shop_blue\n    server b1 @blue1 {checked}\nbackend shop_green\n    server g1 @green1 {checked}\n"
BY_NUMBER = """
frontend front
    bind 127.0.0.1:{front}
    use_backend shop_green if {{ nbsrv(shop_green) gt 0 }}
    default_backend shop_blue
"""
SHAPES: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "one backend": (ONE, FRONTEND, "shop/blue1", {**ONE_BACKEND, "lower_with": "maint", "timeout": 30.0}),
    "two backends": (TWO, BY_NUMBER, "shop_blue/b1", {**TWO_BACKENDS, "lower_with": "maint", "timeout": 30.0}),
}


def dead_blue(site: SiteMaker, shape: str) -> tuple[Site, dict[str, Any]]:
    """Green has everything; blue was lowered with maintenance, and then stopped."""
    text, frontend, blue, options = SHAPES[shape]
    lb = site(text, frontend)
    lb.set(f"{blue} state maint")
    lb.apps["blue1"].stop()
    assert lb.colours() == {"green": 40}
    return lb, options


@every_haproxy
@pytest.mark.parametrize("shape", SHAPES)
def test_the_living_colour_stays_where_the_way_home_leads_to_a_dead_one(site: SiteMaker, shape: str) -> None:
    lb, options = dead_blue(site, shape)
    said = refused(NotReadyError, lambda: move(lb.router(**options), BLUE, all_or_nothing=False))
    assert "route lb1: no server of blue is up" in said
    assert lb.colours() == {"green": 40}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_watchdog_goes_on_trying_and_goes_home_once_somebody_is_there(site: SiteMaker, shape: str) -> None:
    lb, options = dead_blue(site, shape)
    router = lb.router(**options)
    for _attempt in range(3):
        refused(NotReadyError, lambda: go_back(router, BLUE, [GREEN], since=0.0))
        assert lb.colours() == {"green": 40}
    lb.apps["blue1"].start()
    assert went_home(router)
    assert lb.colours() == {"blue": 40}


def went_home(router: HAProxyServers) -> bool:
    for _attempt in range(600):
        try:
            return go_back(router, BLUE, [GREEN], since=0.0)
        except NotReadyError:  # its check has not told yet
            continue
    return False


def test_where_the_other_colour_is_dead_as_well_nothing_keeps_it_from_going_home(site: SiteMaker) -> None:
    lb, options = dead_blue(site, "one backend")
    lb.apps["green1"].stop()
    lb.wait_for(green1=False)
    assert move(lb.router(**options), BLUE, all_or_nothing=False).verified is None
    assert lb.router(**options).read() == BLUE
    lb.apps["blue1"].start()
    lb.wait_for(blue1=True)
    assert lb.colours() == {"blue": 40}


def test_two_backends_are_not_moved_to_a_dead_colour(site: SiteMaker) -> None:
    lb, options = dead_blue(site, "two backends")
    refused(NotReadyError, lambda: move(lb.router(**{**options, "timeout": 4.0}), BLUE))
    assert lb.colours() == {"green": 40}
