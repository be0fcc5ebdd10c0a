# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`examples/onprem` on real hosts, with a third load balancer, and a controller that is an ordinary user."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import yaml

from demo import measure
from demo.rig import ROOT, environment, load_command, wait_until
from tests.cluster.process import start, with_parent

from .image import PASSWORD, USER, find_or_make
from .machine import LONGEST, Machine, Wire, switch_on

EXAMPLE = ROOT / "examples/onprem"
HERE = Path(__file__).parent
CONTROLLER, CONTROLLER_ID = "controller", 64000
"""An ordinary user, whom only those at the wire know."""
MORE_LOAD_BALANCERS = {"lb3": "192.0.2.13"}
NOISY = "lb2"
"""Its sudo cannot resolve the host's own name, says so each time, and works."""
WITH_PASSWORD = ("lb3", "green2")
"""Their sudo wants a password."""
LIGHT = ("--rate", "20", "--slow", "1", "--streams", "1", "--websockets", "1")
QUICK = {
    "bluegreen_canary_steps": [50],
    "bluegreen_hold": 1,
    "bluegreen_watch": 1,
    "bluegreen_watch_interval": 0.2,
    "bluegreen_min_requests": 5,
    "bluegreen_lead": 2,
    "bluegreen_health_answers": 2,
    "bluegreen_drain_timeout": 30,
    "bluegreen_long_lived": "leave",
    "bluegreen_retire_quiet": 2,
    "bluegreen_confirmation_period": 0,
}
"""The example's waits are for people."""


class Site:
    """Three load balancers, two members of each colour. A context manager: it stops and removes all it made."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "controller"
        self.addresses = _addresses() | MORE_LOAD_BALANCERS
        self.load_balancers = sorted(name for name in self.addresses if name.startswith("lb"))
        self.machines: dict[str, Machine] = {}
        self.log = directory / "job.log"

    def __enter__(self) -> Self:
        """The hosts run; no role has been there yet."""
        try:
            image = find_or_make()
            self.wire = Wire(self.directory)
            self._make_controller(image)
            for name, address in self.addresses.items():
                self.machines[name] = switch_on(name, address, image, self.directory / name, self._files(name))
                self.wire.connect(self.machines[name])
            for machine in self.machines.values():
                machine.wait_for_boot()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        with contextlib.ExitStack() as stack:
            if hasattr(self, "wire"):
                stack.callback(self.wire.cut)
            for machine in self.machines.values():
                stack.callback(machine.switch_off)

    # --- What it is made of -------------------------------------------------------------------------------

    def _make_controller(self, image: Path) -> None:
        """Its home, its key, the hosts it knows, and what the inventory of the example lacks."""
        keys = self.home / ".ssh"
        keys.mkdir(parents=True)
        _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", CONTROLLER, "-f", str(keys / "id_ed25519"))
        host_key = (image / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
        (keys / "known_hosts").write_text(f"192.0.2.* {host_key}")
        self.inventory = self.home / "inventory/hosts.json"
        self.inventory.parent.mkdir()
        self.inventory.write_text(json.dumps(self._inventory(), indent=2))
        for path in (self.home, *self.home.rglob("*")):
            os.chown(path, CONTROLLER_ID, CONTROLLER_ID)
        passwd = self.directory / "passwd"
        account = f"{CONTROLLER}:x:{CONTROLLER_ID}:{CONTROLLER_ID}::{self.home}:/bin/sh\n"
        passwd.write_text(Path("/etc/passwd").read_text() + account)
        self.wire.replace_file("/etc/passwd", passwd)
        self.wire.let_read(ROOT, Path(sys.base_prefix).resolve())

    def _inventory(self) -> dict[str, Any]:
        every = {
            **QUICK,
            "ansible_user": USER,
            "ansible_become": True,
            "ansible_python_interpreter": "/usr/bin/python3",
            "bluegreen_deploy": [str(HERE / "deploy.yml")],
            "bluegreen_retire": [str(EXAMPLE / "retire.yml")],
            "bluegreen_report_dir": str(self.home / "reports"),
        }
        hosts: dict[str, dict[str, Any]] = {name: dict(every) for name in self.addresses}
        more: dict[str, dict[str, Any]] = {name: {} for name in MORE_LOAD_BALANCERS}
        for name in more:
            hosts[name]["ansible_host"] = self.addresses[name]
        for name in WITH_PASSWORD:
            hosts[name]["ansible_become_password"] = PASSWORD
        return {"all": {"hosts": hosts, "children": {"load_balancers": {"hosts": more}}}}

    def _files(self, name: str) -> dict[str, str]:
        """What a host has that its sisters have not."""
        known = "" if name == NOISY else f"127.0.1.1 {name}\n"
        password = "" if name in WITH_PASSWORD else "NOPASSWD: "
        files = {
            "etc/hostname": f"{name}\n",
            "etc/hosts": f"127.0.0.1 localhost\n{known}",
            f"etc/ssh/keys/{USER}": (self.home / ".ssh/id_ed25519.pub").read_text(),
            f"etc/sudoers.d/{USER}": f"{USER} ALL=(ALL:ALL) {password}ALL\n",
        }
        if colour := self.colour_of(name):
            files["opt/shop/app.py"] = (ROOT / "demo/app.py").read_text()
            files["etc/shop.env"] = f"COLOUR={colour}\nVERSION=1.0\n"
        return files

    @staticmethod
    def colour_of(name: str) -> str:
        """Nothing for a load balancer."""
        return "" if name.startswith("lb") else name.rstrip("0123456789")

    def of(self, colour: str) -> list[Machine]:
        return [machine for name, machine in self.machines.items() if self.colour_of(name) == colour]

    # --- The controller -----------------------------------------------------------------------------------

    def command(self, playbook: str, *more: str, **variables: Any) -> list[str]:
        inventories = ["-i", str(EXAMPLE / "inventory.yml"), "-i", str(self.inventory)]
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        words = [program, *inventories, f"bluegreen.deploy.{playbook}", "-e", json.dumps(variables), *more]
        return self.wire.inside(*self._as_controller(*words), cwd=self.home)

    @staticmethod
    def _as_controller(*words: str) -> list[str]:
        who = [f"--reuid={CONTROLLER_ID}", f"--regid={CONTROLLER_ID}", "--clear-groups", "--pdeathsig=KILL"]
        return ["setpriv", *who, "--", *words]

    def _environment(self, *, pipelining: bool = True) -> dict[str, str]:
        settings = {"ANSIBLE_PIPELINING": str(pipelining), "ANSIBLE_TIMEOUT": "60"}
        return environment(HOME=str(self.home), BLUEGREEN_TEST_TOKEN="only-on-these-hosts", **settings)

    def play(
        self, playbook: str, *more: str, pipelining: bool = True, **variables: Any
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(playbook, *more, **variables),
            env=self._environment(pipelining=pipelining),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    @contextlib.contextmanager
    def job(self, playbook: str, **variables: Any) -> Iterator[subprocess.Popen[str]]:
        """A playbook at work, which has ended afterwards in every outcome; see `said`."""
        with self.log.open("w") as log:
            process = subprocess.Popen(
                self.command(playbook, **variables),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def said(self) -> str:
        return self.log.read_text()

    # --- The clients --------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def load(self, *names: str) -> Iterator[dict[str, Any]]:
        """Users at some front doors while the block runs; afterwards, for each, the summary and the records."""
        seen: dict[str, Any] = {}
        outs = {name: self.directory / f"{name}.jsonl" for name in names or self.load_balancers}
        running = []
        try:
            for name, out in outs.items():
                out.unlink(missing_ok=True)
                words = load_command(f"http://{self.addresses[name]}", out, *LIGHT)
                running.append(start(self.wire.inside(*words, cwd=ROOT), self.directory / f"{name}.load.log"))
            yield seen
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(60)
        for name, out in outs.items():
            with out.open() as file:
                seen[name] = measure.parse(file)

    def answers(self, name: str) -> set[tuple[str, str]]:
        """Colour and version of some new requests at a front door; an answer of HAProxy's own has neither."""
        words = [sys.executable, str(HERE / "ask.py"), f"http://{self.addresses[name]}/", "20"]
        done = subprocess.run(
            with_parent(self.wire.inside(*words)), capture_output=True, text=True, check=True, timeout=LONGEST
        )
        return {tuple(pair) for pair in json.loads(done.stdout)}

    # --- The load balancers, without us -------------------------------------------------------------------

    def entry(self, name: str) -> str:
        """What stands in the map."""
        lines = self.machines[name].run("cat", "/etc/haproxy/bluegreen.map").stdout.splitlines()
        return next(line.split()[1] for line in lines if line.startswith("shop "))

    def timers(self, name: str) -> list[str]:
        """The units of watchdogs that wait or run."""
        listed = self.machines[name].run("systemctl", "list-units", "--plain", "--no-legend", "--all", "bluegreen*")
        return [line.split()[0] for line in listed.stdout.splitlines()]

    def watchdog(self, name: str) -> str:
        """What has become of it, and who starts it."""
        found = self.machines[name].run("cat", "/var/lib/bluegreen/shop.revert.json", check=False).stdout
        return "{state} by {by}".format(**json.loads(found)) if found else "none"

    def reset(self) -> None:
        """1.0 on both colours, all traffic on blue, no record, no watchdog, sshd everywhere."""
        for name in self.load_balancers:
            machine = self.machines[name]
            machine.run("systemctl", "start", "ssh")
            for unit in self.timers(name):
                machine.run("systemctl", "stop", unit, check=False)
            machine.run("rm", "-rf", "/var/lib/bluegreen")
            machine.run("sed", "-i", "s/^shop .*/shop blue:green:0/", "/etc/haproxy/bluegreen.map")
            machine.run("systemctl", "restart", "haproxy")
        for colour in ("blue", "green"):
            for machine in self.of(colour):
                machine.run("sed", "-i", "s/^VERSION=.*/VERSION=1.0/", "/etc/shop.env")
                machine.run("systemctl", "restart", "shop")
        for name in self.load_balancers:
            wait_until(lambda name=name: self.answers(name) == {("blue", "1.0")}, LONGEST, f"{name} serves blue")


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """In a directory that the controller can reach, which pytest's are not."""
    directory = Path(tempfile.mkdtemp(prefix="bluegreen-hosts-"))
    directory.chmod(0o755)
    try:
        with Site(directory) as made:
            yield made
    finally:
        shutil.rmtree(directory)


def _addresses() -> dict[str, str]:
    """Of all hosts in the example."""
    found: dict[str, str] = {}
    groups = [yaml.safe_load((EXAMPLE / "inventory.yml").read_text())["all"]]
    while groups:
        group = groups.pop()
        groups += group.get("children", {}).values()
        found |= {name: options["ansible_host"] for name, options in group.get("hosts", {}).items()}
    return found


def _call(*words: str) -> None:
    subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
