# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switches under the demo's live load, in each way: nobody notices."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from demo import measure
from demo.rig import wait_until
from plugins.module_utils._traffic.split import Split
from tests.integration.balancer import BLUE, GREEN, Balancer, Load, green

CANARY = [green(10), green(50), GREEN, green(50), BLUE]


@pytest.mark.parametrize(
    ("way", "splits"), [("map", CANARY * 2), ("one", CANARY * 2), ("two", [GREEN, BLUE] * 5)], ids=["map", "one", "two"]
)
def test_switches_under_live_load_fail_nothing(
    balancer: Balancer, way: str, splits: list[Split], tmp_path: Path
) -> None:
    with Load(balancer.fronts[way], tmp_path / "load.jsonl") as load:
        wait_until(lambda: load.last.get("websockets", {}).get("open") == 20, 20, "all WebSockets are open")
        for split in splits:
            balancer.move(split, way)
            load.wait_for(200)
    assert load.losses == []
    assert load.head["requests"] > 2000
    assert (load.head["websockets"]["lost"], load.head["websockets"]["opened"]) == (0, 20)
    assert load.head["release_errors"] == 0
    assert {record.colour for record in load.records} == {"blue", "green"}


@pytest.mark.parametrize("way", ["map", "one", "two"])
def test_after_a_switch_no_new_request_reaches_the_old_colour(balancer: Balancer, way: str, tmp_path: Path) -> None:
    """By the stamps of the load: what began after the switch was acknowledged."""
    with Load(balancer.fronts[way], tmp_path / "load.jsonl", ("--websockets", "0")) as load:
        load.wait_for(200)
        done = balancer.module("traffic", way, to="green")
        load.wait_for(500)
    confirmed = datetime.fromisoformat(done["routes"][0]["committed_at"]).timestamp()
    assert measure.stale(load.records, "blue", confirmed, float("inf")) == []
    assert sum(record.colour == "green" for record in load.records) >= 400
    assert load.losses == []
