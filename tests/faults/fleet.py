# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that is released to again and again, whatever happened to it before."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demo import measure
from demo.rig import COLOURS, ROOT, Rig, load_command, wait_until
from plugins.module_utils._release.registry import build_store
from plugins.module_utils._traffic.haproxy import PROVIDER
from plugins.module_utils._traffic.router import Router

FORM = os.environ.get("BLUEGREEN_FAULTS", "short")
FULL = FORM in {"full", "most"}
VERSIONS = {"blue": "1.0", "green": "1.1"}
LOAD_BALANCERS = 4 if FULL else 2
DEFAULTS = {name: option.get("default") for name, option in PROVIDER.spec["options"].items()}
Environment = dict[str, str] | None
QUICK = {
    "bluegreen_canary_steps": [50],
    "bluegreen_hold": 0.5,
    "bluegreen_watch": 0.5,
    "bluegreen_watch_interval": 0.1,
    "bluegreen_lead": 1,
    "bluegreen_min_requests": 1,
    "bluegreen_health_answers": 1,
    "bluegreen_health_timeout": 10,
    "bluegreen_front_answers": 5,
    "bluegreen_drain_timeout": 20,
    "bluegreen_long_lived": "leave",
    "bluegreen_confirmation_period": 0,
}
AMPLE = {"bluegreen_lead": 2}
"""For a release that must not fail because the machine has much else to do."""


class Fleet(Rig):
    """Both colours run a version of their own, so that a release is a switch to the colour that is not live."""

    def __init__(self, directory: Path, load_balancers: int, **variables: Any) -> None:
        super().__init__(directory, load_balancers=load_balancers)
        for colour in COLOURS:
            self.deploy(colour, VERSIONS[colour])
        self.write_inventory(**QUICK, **variables)
        self.set_up_load_balancers()

    def stop(self) -> None:
        """Ends too what a job that was killed has left behind: a worker of Ansible is in a session of its own, and
        waits for ever for somebody to take a result that is longer than a pipe holds."""
        super().stop()
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if f"{self.directory}/".encode() in command.read_bytes():
                    os.kill(int(command.parent.name), signal.SIGKILL)

    @contextlib.contextmanager
    def load(self) -> Iterator[list[Any]]:
        """A light load on each front while the block runs; afterwards the list holds each one's summary."""
        seen: list[Any] = []
        outs = {name: self.directory / f"{name}.jsonl" for name in self.names}
        light = ("--rate", "20", "--slow", "1", "--streams", "1", "--websockets", "2")
        processes = [
            subprocess.Popen(load_command(self.fronts[name], out, *light), cwd=ROOT, stdout=subprocess.DEVNULL)
            for name, out in outs.items()
        ]
        try:
            yield seen
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(30)
        for out in outs.values():
            with out.open() as file:
                seen.append(measure.parse(file)[0])

    def router(self, name: str) -> Router:
        return PROVIDER.build(COLOURS, {**DEFAULTS, **self.route(name)["haproxy"]})

    def splits(self) -> dict[str, Any]:
        return {name: self.router(name).read().percents() for name in self.names}

    def live(self) -> str:
        """The colour that has everything, on every load balancer; the map files must agree."""
        assert {name: self.router(name).drift() for name in self.names} == dict.fromkeys(self.names, ())
        routed = {json.dumps(split) for split in self.splits().values()}
        assert len(routed) == 1, self.splits()
        (whole,) = [colour for colour, share in json.loads(routed.pop()).items() if share == 100]
        return str(whole)

    def idle(self) -> str:
        """The colour that has nothing."""
        (idle,) = {*COLOURS} - {self.live()}
        return idle

    def record(self) -> dict[str, Any]:
        """What the store holds of the app's releases."""
        stored = build_store(
            {"store": {"type": "file", "path": str(self.directory / "record"), "timeout": 10.0}}, "shop"
        ).read()
        return dict(stored.content) if stored else {}

    def start_release(
        self, *more: str, environment: dict[str, str] | None = None, **variables: Any
    ) -> subprocess.Popen[str]:
        """A release to the colour that is not live, in a process group of its own."""
        version = VERSIONS[self.idle()]
        return self.start("release", *more, environment=environment, bluegreen_version=version, **variables)

    def start(
        self, playbook: str, *more: str, environment: dict[str, str] | None = None, **variables: Any
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(playbook, *more, **variables),
            env=self.environment(**(environment or {})),
            stdout=(self.directory / "release.log").open("w"),
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def at(self, task: str, do: str = "true", **wish: Any) -> dict[str, str]:
        """The environment in which a command is run at an event of a task; see callbacks/at_task.py."""
        log = self.directory / "events.log"
        log.unlink(missing_ok=True)
        return {
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "at_task",
            "BLUEGREEN_AT": json.dumps({"task": task, "do": do, "log": str(log), **wish}),
        }

    def events(self) -> list[str]:
        return (self.directory / "events.log").read_text().splitlines()

    def said(self) -> str:
        return (self.directory / "release.log").read_text()

    def modules(self) -> list[int]:
        """The processes of modules at work on this machine, also those whose playbook is no more."""
        mark, found = str(self.directory / "tmp").encode(), []
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if mark in each.read_bytes():
                    found.append(int(each.parent.name))
        return found

    def recover(self, **variables: Any) -> subprocess.CompletedProcess[str]:
        return self.play("recover", **{"bluegreen_take_over": "its job was killed", **variables})

    def assert_whole(self) -> str:
        """One colour everywhere, the record agrees with it, and the next release may begin; returns the colour."""
        live = self.live()
        record = self.record()
        if record.get("release"):
            release = record["release"]
            assert record["lock"] is None, record["lock"]
            assert release["state"] in {"released", "rolled_back", "refused"}, release["state"]
            ended_on = release["to" if release["state"] == "released" else "from"]["colour"]
            assert live == ended_on, (live, release["state"])
        return live


class OneHost(Fleet):
    """The same load balancers, all of them reached from one host of the inventory, in one call behind one barrier."""

    def __init__(self, directory: Path, load_balancers: int, **variables: Any) -> None:
        super().__init__(directory, load_balancers, **variables)
        inventory = json.loads(self.inventory.read_text())
        hosts = inventory["all"]["children"]["load_balancers"]["hosts"]
        one = {**hosts[self.names[0]], "bluegreen_routes": [self.route(name) for name in self.names]}
        inventory["all"]["children"]["load_balancers"]["hosts"] = {"controller": one}
        self.inventory = directory / "one_host.json"
        self.inventory.write_text(json.dumps(inventory))


def end_group(process: subprocess.Popen[str], what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, what)
    process.wait(60)


def wait_seconds(process: subprocess.Popen[str], seconds: float) -> None:
    """Until that much of its time is over, or it has ended."""
    begun = time.monotonic()
    wait_until(lambda: process.poll() is not None or time.monotonic() - begun >= seconds, seconds + 1, "the instant")
