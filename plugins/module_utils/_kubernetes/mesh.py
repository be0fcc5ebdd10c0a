# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is behind a destination of Istio: a Service, or a subset of its pods. Private to this collection.

Source: istio.io/latest/docs/reference/config/networking/destination-rule (Subset), and
istio.io/latest/docs/ops/best-practices/traffic-management for where a DestinationRule is looked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from .._errors import DeniedError, MissingError
from .client import Client, Json
from .pods import is_leaving

GROUP = "networking.istio.io"
ROOT = "istio-system"
"""Where the configuration for all namespaces is, unless Istio was told otherwise."""


@dataclass(frozen=True)
class Destination:
    """A Service, and the subset of its pods; none: all of them."""

    namespace: str
    service: str
    subset: str | None

    @classmethod
    def of(cls, destination: Json, namespace: str) -> Destination:
        return cls(*_service(destination["host"], namespace), destination.get("subset"))

    @property
    def words(self) -> str:
        return f"Service {self.service}" + (f", subset {self.subset}" if self.subset else "")


def _service(host: str, namespace: str) -> tuple[str, str]:
    """Namespace and name: a short name is one in the namespace of who uses it."""
    name, _dot, rest = host.partition(".")
    return rest.partition(".")[0] or namespace, name


class Mesh:
    """namespace is that of the VirtualService."""

    def __init__(self, client: Client, namespace: str, version: str) -> None:
        self._client, self._namespace, self._version = client, namespace, version

    def pods(self, wanted: Destination) -> list[Json] | None:
        """Those that are not leaving. None: what is behind it is no Service of this cluster, or may not be read.

        Raises ``missing`` where a subset is defined nowhere: Envoy answers 503 for it.
        """
        try:
            service = self._client.get(f"/api/v1/namespaces/{wanted.namespace}/services/{wanted.service}")
        except MissingError:
            return None
        selector = service["spec"].get("selector")
        labels = self._labels(wanted) if wanted.subset else {}
        if not selector or labels is None:
            return None
        both = ",".join(f"{key}={value}" for key, value in {**selector, **labels}.items())
        listed = self._client.get(f"/api/v1/namespaces/{wanted.namespace}/pods", labelSelector=both)["items"]
        return [pod for pod in listed if not is_leaving(pod)]

    def _labels(self, wanted: Destination) -> dict[str, str] | None:
        for namespace in dict.fromkeys((self._namespace, wanted.namespace)):
            found = self._defined(wanted, namespace)
            if found is not None:
                return found
        try:
            everywhere = self._defined(wanted, ROOT)
        except DeniedError:
            return None
        if everywhere is None:
            raise MissingError(
                f"no DestinationRule of host {wanted.service} defines the subset {wanted.subset}",
                f"one in namespace {wanted.namespace}, with the labels of its pods",
                "Write it before the subset gets traffic: until then Envoy answers 503",
            )
        return everywhere

    def _defined(self, wanted: Destination, namespace: str) -> dict[str, str] | None:
        path = f"/apis/{GROUP}/{self._version}/namespaces/{namespace}/destinationrules"
        for rule in self._client.get(path)["items"]:
            if _service(rule["spec"].get("host", ""), namespace) == (wanted.namespace, wanted.service):
                for subset in rule["spec"].get("subsets") or ():
                    if subset.get("name") == wanted.subset:
                        return dict(subset.get("labels") or {})
        return None
