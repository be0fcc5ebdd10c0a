# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small client of the Kubernetes API, on the standard library: the real one takes seconds to import."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

Object = dict[str, Any]
PLURALS = {"Endpoints": "endpoints", "Ingress": "ingresses", "NetworkPolicy": "networkpolicies"}
CLUSTER_WIDE = frozenset(
    {"Namespace", "Node", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "PriorityClass"}
)
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


class ApiError(Exception):
    """What the API server refused, as it said so."""

    def __init__(self, status: int, document: Object) -> None:
        super().__init__(f"{status} {document.get('reason', '')}: {document.get('message', document)}")
        self.status, self.document = status, document


@dataclass(frozen=True)
class Api:
    """One API server as one user; may be used from many threads, each of which keeps a connection open."""

    server: str
    token: str
    ca: str = field(repr=False)
    certificate: str = field(default="", repr=False)
    """The client's, and its key."""
    timeout: float = 30.0
    _threads: threading.local = field(default_factory=threading.local, repr=False)

    @classmethod
    def of(cls, kubeconfig: Path) -> Api:
        """As the user of the current context, who has a token or a client certificate."""
        config = yaml.safe_load(kubeconfig.read_text())
        context = _named(config, "context", config["current-context"])
        cluster, user = _named(config, "cluster", context["cluster"]), _named(config, "user", context["user"])
        ca = _material(cluster, "certificate-authority")
        return cls(
            cluster["server"],
            user.get("token", ""),
            ca,
            _material(user, "client-certificate") + _material(user, "client-key"),
        )

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Object:
        data = None if body is None else json.dumps(body).encode()
        target = f"{path}?{urlencode(query)}" if query else path
        response = self._ask(method, target, data, content_type)
        content = response.read()
        document = _parsed(content)
        if response.status >= 400:
            raise ApiError(response.status, document)
        return document

    def get(self, path: str, **query: str) -> Object:
        return self.request("GET", path, query=query)

    def group(self, name: str) -> str:
        """Where an API group is served, in the version that the server likes best."""
        return f"/apis/{self.get(f'/apis/{name}')['preferredVersion']['groupVersion']}"

    def patch(self, path: str, body: object, content_type: str = MERGE) -> Object:
        return self.request("PATCH", path, body, content_type)

    def delete(self, path: str, body: object = None) -> Object:
        return self.request("DELETE", path, body)

    def create(self, manifest: Object) -> Object:
        return self.request("POST", collection(manifest), manifest)

    def apply(self, manifest: Object) -> Object:
        """Created, or brought to what the manifest says by a merge patch."""
        try:
            return self.create(manifest)
        except ApiError as error:
            if error.status != 409:
                raise
        return self.patch(location(manifest), manifest)

    def watch(self, path: str, version: str) -> Iterator[Object]:
        """Events since that version, until the server ends the watch or is no more."""
        connection = self._connect(timeout=360)
        query = urlencode({"watch": "1", "resourceVersion": version, "timeoutSeconds": "300"})
        try:
            connection.request("GET", f"{path}?{query}", headers=self._headers())
            response = connection.getresponse()
            if response.status >= 400:
                raise ApiError(response.status, _parsed(response.read()))
            while line := response.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), event["object"])
                yield event
        finally:
            connection.close()

    def _ask(self, method: str, target: str, data: bytes | None, content_type: str) -> http.client.HTTPResponse:
        headers = self._headers() if data is None else {**self._headers(), "Content-Type": content_type}
        kept: http.client.HTTPSConnection | None = getattr(self._threads, "connection", None)
        self._threads.connection = None
        if kept is not None:
            # A server that was started anew has closed what was kept; only a request it has not answered is repeated.
            with contextlib.suppress(http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError):
                kept.request(method, target, data, headers)
                response = kept.getresponse()
                self._threads.connection = kept
                return response
            kept.close()
        connection = self._connect(self.timeout)
        connection.request(method, target, data, headers)
        response = connection.getresponse()
        self._threads.connection = connection
        return response

    def _connect(self, timeout: float) -> http.client.HTTPSConnection:
        address = urlsplit(self.server)
        context = getattr(self._threads, "context", None)
        if context is None:
            context = self._threads.context = self._tls()
        connection = http.client.HTTPSConnection(address.hostname or "", address.port, timeout=timeout, context=context)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca)
        if self.certificate:
            with tempfile.NamedTemporaryFile("w") as file:  # the ssl module takes it from a file only
                file.write(self.certificate)
                file.flush()
                context.load_cert_chain(file.name)
        return context

    def _headers(self) -> dict[str, str]:
        authorization = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {**authorization, "Accept": "application/json"}


def _named(config: Object, what: str, name: str) -> Object:
    found: Object = next(each[what] for each in config[f"{what}s"] if each["name"] == name)
    return found


def _material(holder: Object, name: str) -> str:
    """A certificate or a key, written in the kubeconfig or named by it."""
    if encoded := holder.get(f"{name}-data"):
        return base64.b64decode(encoded).decode()
    return Path(holder[name]).read_text() if name in holder else ""


def _parsed(content: bytes) -> Object:
    try:
        document = json.loads(content)
    except ValueError:
        return {"message": content.decode(errors="replace")}
    return document if isinstance(document, dict) else {"message": document}


def collection(manifest: Object) -> str:
    """Where objects of its kind are, in its namespace."""
    version, kind = manifest["apiVersion"], manifest["kind"]
    group = f"/apis/{version}" if "/" in version else f"/api/{version}"
    plural = PLURALS.get(kind) or f"{kind.lower()}{'es' if kind.endswith('s') else 's'}"
    if kind in CLUSTER_WIDE:
        return f"{group}/{plural}"
    return f"{group}/namespaces/{manifest['metadata'].get('namespace', 'default')}/{plural}"


def location(manifest: Object) -> str:
    return f"{collection(manifest)}/{manifest['metadata']['name']}"
