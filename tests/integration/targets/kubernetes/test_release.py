# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example releases, is put back and retired by the playbooks, under live load through the Service."""

from __future__ import annotations

import contextlib
import math
import re
import threading
import time
from typing import Any

import yaml

from demo.rig import wait_until
from tests.cluster.api import ApiError, location
from tests.cluster.manifests import deployment
from tests.cluster.rights import USER, bind, roles

SETTLES = 2
"""Seconds that the nodes have to follow a selector."""
VERSIONS = {"blue": "1.0", "green": "1.1"}
CREW = {"blue": 2, "green": 0}
STAGES = (
    ("pre_deploy", "bluegreen-pre-deploy", "blue"),
    ("switch", "bluegreen-switch", "green"),
    ("rollback", "bluegreen-switch", "blue"),
    ("pre_deploy", "bluegreen-pre-deploy", "blue"),
    ("switch", "bluegreen-switch", "green"),
    ("post_deploy", "bluegreen-switch", "green"),
    ("retire", "bluegreen-retire", "green"),
    ("status", "bluegreen-status", "green"),
)
"""In this order, with which Role, and the colour that is live then."""


def test_a_release_its_way_back_and_the_end_of_the_old_colour_drop_nothing(example: Any) -> None:
    """Each stage with exactly the rights that the documentation gives it."""
    checks: dict[str, bool | None] = {}
    calm: list[tuple[float, float, str]] = []
    gone = math.inf
    with example.load() as seen:
        for stage, role, live in STAGES:
            bind(example.cluster, example.namespace, roles()[role], location(example.objects["Service", "my-app"]))
            moves = not calm or calm[-1][2] != VERSIONS[live]
            if calm and moves:
                calm[-1] = (calm[-1][0], time.time(), calm[-1][2])
            done = example.play(stage, user=USER, bluegreen_version="1.1", bluegreen_rollback_fails=False)
            assert done.returncode == 0, (stage, done.stdout + done.stderr)
            assert example.live() == live, stage
            if moves:
                calm.append((time.time(), math.inf, VERSIONS[live]))
            if stage == "retire":
                wait_until(lambda: not example.pods("blue"), 60, "the last pod of blue has ended")
                gone = time.time()
            if stage in ("switch", "post_deploy"):
                checks.update({check: passed for check, passed in example.passed().items() if passed is not None})
    head, records = seen
    # A GET that meets the end of an idle connection to a pod is asked again (RFC 9112, 9.3.1); a POST has failed.
    assert (head["failed"], head["websockets"]["lost"]) == (0, 0), head["failures"]
    # A connection that is open stays with its pod; a new one goes to the live colour.
    assert {
        (version, record.version)
        for since, until, version in calm
        for record in records
        if record.kind == "short" and since < record.start < record.end < until
    } == {("1.0", "1.0"), ("1.1", "1.1")}
    assert {record.version for record in records if record.start > gone} == {"1.1"}
    assert (example.replicas("blue"), example.ready("green")) == (0, 3)
    assert set(checks.values()) == {True}
    assert "The front door answers with the new version, again and again" in checks
    assert "All traffic is directed to the new colour: no new request on the old one" not in checks  # nobody counts


def test_workers_are_released_and_put_back_along_with_the_service(example: Any) -> None:
    crew = {colour: deployment(example.namespace, colour, replicas=many) for colour, many in CREW.items()}
    example.cluster.apply(*crew.values())
    names = {colour: one["metadata"]["name"] for colour, one in crew.items()}
    where = {"namespace": example.namespace}
    routes = [
        {"name": "my-app", "provider": "kubernetes", "kubernetes": {"service": "my-app", **where}},
        {
            "name": "workers",
            "provider": "kubernetes_workers",
            "kubernetes_workers": {"deployments": names, **where},
        },
    ]

    def working() -> dict[str, int]:
        return {colour: example.cluster.get(one)["spec"]["replicas"] for colour, one in crew.items()}

    released = example.play("release", bluegreen_version="1.1", bluegreen_routes=routes)
    assert released.returncode == 0, released.stdout
    assert (example.live(), working()) == ("green", {"blue": 0, "green": 2})
    back = example.play("rollback", bluegreen_rollback_fails=False, bluegreen_routes=routes)
    assert back.returncode == 0, back.stdout
    assert (example.live(), working()) == ("blue", CREW)


def test_a_version_that_does_not_run_gets_no_traffic(example: Any) -> None:
    told = example.play("release", bluegreen_version="crash")
    assert told.returncode == 2, told.stdout
    assert "CrashLoopBackOff" in told.stdout
    assert example.live() == "blue"
    assert example.record()["release"]["state"] == "refused"


def test_what_was_half_done_is_recovered(example: Any) -> None:
    """The job was lost between the patch and the proof."""
    hook = example.directory / "lost.yml"
    kill = "kill -KILL {{ lookup('ansible.builtin.pipe', 'echo $PPID') }}"
    hook.write_text(yaml.safe_dump([{"name": "The job is lost", "ansible.builtin.command": kill}]))
    assert example.play("release", bluegreen_version="1.1", bluegreen_after_step=[str(hook)]).returncode != 0
    assert (example.live(), example.record()["release"]["state"]) == ("green", "open")
    assert example.record()["lock"]["parked"] is False
    recovered = example.play("recover", bluegreen_take_over="its job was killed")
    assert recovered.returncode == 2, recovered.stdout
    assert example.live() == "blue"
    assert example.record()["release"]["state"] == "rolled_back"
    assert example.record()["lock"] is None


def test_a_plan_shows_the_patch_and_makes_none(example: Any) -> None:
    ready = example.play("pre_deploy", bluegreen_version="1.1")
    assert ready.returncode == 0, ready.stdout
    before = example.versions()
    planned = example.play("switch", "--check", "--diff", bluegreen_version="1.1")
    assert planned.returncode == 0, planned.stdout
    for line in ('"my-app-preview"', '"version": "blue"', '"version": "green"'):
        assert line in planned.stdout
    assert example.versions() == before


def test_a_selector_that_is_put_back_during_the_watch_ends_the_release_and_fails_no_request(example: Any) -> None:
    """As a GitOps tool does it that was not told to leave the selector alone (docs/gitops.md)."""
    service = example.objects["Service", "my-app"]
    mine = {"selector": {**example.cluster.get(service)["spec"]["selector"], "version": "blue"}}

    def is_watched() -> bool:
        with contextlib.suppress(ApiError):  # there is no record yet
            return [each["step"] for each in example.record()["release"]["steps"]][-1:] == ["watch"]
        return False

    def put_back() -> None:
        wait_until(is_watched, 900, "the watch begins")
        example.cluster.admin.patch(location(service), {"spec": mine})
        settled.append(time.time() + SETTLES)

    settled: list[float] = []
    other = threading.Thread(target=put_back)
    with example.load() as seen:
        other.start()
        told = example.play("release", bluegreen_version="1.1", bluegreen_watch=60)
        other.join(10)
        assert (told.returncode, example.live()) == (2, "blue"), told.stdout
    head, records = seen
    assert (head["failed"], head["websockets"]["lost"]) == (0, 0), head["failures"]
    assert {record.version for record in records if record.kind == "short" and record.start > settled[0]} == {"1.0"}
    assert re.search(r"the split (is|was) blue 100 %", told.stdout), told.stdout
    assert example.passed()["Error share and response times stay within the limits"] is not True
    assert example.record()["release"]["state"] == "rolled_back"
