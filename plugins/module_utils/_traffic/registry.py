# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name to provider. Private to this collection.

Literal imports: AnsiballZ ships only what it can read. A provider's router is imported when it is built, so that a task
does not compile the clients of all others, which was half of the time that a task on HAProxy took to begin.
"""

from __future__ import annotations

import typing as t

from .._errors import InvalidError
from .alb import PROVIDER as ALB
from .gateway_api import PROVIDER as GATEWAY_API
from .haproxy import PROVIDER as HAPROXY
from .istio import PROVIDER as ISTIO
from .kubernetes import PROVIDER as KUBERNETES
from .kubernetes_workers import PROVIDER as KUBERNETES_WORKERS
from .route import Route
from .route53 import PROVIDER as ROUTE53
from .router import Provider
from .split import colour_pair

PROVIDERS: dict[str, Provider] = {
    provider.name: provider for provider in (ALB, GATEWAY_API, HAPROXY, ISTIO, KUBERNETES, KUBERNETES_WORKERS, ROUTE53)
}

ROUTES_SPEC: dict[str, t.Any] = {
    "routes": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "provider": {"type": "str", "required": True, "choices": list(PROVIDERS)},
            **{provider.name: provider.spec for provider in PROVIDERS.values()},
        },
        "required_if": [("provider", provider, (provider,)) for provider in PROVIDERS],
    },
    "colours": {"type": "list", "elements": "str", "default": ["blue", "green"]},
}
"""The argument spec that every module about routes shares; documented in doc_fragments/routes.py."""


def build_routes(params: t.Mapping[str, t.Any]) -> tuple[tuple[str, str], list[Route]]:
    """The two colours and the routes of a module's parameters; contacts nobody."""
    colours = colour_pair(params["colours"])
    routes = [_build(colours, route) for route in params["routes"] or ()]
    names = [route.name for route in routes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidError(f"two routes are named {twice[0]!r}", "a name of its own for each route")
    if not routes:
        raise InvalidError("there are no routes", "at least one")
    return colours, routes


def _build(colours: tuple[str, str], route: t.Mapping[str, t.Any]) -> Route:
    try:
        provider = PROVIDERS[_given(route, "provider")]
        return Route(_given(route, "name"), provider.build(colours, _given(route, provider.name)))
    except InvalidError as error:
        raise error.of(f"route {route['name']}") from error


def _given(options: t.Mapping[str, t.Any], name: str) -> t.Any:
    """A required option: Ansible itself is content with one that is null or empty."""
    if not options[name]:
        raise InvalidError(f"{name} is empty", "a value")
    return options[name]
