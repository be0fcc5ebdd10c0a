# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What befalls a record in a ConfigMap, on a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from plugins.module_utils._errors import BlueGreenError, BrokenRecordError, DeniedError, MissingError, UnreachableError
from plugins.module_utils._kubernetes.options import CONNECTION_SPEC
from plugins.module_utils._release.registry import build_store
from plugins.module_utils._release.store import Store
from tests.cluster.cluster import Handle
from tests.cluster.rights import bind

NAME = "bluegreen-shop"


@pytest.fixture
def namespace(cluster: Handle) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


def store_at(cluster: Handle, namespace: str, **more: Any) -> Store:
    options = {"type": "kubernetes", "kubeconfig": str(cluster.kubeconfig), "namespace": namespace, "timeout": 5.0}
    return build_store({"store": {**dict.fromkeys(CONNECTION_SPEC), **options, "name": NAME, **more}}, "shop")


def path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps/{NAME}"


@pytest.mark.parametrize("mebibytes", [1.1, 4.0])
def test_a_record_that_is_too_big_leaves_the_old_one(cluster: Handle, namespace: str, mebibytes: float) -> None:
    store = store_at(cluster, namespace)
    version = store.write({"release": "old"}, None)
    with pytest.raises(DeniedError, match=r"expected at most 1048576 bytes\. The old record is untouched"):
        store.write({"release": "x" * int(mebibytes * 2**20)}, version)
    stored = store.read()
    assert stored is not None
    assert (stored.content, stored.version) == ({"release": "old"}, version)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"record.json": '{"release": {"id"'}, "it is no JSON"),
        ({"record.json": ""}, "it is no JSON"),
        ({"record.json": "[" * 100_000}, "it is nested"),
        ({"other": "x"}, "has no record.json"),
        (None, "has no record.json"),
    ],
)
def test_a_broken_record_is_named_and_not_overwritten(cluster: Handle, namespace: str, data: Any, said: str) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": NAME}}
    cluster.apply({**manifest, **({"data": data} if data else {})})
    before = cluster.get(manifest)
    with pytest.raises(BrokenRecordError, match=said) as caught:
        store_at(cluster, namespace).read()
    assert f"kubectl -n {namespace} edit configmap {NAME}" in caught.value.message
    assert cluster.get(manifest) == before


def test_who_may_not_read_or_write_is_told_verb_and_resource(cluster: Handle, namespace: str) -> None:
    version = store_at(cluster, namespace).write({"release": "old"}, None)
    before = cluster.admin.get(path(namespace))
    for verbs, act in ((["list"], "get"), (["get"], "update")):
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}]
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": rules}
        kubeconfig = bind(cluster, namespace, role, path(namespace))
        store = store_at(cluster, namespace, kubeconfig=str(kubeconfig))
        with pytest.raises(DeniedError, match=f'cannot {act} resource "configmaps"'):
            store.read() if act == "get" else store.write({"release": "new"}, version)
        assert cluster.admin.get(path(namespace)) == before


def test_a_namespace_that_is_not_there_is_missing(cluster: Handle) -> None:
    store = store_at(cluster, "nowhere")
    assert store.read() is None
    with pytest.raises(MissingError, match='namespaces "nowhere" not found'):
        store.write({"release": "new"}, None)


def test_a_record_that_was_deleted_in_between_is_a_conflict(cluster: Handle, namespace: str) -> None:
    store = store_at(cluster, namespace)
    version = store.write({"release": "old"}, None)
    cluster.admin.delete(path(namespace))
    with pytest.raises(BlueGreenError) as caught:
        store.write({"release": "new"}, version)
    assert caught.value.code == "conflict"
    assert store.read() is None


def test_nobody_at_the_address_is_unreachable_in_time(cluster: Handle, namespace: str) -> None:
    closed = {"host": "https://127.0.0.1:1", "api_key": "x", "kubeconfig": None, "timeout": 0.5}
    with pytest.raises(UnreachableError, match="nobody answers at https"):
        store_at(cluster, namespace, **closed).read()


def test_the_record_is_readable_with_kubectl_as_it_is(cluster: Handle, namespace: str) -> None:
    store_at(cluster, namespace).write({"release": {"id": "r1"}}, None)
    found = cluster.admin.get(path(namespace))
    assert json.loads(found["data"]["record.json"]) == {"release": {"id": "r1"}}
    assert found["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "bluegreen.deploy"}
