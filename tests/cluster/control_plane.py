# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real control plane on loopback: etcd, kube-apiserver, kube-controller-manager.

It authorises with RBAC and knows its users by static tokens: ``admin``, and those of ``USERS``, who may do nothing
until a test binds a Role to them.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import secrets
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from demo.rig import free_ports, wait_until

from . import process
from .api import Api, ApiError
from .binaries import Binaries

ADMIN = "admin"
USERS = ("viewer", "stranger", *(f"user{number}" for number in range(1, 9)))
START = 120.0  # seconds, on a machine that does much else
GATES = "EndpointSliceTerminatingCondition=true"  # as every cluster has it since 1.22
NOT_RUN = ("nodeipam", "nodelifecycle")  # they judge nodes, and ours has no kubelet that reports


class ControlPlane:
    """In one directory, which holds all its state. A context manager: it ends what it started."""

    def __init__(self, directory: Path, binaries: Binaries) -> None:
        self.directory, self.binaries = directory, binaries
        client, peer, self.port, controllers = free_ports(4)
        self._etcd_url, self._peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        self._controllers_port = controllers
        self.tokens = {user: secrets.token_hex(16) for user in (ADMIN, *USERS)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        """kube-apiserver makes a certificate for itself when it starts for the first time."""
        return self.directory / "pki/apiserver.crt"

    @property
    def kubeconfig(self) -> Path:
        return self.user_kubeconfig(ADMIN)

    @property
    def admin(self) -> Api:
        return Api.of(self.kubeconfig)

    def user_kubeconfig(self, user: str) -> Path:
        """A kubeconfig for one of the users; written once."""
        path = self.directory / f"{user}.kubeconfig"
        if not path.exists():
            write_kubeconfig(path, self.url, self.ca, user, self.tokens[user])
        return path

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._write_secrets()
        self._run("etcd", self._etcd())
        self.start_api_server()
        self._run("kube-controller-manager", self._controller_manager())

    def start_api_server(self) -> None:
        """Starts it on its port, with what etcd holds, and waits until it is ready."""
        self._run("kube-apiserver", self._api_server())
        wait_until(self._ready, START, "the API server is ready")

    def kill_api_server(self) -> None:
        """As by a crash: what it was doing is cut off."""
        process.kill(self._processes.pop("kube-apiserver"))

    def stop(self) -> None:
        """Those that write first, so that none of them meets a dead one. What they hold is thrown away."""
        for name in ("kube-controller-manager", "kube-apiserver", "etcd"):
            if running := self._processes.pop(name, None):
                process.kill(running)
        shutil.rmtree(self.directory / "etcd", ignore_errors=True)

    def check(self) -> None:
        """All that were started run."""
        for name, each in self._processes.items():
            if each.poll() is not None:
                raise RuntimeError(f"{name} ended: {self._last_words(name)}")

    def memory_mb(self) -> dict[str, int]:
        """What each of them holds now."""
        page = os.sysconf("SC_PAGE_SIZE")
        return {
            name: int(Path(f"/proc/{each.pid}/statm").read_text().split()[1]) * page // 2**20
            for name, each in self._processes.items()
        }

    def _run(self, name: str, words: list[str]) -> None:
        self._processes[name] = process.start(words, self.directory / f"{name}.log")

    def _ready(self) -> bool:
        self.check()
        if not self.ca.exists():
            return False
        with contextlib.suppress(OSError, ApiError, http.client.HTTPException, ssl.SSLError):
            Api(self.url, self.tokens[ADMIN], self.ca.read_text()).get("/readyz")
            return True
        return False

    def _last_words(self, name: str) -> str:
        return "\n".join((self.directory / f"{name}.log").read_text(errors="replace").splitlines()[-5:])

    def _write_secrets(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._secret("service-account.key").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        )
        lines = [f'{token},{user},{user},"bluegreen-tests"' for user, token in self.tokens.items() if user != ADMIN]
        lines.append(f'{self.tokens[ADMIN]},{ADMIN},{ADMIN},"system:masters"')
        self._secret("tokens.csv").write_text("\n".join(lines) + "\n")

    def _secret(self, name: str) -> Path:
        path = self.directory / name
        path.touch(mode=0o600)
        return path

    def _etcd(self) -> list[str]:
        return [
            str(self.binaries.etcd),
            *("--data-dir", str(self.directory / "etcd"), "--log-level", "error"),
            *("--listen-client-urls", self._etcd_url, "--advertise-client-urls", self._etcd_url),
            *("--listen-peer-urls", self._peer_url, "--initial-advertise-peer-urls", self._peer_url),
            *("--initial-cluster", f"default={self._peer_url}"),
        ]

    def _api_server(self) -> list[str]:
        key = str(self.directory / "service-account.key")
        options = {
            "etcd-servers": self._etcd_url,
            "bind-address": "127.0.0.1",
            "secure-port": str(self.port),
            "cert-dir": str(self.directory / "pki"),
            "service-cluster-ip-range": "10.96.0.0/16",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-signing-key-file": key,
            "service-account-key-file": key,
            "token-auth-file": str(self.directory / "tokens.csv"),
            "authorization-mode": "RBAC",
            "endpoint-reconciler-type": "none",  # an endpoint may not be on loopback
            "allow-privileged": "true",
            "feature-gates": GATES,
        }
        return [str(self.binaries.kube_apiserver), *_flags(options)]

    def _controller_manager(self) -> list[str]:
        options = {
            "kubeconfig": str(self.kubeconfig),
            "leader-elect": "false",
            "service-account-private-key-file": str(self.directory / "service-account.key"),
            "root-ca-file": str(self.ca),
            "bind-address": "127.0.0.1",
            "secure-port": str(self._controllers_port),
            "port": "0",
            "cert-dir": str(self.directory / "controllers-pki"),
            "controllers": ",".join(["*", *(f"-{name}" for name in NOT_RUN)]),
            "kube-api-qps": "200",
            "kube-api-burst": "400",
            "feature-gates": GATES,
        }
        return [str(self.binaries.kube_controller_manager), *_flags(options)]


def _flags(options: dict[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]


def write_kubeconfig(path: Path, server: str, ca: Path, user: str, token: str) -> None:
    encoded = base64.b64encode(ca.read_bytes()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bluegreen", "cluster": {"server": server, "certificate-authority-data": encoded}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": user, "context": {"cluster": "bluegreen", "user": user}}],
        "current-context": user,
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(config, indent=2))
    partial.replace(path)
