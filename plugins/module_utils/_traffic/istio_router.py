# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The istio provider: weights of destinations in a VirtualService. Private to this collection.

Source: istio.io/latest/docs/reference/config/networking/virtual-service (HTTPRoute, HTTPRouteDestination).
"""

from __future__ import annotations

import typing as t

from .._errors import InvalidError, MissingError
from .._kubernetes.client import Json, connect_in
from .._kubernetes.mesh import GROUP, Destination, Mesh
from .._kubernetes.pods import activity
from .._kubernetes.weights import Layout, Place, Weights
from .router import Activity, Capabilities
from .split import Split
from .weighted import Weighted


class Istio(Weighted):
    """The HTTP routes of a VirtualService whose two destinations are the colours: two subsets, or two hosts."""

    capabilities = Capabilities(finest_step=100, sticky=False, counts_connections=False, survives_reload=True)
    rules = "http"

    def __init__(self, colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> None:
        subsets, hosts = options["subsets"], options["hosts"]
        if subsets and hosts:
            raise InvalidError("both subsets and hosts are set", "one of them")
        names = hosts or subsets or {colour: colour for colour in colours}
        unnamed = [colour for colour in colours if not isinstance(names.get(colour), str)]
        if unnamed or len(set(names.values())) != len(colours):
            what = "hosts" if hosts else "subsets"
            raise InvalidError(f"{what} is {names}", f"one of its own for {' and '.join(colours)}")
        if options["test_http_route"] and options["test_http_route"] == options["http_route"]:
            raise InvalidError(f"test_http_route is {options['http_route']}, as http_route is", "another one")
        name = options["virtual_service"]
        client, options = connect_in(options)
        part, namespace = "host" if hosts else "subset", options["namespace"]
        self._colour_of = {name: colour for colour, name in names.items()}
        weights = Weights(
            client,
            f"/apis/{GROUP}/{options['api_version']}/namespaces/{namespace}/virtualservices/{name}",
            f"VirtualService {name}",
            colours,
            Layout(
                self._locate,
                self._locate_test if options["test_http_route"] else None,
                lambda each: self._colour_of.get(each["destination"].get(part, "")),
                lambda each: int(each.get("weight", 0)),
            ),
        )
        super().__init__(options, "virtualservice", name, weights)
        self._part, self._namespace, self._colours = part, namespace, colours
        self._mesh = Mesh(client, namespace, options["api_version"])

    def check(self, wanted: Split) -> None:
        super().check(wanted)
        if self.home or self.forced:
            return
        for colour in self._colours:
            if wanted.share(colour):
                self._pods(colour)

    def verify(self, wanted: Split) -> bool | None:
        """The object may say otherwise; whether every proxy has it already, it cannot say."""
        return None if self._weights.holds(wanted) else False

    def observe(self) -> dict[str, Activity] | None:
        """None: what is behind a destination cannot be known here, such as a host outside of the cluster."""
        found = {colour: self._pods(colour) for colour in self._colours}
        known = {colour: activity(pods) for colour, pods in found.items() if pods is not None}
        return known if len(known) == len(found) else None

    def _pods(self, colour: str) -> list[Json] | None:
        for each in self._weights.destinations():
            if self._colour_of.get(each["destination"].get(self._part, "")) == colour:
                return self._mesh.pods(Destination.of(each["destination"], self._namespace))
        return None

    def _locate(self, service: Json) -> list[Place]:
        """The route that was named, or each one that has both colours."""
        wanted, test = self._options["http_route"], self._options["test_http_route"]
        if wanted:
            return [self._named(service, wanted)]
        routes = _routes(service)
        both = [at for at, each in enumerate(routes) if self._has_both(each) and (not test or each.get("name") != test)]
        if not both:
            raise MissingError(
                f"VirtualService {self._name} has no HTTP route to both {' and '.join(self._colour_of)}",
                "one",
                "Name it in http_route, and the destinations in subsets or hosts",
            )
        return [_at(routes, at) for at in both]

    def _locate_test(self, service: Json) -> Place:
        return self._named(service, self._options["test_http_route"])

    def _named(self, service: Json, name: str) -> Place:
        routes = _routes(service)
        found = [at for at, each in enumerate(routes) if each.get("name") == name]
        if len(found) != 1:
            raise MissingError(f"VirtualService {self._name} has {len(found)} HTTP routes named {name}", "one")
        return _at(routes, found[0])

    def _has_both(self, route: Json) -> bool:
        return {*self._colour_of} <= {each["destination"].get(self._part) for each in route.get("route") or ()}


def _routes(service: Json) -> list[Json]:
    return service["spec"].get("http") or []


def _at(routes: t.Sequence[Json], number: int) -> Place:
    return f"/spec/http/{number}/route", routes[number].get("route") or []
