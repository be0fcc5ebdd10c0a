# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot work is refused in one line with a code, and nothing is changed."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from pip._vendor import certifi

from demo.rig import wait_until
from tests.cluster.api import Object
from tests.cluster.manifests import service

NOBODY = {"preview_service": None}


def alone(shop: Any, manifest: Object) -> dict[str, Any]:
    """A Service of its own, and the options of a route to it."""
    shop.cluster.apply(manifest)
    return {**NOBODY, "service": manifest["metadata"]["name"]}


def special(shop: Any, name: str, **spec: Any) -> dict[str, Any]:
    manifest = service(shop.namespace, "blue", name)
    manifest["spec"] = {**manifest["spec"], **spec}
    return alone(shop, manifest)


def closed_port(_shop: Any) -> dict[str, Any]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return {"host": f"https://127.0.0.1:{port}", "api_key": "t0ken", "kubeconfig": None, "timeout": 0.5}


def other_authority(_shop: Any) -> dict[str, Any]:
    """All whom the world trusts; none of them has vouched for a server of ours."""
    return {"ca_cert": certifi.where(), "timeout": 2.0}


def token(shop: Any, value: str) -> dict[str, Any]:
    return {"api_key": value, "kubeconfig": None, "host": server(shop), "validate_certs": False}


def server(shop: Any) -> str:
    config = yaml.safe_load(shop.cluster.kubeconfig.read_text())
    return str(config["clusters"][0]["cluster"]["server"])


CASES: dict[str, tuple[Callable[[Any], dict[str, Any]], str, str]] = {
    "no such Service": (lambda _shop: {"service": "shopp"}, "missing", 'services "shopp" not found'),
    "no such namespace": (lambda _shop: {"namespace": "nowhere"}, "missing", 'services "shop" not found'),
    "no such preview": (lambda _shop: {"preview_service": "previeww"}, "missing", 'services "previeww" not found'),
    "the preview is the Service": (lambda _shop: {"preview_service": "shop"}, "invalid", "preview_service is shop"),
    "headless": (lambda shop: special(shop, "headless", clusterIP="None"), "unsupported", "is headless"),
    "ExternalName": (
        lambda shop: special(shop, "outside", type="ExternalName", externalName="example.com"),
        "unsupported",
        "is of type ExternalName",
    ),
    "no version in the selector": (
        lambda shop: special(shop, "bare", selector={"app": "shop"}),
        "drift",
        "Service bare selects app=shop, without version=blue or version=green: the pods of both",
    ),
    "no selector": (
        lambda shop: special(shop, "none", selector=None),
        "drift",
        "Service none has no selector",
    ),
    "a colour nobody knows": (
        lambda shop: special(shop, "purple", selector={"app": "shop", "version": "purple"}),
        "drift",
        "Service purple selects version=purple, which is neither version=blue nor version=green",
    ),
    "another label": (
        lambda _shop: {"selector_key": "colour"},
        "drift",
        "Service shop selects app=shop,version=blue, without colour=blue or colour=green",
    ),
    "both colours alike": (
        lambda _shop: {"selector_values": {"blue": "x", "green": "x"}},
        "invalid",
        "selector_values is version=x for both colours",
    ),
    "no kubeconfig": (
        lambda _shop: {"kubeconfig": "/nowhere/kubeconfig"},
        "missing",
        "there is no way to a Kubernetes API server",
    ),
    "no such context": (lambda _shop: {"context": "moon"}, "missing", "there is no way to a Kubernetes API server"),
    "a kubeconfig that is none": (lambda _shop: {"kubeconfig": __file__}, "missing", "there is no way"),
    "no URL": (lambda _shop: {"host": "cluster", "api_key": "x", "kubeconfig": None}, "invalid", "host is 'cluster'"),
    "nobody listens": (closed_port, "unreachable", "nobody answers at https://127.0.0.1:"),
    "another authority": (other_authority, "unreachable", "cannot be trusted"),
    "no such ca_cert": (
        lambda _shop: {"ca_cert": "/nowhere/ca.crt"},
        "denied",
        "ca_cert /nowhere/ca.crt cannot be read",
    ),
    "a wrong token": (
        lambda shop: token(shop, "wr0ng-t0ken"),
        "denied",
        "the API server does not know who asks: Unauthorized",
    ),
    "no time": (lambda _shop: {"timeout": 0}, "invalid", "timeout is 0"),
}


@pytest.mark.parametrize("what", CASES)
def test_it_is_refused_in_one_line_with_a_code(shop: Any, what: str) -> None:
    options, code, said = CASES[what]
    route = shop.route(**options(shop))
    before = shop.specs()
    told = shop.module("traffic", routes=[route], to="green")
    assert (told["failed"], told["failure"]["code"]) == (True, code), told["msg"]
    assert said in told["msg"]
    assert "\n" not in told["msg"]
    assert "wr0ng-t0ken" not in json.dumps({**told, "invocation": None})
    assert shop.specs() == before


def role(shop: Any, *rules: tuple[str, str, list[str]]) -> None:
    """What the user C(viewer) may do in the namespace: API group, resource and verbs of each rule."""
    rbac = "rbac.authorization.k8s.io"
    metadata = {"namespace": shop.namespace, "name": "viewer"}
    shop.cluster.apply(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [{"apiGroups": [group], "resources": [kind], "verbs": verbs} for group, kind, verbs in rules],
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "viewer"},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": "viewer"}],
        },
    )


LOOKS: list[tuple[str, str, list[str]]] = [
    ("", "services", ["get"]),
    ("", "pods", ["list"]),
    ("discovery.k8s.io", "endpointslices", ["list", "watch"]),
]
"""What traffic_info and a plan need."""


@pytest.mark.parametrize("missing", range(len(LOOKS)))
def test_a_right_that_is_missing_is_named(shop: Any, missing: int) -> None:
    role(shop, *(rule for number, rule in enumerate(LOOKS) if number != missing))
    _group, kind, (verb, *_more) = LOOKS[missing]
    route = shop.route(kubeconfig=str(shop.cluster.user_kubeconfig("viewer")))
    told: dict[str, Any] = {}

    def refused() -> bool:
        told.update(shop.module("traffic", routes=[route], to="green"))
        return f'cannot {verb} resource "{kind}"' in told["msg"]

    wait_until(refused, 30, "the Role counts")
    assert told["failure"]["code"] == "denied"
    assert shop.selected() == ("blue", "green")


def test_who_may_not_watch_moves_nothing(shop: Any) -> None:
    role(shop, ("", "services", ["get", "patch"]), LOOKS[1], ("discovery.k8s.io", "endpointslices", ["list"]))
    route = shop.route(kubeconfig=str(shop.cluster.user_kubeconfig("viewer")))
    version = shop.cluster.get(shop.service)["metadata"]["resourceVersion"]
    told: dict[str, Any] = {}

    def refused() -> bool:
        told.update(shop.module("traffic", routes=[route], to="green"))
        return 'cannot watch resource "endpointslices"' in told["msg"]

    wait_until(refused, 30, "the Role counts")
    assert shop.cluster.get(shop.service)["metadata"]["resourceVersion"] == version


def test_who_may_only_look_can_plan_nothing_and_move_nothing(shop: Any) -> None:
    """A plan is tried on the server, so that it does not promise what is not allowed."""
    role(shop, *LOOKS)
    route = shop.route(kubeconfig=str(shop.cluster.user_kubeconfig("viewer")))
    wait_until(lambda: not shop.module("traffic_info", routes=[route]).get("failed"), 30, "the Role counts")
    for check in (True, False):
        told = shop.module("traffic", routes=[route], to="green", _ansible_check_mode=check)
        assert told["failure"]["code"] == "denied"
        assert 'cannot patch resource "services"' in told["msg"]
        assert shop.selected() == ("blue", "green")


def test_these_rights_and_patch_are_enough(shop: Any) -> None:
    role(shop, ("", "services", ["get", "patch"]), *LOOKS[1:])
    route = shop.route(kubeconfig=str(shop.cluster.user_kubeconfig("viewer")))
    wait_until(lambda: shop.module("traffic", routes=[route], to="green").get("changed"), 30, "the Role counts")
    assert shop.selected() == ("green", "blue")
