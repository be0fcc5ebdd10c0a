# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The EndpointSlices of a Service: whom it really sends requests to. Private to this collection.

Source: kubernetes.io/docs/concepts/services-networking/endpoint-slices; v1 since Kubernetes 1.21, v1beta1 before.
"""

from __future__ import annotations

import typing as t

from .._errors import MissingError
from .client import Client, Json, Watched

VERSIONS = ("v1", "v1beta1")
LABEL = "kubernetes.io/service-name"


class Slices:
    """Listed once, and watched from there."""

    def __init__(self, client: Client, namespace: str, service: str) -> None:
        self._served = [
            Watched(
                client,
                f"/apis/discovery.k8s.io/{version}/namespaces/{namespace}/endpointslices",
                labelSelector=f"{LABEL}={service}",
            )
            for version in VERSIONS
        ]

    def look(self) -> list[Json]:
        """Raises ``missing`` where the server has no EndpointSlices at all."""
        while True:
            try:
                found = self._served[0].look()
            except MissingError:
                if len(self._served) == 1:
                    raise
                del self._served[0]
            else:
                del self._served[1:]
                return found

    def check(self) -> None:
        """Raises ``denied`` where they cannot be listed or watched."""
        self.look()
        self._served[0].try_to_watch()

    def until(self, done: t.Callable[[list[Json]], bool], timeout: float) -> bool:
        """Until ``done`` says so of the slices; false after ``timeout`` seconds."""
        if len(self._served) > 1:
            self.look()
        return self._served[0].until(done, timeout)
