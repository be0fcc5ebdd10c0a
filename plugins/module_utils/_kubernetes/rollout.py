# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the rollout of a Deployment is, and what holds it up; pure functions. Private to this collection.

Source: kubernetes.io/docs/concepts/workloads/controllers/deployment ("Deployment status", "Failed Deployment") and
.../workloads/pods/pod-lifecycle ("Pod conditions").
"""

from __future__ import annotations

import typing as t

from .client import Json

IN_PODS = ("PodScheduled", "Ready")
"""The conditions of a pod that say what it waits for, in the order in which they come about."""


def is_complete(item: Json) -> bool:
    status, replicas = item.get("status", {}), item["spec"].get("replicas", 1)
    kinds = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return is_current(item) and all(status.get(kind, 0) == replicas for kind in kinds)


def gave_up(item: Json) -> str | None:
    """Why no waiting helps: its own words once its progress deadline is over, or that somebody has paused it."""
    late = _condition(item, "Progressing", "False") or {}
    if is_current(item) and late.get("reason") == "ProgressDeadlineExceeded":
        return str(late.get("message") or late["reason"])
    if item["spec"].get("paused") and not is_complete(item):
        return "it is paused, so that nothing is rolled out (kubectl rollout resume)"
    return None


def refused(item: Json) -> str | None:
    """Why its pods are not even made, such as a quota that is used up or pod security."""
    failure = _condition(item, "ReplicaFailure", "True")
    if not failure or not is_current(item):
        return None
    return f"{failure.get('reason', 'no reason')}: {failure.get('message', 'no message')}"


def waits_for(pod: Json) -> str | None:
    """What a pod that is not ready waits for, in the words of its conditions. None: they do not tell."""
    for kind in IN_PODS:
        condition = _condition(pod, kind, "False")
        if condition and condition.get("message"):
            return f"{condition.get('reason') or kind}: {condition['message']}"
    return None


def progress(items: t.Sequence[Json]) -> str:
    for item in items:
        status, replicas = item.get("status", {}), item["spec"].get("replicas", 1)
        return (
            f"{status.get('updatedReplicas', 0)} of {replicas} pods updated, {status.get('availableReplicas', 0)} "
            f"available, and {status.get('replicas', 0)} in all"
        )
    return "gone"


def label_selector(item: Json) -> str:
    """The selector of a Deployment, as a list takes it."""
    selector = item["spec"]["selector"]
    same = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    return ",".join([*same, *map(_expression, selector.get("matchExpressions") or ())])


def _expression(one: Json) -> str:
    key, operator, values = one["key"], one["operator"], ",".join(one.get("values") or ())
    alone = {"Exists": f"{key}", "DoesNotExist": f"!{key}"}
    return alone.get(operator, f"{key} {operator.lower()} ({values})")


def _condition(item: Json, kind: str, status: str) -> Json | None:
    found = [each for each in item.get("status", {}).get("conditions") or () if each["type"] == kind]
    return next((each for each in found if each["status"] == status), None)


def is_current(item: Json) -> bool:
    """Whether its status speaks of what it is to be now."""
    return bool(item.get("status", {}).get("observedGeneration", 0) >= item["metadata"]["generation"])
