# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that are switched, by the module, on a real API server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from demo.rig import wait_until
from plugins.module_utils._analysis.counters import watcher
from plugins.module_utils._errors import ConflictError, DriftError, NotReadyError, NotVerifiedError, UndoFailedError
from plugins.module_utils._traffic.guard import guarded_switch
from plugins.module_utils._traffic.route import Route
from plugins.module_utils._traffic.split import Split
from plugins.module_utils._traffic.switch import Order, switch
from plugins.module_utils._wait import SYSTEM_CLOCK
from tests.cluster.api import ApiError, location
from tests.cluster.manifests import deployment, service
from tests.integration.balancer import BLUE, COLOURS, GREEN

ROUNDS = 100


def test_check_mode_shows_the_change_and_the_run_is_exactly_that(shop: Any) -> None:
    before = shop.specs()
    planned = shop.module("traffic", to="green", _ansible_check_mode=True, _ansible_diff=True)
    assert shop.specs() == before
    done = shop.module("traffic", to="green", _ansible_diff=True)
    assert shop.selected() == ("green", "blue")
    assert planned["changed"] is done["changed"] is True
    assert planned["diff"] == done["diff"]
    assert done["diff"]["after"]["shop"] == {
        "shop": {"selector": {"app": "shop", "version": "green"}},
        "shop-preview": {"selector": {"app": "shop", "version": "blue"}},
    }
    assert done["routes"][0]["verified"] is True
    again = shop.module("traffic", to="green")
    assert (again["changed"], again["routes"][0]["before"]) == (False, {"blue": 0, "green": 100})


def test_what_is_known_of_each_colour(shop: Any) -> None:
    (route,) = shop.module("traffic_info")["routes"]
    nothing = dict.fromkeys(["in_flight", "requests", "errors", "latency_ms", "answers", "long_lived"])
    idle = {"members": 2, "ready": 2, "unready": [], "unchecked": 0, **nothing}
    assert (route["split"], route["live"], route["drift"]) == ({"blue": 100, "green": 0}, "blue", [])
    assert route["activity"] == {"blue": idle, "green": idle}


def test_what_the_provider_cannot_count_is_not_made_up(shop: Any) -> None:
    drained = shop.module("drain", colour="green", quiet=1)
    assert (drained["left"], drained["not_counted"]) == ([], ["shop"])
    watched = shop.module("traffic", to="green", watch={"duration": 1})["watched"]
    assert (watched["verdict"], watched["requests"]) == ("inconclusive", 0)


def test_nobody_elses_change_is_overwritten(shop: Any) -> None:
    """Somebody else is quicker, between our read and our patch, each time."""
    for _round in range(ROUNDS):
        shop.select("blue", "green")
        router = shop.router()
        assert router.read() == BLUE
        shop.cluster.admin.patch(location(shop.service), {"spec": {"selector": {"tier": "front"}}})
        with pytest.raises(ConflictError) as caught:
            router.apply(GREEN, BLUE)
        assert "app=shop,tier=front,version=blue" in caught.value.found
        assert shop.cluster.get(shop.service)["spec"]["selector"] == {
            "app": "shop",
            "tier": "front",
            "version": "blue",
        }
        shop.cluster.admin.patch(location(shop.service), {"spec": {"selector": {"tier": None}}})


def test_a_change_of_something_else_is_no_conflict(shop: Any) -> None:
    router = shop.router()
    assert router.read() == BLUE
    shop.cluster.admin.patch(location(shop.service), {"metadata": {"annotations": {"seen": "yes"}}})
    router.apply(GREEN, BLUE)
    assert router.verify(GREEN)
    assert shop.cluster.get(shop.service)["metadata"]["annotations"] == {"seen": "yes"}


def test_a_colour_that_is_not_ready_gets_nothing_and_the_reason_is_told(shop: Any) -> None:
    shop.scale("green", 0)
    shop.wait_ready("green", 0)
    empty = shop.module("traffic", to="green")
    assert (empty["failure"]["code"], shop.selected()) == ("not_ready", ("blue", "green"))
    assert "green has 0 members" in empty["msg"]

    shop.cluster.apply(deployment(shop.namespace, "green", "missing:2.0"))
    told: dict[str, Any] = {}

    def says_why() -> bool:
        told.update(shop.module("traffic", to="green"))
        return "ImagePull" in told["msg"]

    wait_until(says_why, 60, "the kubelet says why")
    assert told["failure"]["code"] == "not_ready"
    assert "pod shop-green-" in told["msg"]
    assert shop.selected() == ("blue", "green")


@pytest.fixture
def leaving(shop: Any) -> Iterator[None]:
    """A pod of each colour is on its way out, and takes its time; another one has come for it."""
    pods = f"/api/v1/namespaces/{shop.namespace}/pods"
    chosen = [shop.cluster.admin.get(pods, labelSelector=f"version={colour}")["items"][0] for colour in COLOURS]
    places = [f"{pods}/{pod['metadata']['name']}" for pod in chosen]
    for place in places:
        shop.cluster.admin.patch(place, {"metadata": {"finalizers": ["tests/stays"]}})
        shop.cluster.admin.delete(place)
    for colour in COLOURS:
        shop.wait_ready(colour, 2)
    yield
    for place in places:
        shop.cluster.admin.patch(place, {"metadata": {"finalizers": None}})


@pytest.mark.usefixtures("leaving")
def test_pods_that_are_leaving_keep_nobody_from_switching_and_from_going_home(shop: Any) -> None:
    for colour in ("green", "blue"):
        (route,) = shop.module("traffic", to=colour)["routes"]
        assert (route["after"][colour], route["verified"]) == (100, True)
    slices = shop.cluster.admin.get(shop.slices, labelSelector="kubernetes.io/service-name=shop")["items"]
    terminating = [e for each in slices for e in each["endpoints"] if e["conditions"].get("terminating")]
    assert len(terminating) == 1  # of the colour that is selected


def test_a_pod_that_comes_while_the_switch_is_looked_at_is_no_stranger(shop: Any) -> None:
    router = shop.router()
    assert router.read() == BLUE
    assert router.observe()["green"].ready == 2
    shop.scale("green", 3)
    shop.wait_ready("green", 3)
    router.apply(GREEN, BLUE)
    assert router.verify(GREEN) is True


def test_a_selector_that_somebody_puts_back_is_not_called_verified(shop: Any) -> None:
    router = shop.router()
    assert router.read() == BLUE
    router.apply(GREEN, BLUE)
    assert router.verify(GREEN) is True
    shop.select("blue", "green")
    assert router.verify(GREEN) is False


def test_a_selector_that_somebody_puts_back_during_the_watch_is_found_at_the_next_look(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before the watch would end, and it stays as somebody else has it."""
    router, looks = shop.router(), []
    observe = router.observe

    def sync_at_the_third_look() -> Any:
        looks.append(shop.selected()[0])
        if looks.count("green") == 3:
            shop.select("blue", "green")
        return observe()

    monkeypatch.setattr(router, "observe", sync_at_the_third_look)
    times = {"duration": 600.0, "interval": 0.1, "window": 30.0, "pooled": False}
    limits = {"max_error_share": 1.0, "max_latency_ms": None, "min_requests": 50}
    routes = [Route("shop", router)]
    with pytest.raises(ConflictError) as caught:
        guarded_switch(routes, Order(GREEN), watcher(routes, {**times, **limits}))
    assert "when the watch ended the split was blue 100 %" in caught.value.message
    assert (shop.selected(), looks.count("green")) == (("blue", "green"), 3)


def test_what_is_written_bears_our_name(shop: Any) -> None:
    shop.module("traffic", to="green")
    owners = {each["manager"]: each["fieldsV1"] for each in shop.cluster.get(shop.service)["metadata"]["managedFields"]}
    assert "f:version" in owners["bluegreen.deploy"]["f:spec"]["f:selector"]


def test_a_manifest_with_the_old_colour_is_not_applied_over_the_new_one(shop: Any) -> None:
    """As with ``kubectl apply --server-side`` or Helm 4: refused with our name, and the traffic stays."""

    def applied(force: str) -> Any:
        manifest = {**shop.service, "spec": {"selector": shop.service["spec"]["selector"]}}
        query, how = {"fieldManager": "ci", "force": force}, "application/apply-patch+yaml"
        return shop.cluster.admin.request("PATCH", location(manifest), manifest, how, query)

    applied("true")
    switch([Route("shop", shop.router())], Order(GREEN))
    with pytest.raises(ApiError) as caught:
        applied("false")
    assert caught.value.status == 409
    assert 'conflict with "bluegreen.deploy"' in str(caught.value)
    assert shop.selected()[0] == "green"


def test_a_selector_that_has_lost_its_colour_serves_both_and_can_be_left(shop: Any) -> None:
    """As when somebody applies a manifest without it."""
    shop.cluster.admin.patch(location(shop.service), {"spec": {"selector": {"version": None}}})
    (route,) = shop.module("traffic_info")["routes"]
    assert route["split"] == {"blue": 50, "green": 50}
    assert "selects app=shop, without version=blue or version=green" in route["drift"][0]
    assert shop.module("traffic", to="green")["failure"]["code"] == "drift"
    (route,) = shop.module("traffic", to="green", on_drift="mend")["routes"]
    assert (route["verified"], shop.selected()) == (True, ("green", "blue"))


def test_what_was_found_selecting_both_selects_both_again_when_the_switch_fails(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.cluster.admin.patch(location(shop.service), {"spec": {"selector": {"version": None}}})
    router = shop.router(preview_service=None)
    verify = router.verify
    monkeypatch.setattr(router, "verify", lambda wanted: wanted != GREEN and verify(wanted))
    with pytest.raises(NotVerifiedError):
        switch([Route("shop", router)], Order(GREEN, mend_drift=True, verify_timeout=0.5))
    assert shop.cluster.get(shop.service)["spec"]["selector"] == {"app": "shop"}


def test_colours_that_differ_in_more_labels_than_one(shop: Any) -> None:
    ours = {colour: {"version": colour, "app": "shop"} for colour in COLOURS}
    route = shop.route(selectors=ours, selector_key="version")
    (done,) = shop.module("traffic", routes=[route], to="green")["routes"]
    assert (done["verified"], shop.selected()) == (True, ("green", "blue"))
    assert shop.module("traffic_info", routes=[route])["routes"][0]["activity"]["blue"]["ready"] == 2


def test_an_overlap_serves_both_before_the_new_one_alone(shop: Any) -> None:
    router = shop.router(overlap=0.5)
    assert router.read() == BLUE
    seen: list[set[str]] = []

    def take_up(seconds: float) -> None:
        listed = shop.cluster.admin.get(shop.slices, labelSelector="kubernetes.io/service-name=shop")["items"]
        names = {e["targetRef"]["name"].split("-")[1] for each in listed for e in each["endpoints"]}
        seen.append(names)
        assert (seconds, "version" in shop.cluster.get(shop.service)["spec"]["selector"]) == (0.5, False)

    router._clock = replace(SYSTEM_CLOCK, sleep=take_up)
    router.apply(GREEN, BLUE)
    assert (seen, router.verify(GREEN)) == ([{"blue", "green"}], True)


def test_an_overlap_that_somebody_disturbs_goes_home(shop: Any) -> None:
    router = shop.router(overlap=0.5)

    def disturb(_seconds: float) -> None:
        shop.cluster.admin.patch(location(shop.service), {"spec": {"selector": {"tier": "front"}}})

    router._clock = replace(SYSTEM_CLOCK, sleep=disturb)
    try:
        with pytest.raises(UndoFailedError) as caught:  # a label that no pod has: nobody is where it was
            switch([Route("shop", router)], Order(GREEN))
        assert "Service shop now selects app=shop,tier=front" in caught.value.found
        assert shop.selected() == ("blue", "green")
    finally:
        shop.cluster.admin.patch(location(shop.service), {"spec": {"selector": {"tier": None}}})


def test_who_would_put_the_selector_back_is_told_before_the_switch(shop: Any) -> None:
    marks = {"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "shop:/Service:shop/shop"}}}
    shop.cluster.admin.patch(location(shop.service), marks)
    try:
        planned = shop.module("traffic", to="green", _ansible_check_mode=True)
    finally:
        marks["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": None}
        shop.cluster.admin.patch(location(shop.service), marks)
    assert "Argo CD manages Service shop" in str(planned["warnings"])


def test_a_service_whose_clients_come_straight_to_the_pods_is_told_to_overlap(shop: Any) -> None:
    straight = service(shop.namespace, "blue", "straight")
    straight["metadata"]["annotations"] = {"cloud.google.com/neg": '{"ingress": true}'}
    shop.cluster.apply(straight)
    plain, overlapping = (
        shop.router(service="straight", preview_service=None, overlap=seconds) for seconds in (0.0, 5.0)
    )
    assert plain.read() == overlapping.read() == BLUE
    assert "has a network endpoint group" in plain.caveats(GREEN)[0]
    assert overlapping.caveats(GREEN) == ()


def test_pods_that_lack_a_label_of_the_rest_of_the_selector_are_told_by_it(shop: Any) -> None:
    """As when a chart has changed the Service's labels, and the pods are still those of before."""
    shop.cluster.admin.patch(location(shop.service), {"spec": {"selector": {"tier": "front"}}})
    try:
        with pytest.raises(NotReadyError) as caught:
            switch([Route("shop", shop.router())], Order(GREEN))
        assert "no pod has the labels app=shop,tier=front,version=green" in caught.value.found
    finally:
        shop.cluster.admin.patch(location(shop.service), {"spec": {"selector": {"tier": None}}})


def test_pods_without_a_readiness_probe_are_ready_and_nothing_has_checked_them(shop: Any) -> None:
    bare = deployment(shop.namespace, "green", "demo-app:1.1", replicas=2)
    bare["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = None
    shop.cluster.apply(bare)
    shop.wait_ready("green", 2)
    assert shop.router().observe() is not None
    (route,) = shop.module("traffic_info")["routes"]
    assert [route["activity"][colour]["unchecked"] for colour in COLOURS] == [0, 2]


def test_pods_that_do_not_have_the_port_are_not_ready_for_the_service(shop: Any) -> None:
    other = service(shop.namespace, "blue", "other-port")
    other["spec"]["ports"] = [{"port": 80, "targetPort": "metrics"}]
    shop.cluster.apply(other)
    told = shop.module("traffic", routes=[shop.route(service="other-port", preview_service=None)], to="green")
    assert told["failure"]["code"] == "not_ready"
    assert "it has no port metrics, which Service other-port sends to" in told["msg"]


def test_a_preview_that_shows_the_live_colour_is_drift_and_can_be_mended(shop: Any) -> None:
    shop.select("blue", "blue")
    told = shop.module("traffic", to="green")
    assert told["failure"]["code"] == "drift"
    assert "shop and its preview shop-preview both select blue" in told["msg"]
    assert shop.module("traffic", to="blue", on_drift="mend")["changed"]
    assert shop.selected() == ("blue", "green")


def test_somebody_who_changes_the_preview_meanwhile_sends_the_traffic_back(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = shop.router()
    select = router._preview.select

    def too_late(colour: str) -> None:
        shop.cluster.admin.patch(location(shop.preview), {"spec": {"selector": {"tier": "front"}}})
        monkeypatch.undo()
        select(colour)

    monkeypatch.setattr(router._preview, "select", too_late)
    with pytest.raises(DriftError) as caught:
        switch([Route("shop", router)], Order(GREEN))
    assert "Service shop-preview now selects app=shop,tier=front,version=green" in caught.value.found
    assert shop.selected() == ("blue", "green")
    shop.cluster.admin.patch(location(shop.preview), {"spec": {"selector": {"tier": None}}})


def test_several_services_move_together_or_not_at_all(shop: Any) -> None:
    more = {name: service(shop.namespace, "blue", name) for name in ("api", "worker")}
    shop.cluster.apply(*more.values())
    routes = [shop.route(name, service=name, preview_service=None) for name in more]
    moved = shop.module("traffic", routes=[shop.route(), *routes], to="green")
    assert [route["verified"] for route in moved["routes"]] == [True] * 3

    shop.cluster.admin.delete(location(more["worker"]))
    told = shop.module("traffic", routes=[shop.route(), *routes], to="blue")
    assert told["failure"]["code"] == "missing"
    assert told["msg"].startswith('route worker: services "worker" not found')
    assert shop.selected() == ("green", "blue")
    assert shop.cluster.get(more["api"])["spec"]["selector"]["version"] == "green"


def test_the_command_by_hand_is_one_for_kubectl(shop: Any) -> None:
    command = shop.router().by_hand(Split.only(COLOURS, "green"))
    assert command.count(f"-n {shop.namespace} patch service shop") == 2
    last_word = "kubectl() { printf '%s\\n' \"${!#}\"; }"
    words = subprocess.run(["bash", "-c", f"{last_word}; {command}"], capture_output=True, text=True, check=True)
    assert words.stdout.splitlines() == [
        '{"spec": {"selector": {"version": "green"}}}',
        '{"spec": {"selector": {"version": "blue"}}}',
    ]
