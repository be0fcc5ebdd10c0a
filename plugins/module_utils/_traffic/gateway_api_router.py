# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway_api provider: weights of backendRefs in an HTTPRoute. Private to this collection.

Source: gateway-api.sigs.k8s.io/guides/traffic-splitting and /reference/spec (HTTPBackendRef: a weight is 1 by default).
"""

from __future__ import annotations

import typing as t

from .._errors import InvalidError, MissingError
from .._kubernetes.client import Json, connect
from .._kubernetes.pods import endpoints
from .._kubernetes.slices import Slices
from .._kubernetes.weights import Layout, Place, Weights
from .router import Activity, Capabilities
from .split import Split
from .weighted import Weighted

GROUP = "gateway.networking.k8s.io"


class GatewayApi(Weighted):
    """One rule of an HTTPRoute, whose two backends are the colours' Services; and one for test traffic."""

    capabilities = Capabilities(finest_step=1, sticky=False, counts_connections=False, survives_reload=True)
    kind = "httproute"

    def __init__(self, colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> None:
        backends = options["backends"]
        unnamed = [colour for colour in colours if not isinstance(backends.get(colour), str)]
        if unnamed or len(set(backends.values())) != len(colours):
            raise InvalidError(f"backends is {backends}", f"a Service for {' and '.join(colours)}")
        self._test_rule = options["test_rule"]
        if self._test_rule is not None and self._test_rule == options["rule"]:
            raise InvalidError(f"test_rule is {self._test_rule}, as rule is", "another rule")
        client, namespace, name = connect(options), options["namespace"], options["http_route"]
        self._colour_of = {service: colour for colour, service in backends.items()}
        weights = Weights(
            client,
            f"/apis/{GROUP}/{options['api_version']}/namespaces/{namespace}/httproutes/{name}",
            f"HTTPRoute {name}",
            colours,
            Layout(
                self._locate,
                self._locate_test if self._test_rule is not None else None,
                lambda each: self._colour_of.get(each["name"]),
                lambda each: int(each.get("weight", 1)),
            ),
        )
        super().__init__(options, name, weights)
        self._slices = {colour: Slices(client, namespace, backends[colour]) for colour in colours}

    def verify(self, wanted: Split) -> bool | None:
        """Every gateway that the route is attached to says that it has seen this generation. None: none says it."""
        if not self._weights.holds(wanted):
            return False
        route = self._weights.known
        seen = [
            condition["observedGeneration"]
            for parent in route.get("status", {}).get("parents") or ()
            for condition in parent.get("conditions") or ()
            if "observedGeneration" in condition
        ]
        return min(seen) >= route["metadata"]["generation"] if seen else None

    def observe(self) -> dict[str, Activity] | None:
        found = {colour: endpoints(slices.look()) for colour, slices in self._slices.items()}
        return {colour: Activity(len(pods), sum(pods.values())) for colour, pods in found.items()}

    def _locate(self, route: Json) -> Place:
        """The backends of the rule that was named, or of the one that has both colours."""
        number = self._options["rule"]
        if number is None:
            both = [at for at, rule in enumerate(_rules(route)) if self._has_both(rule) and at != self._test_rule]
            if len(both) != 1:
                raise MissingError(
                    f"HTTPRoute {self._name} has {len(both)} rules with both {' and '.join(self._colour_of)}",
                    "one, or rule to name it by its number, from 0",
                )
            number = both[0]
        return self._backends(route, number)

    def _locate_test(self, route: Json) -> Place:
        return self._backends(route, t.cast(int, self._test_rule))

    def _backends(self, route: Json, number: int) -> Place:
        rules = _rules(route)
        if not 0 <= number < len(rules):
            raise MissingError(f"HTTPRoute {self._name} has {len(rules)} rules", f"a rule {number}, counted from 0")
        return f"/spec/rules/{number}/backendRefs", rules[number].get("backendRefs") or []

    def _has_both(self, rule: Json) -> bool:
        return {*self._colour_of} <= {each["name"] for each in rule.get("backendRefs") or ()}


def _rules(route: Json) -> list[Json]:
    return route["spec"].get("rules") or []
