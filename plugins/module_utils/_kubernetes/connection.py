# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a Kubernetes API server is and who we are to it. Private to this collection.

What a kubeconfig says is read by the official client library; its typed APIs, which cost more than all that we
ask of the server, are left alone.
"""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from .._errors import DeniedError, InvalidError, MissingError
from .._requires import require_kubernetes

KUBECONFIG = "~/.kube/config"

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
    try:
        _load(library.config, known, given["kubeconfig"], given["context"])
    except Exception as error:
        told = error if isinstance(error, library.config.ConfigException) else type(error).__name__  # no line of it
        raise MissingError(
            f"there is no way to a Kubernetes API server: {told}",
            "a kubeconfig with the context, or host and api_key",
            "Set kubeconfig and context, or the environment variables K8S_AUTH_KUBECONFIG and K8S_AUTH_CONTEXT",
        ) from error
    auth = known.auth_settings().values()
    return Server(
        url=known.host or "",
        headers={setting["key"]: setting["value"] for setting in auth if setting.get("in") == "header"},
        ca_cert=known.ssl_ca_cert,
        client_cert=known.cert_file,
        client_key=known.key_file,
        validate_certs=known.verify_ssl,
        tls_name=getattr(known, "tls_server_name", None),
        proxy=known.proxy,
    )


def _load(config: t.Any, known: t.Any, kubeconfig: t.Any, context: str | None) -> None:
    more = {"context": context, "client_configuration": known, "persist_config": False}
    if kubeconfig or context or os.environ.get("KUBECONFIG") or Path(KUBECONFIG).expanduser().exists():
        config.load_kube_config(str(Path(kubeconfig).expanduser()) if kubeconfig else None, **more)
    else:
        config.load_incluster_config(client_configuration=known)


def _readable(path: str | None, option: str) -> str | None:
    if path and not os.access(path, os.R_OK):
        raise DeniedError(f"{option} {path} cannot be read", "a file that this user may read")
    return path
