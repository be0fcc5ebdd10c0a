# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rigs on which whole releases run."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo import measure
from demo.rig import ROOT, Rig, load_command, wait_until

QUICK = {
    "bluegreen_canary_steps": [50],
    "bluegreen_hold": 1,
    "bluegreen_watch": 1,
    "bluegreen_watch_interval": 0.2,
    "bluegreen_min_requests": 5,
    "bluegreen_health_answers": 2,
    "bluegreen_health_timeout": 10,
    "bluegreen_drain_timeout": 20,
    "bluegreen_report_name": "report",
    "bluegreen_deploy": [str(ROOT / "demo" / "deploy.yml")],
}


class Stage:
    """A rig with 1.0 live on blue everywhere, and what the tests ask of it."""

    def __init__(self, rig: Rig, **variables: Any) -> None:
        self.rig = rig
        rig.deploy("blue", "1.0")
        rig.deploy("green", "1.0")
        rig.write_inventory(**QUICK, **variables)
        rig.set_up_load_balancers()

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.rig.directory / "reports" / "report.json").read_text())
        return found

    def map_entry(self, name: str = "lb1") -> str:
        lines = (self.rig.home(name) / "bluegreen.map").read_text().splitlines()
        return next(line for line in lines if line.startswith("shop "))

    def passed(self, name: str = "lb1") -> dict[str, bool | None]:
        return {item["check"]: item["passed"] for item in self.report()["load_balancers"][name]["checklist"]}

    @contextlib.contextmanager
    def load(self, name: str = "lb1") -> Iterator[list[Any]]:
        """A live load while the block runs; afterwards the list holds its summary and its records."""
        out = self.rig.directory / "load.jsonl"
        seen: list[Any] = []
        with (self.rig.directory / "load.log").open("w+") as log:
            process = subprocess.Popen(load_command(self.rig.fronts[name], out), cwd=ROOT, stdout=log)
            try:
                wait_until(lambda: log.name and Path(log.name).stat().st_size > 0, 20, "the load runs")
                yield seen
            finally:
                process.terminate()
                process.wait(30)
        with out.open() as file:
            seen.extend(measure.parse(file))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Rig(tmp_path) as rig:
        yield Stage(rig)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Stage]:
    with Rig(tmp_path, load_balancers=3) as rig:
        yield Stage(rig)
