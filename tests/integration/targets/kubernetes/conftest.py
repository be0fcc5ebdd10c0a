# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app with two colours behind a Service, in a namespace of its own on a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from demo.rig import COLOURS, wait_until
from plugins.module_utils._traffic.kubernetes import PROVIDER
from plugins.module_utils._traffic.router import Router
from tests.cluster.api import Object, location
from tests.cluster.cluster import Handle
from tests.cluster.manifests import deployment, service
from tests.unit.plugins.modules.process import run_module

SECONDS = 60.0
DEFAULTS = {name: option.get("default") for name, option in PROVIDER.spec["options"].items()}
VERSIONS = {"blue": "1.0", "green": "1.1"}


class Shop:
    """Two ready pods of each colour; C(shop) selects blue, and C(shop-preview) green."""

    def __init__(self, cluster: Handle, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.service, self.preview = service(namespace, "blue"), service(namespace, "green", "shop-preview")
        self.deployments = {
            colour: deployment(namespace, colour, f"demo-app:{version}", replicas=2)
            for colour, version in VERSIONS.items()
        }
        cluster.apply(*self.deployments.values(), self.service, self.preview)
        for colour in COLOURS:
            self.wait_ready(colour, 2)

    def wait_ready(self, colour: str, many: int) -> None:
        def status() -> Any:
            now = self.cluster.get(self.deployments[colour])
            seen = now["status"].get("observedGeneration", 0) >= now["metadata"]["generation"]
            return seen and now["status"].get("readyReplicas", 0) == now["status"].get("replicas", 0) == many

        wait_until(status, SECONDS, f"{many} pods of {colour} are ready")

    def scale(self, colour: str, many: int) -> None:
        self.cluster.admin.patch(f"{location(self.deployments[colour])}/scale", {"spec": {"replicas": many}})

    def reset(self) -> None:
        self.cluster.apply(*self.deployments.values())
        self.select("blue", "green")
        for colour in COLOURS:
            self.wait_ready(colour, 2)

    def select(self, live: str, shown: str) -> None:
        """As somebody else does it."""
        for manifest, colour in ((self.service, live), (self.preview, shown)):
            self.cluster.admin.patch(location(manifest), {"spec": {"selector": {"app": "shop", "version": colour}}})

    def selected(self) -> tuple[str, str]:
        """By the Service and by its preview."""
        live, shown = (self.cluster.get(each)["spec"]["selector"]["version"] for each in (self.service, self.preview))
        return live, shown

    def specs(self) -> list[Object]:
        return [self.cluster.get(each)["spec"] for each in (self.service, self.preview)]

    def options(self, **more: Any) -> dict[str, Any]:
        return {
            "service": "shop",
            "preview_service": "shop-preview",
            "namespace": self.namespace,
            "kubeconfig": str(self.cluster.kubeconfig),
            **more,
        }

    def router(self, **more: Any) -> Router:
        return PROVIDER.build(COLOURS, {**DEFAULTS, **self.options(**more)})

    def route(self, name: str = "shop", **more: Any) -> dict[str, Any]:
        return {"name": name, "provider": "kubernetes", "kubernetes": self.options(**more)}

    def module(self, name: str, **options: Any) -> dict[str, Any]:
        return run_module(name, **{"routes": [self.route()], **options})


@pytest.fixture(scope="module")
def shared_shop(cluster: Handle) -> Iterator[Shop]:
    with cluster.namespace() as namespace:
        yield Shop(cluster, namespace)


@pytest.fixture
def shop(shared_shop: Shop) -> Shop:
    shared_shop.reset()
    return shared_shop
