# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API server is killed in the middle of a release. A part of `make faults`, for it takes minutes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.rig import wait_until
from plugins.module_utils._kubernetes.client import ExpiredError, Watched, connect
from plugins.module_utils._kubernetes.options import CONNECTION_SPEC
from tests.cluster.cluster import Cluster, Handle

from .conftest import Example

pytestmark = pytest.mark.skipif(os.environ.get("BLUEGREEN_FAULTS") != "full", reason="a part of the full form")


@pytest.fixture(scope="module")
def own(cluster: Handle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that nobody else uses."""
    if not cluster.ours:
        pytest.skip("the cluster is one whose API server is not ours to kill")
    with Cluster(tmp_path_factory.mktemp("own")) as own:
        yield own


@pytest.fixture
def moved(own: Cluster, tmp_path: Path) -> Iterator[tuple[Example, subprocess.Popen[str]]]:
    """A release whose traffic has just moved."""
    with own.namespace() as namespace:
        example = Example(own, namespace, tmp_path)
        assert example.play("pre_deploy", bluegreen_version="1.1").returncode == 0
        release = example.start("switch", bluegreen_version="1.1")
        try:
            wait_until(lambda: release.poll() is not None or example.live() == "green", 120, "the traffic has moved")
            yield example, release
        finally:
            release.kill()
            release.communicate()


def test_a_short_outage_is_waited_out(own: Cluster, moved: Any) -> None:
    example, release = moved
    own.kill_api_server()
    own.start_api_server()
    said = release.communicate(timeout=200)[0]
    assert example.live() == ("green" if release.returncode == 0 else "blue"), said
    if release.returncode:
        assert example.play("recover", bluegreen_take_over="the API server was away").returncode in (0, 2)
    assert example.play("status").returncode == 0


def test_after_a_long_outage_the_release_is_recovered_to_one_colour(own: Cluster, moved: Any) -> None:
    example, release = moved
    own.kill_api_server()
    said = release.communicate(timeout=400)[0]
    own.start_api_server()
    assert release.returncode == 2, said
    assert "nobody answers at https://127.0.0.1:" in said

    def recovered() -> bool:
        """It says that it could not see the traffic move as long as the controllers have not come back, either."""
        done = example.play("recover", bluegreen_take_over="the API server was away")
        assert done.returncode == 2, done.stdout
        return bool(example.record()["release"]["state"] == "rolled_back")

    wait_until(recovered, 200, "the release is recovered")
    assert example.live() == "blue"
    assert example.record()["lock"] is None


def test_what_a_restarted_server_has_forgotten_is_listed_anew(own: Cluster) -> None:
    """A real 410: its cache begins with what was there when it started."""
    client = connect({**dict.fromkeys(CONNECTION_SPEC), "kubeconfig": str(own.kubeconfig), "timeout": 60.0})
    with own.namespace() as namespace:
        maps = f"/api/v1/namespaces/{namespace}/configmaps"
        watched = Watched(client, maps)
        watched.look()
        own.kill_api_server()
        own.start_api_server()
        for number in range(3):
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": f"m{number}"}}
            own.apply(made)
        with pytest.raises(ExpiredError):
            list(client.watch(maps, "1", 5))
        assert watched.until(lambda items: len(items) >= 3, 30)
