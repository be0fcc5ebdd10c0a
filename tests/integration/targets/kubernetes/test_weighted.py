# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTPRoutes and VirtualServices keep what the engine takes for granted, and all that is not ours in them."""

from __future__ import annotations

import copy
import json
import shlex
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from plugins.module_utils._errors import ConflictError, NotVerifiedError
from plugins.module_utils._kubernetes.client import connect
from plugins.module_utils._kubernetes.options import CONNECTION_SPEC
from plugins.module_utils._kubernetes.pods import endpoints
from plugins.module_utils._kubernetes.slices import Slices
from plugins.module_utils._traffic.registry import PROVIDERS
from plugins.module_utils._traffic.route import Route
from plugins.module_utils._traffic.router import Router
from plugins.module_utils._traffic.switch import Order, switch
from tests.cluster.api import JSON_PATCH, Object, location
from tests.cluster.cluster import Handle
from tests.cluster.manifests import deployment, service
from tests.integration.balancer import BLUE, COLOURS, GREEN, green
from tests.integration.contract import SHARED_SPLITS, Case, Contract
from tests.unit.plugins.modules.process import run_module

HEADER = {"name": "x-canary", "value": "yes"}
ROUNDS = 100


def http_route(namespace: str, follows: bool = False) -> Object:
    """The first rule is for test traffic, by a header, which may follow the idle colour; the second one is switched."""
    backends = [{"name": "shop-blue", "port": 80, "weight": 100}, {"name": "shop-green", "port": 80, "weight": 0}]
    tested = turned(backends) if follows else [{"name": "shop-green", "port": 80}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"namespace": namespace, "name": "shop"},
        "spec": {
            "parentRefs": [{"name": "front"}],
            "rules": [
                {"matches": [{"headers": [HEADER]}], "backendRefs": tested},
                {"filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": "shop"}}], "backendRefs": backends},
            ],
        },
    }


def virtual_service(namespace: str, follows: bool = False) -> Object:
    to = {colour: {"host": "shop", "subset": colour} for colour in COLOURS}
    main = [{"destination": to["blue"], "weight": 100}, {"destination": to["green"], "weight": 0}]
    return {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"namespace": namespace, "name": "shop"},
        "spec": {
            "hosts": ["shop"],
            "http": [
                {
                    "name": "test traffic",
                    "match": [{"headers": {"x-canary": {"exact": "yes"}}}],
                    "route": turned(main) if follows else [{"destination": to["green"]}],
                },
                {"name": "main", "timeout": "2s", "route": main},
            ],
        },
    }


def turned(main: list[Object]) -> list[Object]:
    """The same destinations with the weights the other way round."""
    return [{**each, "weight": 100 - each["weight"]} for each in main]


@dataclass(frozen=True)
class Kind:
    """A provider, an object of its, and what the options of its route are besides the cluster."""

    provider: str
    manifest: Any
    options: dict[str, Any]
    main: str
    """Where in the spec the list of rules is, of which the second one is switched."""


GATEWAY = {"http_route": "shop", "backends": {"blue": "shop-blue", "green": "shop-green"}}
KINDS = {
    "gateway_api": Kind("gateway_api", http_route, GATEWAY, "rules"),
    "istio": Kind("istio", virtual_service, {"virtual_service": "shop"}, "http"),
}
FOLLOWING = {
    "gateway_api": Kind("gateway_api", partial(http_route, follows=True), {**GATEWAY, "test_rule": 0}, "rules"),
    "istio": Kind(
        "istio",
        partial(virtual_service, follows=True),
        {"virtual_service": "shop", "test_http_route": "test traffic"},
        "http",
    ),
}
"""Whose test traffic goes to the idle colour."""


class Routed:
    """An object in the cluster that gives everything to blue, and the way to it."""

    def __init__(self, cluster: Handle, namespace: str, kind: Kind) -> None:
        self.cluster, self.namespace, self.kind = cluster, namespace, kind
        self.manifest = kind.manifest(namespace)
        cluster.apply(self.manifest)
        self.fresh = self.spec()

    def spec(self) -> Any:
        return self.cluster.get(self.manifest)["spec"]

    def others(self) -> Any:
        """All but the list of destinations that is ours."""
        spec = copy.deepcopy(self.spec())
        del spec[self.kind.main][1][self.list_name]
        return spec

    def weigh_nothing(self) -> None:
        """As somebody else does it."""
        spec = copy.deepcopy(self.spec())
        for each in spec[self.kind.main][1][self.list_name]:
            each["weight"] = 0
        self.cluster.admin.patch(location(self.manifest), {"spec": spec})

    @property
    def list_name(self) -> str:
        return "backendRefs" if self.kind.provider == "gateway_api" else "route"

    def weights(self, rule: int) -> list[int]:
        """Of blue and green."""
        return [each.get("weight") for each in self.spec()[self.kind.main][rule][self.list_name]]

    def options(self, **more: Any) -> dict[str, Any]:
        where = {"namespace": self.namespace, "kubeconfig": str(self.cluster.kubeconfig)}
        return {**where, **self.kind.options, **more}

    def router(self) -> Router:
        provider = PROVIDERS[self.kind.provider]
        defaults = {name: option.get("default") for name, option in provider.spec["options"].items()}
        return provider.build(COLOURS, {**defaults, **self.options()})

    def module(self, name: str, more: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        route = {
            "name": "shop",
            "provider": self.kind.provider,
            self.kind.provider: self.options(**(more or {})),
        }
        return run_module(name, routes=[route], **options)


@pytest.fixture(scope="module")
def served(cluster: Handle) -> Iterator[str]:
    """A namespace with two ready pods of each colour behind Services of their own."""
    cluster.install_crds()
    client = connect({**dict.fromkeys(CONNECTION_SPEC), "kubeconfig": str(cluster.kubeconfig), "timeout": 10.0})
    with cluster.namespace() as namespace:
        for colour in COLOURS:
            cluster.apply(deployment(namespace, colour, replicas=2), service(namespace, colour, f"shop-{colour}"))
        for colour in COLOURS:
            slices = Slices(client, namespace, f"shop-{colour}")
            assert slices.until(lambda found: sum(endpoints(found).values()) == 2, 60)
        yield namespace


@pytest.fixture(params=KINDS)
def routed(request: pytest.FixtureRequest, cluster: Handle, served: str) -> Iterator[Routed]:
    made = Routed(cluster, served, KINDS[request.param])
    yield made
    cluster.admin.delete(location(made.manifest))


@pytest.fixture(params=FOLLOWING)
def following(request: pytest.FixtureRequest, cluster: Handle, served: str) -> Iterator[Routed]:
    made = Routed(cluster, served, FOLLOWING[request.param])
    yield made
    cluster.admin.delete(location(made.manifest))


@pytest.fixture
def case(routed: Routed) -> Case:
    router = routed.router()
    fine = (green(0.01), green(33.33)) if router.capabilities.finest_step == 1 else ()
    left = {"all weights are 0": routed.weigh_nothing}
    return Case(router, routed.spec, (*SHARED_SPLITS, *fine), () if fine else (green(0.5),), left)


class TestWeights(Contract):
    """Of both kinds of object."""


def test_only_the_weights_change(routed: Routed) -> None:
    before = routed.others()
    for share in (10, 50, 100):
        planned = routed.module("traffic", split={"green": share}, _ansible_check_mode=True, _ansible_diff=True)
        done = routed.module("traffic", split={"green": share}, _ansible_diff=True)
        assert planned["diff"] == done["diff"]
        assert done["diff"]["after"]["shop"] == {"shop": {"blue": 100 - share, "green": share}}
        assert routed.others() == before
    assert routed.router().read() == GREEN


def test_nobody_elses_change_is_overwritten(routed: Routed) -> None:
    for number in range(ROUNDS):
        router = routed.router()
        expected = router.read()
        theirs = routed.spec()
        theirs[routed.kind.main][1][routed.list_name][0]["weight"] = 101 + number
        routed.cluster.admin.patch(location(routed.manifest), {"spec": theirs})
        there = routed.spec()
        with pytest.raises(ConflictError):
            router.apply(GREEN, expected)
        assert routed.spec() == there


def broken(routed: Routed) -> dict[str, tuple[Any, str, str]]:
    """By what is wrong: the spec, the code and what is said."""
    gateway, name, whole = routed.kind.provider == "gateway_api", routed.list_name, routed.spec()
    third = {"name": "other", "port": 80, "weight": 5} if gateway else {"destination": {"host": "other"}, "weight": 5}

    def having(change: Any) -> Any:
        spec = copy.deepcopy(whole)
        change(spec[routed.kind.main], spec[routed.kind.main][1][name])
        return spec

    return {
        "a third": (having(lambda _rules, main: main.append(third)), "drift", "gives a share to"),
        "only one": (having(lambda _rules, main: main.pop(1)), "missing", " has no "),
        "two rules that differ": (
            having(lambda rules, _main: rules.append(opposite(rules[1], name))),
            "drift",
            "rules of",
        ),
    }


def opposite(rule: Any, name: str) -> Any:
    return {**rule, name: turned(rule[name])}


def test_all_rules_that_have_both_colours_move_together(routed: Routed) -> None:
    """A route has a rule for each path, and each of them its own list."""
    spec = routed.spec()
    spec[routed.kind.main].append(copy.deepcopy(spec[routed.kind.main][1]))
    spec[routed.kind.main][2].pop("name", None)  # Istio's need none
    routed.cluster.admin.patch(location(routed.manifest), {"spec": spec})
    before = routed.cluster.get(routed.manifest)["metadata"]["generation"]
    assert routed.module("traffic", split={"green": 10})["changed"]
    assert (routed.weights(1), routed.weights(2)) == ([90, 10], [90, 10])
    assert routed.cluster.get(routed.manifest)["metadata"]["generation"] == before + 1


def test_rules_that_differ_are_put_right(routed: Routed) -> None:
    spec = routed.spec()
    spec[routed.kind.main].append(opposite({**spec[routed.kind.main][1], "name": "other"}, routed.list_name))
    routed.cluster.admin.patch(location(routed.manifest), {"spec": spec})
    assert routed.module("traffic", to="blue", on_drift="mend")["changed"]
    assert (routed.weights(1), routed.weights(2)) == ([100, 0], [100, 0])


def test_what_it_cannot_be_is_refused(routed: Routed) -> None:
    for what, (spec, code, said) in broken(routed).items():
        routed.cluster.admin.patch(location(routed.manifest), {"spec": spec})
        there = routed.spec()
        told = routed.module("traffic", to="green")
        assert (told["failure"]["code"], said in told["msg"]) == (code, True), (what, told["msg"])
        assert routed.spec() == there
    routed.cluster.admin.patch(location(routed.manifest), {"spec": routed.fresh})
    assert routed.router().read() == BLUE


def test_one_that_is_not_there_is_missing(routed: Routed) -> None:
    name = "http_route" if routed.kind.provider == "gateway_api" else "virtual_service"
    told = routed.module("traffic", {name: "nobody"}, to="green")
    assert (told["failure"]["code"], 'nobody" not found' in told["msg"]) == ("missing", True), told["msg"]
    told = routed.module("traffic", {"api_version": "v9"}, to="green")
    assert told["failure"]["code"] == "missing", told["msg"]


def test_the_command_by_hand_is_a_json_patch_of_the_weights(routed: Routed) -> None:
    router = routed.router()
    router.read()
    *_words, patch = shlex.split(router.by_hand(GREEN))
    assert [(one["op"], one["path"].rpartition("/")[2], one["value"]) for one in json.loads(patch)] == [
        ("add", "weight", 0),
        ("add", "weight", 100),
    ]
    routed.cluster.admin.patch(location(routed.manifest), json.loads(patch), JSON_PATCH)
    assert router.read() == GREEN


def test_test_traffic_goes_to_the_idle_colour_in_the_same_patch(following: Routed) -> None:
    before = following.cluster.get(following.manifest)["metadata"]["generation"]
    canary = following.module("traffic", split={"green": 10})
    assert canary["changed"], canary
    assert (following.weights(1), following.weights(0)) == ([90, 10], [0, 100])
    planned = following.module("traffic", to="green", _ansible_check_mode=True, _ansible_diff=True)
    assert (following.weights(1), following.weights(0)) == ([90, 10], [0, 100])
    done = following.module("traffic", to="green", _ansible_diff=True)
    assert planned["diff"] == done["diff"]
    tested = {"blue": 100, "green": 0}
    assert done["diff"]["after"]["shop"] == {"shop": {"blue": 0, "green": 100, "test traffic": tested}}
    assert (following.weights(1), following.weights(0)) == ([0, 100], [100, 0])
    assert following.cluster.get(following.manifest)["metadata"]["generation"] == before + 2
    router = following.router()
    router.read()
    *_words, patch = shlex.split(router.by_hand(BLUE))
    assert len(json.loads(patch)) == 4


def test_test_traffic_that_meets_the_live_colour_is_drift_and_can_be_mended(following: Routed) -> None:
    spec = following.spec()
    for each in spec[following.kind.main][0][following.list_name]:
        each["weight"] = 100 - each["weight"]
    following.cluster.admin.patch(location(following.manifest), {"spec": spec})
    told = following.module("traffic", to="green")
    assert (told["failure"]["code"], "test traffic of" in told["msg"]) == ("drift", True), told["msg"]
    assert following.module("traffic", to="blue", on_drift="mend")["changed"]
    assert (following.weights(1), following.weights(0)) == ([100, 0], [0, 100])


def test_somebody_elses_change_of_test_traffic_is_a_conflict(following: Routed) -> None:
    router = following.router()
    expected, theirs = router.read(), following.spec()
    theirs[following.kind.main][0][following.list_name][1]["weight"] = 99
    following.cluster.admin.patch(location(following.manifest), {"spec": theirs})
    there = following.spec()
    with pytest.raises(ConflictError):
        router.apply(GREEN, expected)
    assert following.spec() == there


# --- What gateways say ------------------------------------------------------------------------------------


@pytest.fixture
def attached(cluster: Handle, served: str) -> Iterator[Routed]:
    made = Routed(cluster, served, KINDS["gateway_api"])
    yield made
    cluster.admin.delete(location(made.manifest))


def say(routed: Routed, generation: int | None = None, parent: str = "front", **conditions: str) -> None:
    """What the controller of a gateway writes into the status of the route; by default of its present generation."""
    now = routed.cluster.get(routed.manifest)
    seen = now["metadata"]["generation"] if generation is None else generation
    told = [
        {"type": name, "status": status, "reason": "Told", "observedGeneration": seen}
        for name, status in {"Accepted": "True", "ResolvedRefs": "True", **conditions}.items()
    ]
    one = {"controllerName": "example.com/gateway", "parentRef": {"name": parent}, "conditions": told}
    others = [each for each in now.get("status", {}).get("parents", []) if each["parentRef"]["name"] != parent]
    routed.cluster.admin.patch(f"{location(routed.manifest)}/status", {"status": {"parents": [*others, one]}})


@pytest.mark.parametrize("condition", ["Accepted", "ResolvedRefs"])
def test_a_change_that_a_gateway_does_not_accept_is_undone(attached: Routed, condition: str) -> None:
    say(attached)
    router = attached.router()
    apply = router.apply

    def told(wanted: Any, *more: Any) -> None:
        apply(wanted, *more)
        say(attached, **({condition: "False"} if wanted == GREEN else {}))

    router.apply = told  # type: ignore[method-assign]
    with pytest.raises(NotVerifiedError) as caught:
        switch([Route("shop", router)], Order(GREEN))
    assert f"gateway front (example.com/gateway) says {condition}: False, Told" in caught.value.found
    assert attached.router().read() == BLUE


def test_a_route_that_is_not_accepted_is_not_moved(attached: Routed) -> None:
    say(attached, Accepted="False")
    before = attached.spec()
    told = attached.module("traffic", to="green")
    assert (told["failure"]["code"], "says Accepted: False" in told["msg"]) == ("not_ready", True)
    assert attached.spec() == before


def test_a_gateway_that_answers_a_moment_later_is_waited_for(attached: Routed) -> None:
    say(attached)
    done = threading.Event()

    def follow() -> None:
        while not done.wait(0.2):
            say(attached)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        (route,) = attached.module("traffic", to="green")["routes"]
        assert (route["verified"], route["after"]["green"]) == (True, 100)
        router = attached.router()
        verify = router.verify
        router.verify = lambda wanted: wanted != BLUE and verify(wanted)  # type: ignore[method-assign]
        with pytest.raises(NotVerifiedError):
            switch([Route("shop", router)], Order(BLUE, verify_timeout=0.5))
        assert attached.router().read() == GREEN  # and the way back was waited for, too
    finally:
        done.set()
        thread.join()


def test_a_gateway_that_never_tells_what_it_has_seen_and_one_that_is_gone_hold_up_nobody(attached: Routed) -> None:
    say(attached, generation=0)
    say(attached, generation=1, parent="left")
    (route,) = attached.module("traffic", to="green")["routes"]
    assert (route["verified"], route["after"]["green"]) == (None, 100)


def test_a_grpc_route_is_moved_like_any_other(cluster: Handle, served: str) -> None:
    manifest = http_route(served)
    manifest["kind"] = "GRPCRoute"
    del manifest["spec"]["rules"][1]["filters"]
    made = Routed(
        cluster, served, Kind("gateway_api", lambda _namespace: manifest, {**GATEWAY, "kind": "GRPCRoute"}, "rules")
    )
    try:
        assert made.module("traffic", split={"green": 25})["changed"]
        assert made.weights(1) == [75, 25]
    finally:
        cluster.admin.delete(location(manifest))


def test_a_backend_in_another_namespace_is_one_of_that_namespace(cluster: Handle, served: str) -> None:
    with cluster.namespace() as elsewhere:
        manifest = http_route(elsewhere)
        for each in manifest["spec"]["rules"][1]["backendRefs"]:
            each["namespace"] = served
        backends = {colour: f"{served}/shop-{colour}" for colour in COLOURS}
        made = Routed(
            cluster, elsewhere, Kind("gateway_api", lambda _n: manifest, {**GATEWAY, "backends": backends}, "rules")
        )
        router = made.router()
        assert (router.read(), {c: a.ready for c, a in router.observe().items()}) == (BLUE, {"blue": 2, "green": 2})


# --- Who is behind a destination of Istio -----------------------------------------------------------------


@pytest.fixture
def meshed(cluster: Handle, served: str) -> Iterator[Routed]:
    """Its two subsets are pods of one Service."""
    whole = service(served, "blue")
    del whole["spec"]["selector"]["version"]
    subsets = [{"name": colour, "labels": {"version": colour}} for colour in COLOURS]
    rule = {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "DestinationRule",
        "metadata": {"namespace": served, "name": "shop"},
        "spec": {"host": f"shop.{served}.svc.cluster.local", "subsets": subsets},
    }
    cluster.apply(whole, rule)
    made = Routed(cluster, served, KINDS["istio"])
    yield made
    for manifest in (made.manifest, rule, whole):
        cluster.admin.delete(location(manifest))


def test_the_pods_of_a_subset_are_its_members(meshed: Routed) -> None:
    (route,) = meshed.module("traffic_info")["routes"]
    assert [(each["members"], each["ready"]) for each in route["activity"].values()] == [(2, 2), (2, 2)]
    assert meshed.module("traffic", to="green")["changed"]


@pytest.mark.parametrize(
    ("subsets", "code", "said"),
    [
        ([{"name": "blue", "labels": {"version": "blue"}}], "missing", "defines the subset green"),
        (
            [{"name": "blue", "labels": {"version": "blue"}}, {"name": "green", "labels": {"version": "grey"}}],
            "not_ready",
            "green has 0 members",
        ),
    ],
)
def test_a_subset_that_is_not_defined_or_has_no_pods_gets_nothing(
    meshed: Routed, subsets: list[Any], code: str, said: str
) -> None:
    where = f"/apis/networking.istio.io/v1beta1/namespaces/{meshed.namespace}/destinationrules/shop"
    meshed.cluster.admin.patch(where, {"spec": {"subsets": subsets}})
    before = meshed.spec()
    for share in ({"to": "green"}, {"split": {"green": 10}}):
        told = meshed.module("traffic", **share)
        assert (told["failure"]["code"], said in told["msg"]) == (code, True), told["msg"]
    assert meshed.spec() == before
