# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of one's own, and the same seen by those who share it."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import yaml

from demo.rig import ROOT, wait_until

from . import process
from .api import Api, ApiError, Object, location
from .binaries import find_or_build
from .control_plane import ADMIN, USERS, ControlPlane
from .node import MAP

CRDS = Path(__file__).parent / "crds"
PATIENCE = 60.0  # seconds, for what takes one on an idle machine


class Handle:
    """A running cluster, as tests use it. ``directory`` is None where it is not one of ours."""

    def __init__(self, kubeconfig: Path, directory: Path | None) -> None:
        self.kubeconfig, self.directory = kubeconfig, directory
        self.admin = Api.of(kubeconfig)

    @property
    def ours(self) -> bool:
        """It has our stand-ins: Services are on loopback, and the users with tokens exist."""
        return self.directory is not None

    @property
    def token(self) -> str:
        return self.admin.token

    def user_kubeconfig(self, user: str) -> Path:
        """Of one of ``USERS``, who may do nothing until a Role is bound to them."""
        assert self.directory, "users with tokens of their own are only in a cluster of ours"
        path = self.directory / f"{user}.kubeconfig"
        assert path.exists(), f"there is no user {user}, only {', '.join((ADMIN, *USERS))}"
        return path

    def user(self, name: str) -> Api:
        return Api.of(self.user_kubeconfig(name))

    def apply(self, *manifests: Object) -> None:
        """In this order: created, or merged into what is there."""
        for manifest in manifests:
            self.admin.apply(manifest)

    def get(self, manifest: Object) -> Object:
        """What the server holds of it now."""
        return self.admin.get(location(manifest))

    @contextlib.contextmanager
    def namespace(self) -> Iterator[str]:
        """A fresh one, in which pods can be made. Its removal is asked for at the end, not waited for."""
        name = f"test-{secrets.token_hex(4)}"
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        try:
            account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
            wait_until(lambda: self.there(account), PATIENCE, f"{name} has its service account")
            yield name
        finally:
            self.admin.delete(f"/api/v1/namespaces/{name}")

    def there(self, path: str) -> Object | None:
        try:
            return self.admin.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def url(self, namespace: str, service: str, port: int | None = None) -> str:
        """Where a port of a Service is on loopback: what a client in the cluster would call."""
        return f"http://127.0.0.1:{self._service(namespace, service, port)}"

    def pod_url(self, namespace: str, pod: str) -> str:
        """Where a pod listens on loopback, for what a test tells the app itself."""
        wait_until(lambda: self._map()["pods"].get(f"{namespace}/{pod}", {}).get("url"), PATIENCE, f"{pod} listens")
        return str(self._map()["pods"][f"{namespace}/{pod}"]["url"])

    def _service(self, namespace: str, service: str, port: int | None) -> int:
        prefix = f"{namespace}/{service}/{port or ''}"

        def found() -> list[int]:
            services = self._map()["services"].items()
            return [at for name, at in services if name == prefix or (port is None and name.startswith(prefix))]

        wait_until(found, PATIENCE, f"the Service {namespace}/{service} is on loopback")
        return found()[0]

    def _map(self) -> dict[str, dict[str, Any]]:
        assert self.directory, "Services and pods are on loopback only in a cluster of ours"
        content: dict[str, dict[str, Any]] = json.loads((self.directory / MAP).read_text())
        return content

    def install_crds(self) -> None:
        """Gateway API's HTTPRoute and Istio's VirtualService, cut to what routes traffic; waits until they serve."""
        manifests = [yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("*.yml"))]
        if self.ours:  # elsewhere they may be the real ones
            self.apply(*manifests)
        wait_until(lambda: all(map(self._established, manifests)), PATIENCE, "the CRDs are established")

    def _established(self, crd: Object) -> bool:
        conditions = (self.there(location(crd)) or {}).get("status", {}).get("conditions") or []
        return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


class Cluster(Handle):
    """A control plane and a node in a directory. A context manager: it ends what it started."""

    def __init__(self, directory: Path) -> None:
        self.control_plane = ControlPlane(directory, find_or_build())
        self._node: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        plane = self.control_plane
        try:
            plane.start()
            for user in (ADMIN, *USERS):
                plane.user_kubeconfig(user)
            super().__init__(plane.kubeconfig, plane.directory)
            words = ["--kubeconfig", str(plane.kubeconfig), "--directory", str(plane.directory)]
            self._node = process.start(
                [sys.executable, "-m", "tests.cluster.node", *words], plane.directory / "node.log", ROOT
            )
            wait_until(self._node_is_there, PATIENCE, "the node is there")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._node:
            process.end(self._node, 20)
            self._node = None
        self.control_plane.stop()

    def _node_is_there(self) -> bool:
        self.control_plane.check()
        if self._node and self._node.poll() is not None:
            raise RuntimeError(f"the node ended: {(self.control_plane.directory / 'node.log').read_text()[-2000:]}")
        return (self.control_plane.directory / MAP).exists()

    def kill_api_server(self) -> None:
        self.control_plane.kill_api_server()

    def start_api_server(self) -> None:
        self.control_plane.start_api_server()
