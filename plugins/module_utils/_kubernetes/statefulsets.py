# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""StatefulSets of a colour, which differ from Deployments in how they say that a rollout is over. Private to this
collection.

Source: kubernetes.io/docs/concepts/workloads/controllers/statefulset, "Update strategies" and "Partitioned rolling
updates"; what kubectl rollout status waits for.
"""

from __future__ import annotations

from .client import Json
from .deployments import Deployment
from .rollout import is_current, label_selector

REVISION = "controller-revision-hash"


class StatefulSet(Deployment):
    """One StatefulSet. Its pods are replaced one after the other, from the last to the first."""

    kind = "StatefulSet"
    plural = "statefulsets"

    def is_complete(self, item: Json) -> bool:
        status, replicas = item.get("status", {}), item["spec"].get("replicas", 1)
        kinds = ("replicas", "updatedReplicas", "readyReplicas")
        return is_current(item) and all(status.get(kind, 0) == replicas for kind in kinds)

    def gave_up(self, item: Json) -> str | None:
        """It has no deadline; but its strategy may keep pods of what was before."""
        strategy, late = item["spec"].get("updateStrategy") or {}, is_current(item) and not self.is_complete(item)
        held = (strategy.get("rollingUpdate") or {}).get("partition", 0)
        old = item.get("status", {}).get("updateRevision") != item.get("status", {}).get("currentRevision")
        if late and old and strategy.get("type") == "OnDelete":
            return "its updateStrategy is OnDelete, so that its pods are replaced only when somebody deletes them"
        if late and old and held:
            return f"its updateStrategy keeps {held} pods of the old revision (partition)"
        return None

    def _newest_pods(self, item: Json) -> list[Json]:
        labels = f"{label_selector(item)},{REVISION}={item.get('status', {}).get('updateRevision', '')}"
        found: list[Json] = self._client.get(f"/api/v1/namespaces/{self._namespace}/pods", labelSelector=labels)[
            "items"
        ]
        return found
