# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services and their EndpointSlices as a current Kubernetes has them, in memory: for what 1.20 cannot do, and for many
runs. It takes the place of the client.

- a pod that is leaving stays in the slices, with C(ready: false, terminating: true): kubernetes.io/docs/concepts/
  services-networking/endpoint-slices, "Conditions"
- a slice holds 100 endpoints at most: the same page, "Distribution of EndpointSlices"
- slices follow a change of the selector a moment later, or not at all while their controller is away
- a JSON Patch is refused as a whole where one of its tests does not hold: RFC 6902, section 5; managed fields name who
  made each change: kubernetes.io/docs/reference/using-api/server-side-apply, "Field management"
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

from plugins.module_utils._errors import MissingError
from plugins.module_utils._kubernetes.client import MANAGER, LostAnswerError, RefusedContentError

Object = dict[str, Any]
PER_SLICE = 100


class CurrentApi:
    """``meddle`` is called before each question, with its number."""

    namespace = "shop"

    def __init__(self, services: dict[str, Object], pods: list[Object]) -> None:
        self.services, self.pods = services, pods
        self.controller_away = False
        self.lose: str | None = None
        """The next patch is lost: C(before) it is made, or C(after)."""
        self.lost: Object | None = None
        """The selector that one that was lost before it was made has asked for."""
        self.meddle: Callable[[int], None] = lambda _asked: None
        self.asked = 0
        self.written: list[tuple[str, str, Object, Object]] = []
        """Who has changed the selector of which Service, from what, to what."""
        self._slices: list[Object] = []
        self.reconcile()

    # --- What the client asks -----------------------------------------------------------------------------

    def get(self, path: str, **query: str) -> Object:
        self._count()
        kind, _slash, name = path.rpartition("/")
        if kind.endswith("/services"):
            if name not in self.services:
                raise MissingError(f'services "{name}" not found')
            return copy.deepcopy(self.services[name])
        if name == "pods":
            found = [pod for pod in self.pods if _matches(pod["metadata"]["labels"], query["labelSelector"])]
            return {"items": copy.deepcopy(found)}
        assert path.startswith("/apis/discovery.k8s.io/v1/"), path
        return {"items": copy.deepcopy(self._slices), "metadata": {"resourceVersion": str(self.asked)}}

    def patch(self, path: str, operations: list[Object], dry_run: bool = False) -> Object:
        self._count()
        name = path.rpartition("/")[2]
        lost, self.lose = self.lose, None
        selector = copy.deepcopy(self.services[name]["spec"]["selector"])
        for each in operations:
            key = each["path"].removeprefix("/spec/selector").removeprefix("/")
            if each["op"] == "test" and each["value"] != selector and lost != "before":
                raise RefusedContentError("the server rejected our request due to an error in our request")
            if each["op"] == "add":
                selector[key] = each["value"]
            if each["op"] == "remove":
                selector.pop(key, None)
        if lost == "before":
            self.lost = selector
            raise LostAnswerError("nobody answers")
        if not dry_run:
            self.write(name, selector, MANAGER)
        if lost == "after":
            raise LostAnswerError("nobody answers")
        return copy.deepcopy(self.services[name])

    def watch(self, _path: str, _version: str, _seconds: float, **_query: str) -> Iterator[Object]:
        """Time goes by: the controller follows."""
        self._count()
        before = {one["metadata"]["uid"]: one for one in self._slices}
        self.reconcile()
        now = {one["metadata"]["uid"]: one for one in self._slices}
        for uid, one in {**before, **now}.items():
            if now.get(uid) != before.get(uid):
                yield {"type": "MODIFIED" if uid in now else "DELETED", "object": copy.deepcopy(one)}

    def try_to_watch(self, _path: str, _version: str, **_query: str) -> None:
        self._count()

    # --- What happens there -------------------------------------------------------------------------------

    def write(self, name: str, selector: Object, manager: str) -> None:
        service = self.services[name]
        if service["spec"]["selector"] == selector:
            return
        self.written.append((manager, name, service["spec"]["selector"], dict(selector)))
        service["spec"]["selector"] = dict(selector)
        service["metadata"]["managedFields"] = [{"manager": manager, "operation": "Update"}]

    def reconcile(self) -> None:
        """The slices become those of the live Service."""
        if self.controller_away:
            return
        selector = self.services["shop"]["spec"]["selector"]
        found = [pod for pod in self.pods if selector and selector.items() <= pod["metadata"]["labels"].items()]
        parts = [found[at : at + PER_SLICE] for at in range(0, len(found), PER_SLICE)] or [[]]
        self._slices = [
            {
                "metadata": {"uid": f"slice-{number}", "resourceVersion": str(self.asked)},
                "endpoints": [_endpoint(pod) for pod in part] or None,
            }
            for number, part in enumerate(parts)
        ]

    def _count(self) -> None:
        self.asked += 1
        self.meddle(self.asked)


def service(name: str, selector: Object) -> Object:
    return {
        "metadata": {"name": name, "uid": name},
        "spec": {"clusterIP": "10.0.0.1", "selector": dict(selector), "ports": [{"port": 80, "targetPort": 8080}]},
    }


def pod(name: str, labels: Object, state: str) -> Object:
    """``state``: ready, unready or leaving."""
    metadata: Object = {"name": name, "uid": name, "labels": labels}
    if state == "leaving":
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    ready = "True" if state == "ready" else "False"
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": metadata, "spec": {"containers": [{"name": "app"}]}, "status": status}


def _endpoint(pod: Object) -> Object:
    leaving = "deletionTimestamp" in pod["metadata"]
    serving = pod["status"]["conditions"][0]["status"] == "True"
    return {
        "addresses": ["10.1.0.1"],
        "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"]},
        "conditions": {"ready": serving and not leaving, "serving": serving, "terminating": leaving},
    }


def _matches(labels: Object, selector: str) -> bool:
    for key, _equals, value, among in re.findall(r"([\w.\-/]+)(?:(=)([^,]*)| in \(([^)]*)\))", selector):
        if labels.get(key) not in ([value] if not among else among.split(",")):
            return False
    return True
