# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway_api provider: weights of backendRefs in an HTTPRoute or GRPCRoute. Private to this collection.

Source: gateway-api.sigs.k8s.io/guides/traffic-splitting and /reference/spec (HTTPBackendRef: a weight is 1 by default).
"""

from __future__ import annotations

import typing as t

from .._errors import InvalidError, MissingError, NotReadyError, NotVerifiedError
from .._kubernetes import route_status
from .._kubernetes.client import Json, connect_in
from .._kubernetes.pods import endpoints
from .._kubernetes.slices import Slices
from .._kubernetes.weights import Layout, Place, Weights
from .router import Activity, Capabilities
from .split import Split
from .weighted import Weighted

GROUP = "gateway.networking.k8s.io"


class GatewayApi(Weighted):
    """The rules of a route whose two backends are the colours' Services; and one for test traffic."""

    capabilities = Capabilities(finest_step=1, sticky=False, counts_connections=False, survives_reload=True)
    rules = "rules"

    def __init__(self, colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> None:
        self._test_rule = options["test_rule"]
        if self._test_rule is not None and self._test_rule == options["rule"]:
            raise InvalidError(f"test_rule is {self._test_rule}, as rule is", "another rule")
        (client, options), kind = connect_in(options), options["kind"]
        self._namespace, name = options["namespace"], options["http_route"]
        self._backends = _backends(colours, options["backends"], self._namespace)
        self._colour_of = {place: colour for colour, place in self._backends.items()}
        plural = f"{kind.lower()}s"
        weights = Weights(
            client,
            f"/apis/{GROUP}/{options['api_version']}/namespaces/{self._namespace}/{plural}/{name}",
            f"{kind} {name}",
            colours,
            Layout(
                self._locate,
                self._locate_test if self._test_rule is not None else None,
                lambda each: self._colour_of.get(self._place(each)),
                lambda each: int(each.get("weight", 1)),
            ),
        )
        super().__init__(options, plural, name, weights)
        self._slices = {colour: Slices(client, *place) for colour, place in self._backends.items()}

    def check(self, wanted: Split) -> None:
        super().check(wanted)
        said = route_status.objections(self._weights.known)
        if said and not (self.home or self.forced):
            raise NotReadyError(
                f"{self._weights.what} is not in force: {'; '.join(said)}",
                "one that every gateway accepts",
                "Put right what the gateway names, or its users get nothing of what is changed here",
            )

    def verify(self, wanted: Split) -> bool | None:
        """Every gateway that the route is attached to says that it has seen this generation, and objects to nothing.

        None: not all of them say what they have seen, or somebody else has a share.
        """
        if not self._weights.holds(wanted):
            return False
        seen, said = route_status.has_seen(self._weights.known), route_status.objections(self._weights.known)
        if said and seen is not False and not (self.home or self.forced):
            raise NotVerifiedError(
                f"{self._weights.what} was changed, and {'; '.join(said)}",
                "every gateway to accept it",
                "Put right what the gateway names",
            )
        return None if seen and self._weights.strangers() else seen

    def observe(self) -> dict[str, Activity] | None:
        found = {colour: endpoints(slices.look()) for colour, slices in self._slices.items()}
        return {colour: Activity(len(pods), sum(pods.values())) for colour, pods in found.items()}

    def _locate(self, route: Json) -> list[Place]:
        """The backends of the rule that was named, or of each one that has both colours."""
        number = self._options["rule"]
        if number is not None:
            return [self._at(route, number)]
        both = [at for at, rule in enumerate(_rules(route)) if self._has_both(rule) and at != self._test_rule]
        if not both:
            raise MissingError(
                f"{self._weights.what} has no rule with both {' and '.join(_words(p) for p in self._colour_of)}",
                "one, or rule to name it by its number, from 0",
            )
        return [self._at(route, at) for at in both]

    def _locate_test(self, route: Json) -> Place:
        return self._at(route, t.cast(int, self._test_rule))

    def _at(self, route: Json, number: int) -> Place:
        rules = _rules(route)
        if not 0 <= number < len(rules):
            raise MissingError(f"{self._weights.what} has {len(rules)} rules", f"a rule {number}, counted from 0")
        return f"/spec/rules/{number}/backendRefs", rules[number].get("backendRefs") or []

    def _has_both(self, rule: Json) -> bool:
        return {*self._colour_of} <= {self._place(each) for each in rule.get("backendRefs") or ()}

    def _place(self, backend: Json) -> tuple[str, str]:
        return backend.get("namespace") or self._namespace, backend["name"]


def _backends(colours: tuple[str, str], named: t.Mapping[str, t.Any], namespace: str) -> dict[str, tuple[str, str]]:
    """Namespace and name of each colour's Service."""
    unnamed = [colour for colour in colours if not isinstance(named.get(colour), str)]
    if unnamed or len(set(named.values())) != len(colours):
        raise InvalidError(f"backends is {named}", f"a Service for {' and '.join(colours)}")
    parts = {colour: named[colour].rpartition("/") for colour in colours}
    return {colour: (where or namespace, name) for colour, (where, _slash, name) in parts.items()}


def _words(place: tuple[str, str]) -> str:
    return place[1]


def _rules(route: Json) -> list[Json]:
    return route["spec"].get("rules") or []
