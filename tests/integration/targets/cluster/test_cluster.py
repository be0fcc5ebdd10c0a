# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster that the Kubernetes tests stand on does what one does that runs containers."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from demo.rig import wait_until
from tests.cluster.api import ApiError, Object, location
from tests.cluster.cluster import Cluster, Handle
from tests.cluster.manifests import deployment, service
from tests.cluster.rights import allowed

SECONDS = 60.0


@pytest.fixture(scope="module", autouse=True)
def ours(cluster: Handle) -> None:
    if not cluster.ours:
        pytest.skip("the cluster is one with containers of its own")


@pytest.fixture
def namespace(cluster: Handle) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


def available(cluster: Handle, manifest: Object, replicas: int) -> None:
    def met() -> bool:
        now = cluster.get(manifest)
        status = now.get("status", {})
        seen = status.get("observedGeneration", 0) >= now["metadata"]["generation"]
        return bool(seen and status.get("availableReplicas", 0) == replicas == status.get("replicas", 0))

    wait_until(met, SECONDS, f"{replicas} pods of {manifest['metadata']['name']} are available")


def colour(url: str) -> str:
    """Who answers a new connection."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(json.load(answer)["colour"])


def pods(cluster: Handle, namespace: str, version: str) -> list[Object]:
    found = cluster.admin.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=f"version={version}")
    return list(found["items"])


def ready_addresses(cluster: Handle, namespace: str) -> set[str]:
    """What the EndpointSlices of the Service hold."""
    slices = cluster.admin.get(
        f"{cluster.admin.group('discovery.k8s.io')}/namespaces/{namespace}/endpointslices",
        labelSelector="kubernetes.io/service-name=shop",
    )["items"]
    endpoints = [endpoint for each in slices for endpoint in each["endpoints"] or []]
    return {address for each in endpoints if each["conditions"]["ready"] for address in each["addresses"]}


def waiting_reasons(cluster: Handle, namespace: str, version: str) -> Callable[[], set[str]]:
    def found() -> set[str]:
        statuses = [s for pod in pods(cluster, namespace, version) for s in pod["status"].get("containerStatuses", [])]
        return {status["state"].get("waiting", {}).get("reason", "") for status in statuses}

    return found


def test_selector_patch_moves_new_connections(cluster: Handle, namespace: str) -> None:
    blue, green = deployment(namespace, "blue", replicas=2), deployment(namespace, "green", "demo-app:1.1")
    shop = service(namespace, "blue")
    cluster.apply(blue, green, shop)
    available(cluster, blue, 2)
    available(cluster, green, 1)
    wait_until(lambda: len(ready_addresses(cluster, namespace)) == 2, SECONDS, "both blue pods are endpoints")
    assert all(address.startswith("10.244.") for address in ready_addresses(cluster, namespace))
    url = cluster.url(namespace, "shop")
    wait_until(lambda: answers(url), SECONDS, "the Service answers")
    assert {colour(url) for _each in range(4)} == {"blue"}

    kept = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    assert ask(kept) == "blue"
    cluster.admin.patch(location(shop), {"spec": {"selector": {"version": "green"}}})
    wait_until(lambda: colour(url) == "green", SECONDS, "green answers")
    (pod,) = pods(cluster, namespace, "green")
    wait_until(lambda: ready_addresses(cluster, namespace) == {pod["status"]["podIP"]}, SECONDS, "only green is left")
    assert {colour(url) for _each in range(4)} == {"green"}
    assert ask(kept) == "blue", "a connection stays where it is"
    kept.close()


def answers(url: str) -> bool:
    try:
        return bool(colour(url))
    except OSError:
        return False


def ask(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", "/")
    return str(json.load(connection.getresponse())["colour"])


def test_readiness_takes_a_pod_out_and_in(cluster: Handle, namespace: str) -> None:
    blue = deployment(namespace, "blue", replicas=2)
    cluster.apply(blue, service(namespace, "blue"))
    available(cluster, blue, 2)
    ill, well = sorted(pods(cluster, namespace, "blue"), key=lambda pod: pod["metadata"]["name"])
    steer(cluster.pod_url(namespace, ill["metadata"]["name"]), unhealthy=True)
    alone = {well["status"]["podIP"]}
    wait_until(lambda: ready_addresses(cluster, namespace) == alone, SECONDS, "the ill pod is no endpoint")
    steer(cluster.pod_url(namespace, ill["metadata"]["name"]), unhealthy=False)
    wait_until(lambda: len(ready_addresses(cluster, namespace)) == 2, SECONDS, "it is one again")


def steer(url: str, **faults: object) -> None:
    request = urllib.request.Request(f"{url}/_ctl", json.dumps(faults).encode(), method="POST")
    urllib.request.urlopen(request, timeout=10).close()


def test_what_cannot_run_says_why(cluster: Handle, namespace: str) -> None:
    cluster.apply(
        deployment(namespace, "blue", "demo-app:crash"),
        deployment(namespace, "green", "missing:1.1"),
        service(namespace, "blue"),
    )
    crashing, missing = (waiting_reasons(cluster, namespace, version) for version in ("blue", "green"))
    wait_until(lambda: crashing() == {"CrashLoopBackOff"}, SECONDS, "the crash loop shows")
    wait_until(lambda: missing() == {"ImagePullBackOff"}, SECONDS, "the missing image shows")
    (pod,) = pods(cluster, namespace, "blue")
    (status,) = pod["status"]["containerStatuses"]
    assert status["restartCount"] >= 1
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert not answers(cluster.url(namespace, "shop")), "nothing serves"


def test_a_pod_waits_for_its_config_map(cluster: Handle, namespace: str) -> None:
    blue = deployment(namespace, "blue")
    (container,) = blue["spec"]["template"]["spec"]["containers"]
    container["envFrom"] = [{"configMapRef": {"name": "shop"}}]
    cluster.apply(blue, service(namespace, "blue"))
    waiting = waiting_reasons(cluster, namespace, "blue")
    wait_until(lambda: waiting() == {"CreateContainerConfigError"}, SECONDS, "the missing ConfigMap shows")
    metadata = {"namespace": namespace, "name": "shop"}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"COLOUR": "azure"}})
    available(cluster, blue, 1)
    url = cluster.url(namespace, "shop")
    wait_until(lambda: answers(url), SECONDS, "the Service answers")
    assert colour(url) == "azure"


def test_a_pod_ends_in_its_own_time(cluster: Handle, namespace: str) -> None:
    """A request in flight is answered although its pod is being removed; the worker's process ends too."""
    blue, worker = deployment(namespace, "blue"), deployment(namespace, "green", "worker:1.1")
    del worker["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
    cluster.apply(blue, worker, service(namespace, "blue"))
    available(cluster, blue, 1)
    available(cluster, worker, 1)
    url = cluster.url(namespace, "shop")
    wait_until(lambda: answers(url), SECONDS, "the Service answers")
    said: list[str] = []
    slow = threading.Thread(target=lambda: said.append(colour(f"{url}/slow?ms=1500")))
    slow.start()
    for manifest in (blue, worker):
        cluster.admin.patch(f"{location(manifest)}/scale", {"spec": {"replicas": 0}})
    wait_until(lambda: not pods(cluster, namespace, "blue"), SECONDS, "the pod is gone")
    wait_until(lambda: not pods(cluster, namespace, "green"), SECONDS, "the worker is gone")
    slow.join(30)
    assert said == ["blue"]


def test_users_may_do_what_their_role_says(cluster: Handle, namespace: str) -> None:
    viewer, path = cluster.user("viewer"), f"/api/v1/namespaces/{namespace}/services"
    with pytest.raises(ApiError) as refused:
        viewer.get(path)
    assert refused.value.status == 403
    assert 'User "viewer" cannot list resource "services"' in refused.value.document["message"]
    metadata = {"namespace": namespace, "name": "reads-services"}
    cluster.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [{"apiGroups": [""], "resources": ["services"], "verbs": ["list"]}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reads-services"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "viewer"}],
        },
    )
    wait_until(lambda: allowed(lambda: viewer.get(path)), SECONDS, "the Role counts")
    with pytest.raises(ApiError, match="403"):
        viewer.create(service(namespace, "blue"))


def test_weighted_routes_can_be_written(cluster: Handle, namespace: str) -> None:
    cluster.install_crds()
    backends = [{"name": "shop-blue", "port": 80, "weight": 90}, {"name": "shop-green", "port": 80, "weight": 10}]
    route: Object = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"namespace": namespace, "name": "shop"},
        "spec": {
            "parentRefs": [{"name": "front"}],
            "rules": [
                {
                    "matches": [{"headers": [{"name": "x-canary", "value": "yes"}]}],
                    "filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": "shop"}}],
                    "backendRefs": backends,
                }
            ],
        },
    }
    targets = [{"destination": {"host": "shop", "subset": each}, "weight": 50} for each in ("blue", "green")]
    virtual: Object = {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"namespace": namespace, "name": "shop"},
        "spec": {"hosts": ["shop"], "http": [{"name": "main", "timeout": "2s", "route": targets}]},
    }
    cluster.apply(route, virtual)
    (rule,) = cluster.get(route)["spec"]["rules"]
    assert [each["weight"] for each in rule["backendRefs"]] == [90, 10]
    assert [(each["group"], each["kind"]) for each in rule["backendRefs"]] == [("", "Service")] * 2
    assert rule["filters"][0]["urlRewrite"] == {"hostname": "shop"}
    assert rule["matches"][0]["path"] == {"type": "PathPrefix", "value": "/"}
    older = {**route, "apiVersion": "gateway.networking.k8s.io/v1beta1"}
    assert cluster.get(older)["spec"] == cluster.get(route)["spec"]
    assert cluster.get(virtual)["spec"] == virtual["spec"]
    backends[0]["weight"] = -1
    with pytest.raises(ApiError, match="422"):
        cluster.apply(route)


def test_a_killed_api_server_comes_back_with_its_data(ours: None, tmp_path: Path) -> None:
    """Meanwhile traffic goes on, and afterwards the stand-ins follow it again."""
    with Cluster(tmp_path / "own") as own, own.namespace() as namespace:
        blue, green = deployment(namespace, "blue"), deployment(namespace, "green", "demo-app:1.1")
        shop = service(namespace, "blue")
        own.apply(blue, green, shop)
        available(own, blue, 1)
        available(own, green, 1)
        url = own.url(namespace, "shop")
        wait_until(lambda: answers(url), SECONDS, "the Service answers")
        own.kill_api_server()
        with pytest.raises(OSError, match="refused"):
            own.get(shop)
        assert colour(url) == "blue"
        own.start_api_server()
        assert own.get(shop)["spec"]["selector"]["version"] == "blue"
        own.admin.patch(location(shop), {"spec": {"selector": {"version": "green"}}})
        wait_until(lambda: colour(url) == "green", SECONDS, "green answers")
