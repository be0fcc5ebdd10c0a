# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments without a Service, which have the work where they have pods."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from demo.rig import wait_until
from plugins.module_utils._errors import ConflictError, NotReadyError
from plugins.module_utils._kubernetes.deployments import LIVE
from plugins.module_utils._traffic.kubernetes_workers import PROVIDER
from plugins.module_utils._traffic.router import Router
from tests.cluster.api import Object, location
from tests.cluster.cluster import Handle
from tests.cluster.manifests import deployment, service
from tests.cluster.rights import bind, roles
from tests.integration.balancer import BLUE, COLOURS, GREEN, green
from tests.integration.contract import WHOLE_SPLITS, Case, Contract
from tests.unit.plugins.modules.process import run_module

DEFAULTS = {name: option.get("default") for name, option in PROVIDER.spec["options"].items()}
MANY = {"blue": 2, "green": 0}


class Crew:
    """Workers of two colours, of which blue has two pods; and a Service that they have nothing to do with."""

    def __init__(self, cluster: Handle, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.deployments = {colour: deployment(namespace, colour, replicas=many) for colour, many in MANY.items()}
        self.service = service(namespace, "blue")
        self.reset()

    def reset(self) -> None:
        self.cluster.apply(*self.deployments.values(), self.service)
        for each in self.deployments.values():
            self.cluster.admin.patch(location(each), {"metadata": {"annotations": {LIVE: None}}})
        wait_until(lambda: self.pods() == MANY, 60, "blue has two pods that are ready, and green none")

    def replicas(self) -> dict[str, int]:
        return {colour: self.cluster.get(each)["spec"]["replicas"] for colour, each in self.deployments.items()}

    def pods(self) -> dict[str, int]:
        """Those that are ready, where no other is expected."""
        found = {colour: self.cluster.get(each)["status"] for colour, each in self.deployments.items()}
        settled = all(one.get("readyReplicas", 0) == one.get("replicas", 0) for one in found.values())
        return {colour: one.get("replicas", 0) for colour, one in found.items()} if settled else {}

    def scale(self, colour: str, many: int) -> None:
        """As somebody else does it."""
        self.cluster.admin.patch(location(self.deployments[colour]), {"spec": {"replicas": many}})

    def options(self, **more: Any) -> dict[str, Any]:
        names = {colour: f"shop-{colour}" for colour in COLOURS}
        where = {"namespace": self.namespace, "kubeconfig": str(self.cluster.kubeconfig)}
        return {**where, "deployments": names, **more}

    def router(self, **more: Any) -> Router:
        return PROVIDER.build(COLOURS, {**DEFAULTS, **self.options(**more)})

    def route(self, **more: Any) -> dict[str, Any]:
        return {"name": "workers", "provider": PROVIDER.name, PROVIDER.name: self.options(**more)}

    def traffic(self, *more: dict[str, Any], **options: Any) -> dict[str, Any]:
        return run_module("traffic", routes=[*more, self.route()], verify={"timeout": 30}, **options)


@pytest.fixture(scope="module")
def shared_crew(cluster: Handle) -> Iterator[Crew]:
    with cluster.namespace() as namespace:
        yield Crew(cluster, namespace)


@pytest.fixture
def crew(shared_crew: Crew) -> Crew:
    shared_crew.reset()
    return shared_crew


@pytest.fixture
def case(crew: Crew) -> Case:
    left = {"nobody works": lambda: [crew.scale(colour, 0) for colour in COLOURS]}
    return Case(crew.router(replicas=2), crew.replicas, WHOLE_SPLITS, (green(50), green(1)), left)


class TestWorkers(Contract):
    """By their replicas."""


def test_the_new_workers_are_ready_before_the_old_ones_stop(crew: Crew) -> None:
    planned = crew.traffic(to="green", _ansible_check_mode=True, _ansible_diff=True)
    assert crew.replicas() == MANY
    done = crew.traffic(to="green", _ansible_diff=True)
    assert done["changed"], done
    assert planned["diff"] == done["diff"]
    assert done["diff"]["after"]["workers"] == {"shop-green": {"replicas": 2}, "shop-blue": {"replicas": 0}}
    assert crew.replicas() == {"blue": 0, "green": 2}
    assert crew.pods()["green"] == 2
    assert not crew.traffic(to="green")["changed"]


def test_workers_of_whom_none_is_needed_now_are_released_by_their_mark(crew: Crew) -> None:
    """As where something scales them by the length of a queue, and the queue is empty."""
    assert crew.traffic(to="green")["changed"]  # marks it
    crew.scale("green", 0)
    router = crew.router()
    assert router.read() == GREEN
    done = crew.traffic(to="blue")
    assert (done["routes"][0]["after"]["blue"], done["routes"][0]["verified"]) == (100, True), done
    assert (crew.replicas(), crew.router().read()) == ({"blue": 0, "green": 0}, BLUE)
    assert crew.router(replicas=2).read() is None  # who says how many are to work, has none


def test_workers_of_whom_none_is_needed_and_none_is_marked_are_not_guessed(crew: Crew) -> None:
    for colour in COLOURS:
        crew.scale(colour, 0)
    assert crew.router().read() is None
    told = crew.traffic(to="green")
    assert (told["failure"]["code"], "neither is marked as the live one" in told["msg"]) == ("invalid", True), told[
        "msg"
    ]


def test_workers_that_do_not_start_stop_nobody_and_move_no_service(crew: Crew) -> None:
    """All or nothing, over a Service and the workers behind the same release."""
    there = service(crew.namespace, "blue", "front")
    there["spec"]["selector"]["app"] = "front"
    crew.cluster.apply(there, *(front(crew.namespace, colour) for colour in COLOURS))
    crew.cluster.apply(deployment(crew.namespace, "green", "demo-app:crash", replicas=0))
    options = {"service": "front", "namespace": crew.namespace, "kubeconfig": str(crew.cluster.kubeconfig)}
    wait_until(lambda: is_ready(crew, "front-green"), 60, "the pods behind the Service are ready")
    told = crew.traffic({"name": "front", "provider": "kubernetes", "kubernetes": options}, to="green")
    assert told["failure"]["code"] == "not_ready", told["msg"]
    assert "CrashLoopBackOff" in told["msg"]
    assert [(route["name"], route["restored"]) for route in told["routes"]] == [("front", True), ("workers", True)]
    assert crew.replicas() == MANY
    assert crew.cluster.get(there)["spec"]["selector"]["version"] == "blue"


def front(namespace: str, colour: str) -> Object:
    """A Deployment behind a Service, beside the workers."""
    manifest, labels = deployment(namespace, colour), {"app": "front", "version": colour}
    manifest["metadata"]["name"] = f"front-{colour}"
    manifest["spec"]["selector"]["matchLabels"] = manifest["spec"]["template"]["metadata"]["labels"] = labels
    return manifest


def is_ready(crew: Crew, name: str) -> bool:
    path = f"/apis/apps/v1/namespaces/{crew.namespace}/deployments/{name}"
    return bool(crew.cluster.admin.get(path).get("status", {}).get("readyReplicas"))


def test_workers_that_take_too_long_are_stopped_again(crew: Crew) -> None:
    crew.cluster.apply(deployment(crew.namespace, "green", "demo-app:1.3", 0, {"UNHEALTHY": "1"}))
    router = crew.router(wait_timeout=1.0)
    router.read()
    with pytest.raises(NotReadyError, match="after 1 s Deployment shop-green has"):
        router.apply(GREEN, BLUE)
    assert crew.replicas() == {"blue": 2, "green": 2}
    assert router.read() == green(50)
    router.apply(BLUE, green(50))
    assert crew.replicas() == MANY


def test_nobody_elses_change_is_overwritten(crew: Crew) -> None:
    router = crew.router()
    expected = router.read()
    crew.scale("green", 1)
    with pytest.raises(ConflictError):
        router.apply(GREEN, expected)
    assert crew.replicas() == {"blue": 2, "green": 1}


def test_the_command_by_hand_raises_the_new_ones_first(crew: Crew) -> None:
    router = crew.router()
    router.read()
    words = shlex.split(router.by_hand(GREEN))
    assert [word for word in words if word.startswith("shop-")] == ["shop-green", "shop-blue"]
    assert '{"spec": {"replicas": 2}}' in words


def test_they_are_switched_with_exactly_the_rights_that_the_documentation_gives(crew: Crew) -> None:
    kubeconfig = bind(crew.cluster, crew.namespace, roles()["bluegreen-workers"], location(crew.deployments["blue"]))
    done = run_module("traffic", routes=[crew.route(kubeconfig=str(kubeconfig))], to="green", verify={"timeout": 30})
    assert done["changed"], done
    assert crew.replicas() == {"blue": 0, "green": 2}


def test_what_cannot_be_is_refused(crew: Crew) -> None:
    autoscaler: Object = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"namespace": crew.namespace, "name": "workers"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop-green"},
            "minReplicas": 3,
            "maxReplicas": 4,
        },
    }
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"replicas": 0}, "invalid", "replicas is 0; expected 1 or more"),
        ({"deployments": {"blue": "shop-blue"}}, "invalid", "expected a Deployment for blue and green"),
        ({"deployments": {"blue": "shop-blue", "green": "shop-blue"}}, "invalid", "a Deployment for blue and green"),
        ({"deployments": {"blue": "shop-blue", "green": "nobody"}}, "missing", '"nobody" not found'),
        ({"replicas": 2}, "invalid", "keeps Deployment shop-green between 3 and 4"),
    ]
    crew.cluster.apply(autoscaler)
    try:
        for more, code, said in cases:
            told = run_module("traffic", routes=[crew.route(**more)], to="green")
            assert (told["failure"]["code"], said in told["msg"]) == (code, True), told["msg"]
            assert crew.replicas() == MANY
    finally:
        crew.cluster.admin.delete(location(autoscaler))
    crew.scale("blue", 0)
    told = crew.traffic(to="green")
    assert (told["failure"]["code"], "have 0 replicas each" in told["msg"]) == ("invalid", True), told["msg"]
