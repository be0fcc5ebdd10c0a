# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release that goes silent: each load balancer goes home by itself. One that is confirmed stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from demo.rig import COLOURS, wait_until
from plugins.module_utils._traffic import revert
from plugins.module_utils._traffic.split import Split

from .fleet import AMPLE, FULL, Fleet

SILENCE = 4
PATIENCE = 20
"""More than a release needs from its last step to its confirmation, on a slow machine."""


def watchdogs(fleet: Fleet) -> dict[str, dict[str, Any]]:
    """What is known of the watchdog on each load balancer's host, by a load balancer of that host."""
    found = {name: revert.status(str(fleet.home(name) / "state"), "shop") for name in fleet.names}
    return {name: status for name, status in found.items() if status}


def deadlines(fleet: Fleet) -> dict[str, float]:
    """Of each load balancer, seconds since the epoch."""
    known = {name: datetime.fromisoformat(one["fires_at"]).timestamp() for name, one in watchdogs(fleet).items()}
    return {name: known.get(name, known[fleet.names[0]]) for name in fleet.names}


def killed_after_the_step(fleet: Fleet) -> str:
    """A release that has half of the traffic, and a controller that is no more; returns the colour it came from."""
    live = fleet.live()
    kill = fleet.at("Send 50 % to", do="kill -KILL -{group}", event="end", nth=0)
    release = fleet.start_release(environment=kill, bluegreen_revert_after=SILENCE, **AMPLE)
    assert release.wait(300) == -9, fleet.said()
    assert {one["state"] for one in watchdogs(fleet).values()} <= {"armed", "firing", "fired"}
    return live


def homecomings(fleet: Fleet, home: dict[str, Any], names: list[str]) -> dict[str, float]:
    """When each load balancer was seen at home, in seconds since the epoch."""
    back: dict[str, float] = {}

    def all_home() -> bool:
        for name in names:
            if name not in back and fleet.router(name).read().percents() == home:
                back[name] = time.time()
        return len(back) == len(names)

    wait_until(all_home, SILENCE + 30, "they are at home")
    return back


def states(fleet: Fleet) -> list[str]:
    return sorted(one["state"] for one in watchdogs(fleet).values())


def test_all_go_home_by_themselves_within_a_second(fleet: Fleet, tally: Callable[..., None]) -> None:
    live = killed_after_the_step(fleet)
    whole = Split.only(COLOURS, live).percents()
    due = deadlines(fleet)
    back = homecomings(fleet, whole, fleet.names)
    late = {name: back[name] - due[name] for name in fleet.names}
    assert all(-0.05 < seconds < 1 for seconds in late.values()), late
    wait_until(lambda: set(states(fleet)) == {"fired"}, 20, "each says so")
    assert fleet.live() == live
    recovered = fleet.recover()
    assert recovered.returncode == 2, recovered.stdout
    assert fleet.assert_whole() == live
    tally(reverts=len(late), max_revert_late_ms=round(1000 * max(late.values())))


@pytest.mark.skipif(not FULL, reason="a part of the full form")
def test_what_somebody_else_has_moved_meanwhile_is_left_alone(fleet: Fleet) -> None:
    live = killed_after_the_step(fleet)
    by_hand = Split.parse(COLOURS, {live: 70})
    stranger = fleet.router("lb3")
    stranger.apply(by_hand, stranger.read())
    others = [name for name in fleet.names if name != "lb3"]
    homecomings(fleet, Split.only(COLOURS, live).percents(), others)
    wait_until(lambda: not {"armed", "firing"} & {*states(fleet)}, 20, "none is armed any more")
    assert "refused" in states(fleet)
    assert fleet.router("lb3").read() == by_hand
    assert fleet.recover().returncode == 2
    assert fleet.assert_whole() == live


def test_what_is_confirmed_stays(fleet: Fleet) -> None:
    to = fleet.idle()
    release = fleet.start_release(bluegreen_revert_after=PATIENCE, **AMPLE)
    assert release.wait(300) == 0, fleet.said()
    assert set(states(fleet)) == {"confirmed"}
    overdue = max(deadlines(fleet).values()) + 0.5
    wait_until(lambda: time.time() > overdue, PATIENCE + 5, "the deadline is over")
    assert (fleet.assert_whole(), set(states(fleet))) == (to, {"confirmed"})
