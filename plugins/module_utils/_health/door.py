# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an endpoint is reached, where its URL alone does not say it. Private to this collection."""

from __future__ import annotations

import typing as t
import urllib.parse
from dataclasses import dataclass

from .._errors import InvalidError
from .probe import Target, is_host, shown

OPTIONS = ("host", "sni", "address", "ca_path", "validate_certs", "headers", "secret_headers")
"""Of the module, each of which may stand in its option door."""


@dataclass(frozen=True)
class Door:
    """Whom to connect to, and which site to ask for there. What is None, the URL says."""

    host: str | None = None
    """The Host header."""
    sni: str | None = None
    """The name for TLS, which the certificate must hold."""
    address: tuple[str, int | None] | None = None
    """Connect to this one, whatever host and port the URL names."""

    def __str__(self) -> str:
        """For a message, what is not in the URL."""
        words = [f"connected to {_joined(*self.address)}"] if self.address else []
        words += [f"asked for the site {self.host}"] if self.host else []
        words += [f"with TLS for {self.sni}"] if self.sni else []
        return ", ".join(words)

    def place(self, target: Target) -> tuple[str, int]:
        """The host and the port to connect to."""
        host, port = self.address or (target.host, None)
        return host, port or target.port

    def authority(self, target: Target) -> str:
        return self.host or target.authority

    def server_name(self, target: Target) -> str:
        """As a browser has it: the site that is asked for is the one that must prove who it is."""
        if self.sni or not self.host:
            return self.sni or target.host
        return _split(self.host, "host")[0]


def _joined(host: str, port: int | None) -> str:
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def parse_door(params: t.Mapping[str, t.Any]) -> Door:
    """The options of the module; raises before anything is asked of anybody."""
    host, sni, address = (params.get(name) or None for name in ("host", "sni", "address"))
    if host is not None:
        _split(host, "host")
        if "host" in (name.lower() for option in ("headers", "secret_headers") for name in params.get(option) or {}):
            raise InvalidError("host and a header Host are given", "one of them")
    if sni is not None and not is_host(str(sni), bracketed=False):
        raise InvalidError(f"sni is {shown(str(sni))}", "the name of a site, without scheme, port and path")
    return Door(host, sni, None if address is None else _split(address, "address"))


def merged(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The options, with what stands in door put where it belongs; what is empty there is not given."""
    door = params.get("door") or {}
    given: dict[str, t.Any] = {name: door[name] for name in OPTIONS if door.get(name) not in (None, "", {})}
    for name in {"headers", "secret_headers"}.intersection(given):
        given[name] = {**given[name], **(params.get(name) or {})}
    return {**params, **given}


def _split(given: object, name: str) -> tuple[str, int | None]:
    """Host and port of ``shop.example.com``, ``10.0.0.1:8443``, ``[fd00::1]:8443`` or a bare ``fd00::1``."""
    text = str(given)
    bare = text if text.count(":") < 2 or text.startswith("[") else f"[{text}]"
    whole = not any(char in text for char in "/?#@") and not text.endswith(":")
    try:
        parts = urllib.parse.urlsplit(f"//{bare}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        whole, host, port = False, "", None
    if not whole or port == 0 or not is_host(host, bare.startswith("[")):
        raise InvalidError(f"{name} is {shown(text)}", "a host or host:port, without scheme and path")
    return host, port
