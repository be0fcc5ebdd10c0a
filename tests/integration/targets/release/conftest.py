# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rigs on which whole releases run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.rig import COLOURS, ROOT, Rig, end, wait_until
from plugins.module_utils._release import ledger
from plugins.module_utils._release.file import FileStore
from plugins.module_utils._release.record import Record
from plugins.module_utils._release.store import update
from plugins.module_utils._traffic.haproxy import PROVIDER
from plugins.module_utils._traffic.router import Router
from plugins.module_utils._traffic.split import Split
from tests.integration.live_load import live_load

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

    def reset(self) -> None:
        """As a new one: 1.0 on both colours, all traffic on blue, no record and no report."""
        for colour in COLOURS:
            self.rig.deploy(colour, "1.0")
        if not all(runs(self.rig.home(name) / "haproxy.pid") for name in self.rig.names):
            self.rig.set_up_load_balancers()
        self.forget()

    def forget(self) -> None:
        """All traffic on blue, no record and no report."""
        self.move(**dict.fromkeys(self.rig.names, 0))
        states = [self.rig.home(name) / "state" for name in self.rig.names]
        for directory in (self.rig.directory / "record", self.rig.directory / "reports", *states):
            shutil.rmtree(directory, ignore_errors=True)

    def router(self, name: str) -> Router:
        defaults = {option: spec.get("default") for option, spec in PROVIDER.spec["options"].items()}
        return PROVIDER.build(COLOURS, {**defaults, **self.rig.route(name)["haproxy"]})

    def move(self, **green: float) -> None:
        """Percent on green, by load balancer."""
        for name, share in green.items():
            router = self.router(name)
            router.apply(Split.parse(COLOURS, {"green": share, "blue": 100 - share}), router.read())

    def green(self) -> dict[str, float]:
        """Percent on green, by load balancer."""
        return {name: self.router(name).read().percents()["green"] for name in self.rig.names}

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.rig.directory / "reports" / "report.json").read_text())
        return found

    def map_entry(self, name: str = "lb1") -> str:
        lines = (self.rig.home(name) / "bluegreen.map").read_text().splitlines()
        return next(line for line in lines if line.startswith("shop "))

    def passed(self, name: str = "lb1") -> dict[str, bool | None]:
        return {item["check"]: item["passed"] for item in self.report()["load_balancers"][name]["checklist"]}

    def load(self, name: str = "lb1") -> contextlib.AbstractContextManager[list[Any]]:
        """A third of the demo's, which would take the machine from what is tested."""
        return live_load(self.rig.fronts[name], self.rig.directory, "--rate", "200")


class Books(Stage):
    """A rig whose routes and record a test puts as it wants to find them."""

    @property
    def record_file(self) -> Path:
        return self.rig.directory / "record" / "shop.json"

    def record(self) -> Any:
        return json.loads(self.record_file.read_text())

    def write(self, change: Callable[[Record], Record]) -> Record:
        return update(FileStore("shop", str(self.record_file.parent), 5.0), change)[1]

    def begin(self, ttl: float = 900.0, **more: Any) -> int:
        """A release of alice, 1.0 on blue to 1.1 on green; returns its token."""
        request = ledger.Request(
            **{
                "id": "shop-1.1",
                "owner": "alice",
                "version": "1.1",
                "stage": "pre_deploy",
                "from_": {"colour": "blue", "version": "1.0"},
                "to_": {"colour": "green", "version": "1.1"},
                "ttl": ttl,
                **more,
            }
        )
        return self.write(lambda record: ledger.begin(record, request, time.time())).token

    def step(self, token: int, **entry: Any) -> None:
        self.write(lambda record: ledger.step(record, token, ledger.Entry(**entry), time.time()))

    def finish(self, token: int, state: str, confirmation_period: float = 0.0) -> None:
        ending = ledger.Ending(state, confirmation_period=confirmation_period)
        self.write(lambda record: ledger.finish(record, token, ledger.Entry(), ending, time.time()))

    def build_anew(self, name: str) -> None:
        """A load balancer on which HAProxy has never been."""
        home = self.rig.home(name)
        end(home / "haproxy.pid", 10)
        for file in ("haproxy.cfg", "bluegreen.map", "server.state"):
            (home / file).unlink(missing_ok=True)
        shutil.rmtree(home / "state", ignore_errors=True)

    def kill_at(self, seen: Path, playbook: str, **variables: Any) -> None:
        """A job that is killed, as a cancelled one is in the end, as soon as the file is there."""
        with (self.rig.directory / "killed.log").open("w") as log:
            job = subprocess.Popen(
                self.rig.command(playbook, **variables),
                env=self.rig.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                wait_until(lambda: seen.exists() or job.poll() is not None, 400, "the job gets there")
                assert job.poll() is None, Path(log.name).read_text()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(job.pid, signal.SIGKILL)
                job.wait(60)


def runs(pid_file: Path) -> bool:
    return Path("/proc", pid_file.read_text().split()[0]).exists()


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Rig(tmp_path_factory.mktemp("one")) as rig:
        yield Stage(rig)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Rig(tmp_path_factory.mktemp("three"), load_balancers=3) as rig:
        yield Stage(rig)


@pytest.fixture
def stage(one: Stage) -> Stage:
    one.reset()
    return one


@pytest.fixture
def fleet(three: Stage) -> Stage:
    three.reset()
    return three


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    with Rig(tmp_path_factory.mktemp("books"), load_balancers=2) as rig:
        yield Books(rig)
