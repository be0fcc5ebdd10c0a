# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from demo.rig import environment

from .balancer import Balancer
from .bench import Bench, BrokenError, Cost, Ratio, Samples
from .play import Task

MANY = 20
DEFAULT_FORKS = 5
LEAD = 1.0
"""Seconds, as of the role switch."""
SET_MAP = (
    "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
    "s.sendall((sys.argv[2]+chr(10)).encode()); s.makefile().read()"
)


class Fleet:
    """Many HAProxies, each with a map file and a socket of its own, that can all be sent to the other colour."""

    def __init__(self, directory: Path, processes: ExitStack, many: int = MANY) -> None:
        self._directory = directory
        self._balancers = {
            f"lb{number}": processes.enter_context(Balancer.running(directory / f"lb{number}", "map", 2))
            for number in range(1, many + 1)
        }
        self._forks = many

    @property
    def _entry(self) -> str:
        one = next(iter(self._balancers.values()))
        return f"{one.live}:{one.idle}:0"

    def by_barrier(self) -> float:
        """One task with a route for each; the milliseconds from the first change to the last."""
        routes = [_route(name, balancer) for name, balancer in self._balancers.items()]
        return self._moved("localhost", DEFAULT_FORKS, [_traffic(routes, "move"), _told("{{ move.skew_ms }}")])

    def at_an_instant(self) -> float:
        """A play host for each, as the role switch does it: all look, agree on an instant, and move by the clock."""
        elapsed = "(now().timestamp() - asked_at | float)"
        tasks = [
            _fact("asked_at", "{{ now().timestamp() }}"),
            {**_traffic("{{ [route] }}", "look"), "check_mode": True},
            _fact("instant", f"{{{{ now().timestamp() + {LEAD} + 2 * {elapsed} }}}}"),
            _traffic("{{ [route] }}", "move", commit_at="{{ instant | float }}"),
            _told("{{ ansible_play_hosts_all | bluegreen.deploy.skew_ms(hostvars, 'move') }}"),
        ]
        return self._moved("balancers", self._forks, tasks)

    def by_plain_ansible(self) -> float:
        """A play host for each, one shell command, Ansible's own forks and strategy."""
        command = (
            "sed -i 's/^shop .*/shop {{ entry }}/' {{ home }}/shop.map && "
            "{{ ansible_python_interpreter }} -c '{{ set_map }}' {{ home }}/admin.sock "
            "'set map {{ home }}/shop.map shop {{ entry }}' && date +%s.%N"
        )
        times = "ansible_play_hosts_all | map('extract', hostvars, ['move', 'stdout']) | map('float')"
        tasks = [
            {"name": "move", "ansible.builtin.shell": command, "register": "move"},
            _told(f"{{{{ 1000 * (({times} | max) - ({times} | min)) }}}}"),
        ]
        return self._moved("balancers", DEFAULT_FORKS, tasks)

    def _moved(self, hosts: str, forks: int, tasks: list[Task]) -> float:
        for balancer in self._balancers.values():
            balancer.live, balancer.idle = balancer.idle, balancer.live
        told, play = self._directory / "told", self._directory / "play.json"
        told.unlink(missing_ok=True)
        play.write_text(json.dumps([{"hosts": hosts, "gather_facts": False, "tasks": tasks}]))
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                *("-i", str(self._inventory(told)), "--forks", str(forks), str(play)),
            ],
            env=environment(ANSIBLE_REMOTE_TMP=str(self._directory / "tmp")),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode:
            raise BrokenError(f"{done.stdout}{done.stderr}")
        for balancer in self._balancers.values():
            balancer.prove()
        return float(told.read_text())

    def _inventory(self, told: Path) -> Path:
        path = self._directory / "inventory.json"
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "entry": self._entry,
            "live": self._entry.split(":", maxsplit=1)[0],
            "set_map": SET_MAP,
            "told": str(told),
        }
        hosts = {n: {"home": str(each.home), "route": _route(n, each)} for n, each in self._balancers.items()}
        children = {"balancers": {"hosts": hosts}}
        path.write_text(json.dumps({"all": {"vars": variables, "hosts": {"localhost": {}}, "children": children}}))
        return path


class Skew(Bench):
    """How far apart 20 HAProxies change: from the first change to the last, in seconds. At most 50 ms are promised.

    In one `traffic` task with 20 routes, by the barrier; on 20 hosts of 20 forks, at one instant by the clock; and
    with a shell command on 20 hosts, as Ansible does it at its 5 forks.
    """

    barrier, instant, plain = "one traffic task", "20 hosts at one instant", "plain Ansible"
    ratios = (
        Ratio("skew_plain_vs_barrier", plain, barrier),
        Ratio("skew_plain_vs_instant", plain, instant),
    )

    def __init__(self, directory: Path, processes: ExitStack) -> None:
        home = directory / "skew"
        home.mkdir()
        self._fleet = Fleet(home, processes)

    def measure(self) -> Samples:
        fleet = self._fleet
        ways = {self.barrier: fleet.by_barrier, self.instant: fleet.at_an_instant, self.plain: fleet.by_plain_ansible}
        return {name: [Cost(wall=move() / 1000, cpu=math.nan)] for name, move in ways.items()}

    def more(self, samples: Samples) -> Mapping[str, str]:
        ways = {"barrier": self.barrier, "instant": self.instant, "plain": self.plain}
        medians = {key: statistics.median(cost.wall for cost in samples[name]) for key, name in ways.items()}
        return {f"skew_{key}_ms": f"{seconds * 1000:.1f}" for key, seconds in medians.items()}


def _route(name: str, balancer: Balancer) -> dict[str, Any]:
    haproxy = {"socket": balancer.socket, "map": f"{balancer.home}/shop.map", "key": "shop"}
    return {"name": name, "provider": "haproxy", "haproxy": haproxy}


def _traffic(routes: Any, register: str, **options: Any) -> Task:
    return {
        "name": register,
        "bluegreen.deploy.traffic": {"routes": routes, "to": "{{ live }}", **options},
        "register": register,
    }


def _fact(name: str, value: str) -> Task:
    return {"name": name, "ansible.builtin.set_fact": {name: value}, "run_once": True}


def _told(what: str) -> Task:
    return {
        "name": "tell",
        "ansible.builtin.copy": {"content": what, "dest": "{{ told }}", "mode": "0600"},
        "run_once": True,
    }
