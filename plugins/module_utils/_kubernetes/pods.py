# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods and endpoints, as far as traffic is concerned; pure functions. Private to this collection.

Source: kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle and .../services-networking/endpoint-slices.
"""

from __future__ import annotations

import typing as t

from .._traffic.router import Activity
from .client import Json
from .rollout import waits_for

MOST_REASONS = 5
"""Pods of which it is told why they are not ready."""


def name_of(item: Json) -> str:
    return str(item["metadata"]["name"])


def is_leaving(pod: Json) -> bool:
    """It is being deleted, or its containers have ended: no endpoint any more."""
    return "deletionTimestamp" in pod["metadata"] or phase(pod) in ("Succeeded", "Failed")


def is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return not is_leaving(pod) and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def is_checked(pod: Json) -> bool:
    """Something tells whether it can serve; without a probe it is ready as soon as it runs, dead or alive."""
    spec = pod["spec"]
    return bool(spec.get("readinessGates")) or any(one.get("readinessProbe") for one in spec["containers"])


def phase(pod: Json) -> str:
    return str(pod.get("status", {}).get("phase", ""))


def trouble(pod: Json) -> str | None:
    """What keeps a container of the pod from running, in the words of the kubelet: C(ImagePullBackOff: …)."""
    status = pod.get("status", {})
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason", "") not in ("", "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message', 'no message')}"
    return None


def why_unready(pod: Json) -> str | None:
    """None: it is ready."""
    if is_ready(pod):
        return None
    return trouble(pod) or waits_for(pod) or f"it is not ready ({phase(pod) or 'no phase'})"


def activity(pods: t.Sequence[Json], why: t.Callable[[Json], str | None] = why_unready) -> Activity:
    """Of pods that are not leaving; ``why`` one gets no requests, None: it does."""
    reasons = {name_of(pod): why(pod) for pod in pods}
    unready = [f"pod {name}: {reason}" for name, reason in reasons.items() if reason]
    return Activity(
        members=len(pods),
        ready=len(pods) - len(unready),
        unready=tuple(unready[:MOST_REASONS]),
        unchecked=sum(not is_checked(pod) for pod in pods if reasons[name_of(pod)] is None),
    )


def unmatched_port(pod: Json, ports: t.Iterable[Json]) -> str | None:
    """The first named C(targetPort) of a Service's ports that the pod does not declare; None: it has them all.

    A number needs no declaration. A name may also be that of an init container that stays, a sidecar.
    """
    spec = pod["spec"]
    stays = [one for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"]
    declared = {
        (port.get("name"), port.get("protocol", "TCP"))
        for container in [*spec["containers"], *stays]
        for port in container.get("ports") or ()
    }
    for port in ports:
        target = port.get("targetPort", port["port"])
        if isinstance(target, str) and (target, port.get("protocol", "TCP")) not in declared:
            return target
    return None


def endpoints(slices: t.Iterable[Json]) -> dict[str, bool]:
    """By pod, whether the slices give it requests; an endpoint of no pod is named by its address.

    Without those that are leaving: since Kubernetes 1.22 they stay until they are gone, and get nothing new unless
    there is nobody else.
    """
    found: dict[str, bool] = {}
    for name, conditions in _each(slices):
        if not conditions.get("terminating"):
            found[name] = found.get(name, False) or conditions.get("ready") is not False
    return found


def leaving(slices: t.Iterable[Json]) -> set[str]:
    """The pods that the slices hold only until they are gone."""
    return {name for name, conditions in _each(slices) if conditions.get("terminating")}


def _each(slices: t.Iterable[Json]) -> t.Iterator[tuple[str, Json]]:
    for one in slices:
        for endpoint in one.get("endpoints") or ():
            target = endpoint.get("targetRef") or {}
            name = target["name"] if target.get("kind") == "Pod" else endpoint["addresses"][0]
            yield name, endpoint.get("conditions") or {}


def sent_to_pods(service: Json) -> str | None:
    """Why clients of the Service come past it, straight to the addresses of pods. None: nothing in it says so.

    Source: cloud.google.com/kubernetes-engine/docs/how-to/container-native-load-balancing (NEG),
    kubernetes-sigs.github.io/aws-load-balancer-controller (target-type: ip), and externalTrafficPolicy in
    kubernetes.io/docs/tasks/access-application-cluster/create-external-load-balancer.
    """
    marks, spec = service["metadata"].get("annotations") or {}, service["spec"]
    asked = marks.get("cloud.google.com/neg", "").replace(" ", "")
    if '"ingress":true' in asked or "cloud.google.com/neg-status" in marks:
        return "has a network endpoint group"
    if any(value == "ip" and name.endswith("target-type") for name, value in marks.items()):
        return "has targets of type ip"
    if spec.get("externalTrafficPolicy") == "Local" and spec.get("type") in ("LoadBalancer", "NodePort"):
        return "has externalTrafficPolicy: Local"
    return None
