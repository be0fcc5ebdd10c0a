# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app's part of a HAProxy configuration: one map entry is its whole switch. Private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from .._errors import InvalidError
from . import config_inputs as check

FRONT = frozenset(("client", "client-fin", "client-hs", "http-request", "http-keep-alive"))
BACK = frozenset(("connect", "server", "server-fin", "queue", "tunnel", "check", "tarpit"))


@dataclasses.dataclass(frozen=True)
class Sticky:
    """How a client stays on the colour that it has seen."""

    by: str = "none"
    name: str = ""

    def __post_init__(self) -> None:
        if self.by != "none":
            check.header(self.name, "sticky_name")

    def bucket(self) -> list[str]:
        if self.by == "cookie":
            cookie = f"req.cook({self.name})"
            return [
                f"http-request set-var(txn.bucket) {cookie} if {{ {cookie} -m reg ^[0-9]{{1,4}}$ }}",
                "http-request set-var(txn.new_bucket) bool(true) if !{ var(txn.bucket) -m found }",
            ]
        if self.by == "header":
            named = f"req.hdr({self.name})"
            return [f"http-request set-var(txn.bucket) {named},crc32(1),mod(10000) if {{ {named} -m found }}"]
        return []

    def answer(self) -> list[str]:
        if self.by != "cookie":
            return []
        value = f'"{self.name}=%[var(txn.bucket)]; Path=/; HttpOnly; SameSite=Lax"'
        once = "if { var(txn.new_bucket) -m bool } { var(txn.share) -m int gt 0 }"
        return [f"http-after-response add-header Set-Cookie {value} {once}"]


@dataclasses.dataclass(frozen=True)
class ByHeader:
    """A header that chooses the colour for whoever has the secret."""

    token: str
    header: str
    token_header: str

    def __post_init__(self) -> None:
        check.secret(self.token, "test_token")
        check.header(self.header, "test_header")
        check.header(self.token_header, "token_header")

    def lines(self, colours: t.Sequence[str]) -> list[str]:
        return [
            "# Test traffic: a header chooses the colour, if the token is right",
            f"acl test_colour req.hdr({self.header}) -m str -- {' '.join(colours)}",
            f"acl test_token req.hdr({self.token_header}) -m str -- {check.quoted(self.token)}",
            f"http-request set-var(txn.colour) req.hdr({self.header}) if test_colour test_token",
            f"http-request del-header {self.token_header}",
            "",
        ]


@dataclasses.dataclass(frozen=True)
class Members:
    """The servers of a colour, and how they are checked."""

    urls: t.Mapping[str, str]
    health_path: str
    check_interval: str
    options: str

    def lines(self, colour: str) -> list[str]:
        if not self.urls:
            raise InvalidError(
                f"colour {colour} has no members",
                "one host at least, in the group named after the app and the colour",
                "Add them to the inventory, each with its bluegreen_url",
            )
        check.health_path(self.health_path, "health_path")
        check.duration(self.check_interval, "check_interval")
        check.words(self.options, "server_options")
        default = f"default-server check inter {self.check_interval} fall 2 rise 1 {self.options}".rstrip()
        return [
            "balance roundrobin",
            f"option httpchk GET {self.health_path}",
            "http-check expect status 200",
            default,
            *(self._server(name, url) for name, url in self.urls.items()),
        ]

    def _server(self, name: str, url: str) -> str:
        where, encrypted = check.address(url, f"member {name}")
        if encrypted and "ssl" not in self.options.split():
            raise InvalidError(
                f"member {name} has an https URL, and server_options has no ssl",
                "how HAProxy speaks TLS to its servers",
                "Set server_options, such as ssl verify required ca-file /etc/ssl/certs/ca-certificates.crt",
            )
        return f"server {check.name(name, 'the name of a member')} {where}"


@dataclasses.dataclass(frozen=True)
class App:
    """All that an app needs of a load balancer."""

    name: str
    colours: t.Sequence[str]
    members: t.Sequence[Members]
    bind: t.Sequence[str]
    map: str
    timeouts: t.Mapping[str, str]
    sticky: Sticky = dataclasses.field(default_factory=Sticky)
    test: ByHeader | None = None
    metrics_bind: str = ""
    extra: str = ""

    def __post_init__(self) -> None:
        check.name(self.name, "app")
        if len(self.colours) != 2 or len(self.members) != 2 or len(set(self.colours)) != 2:
            raise InvalidError(f"colours is {list(self.colours)!r}", "the names of two colours, with members for each")
        for colour in self.colours:
            check.name(colour, "a colour")
        for bind in self.binds:
            check.word(bind.partition(" ")[0], "bind")
            check.words(bind, "bind")
        if not self.bind:
            raise InvalidError("bind is empty", "where the app is reached", "Set it, as in *:80")
        check.path(self.map, "map")
        check.section(self.extra, "extra")
        self._check_timeouts()

    @property
    def binds(self) -> list[str]:
        return [*self.bind, *([self.metrics_bind] if self.metrics_bind else [])]

    @property
    def names(self) -> list[str]:
        """Of its sections."""
        more = [f"{self.name}_metrics"] if self.metrics_bind else []
        return [self.name, *(f"{self.name}_{colour}" for colour in self.colours), *more]

    def text(self, *, loads_state: bool) -> str:
        """Its part of the configuration. ``loads_state``: the global section names a server state file."""
        parts = [self._frontend()]
        parts += [self._backend(*each, loads_state) for each in zip(self.colours, self.members)]
        if self.metrics_bind:
            parts.append(self._metrics())
        sections = ["\n".join(_indented(part)) for part in parts]
        return "\n\n".join([*sections, *([self.extra.strip("\n")] if self.extra.strip() else [])]) + "\n"

    def _frontend(self) -> list[str]:
        first, second = self.colours
        chosen = "{ var(txn.bucket),sub(txn.share) lt 0 }"
        undecided = "if !{ var(txn.colour) -m found }"
        return [
            f"frontend {self.name}",
            "mode http",
            "log global",
            "option httplog",
            *self._timeouts_of(FRONT),
            *(f"bind {bind}" for bind in self.bind),
            "# A request that was sent may be sent again only where that is harmless",
            "http-request disable-l7-retry unless METH_GET || { method HEAD OPTIONS }",
            "",
            "# The map entry is read once for each request, so active, candidate and share always belong together",
            f"http-request set-var(txn.route) str({self.name}),map({self.map},{first}:{second}:0)",
            "http-request set-var(txn.active) var(txn.route),field(1,:)",
            "http-request set-var(txn.candidate) var(txn.route),field(2,:)",
            "http-request set-var(txn.share) var(txn.route),field(3,:),add(0)",
            "",
            *(self.test.lines(self.colours) if self.test else []),
            "# Canary: each request, or client, is in one of 10,000 buckets; those below the share go to the candidate",
            *self.sticky.bucket(),
            "http-request set-var(txn.bucket) rand(10000) if !{ var(txn.bucket) -m found }",
            f"http-request set-var(txn.colour) var(txn.candidate) {undecided} {chosen}",
            f"http-request set-var(txn.colour) var(txn.active) {undecided}",
            *self.sticky.answer(),
            f"use_backend {self.name}_%[var(txn.colour)]",
            f"default_backend {self.name}_{first}",
        ]

    def _backend(self, colour: str, members: Members, loads_state: bool) -> list[str]:
        return [
            f"backend {self.name}_{colour}",
            "mode http",
            "log global",
            *self._timeouts_of(BACK),
            *(["load-server-state-from-file global"] if loads_state else []),
            "option redispatch 1",
            "retries 3",
            "retry-on conn-failure empty-response",
            *members.lines(colour),
        ]

    def _metrics(self) -> list[str]:
        return [
            f"frontend {self.name}_metrics",
            "mode http",
            *self._timeouts_of(FRONT),
            f"bind {self.metrics_bind}",
            "http-request use-service prometheus-exporter if { path /metrics }",
            "http-request return status 404",
        ]

    def _timeouts_of(self, side: frozenset[str]) -> list[str]:
        return [f"timeout {name} {value}" for name, value in self.timeouts.items() if name in side]

    def _check_timeouts(self) -> None:
        for name, value in self.timeouts.items():
            if name not in FRONT | BACK:
                raise InvalidError(f"timeouts has {name[:40]!r}", ", ".join(sorted(FRONT | BACK)), "Name one of them")
            check.duration(str(value), f"the timeout {name}")


def _indented(lines: t.Sequence[str]) -> list[str]:
    return [lines[0], *(f"    {line}" if line else "" for line in lines[1:])]
