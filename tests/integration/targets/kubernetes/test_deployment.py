# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The idle colour's Deployments, by the module, on a real API server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from demo.rig import wait_until
from plugins.module_utils._errors import ConflictError
from plugins.module_utils._kubernetes.client import connect
from plugins.module_utils._kubernetes.deployments import REVISION, Deployment, Wanted
from plugins.module_utils._kubernetes.options import CONNECTION_SPEC
from tests.cluster.api import location
from tests.cluster.manifests import deployment
from tests.unit.plugins.modules.process import run_module

VERSIONS = {"blue": "1.0", "green": "1.1"}


def deploy(shop: Any, **options: Any) -> dict[str, Any]:
    cluster = {"kubeconfig": str(shop.cluster.kubeconfig), "namespace": shop.namespace}
    return dict(
        shop.module(
            "deployment", **{"colour": "green", "deployments": ["shop-green"], "kubernetes": cluster, **options}
        )
    )


def has(shop: Any, colour: str) -> tuple[int, str]:
    spec = shop.cluster.get(shop.deployments[colour])["spec"]
    return spec["replicas"], spec["template"]["spec"]["containers"][0]["image"]


def test_check_mode_shows_the_change_and_the_run_is_exactly_that(shop: Any) -> None:
    wanted = {"images": {"app": "demo-app:1.2"}, "replicas": 1, "_ansible_diff": True}
    planned = deploy(shop, **wanted, _ansible_check_mode=True)
    assert has(shop, "green") == (2, "demo-app:1.1")
    done = deploy(shop, **wanted)
    assert has(shop, "green") == (1, "demo-app:1.2")
    assert planned["diff"] == done["diff"]
    assert done["deployments"] == [
        {
            "name": "shop-green",
            "before": {"replicas": 2, "images": {"app": "demo-app:1.1"}},
            "after": {"replicas": 1, "images": {"app": "demo-app:1.2"}},
        }
    ]
    status = shop.cluster.get(shop.deployments["green"])["status"]
    assert (status["updatedReplicas"], status["availableReplicas"], status["replicas"]) == (1, 1, 1)
    assert deploy(shop, **wanted)["changed"] is False


def test_it_gets_as_many_pods_as_the_live_one_and_none_when_it_is_retired(shop: Any) -> None:
    shop.scale("blue", 3)
    assert deploy(shop, like=["shop-blue"])["changed"]
    assert has(shop, "green")[0] == 3
    assert deploy(shop, replicas=0)["changed"]
    assert shop.cluster.get(shop.deployments["green"])["status"].get("replicas", 0) == 0


def asking(shop: Any, colour: str, cpu: str, memory: str, **spec: Any) -> dict[str, Any]:
    """A Deployment whose pods ask for so much."""
    manifest = deployment(shop.namespace, colour, f"demo-app:{VERSIONS[colour]}", replicas=2, **spec)
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    container["resources"] = {"requests": {"cpu": cpu, "memory": memory}}
    return manifest


def test_less_capacity_than_the_live_colour_has_is_refused(shop: Any) -> None:
    shop.cluster.apply(asking(shop, "blue", "500m", "64Mi"), asking(shop, "green", "0.4", "64Mi"))
    for manifest in shop.deployments.values():
        wait_until(lambda one=manifest: is_settled(shop.cluster.get(one)), 60, "the pods are there")
    shop.scale("blue", 3)
    before = shop.cluster.get(shop.deployments["green"])["spec"]
    told = deploy(shop, like=["shop-blue"])
    assert told["failure"]["code"] == "not_ready"
    assert "shop-green would ask for 1.2 cpu in 3 pods, and shop-blue asks for 1.5 cpu in 3" in told["msg"]
    assert shop.cluster.get(shop.deployments["green"])["spec"] == before
    assert deploy(shop, like=["shop-blue"], capacity_ratio=0.8)["changed"]
    shop.cluster.apply(asking(shop, "green", "1", "60000Ki"))
    told = deploy(shop, like=["shop-blue"])
    assert "175.781 MiB of memory in 3 pods, and shop-blue asks for 192 MiB of memory in 3" in told["msg"]


def is_settled(found: Any) -> bool:
    status = found["status"]
    seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
    return seen and status.get("updatedReplicas") == status.get("readyReplicas") == status.get("replicas")


def test_only_another_image_makes_a_revision(shop: Any) -> None:
    """So what C(kubectl rollout undo) goes back to is what ran before, however often the colours change."""

    def revision() -> int:
        return int(shop.cluster.get(shop.deployments["green"])["metadata"]["annotations"][REVISION])

    first = revision()
    for options in ({"replicas": 0}, {"replicas": 2}, {"images": {"app": "demo-app:1.1"}}):
        deploy(shop, **options)
        assert revision() == first
    deploy(shop, images={"app": "demo-app:1.4"})
    assert revision() == first + 1


def test_who_keeps_no_history_is_warned(shop: Any) -> None:
    shop.cluster.apply(deployment(shop.namespace, "green", "demo-app:1.1", replicas=2, revisionHistoryLimit=0))
    assert "warnings" not in deploy(shop, replicas=1)
    (warning,) = deploy(shop, images={"app": "demo-app:1.4"})["warnings"]
    assert "revisionHistoryLimit 0" in str(warning)
    shop.cluster.apply(deployment(shop.namespace, "green", "demo-app:1.1", replicas=2, revisionHistoryLimit=10))


def test_the_image_of_an_init_container_is_set_like_any_other(shop: Any) -> None:
    manifest = deployment(shop.namespace, "green", "demo-app:1.1", replicas=2)
    manifest["spec"]["template"]["spec"]["initContainers"] = [{"name": "migrate", "image": "demo-app:1.1"}]
    shop.cluster.apply(manifest)
    try:
        assert deploy(shop, images={"app": "demo-app:1.2", "migrate": "demo-app:1.2"})["changed"]
        (init,) = shop.cluster.get(manifest)["spec"]["template"]["spec"]["initContainers"]
        assert (has(shop, "green"), init["image"]) == ((2, "demo-app:1.2"), "demo-app:1.2")
    finally:
        manifest["spec"]["template"]["spec"]["initContainers"] = None
        shop.cluster.apply(manifest)


def used(quota: Any) -> Any:
    return quota.get("status", {}).get("used", {}).get("pods")


def test_pods_that_a_quota_does_not_let_in_end_the_wait_with_its_words(shop: Any) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"namespace": shop.namespace, "name": "few"},
        "spec": {"hard": {"pods": "4"}},
    }
    shop.cluster.apply(quota)
    try:
        wait_until(
            lambda: shop.cluster.get(quota).get("status", {}).get("used", {}).get("pods") == "4", 60, "it counts"
        )
        told = deploy(shop, images={"app": "demo-app:1.2"})
    finally:
        shop.cluster.admin.delete(location(quota))
    assert (told["failure"]["code"], "exceeded quota: few" in told["msg"]) == ("not_ready", True), told["msg"]


def test_a_paused_deployment_is_told_and_not_waited_for(shop: Any) -> None:
    paused = deployment(shop.namespace, "green", "demo-app:1.1", replicas=2, paused=True)
    shop.cluster.apply(paused)
    try:
        told = deploy(shop, images={"app": "demo-app:1.2"})
    finally:
        paused["spec"]["paused"] = False
        shop.cluster.apply(paused)
    assert (told["failure"]["code"], "it is paused" in told["msg"]) == ("not_ready", True), told["msg"]


def test_another_apps_crashing_pod_is_not_taken_for_its_own(shop: Any) -> None:
    """Both select by expressions alone."""
    crashing = deployment(shop.namespace, "purple", "demo-app:crash")
    mine = deployment(shop.namespace, "grey", "demo-app:1.1")
    for manifest, version in ((crashing, "purple"), (mine, "grey")):
        expression = {"key": "version", "operator": "In", "values": [version]}
        manifest["spec"]["selector"] = {"matchExpressions": [expression]}
    shop.cluster.apply(crashing, mine)
    wait_until(lambda: is_settled(shop.cluster.get(mine)), 60, "it runs")
    told = deploy(shop, deployments=["shop-grey"], images={"app": "demo-app:1.2"})
    for manifest in (crashing, mine):
        shop.cluster.admin.delete(location(manifest))
    assert told["changed"], told["msg"]


@pytest.mark.parametrize("live", ["blue", "green"])
def test_the_live_colour_cannot_be_touched(shop: Any, live: str) -> None:
    shop.select(live, "blue" if live == "green" else "green")
    before = has(shop, live)
    told = deploy(shop, colour=live, deployments=[f"shop-{live}"], replicas=0)
    assert told["failure"]["code"] == "conflict"
    assert f"expected no traffic on {live}" in told["msg"]
    assert has(shop, live) == before


@pytest.mark.parametrize(
    ("image", "said"), [("missing:2.0", "ImagePullBackOff"), ("demo-app:crash", "CrashLoopBackOff")]
)
def test_a_pod_that_cannot_run_ends_the_wait_at_once_by_name(shop: Any, image: str, said: str) -> None:
    told = deploy(shop, images={"app": image}, wait_timeout=500)  # longer than a module may take here
    assert told["failure"]["code"] == "not_ready"
    assert told["msg"].startswith("Deployment shop-green: pod shop-green-")
    assert said in told["msg"]
    mended = deploy(shop, images={"app": "demo-app:1.1"})
    assert mended["changed"], mended


def test_a_rollout_that_does_not_end_is_named_with_its_state(shop: Any) -> None:
    shop.cluster.apply(deployment(shop.namespace, "green", "demo-app:1.3", environment={"UNHEALTHY": "1"}))
    told = deploy(shop, replicas=2, images={"app": "demo-app:1.3"}, wait_timeout=2)
    assert told["failure"]["code"] == "timeout"
    assert "expected all of them, and no other" in told["msg"]


def test_what_it_cannot_have_is_refused_and_nothing_is_changed(shop: Any) -> None:
    autoscaler = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"namespace": shop.namespace, "name": "shop-green"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop-green"},
            "minReplicas": 2,
            "maxReplicas": 4,
        },
    }
    shop.cluster.apply(autoscaler)
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"replicas": 5}, "invalid", "HorizontalPodAutoscaler shop-green keeps Deployment shop-green between 2 and 4"),
        ({"replicas": 1}, "invalid", "between 2 and 4; expected a number between them, or 0"),
        ({"replicas": -1}, "invalid", "replicas is -1"),
        ({"images": {"web": "x:1"}}, "invalid", "has no container web; expected one of app"),
        ({"deployments": ["nobody"]}, "missing", 'deployments.apps "nobody" not found'),
        ({"deployments": ["shop-green"], "like": []}, "invalid", "like names 0 Deployments, and deployments 1"),
        ({"colour": "red"}, "invalid", "colour 'red' is not known"),
    ]
    try:
        for options, code, said in cases:
            told = deploy(shop, **options)
            assert (told["failure"]["code"], said in told["msg"]) == (code, True), told["msg"]
            assert has(shop, "green") == (2, "demo-app:1.1")
    finally:
        shop.cluster.admin.delete(location(autoscaler))


def test_somebody_elses_change_is_not_overwritten(shop: Any) -> None:
    client = connect({**dict.fromkeys(CONNECTION_SPEC), "kubeconfig": str(shop.cluster.kubeconfig), "timeout": 10.0})
    mine = Deployment(client, shop.namespace, "shop-green")
    mine.read()
    planned = mine.plan(Wanted(replicas=1))
    shop.scale("green", 3)
    wait_until(lambda: has(shop, "green")[0] == 3, 20, "somebody else has scaled it")
    with pytest.raises(ConflictError):
        mine.change(planned)
    assert has(shop, "green")[0] == 3


def test_what_differs_between_the_colours_is_listed_and_no_secret_is_told(shop: Any) -> None:
    def drift(**more: Any) -> dict[str, Any]:
        cluster = {"kubeconfig": str(shop.cluster.kubeconfig), "namespace": shop.namespace}
        return run_module("drift_info", live="shop-blue", idle="shop-green", kubernetes=cluster, **more)

    assert drift() == {"changed": False, "differences": [], "unread": [], "invocation": drift()["invocation"]}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": shop.namespace, "name": "shop"}}
    shop.cluster.apply({**secret, "stringData": {"password": "hunter2"}})
    other = deployment(shop.namespace, "green", "demo-app:1.1", environment={"PASSWORD": "hunter2"}, replicas=1)
    (container,) = other["spec"]["template"]["spec"]["containers"]
    container["envFrom"] = [{"secretRef": {"name": "shop"}}, {"configMapRef": {"name": "nowhere", "optional": True}}]
    shop.cluster.apply(other)
    told = drift(ignore=["replicas", "*.optional"])
    places = {each["place"]: (each["live"], each["idle"]) for each in told["differences"]}
    assert places["containers.app.env.PASSWORD.value"] == (None, "(not shown)")
    assert places["containers.app.envFrom.0.secretRef.name"][1].startswith("content ")
    assert told["unread"] == ["ConfigMap nowhere"]
    assert "hunter2" not in str(told)


# --- StatefulSets -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def stateful(shop: Any, name: str, **spec: Any) -> Iterator[dict[str, Any]]:
    """Two pods of 1.0."""
    manifest = deployment(shop.namespace, "green", "demo-app:1.0", replicas=2)
    manifest["kind"], manifest["metadata"]["name"] = "StatefulSet", name
    manifest["spec"]["selector"]["matchLabels"] = manifest["spec"]["template"]["metadata"]["labels"] = {"app": name}
    manifest["spec"] = {**manifest["spec"], "serviceName": name, **spec}
    shop.cluster.apply(manifest)
    try:
        yield manifest
    finally:
        shop.cluster.admin.delete(location(manifest))


def test_a_stateful_set_is_rolled_out_and_waited_for(shop: Any) -> None:
    wanted = {"kind": "StatefulSet", "deployments": ["rolling"], "images": {"app": "demo-app:1.1"}}
    with stateful(shop, "rolling") as manifest:
        done = deploy(shop, **wanted, replicas=3)
        assert "failure" not in done, done["msg"]
        status = shop.cluster.get(manifest)["status"]
        assert (status["updatedReplicas"], status["readyReplicas"], status["replicas"]) == (3, 3, 3)
        assert status["currentRevision"] == status["updateRevision"]
        assert deploy(shop, **wanted)["changed"] is False
        assert deploy(shop, **{**wanted, "images": None}, replicas=0)["changed"]
        assert shop.cluster.get(manifest)["status"].get("replicas", 0) == 0


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ({"type": "OnDelete"}, "its updateStrategy is OnDelete"),
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}, "keeps 1 pods of the old revision (partition)"),
    ],
)
def test_a_stateful_set_that_keeps_old_pods_is_told(shop: Any, strategy: dict[str, Any], said: str) -> None:
    wanted = {"kind": "StatefulSet", "deployments": [strategy["type"].lower()]}
    with stateful(shop, strategy["type"].lower(), updateStrategy=strategy):
        first = deploy(shop, **wanted)
        assert "failure" not in first, first["msg"]
        told = deploy(shop, **wanted, images={"app": "demo-app:1.1"})
    assert (told["failure"]["code"], said in told["msg"]) == ("not_ready", True), told["msg"]


def test_a_stateful_set_that_crashes_ends_the_wait(shop: Any) -> None:
    wanted = {"kind": "StatefulSet", "deployments": ["crashing"], "images": {"app": "demo-app:crash"}}
    with stateful(shop, "crashing"):
        told = deploy(shop, **wanted)
    assert (told["failure"]["code"], "StatefulSet crashing: pod crashing-1" in told["msg"]) == ("not_ready", True), told
