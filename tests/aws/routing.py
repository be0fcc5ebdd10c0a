# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which target a request goes to: rules, weights, stickiness. Frozen values, made anew at each change of the API."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import ipaddress
import itertools
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl

from .target import Target

COOKIE = "AWSALBTG"
KEPT = 7 * 86_400  # seconds a browser is told to keep the cookie; the stickiness ends by what is written in it


@dataclass(frozen=True)
class Request:
    """What conditions look at."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    client: str

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def value(self, name: str) -> str:
        return next(iter(self.values(name)), "")


@dataclass(frozen=True)
class Group:
    arn: str
    weight: int
    members: tuple[Target, ...]


@dataclass(frozen=True)
class Forward:
    groups: tuple[Group, ...]
    sticky: int | None
    """Seconds; None: switched off."""


@dataclass(frozen=True)
class Fixed:
    status: int
    content_type: str
    body: str


@dataclass(frozen=True)
class Redirect:
    status: int
    url: str
    """With #{protocol}, #{host}, #{port}, #{path} and #{query} to be filled in."""

    def location(self, request: Request, protocol: str, port: int) -> str:
        host = request.value("host").partition(":")[0]
        parts = {"protocol": protocol, "host": host, "port": str(port), "path": request.path.lstrip("/")}
        return re.sub(r"#\{(\w+)\}", lambda found: {**parts, "query": request.query}.get(found[1], ""), self.url)


Action = Forward | Fixed | Redirect
Condition = Callable[[Request], bool]


@dataclass(frozen=True)
class Rule:
    conditions: tuple[Condition, ...]
    actions: tuple[Action, ...]

    def takes(self, request: Request) -> bool:
        return all(condition(request) for condition in self.conditions)


@dataclass(frozen=True)
class Listener:
    arn: str
    protocol: str
    port: int
    """What the API calls it; it listens on another one, on loopback."""
    rules: tuple[Rule, ...]
    """By priority, the default one last."""

    def action(self, request: Request) -> Action | None:
        rule = next((rule for rule in self.rules if rule.takes(request)), None)
        return rule.actions[-1] if rule and rule.actions else None


# --- From what the API holds ------------------------------------------------------------------------------


def listener_of(listener: Any, rules: Iterable[Any], members: Callable[[str], Iterable[Target]]) -> Listener:
    """``members`` gives the targets of a group, by its ARN."""
    made = [_rule(rule, members) for rule in rules]
    return Listener(listener.arn, str(listener.protocol), int(listener.port), tuple(made))


def _rule(rule: Any, members: Callable[[str], Iterable[Target]]) -> Rule:
    conditions = tuple(_condition(condition) for condition in rule.conditions)
    actions = sorted((action.data for action in rule.actions), key=lambda data: int(data.get("Order") or 1))
    made = (_action(data, members) for data in actions)
    return Rule(conditions, tuple(action for action in made if action))


def _action(data: Mapping[str, Any], members: Callable[[str], Iterable[Target]]) -> Action | None:
    """None: one that only lets in, such as authenticate-oidc; here everybody is let in."""
    if data["Type"] == "forward":
        config = data["ForwardConfig"]
        sticky = config.get("TargetGroupStickinessConfig") or {}
        groups = (
            Group(each["TargetGroupArn"], int(each["Weight"]), tuple(members(each["TargetGroupArn"])))
            for each in config["TargetGroups"]
        )
        return Forward(tuple(groups), int(sticky["DurationSeconds"]) if sticky.get("Enabled") else None)
    if data["Type"] == "fixed-response":
        config = data["FixedResponseConfig"]
        body = config.get("MessageBody") or ""
        return Fixed(int(config["StatusCode"]), config.get("ContentType") or "text/plain", body)
    if data["Type"] == "redirect":
        config = data["RedirectConfig"]
        part = {name: config.get(name) or f"#{{{name.lower()}}}" for name in ("Protocol", "Host", "Port", "Query")}
        path = config.get("Path") or "/#{path}"
        url = f"{part['Protocol'].lower()}://{part['Host']}:{part['Port']}{path}?{part['Query']}"
        return Redirect(int(str(config["StatusCode"]).removeprefix("HTTP_")), url)
    return None


def _condition(told: Mapping[str, Any]) -> Condition:
    """docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html"""
    makers: dict[str, Callable[[Mapping[str, Any]], Condition]] = {
        "host-header": _host,
        "path-pattern": _path,
        "http-header": _header,
        "http-request-method": _method,
        "query-string": _query,
        "source-ip": _source,
    }
    return makers[told["Field"]](told)


def _values(told: Mapping[str, Any], config: str) -> list[Any]:
    return list((told.get(config) or {}).get("Values") or told.get("Values") or ())


def _like(value: str, patterns: Iterable[str], case: bool = False) -> bool:
    """With * and ? only: AWS knows no [sets]."""
    fold = str if case else str.lower
    plain = (fold(pattern).replace("[", "[[]") for pattern in patterns)
    return any(fnmatch.fnmatchcase(fold(value), pattern) for pattern in plain)


def _host(told: Mapping[str, Any]) -> Condition:
    patterns = _values(told, "HostHeaderConfig")
    return lambda request: _like(request.value("host").partition(":")[0], patterns)


def _path(told: Mapping[str, Any]) -> Condition:
    patterns = _values(told, "PathPatternConfig")
    return lambda request: _like(request.path, patterns, case=True)


def _header(told: Mapping[str, Any]) -> Condition:
    name, patterns = told["HttpHeaderConfig"]["HttpHeaderName"], _values(told, "HttpHeaderConfig")
    return lambda request: any(_like(value, patterns) for value in request.values(name))


def _method(told: Mapping[str, Any]) -> Condition:
    methods = _values(told, "HttpRequestMethodConfig")
    return lambda request: request.method in methods


def _query(told: Mapping[str, Any]) -> Condition:
    wanted = [(each.get("Key"), each["Value"]) for each in _values(told, "QueryStringConfig")]

    def takes(request: Request) -> bool:
        given = parse_qsl(request.query, keep_blank_values=True)
        return any(
            (key is None or _like(name, [key])) and _like(value, [pattern])
            for name, value in given
            for key, pattern in wanted
        )

    return takes


def _source(told: Mapping[str, Any]) -> Condition:
    networks = [ipaddress.ip_network(each, strict=False) for each in _values(told, "SourceIpConfig")]
    return lambda request: any(ipaddress.ip_address(request.client) in network for network in networks)


# --- The choice -------------------------------------------------------------------------------------------


def cookie_for(arn: str, seconds: int) -> str:
    """Renewed with every answer. What is in it is AWS's own affair, and of no use to a client."""
    content = json.dumps([arn, time.time() + seconds]).encode()
    value = base64.urlsafe_b64encode(content).decode().rstrip("=")
    return f"{COOKIE}={value}; Max-Age={KEPT}; Path=/"


def _stuck_to(request: Request) -> str | None:
    """The group that the client's cookie names, while it holds."""
    for header in request.values("cookie"):
        try:
            morsel = SimpleCookie(header).get(COOKIE)
            if morsel is None:
                continue
            arn, until = json.loads(base64.urlsafe_b64decode(morsel.value + "=" * (-len(morsel.value) % 4)))
        except (CookieError, binascii.Error, ValueError, TypeError):
            continue
        if float(until) > time.time():
            return str(arn)
    return None


@dataclass
class Chooser:
    """Round robin within a group, a weighted toss among groups."""

    turns: dict[str, Iterator[int]] = field(default_factory=dict)
    random: random.Random = field(default_factory=random.Random)

    def group(self, forward: Forward, request: Request) -> Group | None:
        """A sticky client's before all weights, as long as its group is in the action; None: there is nobody.

        docs.aws.amazon.com/elasticloadbalancing/latest/application/sticky-sessions.html
        """
        if forward.sticky is not None and (arn := _stuck_to(request)):
            for group in forward.groups:
                if group.arn == arn:
                    return group
        weights = [group.weight for group in forward.groups]
        return self.random.choices(forward.groups, weights)[0] if any(weights) else None

    def target(self, group: Group) -> Target | None:
        """A healthy one; where none is, any that is registered (fail open).

        docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
        """
        registered = [target for target in group.members if target.registered]
        able = [target for target in registered if target.serves] or registered
        turn = self.turns.setdefault(group.arn, itertools.count())
        return able[next(turn) % len(able)] if able else None
