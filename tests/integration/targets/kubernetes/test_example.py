# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifests of the example, which a pipeline applies again whenever something in them changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.api import STRATEGIC, ApiError, location
from tests.cluster.cluster import Handle
from tests.integration.targets.kubernetes.conftest import example_manifests


@pytest.fixture
def namespace(cluster: Handle) -> Iterator[str]:
    with cluster.namespace() as namespace:
        yield namespace


def state(cluster: Handle, namespace: str) -> list[Any]:
    found = [cluster.get(each) for each in manifests(namespace)]
    return [each["spec"].get("selector", {}) for each in found[:2]] + [
        (each["spec"]["replicas"], each["spec"]["template"]["spec"]["containers"][0]["image"]) for each in found[2:]
    ]


def manifests(namespace: str, first: bool = False) -> list[Any]:
    found = example_manifests(first)
    for each in found:
        each["metadata"]["namespace"] = namespace
    return found


def test_the_example_applied_again_after_a_release_moves_no_traffic_and_stops_nothing(
    cluster: Handle, namespace: str
) -> None:
    for each in manifests(namespace, first=True):
        cluster.admin.create(each)
    assert [image for _many, image in state(cluster, namespace)[2:]] == ["my-app:1.0", "my-app:1.0"]
    live, preview, blue, green = manifests(namespace)
    for each, colour in ((live, "green"), (preview, "blue")):
        cluster.admin.patch(location(each), {"spec": {"selector": {"version": colour}}})
    for each, many, image in ((blue, 0, "my-app:1.0"), (green, 3, "my-app:1.1")):
        container = {"name": "my-app", "image": image}
        spec = {"replicas": many, "template": {"spec": {"containers": [container]}}}
        cluster.admin.patch(location(each), {"spec": spec}, STRATEGIC)
    released = state(cluster, namespace)
    for each in manifests(namespace):
        cluster.admin.patch(location(each), each, STRATEGIC)  # what kubectl apply sends
    assert state(cluster, namespace) == released
    assert released[0]["version"] == "green"


def test_the_example_that_is_applied_before_it_was_made_is_refused(cluster: Handle, namespace: str) -> None:
    """An app without an image is no app: so nobody gets a Service of both colours and does not notice."""
    deployments = [each for each in manifests(namespace) if each["kind"] == "Deployment"]
    for each in deployments:
        with pytest.raises(ApiError) as caught:
            cluster.admin.create(each)
        assert caught.value.status == 422
