# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The istio provider: weights of destinations in a VirtualService. Private to this collection.

Source: istio.io/latest/docs/reference/config/networking/virtual-service (HTTPRoute, HTTPRouteDestination).
"""

from __future__ import annotations

import typing as t

from .._errors import InvalidError, MissingError
from .._kubernetes.client import Json, connect
from .._kubernetes.weights import Layout, Place, Weights
from .router import Activity, Capabilities
from .split import Split
from .weighted import Weighted

GROUP = "networking.istio.io"


class Istio(Weighted):
    """One HTTP route of a VirtualService, whose two destinations are the colours: two subsets, or two hosts."""

    capabilities = Capabilities(finest_step=100, sticky=False, counts_connections=False, survives_reload=True)
    kind = "virtualservice"

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
        part = "host" if hosts else "subset"
        self._colour_of = {name: colour for colour, name in names.items()}
        weights = Weights(
            connect(options),
            f"/apis/{GROUP}/{options['api_version']}/namespaces/{options['namespace']}/virtualservices/{name}",
            f"VirtualService {name}",
            colours,
            Layout(
                self._locate,
                self._locate_test if options["test_http_route"] else None,
                lambda each: self._colour_of.get(each["destination"].get(part, "")),
                lambda each: int(each.get("weight", 0)),
            ),
        )
        super().__init__(options, name, weights)
        self._part = part

    def verify(self, wanted: Split) -> bool | None:
        """The object may say otherwise; whether every proxy has it already, it cannot say."""
        return None if self._weights.holds(wanted) else False

    def observe(self) -> dict[str, Activity] | None:
        return None

    def _locate(self, service: Json) -> Place:
        """The route that was named, or the one that has both colours."""
        wanted, test = self._options["http_route"], self._options["test_http_route"]
        if wanted:
            return self._named(service, wanted)
        both = f"to both {' and '.join(self._colour_of)}"
        return self._one(service, lambda route: self._has_both(route) and (not test or route.get("name") != test), both)

    def _locate_test(self, service: Json) -> Place:
        return self._named(service, self._options["test_http_route"])

    def _named(self, service: Json, name: str) -> Place:
        return self._one(service, lambda route: route.get("name") == name, f"named {name}")

    def _one(self, service: Json, fits: t.Callable[[Json], bool], what: str) -> Place:
        routes = service["spec"].get("http") or []
        found = [number for number, route in enumerate(routes) if fits(route)]
        if len(found) != 1:
            raise MissingError(
                f"VirtualService {self._name} has {len(found)} HTTP routes {what}", "one", "Name it in http_route"
            )
        return f"/spec/http/{found[0]}/route", routes[found[0]].get("route") or []

    def _has_both(self, route: Json) -> bool:
        return {*self._colour_of} <= {each["destination"].get(self._part) for each in route.get("route") or ()}
