# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app with two colours behind a Service, in a namespace of its own on a real API server."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.rig import COLOURS, ROOT, environment, wait_until
from plugins.module_utils._traffic.kubernetes import PROVIDER
from plugins.module_utils._traffic.router import Router
from tests.cluster.api import Object, location
from tests.cluster.cluster import Handle
from tests.cluster.manifests import deployment, service
from tests.integration.live_load import FEW, live_load
from tests.unit.plugins.modules.process import run_module

EXAMPLE = ROOT / "examples" / "kubernetes"
QUICK = {
    "my_app_image": "demo-app",
    "bluegreen_health_answers": 2,
    "bluegreen_health_timeout": 30,
    "bluegreen_front_answers": 10,
    "bluegreen_watch": 1,
    "bluegreen_confirmation_period": 0,
}
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

    @property
    def slices(self) -> str:
        """Where the EndpointSlices are, in the version that the server has."""
        return f"{self.cluster.admin.group('discovery.k8s.io')}/namespaces/{self.namespace}/endpointslices"

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


def example_manifests(first: bool = True) -> list[Object]:
    """C(kubectl kustomize), as far as the example needs it: with what is only there in the beginning, or without."""
    manifests: list[Object] = yaml.safe_load((EXAMPLE / "my-app" / "my-app.yml").read_text())["items"]
    patches = yaml.safe_load((EXAMPLE / "first" / "kustomization.yml").read_text())["patches"] if first else []
    for patch in patches:
        target = patch["target"]
        for manifest in manifests:
            if target["kind"] == manifest["kind"] and target.get("name", name := manifest["metadata"]["name"]) == name:
                for operation in yaml.safe_load(patch["patch"]):
                    *way, last = operation["path"].split("/")[1:]
                    at = manifest
                    for part in way:
                        at = at[int(part) if isinstance(at, list) else part]
                    at[last] = operation["value"]
    return manifests


class Example:
    """examples/kubernetes in a namespace of its own, with 1.0 live on blue."""

    def __init__(self, cluster: Handle, namespace: str, directory: Path) -> None:
        self.cluster, self.namespace, self.directory = cluster, namespace, directory
        self.objects = {}
        for manifest in example_manifests():
            manifest["metadata"]["namespace"] = namespace
            if manifest["kind"] == "Deployment":
                (container,) = manifest["spec"]["template"]["spec"]["containers"]
                container["image"] = container["image"].replace("my-app", "demo-app")
                container["lifecycle"]["preStop"]["exec"]["command"] = ["sleep", "1"]
            self.objects[manifest["kind"], manifest["metadata"]["name"]] = manifest
        cluster.apply(*self.objects.values())
        wait_until(lambda: self.ready("blue") == 3, 60, "blue is ready")
        self.front, self.preview = (cluster.url(namespace, name) for name in ("my-app", "my-app-preview"))

    def ready(self, colour: str) -> int:
        return int(self.cluster.get(self.objects["Deployment", f"my-app-{colour}"])["status"].get("readyReplicas", 0))

    def pods(self, colour: str) -> list[Object]:
        path, selector = f"/api/v1/namespaces/{self.namespace}/pods", f"app=my-app,version={colour}"
        return list(self.cluster.admin.get(path, labelSelector=selector)["items"])

    def replicas(self, colour: str) -> int:
        return int(self.cluster.get(self.objects["Deployment", f"my-app-{colour}"])["spec"]["replicas"])

    def versions(self) -> list[str]:
        """Of the Services: they change whenever somebody writes."""
        services = [each for (kind, _name), each in self.objects.items() if kind == "Service"]
        return [self.cluster.get(each)["metadata"]["resourceVersion"] for each in services]

    def live(self) -> str:
        return str(self.cluster.get(self.objects["Service", "my-app"])["spec"]["selector"]["version"])

    def record(self) -> dict[str, Any]:
        found = self.cluster.admin.get(f"/api/v1/namespaces/{self.namespace}/configmaps/bluegreen-my-app")
        record: dict[str, Any] = json.loads(found["data"]["record.json"])
        return record

    def command(self, playbook: str, *more: str, **variables: Any) -> list[str]:
        told = {
            **QUICK,
            "my_app_namespace": self.namespace,
            "my_app_url": self.front,
            "my_app_preview_url": self.preview,
            "bluegreen_state_dir": str(self.directory / "state"),
            "bluegreen_report_dir": str(self.directory / "reports"),
            "bluegreen_report_name": "report",
            **variables,
        }
        words = ["-i", str(EXAMPLE / "inventory.yml"), f"bluegreen.deploy.{playbook}", "-e", json.dumps(told), *more]
        return [str(Path(sys.executable).with_name("ansible-playbook")), *words]

    def play(
        self, playbook: str, *more: str, user: str = "admin", **variables: Any
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(playbook, *more, **variables),
            env=environment(K8S_AUTH_KUBECONFIG=str(self.cluster.user_kubeconfig(user))),
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    def start(self, playbook: str, **variables: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(playbook, **variables),
            env=environment(K8S_AUTH_KUBECONFIG=str(self.cluster.kubeconfig)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def passed(self) -> dict[str, bool | None]:
        report = json.loads((self.directory / "reports" / "report.json").read_text())
        return {item["check"]: item["passed"] for item in report["load_balancers"]["cluster"]["checklist"]}

    def load(self) -> contextlib.AbstractContextManager[list[Any]]:
        """On the Service."""
        return live_load(self.front, self.directory, *FEW)


@pytest.fixture
def example(cluster: Handle, tmp_path: Path) -> Iterator[Example]:
    with cluster.namespace() as namespace:
        yield Example(cluster, namespace, tmp_path)
