# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from demo.rig import ROOT, free_ports

from .bench import Bench, BrokenError, Cost, Ratio, Samples, process
from .play import play


class Probe(Bench):
    """One `health_check` over 1,000 endpoints beside one over 10, all of them on one server on loopback.

    As a task in an ansible-playbook run, and the module alone as a process. Every answer is a health document
    with required checks, and every endpoint must be healthy.
    """

    ratios = (
        Ratio("probe_1000_vs_10", "health_check, 1,000 endpoints", "health_check, 10 endpoints", promised=5),
        Ratio("probe_process_1000_vs_10", "module alone, 1,000 endpoints", "module alone, 10 endpoints"),
    )

    def __init__(self, directory: Path, processes: ExitStack) -> None:
        self._directory = directory
        (self._port,) = free_ports(1)
        app = [sys.executable, "-m", "demo.app", "--port", str(self._port), "--colour", "blue", "--version", "1.0"]
        processes.enter_context(process([*app, "--instance", "blue1"], self._port, directory / "app.log"))

    def measure(self) -> Samples:
        few, many = self._options(10), self._options(1000)
        names = ["the first health_check of a run"]
        names += ["health_check, 10 endpoints", "health_check, 1,000 endpoints"] * 2
        tasks = [{"name": name, "bluegreen.deploy.health_check": many if "1,000" in name else few} for name in names]
        alone = {
            "module alone, 10 endpoints": [_alone(few)],
            "module alone, 1,000 endpoints": [_alone(many)],
        }
        return {**play(self._directory, tasks, seconds=240), **alone}

    def _options(self, count: int) -> dict[str, Any]:
        endpoints = [f"http://127.0.0.1:{self._port}/health?endpoint={number}" for number in range(count)]
        return {"endpoints": endpoints, "required_checks": ["database", "cache"]}


def _alone(options: dict[str, Any]) -> Cost:
    """The module's process, without Ansible's own part of the task."""
    wall, cpu = time.monotonic(), _cpu()
    done = subprocess.run(
        [sys.executable, "-m", "plugins.modules.health_check"],
        cwd=ROOT,
        input=json.dumps({"ANSIBLE_MODULE_ARGS": options}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    cost = Cost(time.monotonic() - wall, _cpu() - cpu)
    if done.returncode:
        raise BrokenError(f"health_check alone: {done.stdout}{done.stderr}")
    return cost


def _cpu() -> float:
    times = os.times()
    return times.children_user + times.children_system
