# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import typing as t

import pytest

from plugins.module_utils._kubernetes.drift import Side, _repository, differences, digest, references

APP = {
    "name": "app",
    "image": "registry:5000/shop:1.0",
    "env": [
        {"name": "COLOUR", "value": "blue"},
        {"name": "PASSWORD", "value": "hunter2"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "shop-blue", "key": "k"}}},
    ],
    "envFrom": [{"configMapRef": {"name": "settings-blue"}}],
    "resources": {"limits": {"memory": "512Mi"}},
    "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}},
}
PODS = {
    "serviceAccountName": "shop",
    "containers": [APP, {"name": "sidecar", "image": "proxy:1"}],
    "volumes": [{"name": "certs", "secret": {"secretName": "certs"}}],
    "securityContext": {"runAsNonRoot": True},
}
CONTENTS = {
    ("Secret", "shop-blue"): "s1",
    ("Secret", "shop-green"): "s1",
    ("Secret", "certs"): "s2",
    ("ConfigMap", "settings-blue"): "c1",
    ("ConfigMap", "settings-green"): "c1",
}


def deployment(pods: t.Any, replicas: int = 3) -> dict[str, t.Any]:
    return {"spec": {"replicas": replicas, "template": {"metadata": {"labels": {}}, "spec": pods}}}


def green() -> dict[str, t.Any]:
    """As blue, of another version, with a Secret and a ConfigMap of its own."""
    pods: dict[str, t.Any] = copy.deepcopy(PODS)
    app = pods["containers"][0]
    app["image"] = "registry:5000/shop:1.1@sha256:abc"
    app["env"][0]["value"] = "green"
    app["env"][2]["valueFrom"]["secretKeyRef"]["name"] = "shop-green"
    app["envFrom"][0]["configMapRef"]["name"] = "settings-green"
    app["env"].reverse()
    pods["containers"].reverse()
    return pods


def found(pods: t.Any, ignore: t.Sequence[str] = (), **more: t.Any) -> dict[str, tuple[t.Any, t.Any]]:
    sides = Side(deployment(PODS), "blue"), Side(deployment(pods, **more), "green")
    return {one.place: (one.live, one.idle) for one in differences(*sides, CONTENTS, ignore)}


def test_another_version_and_names_of_the_own_colour_are_no_difference() -> None:
    assert found(green()) == {}


def change(what: str, to: t.Any) -> dict[str, t.Any]:
    pods = green()
    by_name = {each["name"]: each for each in pods["containers"]}
    app = by_name["app"]
    changes: dict[str, t.Callable[[], t.Any]] = {
        "memory": lambda: app["resources"]["limits"].update(memory=to),
        "probe": lambda: app["readinessProbe"]["httpGet"].update(path=to),
        "repository": lambda: app.update(image=to),
        "sidecar": lambda: pods["containers"].remove(by_name["sidecar"]),
        "account": lambda: pods.update(serviceAccountName=to),
        "root": lambda: pods["securityContext"].update(runAsNonRoot=to),
        "password": lambda: next(e for e in app["env"] if e["name"] == "PASSWORD").update(value=to),
        "config": lambda: app["envFrom"][0]["configMapRef"].update(name=to),
        "certs": lambda: pods["volumes"][0]["secret"].update(secretName=to),
    }
    changes[what]()
    return pods


@pytest.mark.parametrize(
    ("what", "to", "place", "told"),
    [
        ("memory", "256Mi", "containers.app.resources.limits.memory", ("512Mi", "256Mi")),
        ("probe", "/ready", "containers.app.readinessProbe.httpGet.path", ("/health", "/ready")),
        ("repository", "other:1.1", "containers.app.image", ("registry:5000/shop", "other")),
        ("account", "default", "serviceAccountName", ("shop", "default")),
        ("root", False, "securityContext.runAsNonRoot", (True, False)),
        ("password", "other", "containers.app.env.PASSWORD.value", ("(not shown)", "(not shown)")),
        ("config", "unknown", "containers.app.envFrom.0.configMapRef.name", ("content c1", "unknown")),
        ("certs", "shop-blue", "volumes.certs.secret.secretName", ("content s2", "content s1")),
    ],
)
def test_what_differs_is_told_with_its_place(what: str, to: t.Any, place: str, told: tuple[t.Any, t.Any]) -> None:
    assert found(change(what, to)) == {place: told}
    assert found(change(what, to), ignore=[place]) == {}
    assert found(change(what, to), ignore=[place.rpartition(".")[0] + "*"]) == {}


def test_a_container_that_one_side_lacks_and_the_number_of_pods() -> None:
    assert found(change("sidecar", None), replicas=0) == {
        "containers.sidecar.image": ("proxy", None),
        "containers.sidecar.name": ("sidecar", None),
        "replicas": (3, 0),
    }


def test_what_the_pods_refer_to() -> None:
    assert references(deployment(PODS)) == {
        ("Secret", "shop-blue"),
        ("Secret", "certs"),
        ("ConfigMap", "settings-blue"),
    }


def test_only_the_data_counts() -> None:
    one = {"metadata": {"name": "a"}, "data": {"x": "1", "y": "2"}}
    assert digest(one) == digest({"metadata": {"name": "b"}, "data": {"y": "2", "x": "1"}, "binaryData": None})
    assert digest(one) != digest({"data": {"x": "1"}})


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("shop", "shop"),
        ("shop:1.0", "shop"),
        ("registry:5000/shop", "registry:5000/shop"),
        ("registry:5000/shop:1.0", "registry:5000/shop"),
        ("registry/shop:1.0@sha256:abc", "registry/shop"),
        ("registry/shop@sha256:abc", "registry/shop"),
    ],
)
def test_a_version_is_no_part_of_the_repository(image: str, repository: str) -> None:
    assert _repository(image) == repository


def test_what_stands_around_the_containers_is_compared_too() -> None:
    blue, other = deployment(PODS), deployment(green())
    blue["spec"] |= {"strategy": {"type": "RollingUpdate"}, "minReadySeconds": 5}
    blue["spec"]["template"]["metadata"] = {
        "labels": {"version": "blue", "team": "a"},
        "annotations": {"sidecar.istio.io/inject": "true", "kubectl.kubernetes.io/restartedAt": "2026-11-20"},
    }
    other["spec"]["strategy"] = {"type": "Recreate"}
    other["spec"]["template"]["metadata"] = {"labels": {"version": "green", "team": "b"}}
    told = differences(Side(blue, "blue"), Side(other, "green"), CONTENTS)
    assert {one.place: (one.live, one.idle) for one in told} == {
        "metadata.annotations.sidecar.istio.io/inject": ("true", None),
        "metadata.labels.team": ("a", "b"),
        "minReadySeconds": (5, 0),
        "strategy.type": ("RollingUpdate", "Recreate"),
    }


def test_what_is_projected_is_compared_by_content() -> None:
    """As Kustomize names it, by a hash of its own for each colour."""

    def projecting(colour: str) -> dict[str, t.Any]:
        sources = [{"secret": {"name": f"shop-{colour}"}}, {"configMap": {"name": f"settings-{colour}"}}]
        return {
            **(PODS if colour == "blue" else green()),
            "volumes": [{"name": "all", "projected": {"sources": sources}}],
        }

    sides = Side(deployment(projecting("blue")), "blue"), Side(deployment(projecting("green")), "green")
    assert ("Secret", "shop-blue") in references(sides[0].deployment)
    assert differences(*sides, CONTENTS) == []
