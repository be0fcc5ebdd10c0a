# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a Kubernetes API server is and who we are to it. Private to this collection.

What a kubeconfig says is read by the official client library; its typed APIs, which cost more than all that we
ask of the server, are left alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import typing as t
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from .._errors import BlueGreenError, DeniedError, InvalidError, MissingError
from .._requires import require_kubernetes
from .kubeconfig import Chosen

KUBECONFIG = "~/.kube/config"
OWN_NAMESPACE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

ENVIRONMENT = {
    "kubeconfig": "K8S_AUTH_KUBECONFIG",
    "context": "K8S_AUTH_CONTEXT",
    "host": "K8S_AUTH_HOST",
    "api_key": "K8S_AUTH_API_KEY",
    "ca_cert": "K8S_AUTH_SSL_CA_CERT",
    "client_cert": "K8S_AUTH_CERT_FILE",
    "client_key": "K8S_AUTH_KEY_FILE",
    "validate_certs": "K8S_AUTH_VERIFY_SSL",
    "proxy": "K8S_AUTH_PROXY",
}
"""What counts where an option is not set, as for kubernetes.core."""


@dataclass(frozen=True)
class Server:
    """An address, and the keys to it."""

    url: str
    headers: t.Mapping[str, str] = field(repr=False)
    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = field(default=None, repr=False)
    validate_certs: bool = True
    tls_name: str | None = None
    proxy: str | None = None
    namespace: str = "default"
    """Where whatever names none is."""


def find_server(options: t.Mapping[str, t.Any]) -> Server:
    """What the options say; what they leave open is the environment's, the kubeconfig's, or that of our own pod.

    Reads files, and runs what a kubeconfig says gives a token; asks no server.
    Raises ``missing`` where nothing leads to a server, ``denied`` for a file that cannot be read, and ``invalid``.
    """
    given = {name: _or_environment(options.get(name), variable) for name, variable in ENVIRONMENT.items()}
    in_full = given["host"] and (given["api_key"] or given["client_cert"]) and not given["kubeconfig"]
    known = Server("", {}, proxy=_proxy_to(given["host"])) if in_full else _configured(given)
    url = (given["host"] or known.url).rstrip("/")
    if not url.startswith(("https://", "http://")):
        raise InvalidError(f"host is {url!r}", "the URL of an API server, such as https://10.0.0.1:6443")
    headers = {"authorization": f"Bearer {given['api_key']}"} if given["api_key"] else known.headers
    if headers and url.startswith("http://") and not _is_here(url):
        raise InvalidError(
            f"host is {url!r}, where the token would go in clear",
            "an address with https://",
            "Set host to it, or leave host out: the kubeconfig has one",
        )
    return Server(
        url=url,
        headers=headers,
        ca_cert=_readable(given["ca_cert"], "ca_cert") or known.ca_cert,
        client_cert=_readable(given["client_cert"], "client_cert") or known.client_cert,
        client_key=_readable(given["client_key"], "client_key") or known.client_key,
        validate_certs=known.validate_certs if given["validate_certs"] is None else _truth(given["validate_certs"]),
        tls_name=known.tls_name,
        proxy=given["proxy"] or known.proxy,
        namespace=known.namespace,
    )


def _is_here(url: str) -> bool:
    """Whether it is this machine's own loopback, as of a C(kubectl proxy): no wire shows what goes there."""
    name = urlsplit(url).hostname or ""
    return name in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", name) is not None


def _or_environment(given: t.Any, variable: str) -> t.Any:
    return os.environ.get(variable) if given is None else given


def _truth(given: t.Any) -> bool:
    return str(given).lower() not in ("0", "false", "no", "off")


def _proxy_to(url: str) -> str | None:
    """What the environment says."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def _configured(given: t.Mapping[str, t.Any]) -> Server:
    """What a kubeconfig or our own pod says, read by the library, which who gives it all in options never pays for."""
    library = require_kubernetes()
    known = library.client.Configuration()
    known.host = ""
    paths = _paths(given)
    try:
        chosen = Chosen.of(paths, given["context"]) if paths else Chosen()
        with _complaints() as complaints:
            _load(library.config, known, given, paths)
    except BlueGreenError:
        raise
    except Exception as error:
        told = error if isinstance(error, library.config.ConfigException) else type(error).__name__  # no line of it
        raise MissingError(
            f"there is no way to a Kubernetes API server: {told}",
            "a kubeconfig with the context, or host and api_key",
            "Set kubeconfig and context, or the environment variables K8S_AUTH_KUBECONFIG and K8S_AUTH_CONTEXT",
        ) from error
    keys = {setting["key"]: setting["value"] for setting in known.auth_settings().values() if setting["in"] == "header"}
    if chosen.runs_a_plugin and not keys and not known.cert_file and not given["api_key"]:
        raise DeniedError(
            f"the command that the kubeconfig names gives no credentials: {' '.join(complaints) or 'it says nothing'}",
            "a token or a certificate",
            f"Run it by hand, and log in anew where it asks for that: {chosen.user['exec'].get('command', '')}",
        )
    return Server(
        url=known.host or "",
        headers={**keys, **chosen.impersonation()},
        ca_cert=known.ssl_ca_cert,
        client_cert=known.cert_file,
        client_key=known.key_file,
        validate_certs=known.verify_ssl,
        tls_name=getattr(known, "tls_server_name", None),
        proxy=known.proxy,
        namespace=chosen.context.get("namespace") or ("default" if paths else _own_namespace()),
    )


def _paths(given: t.Mapping[str, t.Any]) -> str:
    """The kubeconfig to read, or several. Empty: none, as in a pod."""
    if given["kubeconfig"]:
        return str(given["kubeconfig"])
    several = os.environ.get("KUBECONFIG") or KUBECONFIG
    return several if given["context"] or several != KUBECONFIG or Path(KUBECONFIG).expanduser().exists() else ""


def _load(config: t.Any, known: t.Any, given: t.Mapping[str, t.Any], paths: str) -> None:
    if paths:
        path = str(Path(given["kubeconfig"]).expanduser()) if given["kubeconfig"] else None
        config.load_kube_config(path, context=given["context"], client_configuration=known, persist_config=False)
    else:
        config.load_incluster_config(client_configuration=known)


@contextlib.contextmanager
def _complaints() -> t.Iterator[list[str]]:
    """What the library logs as an error, where it goes on without what it could not get."""
    said: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(" ".join(record.getMessage().split())[:300])

    keep = Keep(logging.ERROR)
    logging.getLogger().addHandler(keep)
    try:
        yield said
    finally:
        logging.getLogger().removeHandler(keep)


def _own_namespace() -> str:
    """That of our pod."""
    try:
        return Path(OWN_NAMESPACE).read_text().strip()
    except FileNotFoundError:
        return "default"


def _readable(path: str | None, option: str) -> str | None:
    if path and not os.access(path, os.R_OK):
        raise DeniedError(f"{option} {path} cannot be read", "a file that this user may read")
    return path
