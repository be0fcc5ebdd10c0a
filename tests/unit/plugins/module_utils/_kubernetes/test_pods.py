# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from plugins.module_utils._kubernetes.pods import endpoints, is_leaving, is_ready, leaving, trouble, unmatched_port

READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def pod(status: t.Any = ..., ports: t.Any = None, **metadata: t.Any) -> dict[str, t.Any]:
    return {
        "metadata": {"name": "p", **metadata},
        "spec": {"containers": [{"name": "app", "ports": ports}, {"name": "sidecar"}]},
        **({} if status is None else {"status": READY if status is ... else status}),
    }


def waiting(reason: str, **more: str) -> dict[str, t.Any]:
    return {"state": {"waiting": {"reason": reason, **more}}}


@pytest.mark.parametrize(
    ("given", "ready", "leaving"),
    [
        (pod(), True, False),
        (pod(None), False, False),
        (pod({"phase": "Pending"}), False, False),
        (pod({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}), False, False),
        (pod({"phase": "Running", "conditions": [{"type": "Initialized", "status": "True"}]}), False, False),
        (pod(deletionTimestamp="2026-11-23T03:00:00Z"), False, True),
        (pod({**READY, "phase": "Failed"}), False, True),
        (pod({**READY, "phase": "Succeeded"}), False, True),
    ],
)
def test_a_pod_is_ready_unless_it_is_leaving(given: dict[str, t.Any], ready: bool, leaving: bool) -> None:
    assert (is_ready(given), is_leaving(given)) == (ready, leaving)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (READY, None),
        (None, None),
        ({"containerStatuses": [waiting("ContainerCreating")]}, None),
        ({"initContainerStatuses": [waiting("PodInitializing")]}, None),
        (
            {"containerStatuses": [{"state": {"running": {}}}, waiting("ImagePullBackOff", message="no such tag")]},
            "ImagePullBackOff: no such tag",
        ),
        ({"initContainerStatuses": [waiting("CrashLoopBackOff")]}, "CrashLoopBackOff: no message"),
        ({"containerStatuses": None, "initContainerStatuses": None}, None),
    ],
)
def test_what_keeps_a_container_from_running_is_told(status: t.Any, told: str | None) -> None:
    assert trouble(pod(status)) == told


HTTP = {"name": "http", "containerPort": 8080}


@pytest.mark.parametrize(
    ("declared", "ports", "missing"),
    [
        ([HTTP], [{"port": 80, "targetPort": "http"}], None),
        ([HTTP], [{"port": 80, "targetPort": 8080}], None),
        ([HTTP], [{"port": 8080}], None),
        ([HTTP], [{"port": 80}], None),
        ([HTTP], [{"port": 80, "targetPort": "web"}], "web"),
        ([HTTP], [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 9090}], None),
        ([HTTP], [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": "metrics"}], "metrics"),
        ([HTTP], [{"port": 80, "targetPort": "http", "protocol": "UDP"}], "http"),
        ([{**HTTP, "protocol": "UDP"}], [{"port": 80, "targetPort": "http", "protocol": "UDP"}], None),
        (None, [{"port": 80, "targetPort": 8080}], None),
        (None, [{"port": 80, "targetPort": "http"}], "http"),
        ([HTTP], [], None),
    ],
)
def test_a_port_that_the_pod_does_not_have_is_named(declared: t.Any, ports: t.Any, missing: str | None) -> None:
    assert unmatched_port(pod(ports=declared), ports) == missing


@pytest.mark.parametrize(("restarts", "missing"), [({"restartPolicy": "Always"}, None), ({}, "mesh")])
def test_a_named_port_may_be_that_of_a_sidecar(restarts: dict[str, str], missing: str | None) -> None:
    """A native one, as of Kubernetes 1.29: an init container that stays."""
    given = pod(ports=[HTTP])
    given["spec"]["initContainers"] = [
        {"name": "proxy", "ports": [{"name": "mesh", "containerPort": 15006}], **restarts}
    ]
    assert unmatched_port(given, [{"port": 80, "targetPort": "mesh"}]) == missing


def test_the_port_of_an_app_that_declares_none_beside_a_sidecar_that_does() -> None:
    given = pod()
    given["spec"]["containers"][1]["ports"] = [{"name": "metrics", "containerPort": 9102}]
    assert unmatched_port(given, [{"port": 80, "targetPort": 8080}]) is None


def endpoint(name: str | None, ready: bool | None = True) -> dict[str, t.Any]:
    target = {"targetRef": {"kind": "Pod", "name": name}} if name else {}
    return {"addresses": ["10.0.0.1"], "conditions": {} if ready is None else {"ready": ready}, **target}


@pytest.mark.parametrize(
    ("slices", "found"),
    [
        ([], {}),
        ([{"endpoints": None}], {}),
        ([{"endpoints": [endpoint("a"), endpoint("b", ready=False)]}], {"a": True, "b": False}),
        ([{"endpoints": [endpoint("a", ready=False)]}, {"endpoints": [endpoint("a")]}], {"a": True}),
        ([{"endpoints": [endpoint("a", ready=None)]}], {"a": True}),  # unknown counts as ready: the API says so
        ([{"endpoints": [endpoint(None)]}], {"10.0.0.1": True}),
    ],
)
def test_who_is_sent_requests_is_read_from_all_slices(slices: t.Any, found: dict[str, bool]) -> None:
    assert endpoints(slices) == found


def test_who_is_leaving_is_no_endpoint_any_more() -> None:
    going = {**endpoint("a"), "conditions": {"ready": False, "serving": True, "terminating": True}}
    slices = [{"endpoints": [going, endpoint("b")]}]
    assert endpoints(slices) == {"b": True}
    assert leaving(slices) == {"a"}
