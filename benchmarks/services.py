# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from demo.rig import COLOURS, wait_until
from tests.cluster.cluster import Cluster
from tests.cluster.manifests import deployment, service

from .bench import Bench, Ratio, Samples
from .play import Task, play

MANY = 50
TURNS = 4
PEER = "kubernetes.core.k8s"
KUBECTL = shutil.which("kubectl")


class Services(Bench):
    """A whole `traffic` task that patches Services, beside `ansible.builtin.ping` and two others' patch of one.

    The others change the selector, and look at nothing before or after it: a module, and the guide's kubectl command
    in an `ansible.builtin.command`. All on a real API server on loopback.
    """

    one, many, ping = "traffic, 1 Service", f"traffic, {MANY} Services", "ping"
    peer, kubectl = f"{PEER}, 1 Service", "kubectl patch, 1 Service"
    ratios = (
        Ratio("services_1_vs_ping", one, ping),
        Ratio("services_50_vs_1", many, one, promised=3.0),
        Ratio("services_peer_vs_traffic", peer, one),
        Ratio("services_kubectl_vs_traffic", kubectl, one),
    )

    def __init__(self, directory: Path, processes: ExitStack, absent: str | None) -> None:
        self._directory, self.absent = directory, absent
        self._cluster = processes.enter_context(Cluster(directory / "cluster"))
        self._namespace = processes.enter_context(self._cluster.namespace())
        self._names = [f"shop-{number}" for number in range(MANY)]
        self._live = dict.fromkeys(("one", "many", "peer", "kubectl"), "blue")
        made = [deployment(self._namespace, colour) for colour in COLOURS]
        names = ("one", "peer", "kubectl", *self._names)
        self._cluster.apply(*made, *(service(self._namespace, "blue", name) for name in names))
        ready = (lambda one=one: self._cluster.get(one)["status"].get("readyReplicas") == 1 for one in made)
        for is_ready in ready:
            wait_until(is_ready, 60, "the pods are ready")

    def measure(self) -> Samples:
        tasks = [_ping("the first ping of a run"), self._move("the first traffic of a run", "one", ["one"])]
        for turn in range(TURNS):
            contestants = [
                _ping(self.ping),
                self._move(self.one, "one", ["one"]),
                self._move(self.many, "many", self._names),
                *([] if self.absent else [self._by_peer(), self._by_kubectl()]),
            ]
            tasks += [contestants[(turn + place) % len(contestants)] for place in range(len(contestants))]
        return play(self._directory, tasks, seconds=300)

    def more(self, samples: Samples) -> Mapping[str, str]:
        """CPU seconds of a task above those of a ping; at most 1.3 are promised."""
        medians = {name: statistics.median(cost.cpu for cost in samples[name]) for name in (self.one, self.ping)}
        return {"services_cpu_above_ping_s": f"{medians[self.one] - medians[self.ping]:.2f}"}

    def _turned(self, who: str) -> str:
        self._live[who] = "green" if self._live[who] == "blue" else "blue"
        return self._live[who]

    def _move(self, name: str, who: str, services: list[str]) -> Task:
        routes = [{"name": one, "provider": "kubernetes", "kubernetes": self._options(service=one)} for one in services]
        return {"name": name, "bluegreen.deploy.traffic": {"routes": routes, "to": self._turned(who)}}

    def _by_peer(self) -> Task:
        patch = {"spec": {"selector": {"version": self._turned("peer")}}}
        wanted = {"api_version": "v1", "kind": "Service", "name": "peer", "definition": patch, "state": "patched"}
        return {"name": self.peer, PEER: self._options(**wanted)}

    def _by_kubectl(self) -> Task:
        patch = json.dumps({"spec": {"selector": {"version": self._turned("kubectl")}}})
        where = ["--kubeconfig", str(self._cluster.kubeconfig), "-n", self._namespace]
        return {
            "name": self.kubectl,
            "ansible.builtin.command": {"argv": [KUBECTL, *where, "patch", "service", "kubectl", "-p", patch]},
        }

    def _options(self, **more: Any) -> dict[str, Any]:
        return {"namespace": self._namespace, "kubeconfig": str(self._cluster.kubeconfig), **more}


def _ping(name: str) -> Task:
    return {"name": name, "ansible.builtin.ping": {}}
