# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example releases, is put back and retired by the playbooks, under live load through the Service."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo import measure
from demo.rig import ROOT, environment, load_command, wait_until
from tests.cluster.cluster import Handle

EXAMPLE = ROOT / "examples" / "kubernetes"
QUICK = {
    "my_app_image": "demo-app",
    "bluegreen_health_answers": 2,
    "bluegreen_health_timeout": 30,
    "bluegreen_front_answers": 10,
    "bluegreen_watch": 1,
    "bluegreen_confirmation_period": 0,
}


class Example:
    """examples/kubernetes in a namespace of its own, with 1.0 live on blue."""

    def __init__(self, cluster: Handle, namespace: str, directory: Path) -> None:
        self.cluster, self.namespace, self.directory = cluster, namespace, directory
        self.objects = {}
        for manifest in yaml.safe_load_all((EXAMPLE / "my-app.yml").read_text()):
            manifest["metadata"]["namespace"] = namespace
            if manifest["kind"] == "Deployment":
                (container,) = manifest["spec"]["template"]["spec"]["containers"]
                container["image"] = container["image"].replace("my-app", "demo-app")
                container["lifecycle"]["preStop"]["exec"]["command"] = ["sleep", "1"]
            self.objects[manifest["kind"], manifest["metadata"]["name"]] = manifest
        cluster.apply(*self.objects.values())
        wait_until(lambda: self.ready("blue") == 3, 60, "blue is ready")
        self.front, self.preview = (cluster.url(namespace, name) for name in ("my-app", "my-app-preview"))

    def ready(self, colour: str) -> int:
        return int(self.cluster.get(self.objects["Deployment", f"my-app-{colour}"])["status"].get("readyReplicas", 0))

    def replicas(self, colour: str) -> int:
        return int(self.cluster.get(self.objects["Deployment", f"my-app-{colour}"])["spec"]["replicas"])

    def versions(self) -> list[str]:
        """Of the Services: they change whenever somebody writes."""
        services = [each for (kind, _name), each in self.objects.items() if kind == "Service"]
        return [self.cluster.get(each)["metadata"]["resourceVersion"] for each in services]

    def live(self) -> str:
        return str(self.cluster.get(self.objects["Service", "my-app"])["spec"]["selector"]["version"])

    def record(self) -> dict[str, Any]:
        found = self.cluster.admin.get(f"/api/v1/namespaces/{self.namespace}/configmaps/bluegreen-my-app")
        record: dict[str, Any] = json.loads(found["data"]["record.json"])
        return record

    def play(self, playbook: str, *more: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        where = {"my_app_namespace": self.namespace, "my_app_url": self.front, "my_app_preview_url": self.preview}
        told = {
            **QUICK,
            **where,
            "bluegreen_state_dir": str(self.directory / "state"),
            "bluegreen_report_dir": str(self.directory / "reports"),
            "bluegreen_report_name": "report",
            **variables,
        }
        words = ["-i", str(EXAMPLE / "inventory.yml"), f"bluegreen.deploy.{playbook}", "-e", json.dumps(told), *more]
        return subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), *words],
            env=environment(K8S_AUTH_KUBECONFIG=str(self.cluster.kubeconfig)),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def passed(self) -> dict[str, bool | None]:
        report = json.loads((self.directory / "reports" / "report.json").read_text())
        return {item["check"]: item["passed"] for item in report["load_balancers"]["cluster"]["checklist"]}

    @contextlib.contextmanager
    def load(self) -> Iterator[list[Any]]:
        """A live load on the Service while the block runs; afterwards the list holds its summary and records."""
        out, seen = self.directory / "load.jsonl", []  # type: ignore[var-annotated]
        words = load_command(self.front, out, "--rate", "50", "--slow", "1", "--streams", "1", "--websockets", "2")
        with (self.directory / "load.log").open("w") as log:
            process = subprocess.Popen(words, cwd=ROOT, stdout=log)
            try:
                wait_until(lambda: Path(log.name).stat().st_size > 0, 20, "the load runs")
                yield seen
            finally:
                process.terminate()
                process.wait(30)
        with out.open() as file:
            seen.extend(measure.parse(file))


@pytest.fixture
def example(cluster: Handle, tmp_path: Path) -> Iterator[Example]:
    with cluster.namespace() as namespace:
        yield Example(cluster, namespace, tmp_path)


def test_a_release_its_way_back_and_the_end_of_the_old_colour_drop_nothing(example: Example) -> None:
    with example.load() as seen:
        released = example.play("release", bluegreen_version="1.1")
        assert released.returncode == 0, released.stdout + released.stderr
        assert (example.live(), example.ready("green")) == ("green", 3)
        assert example.record()["release"]["state"] == "released"
        checks = example.passed()

        back = example.play("rollback", bluegreen_rollback_fails=False)
        assert back.returncode == 0, back.stdout + back.stderr
        assert example.live() == "blue"

        again = example.play("release", bluegreen_version="1.1")
        assert again.returncode == 0, again.stdout + again.stderr
        retired = example.play("retire")
        assert retired.returncode == 0, retired.stdout + retired.stderr
        assert (example.live(), example.replicas("blue"), example.replicas("green")) == ("green", 0, 3)
    head, records = seen
    assert (head["failed"], head["races"]) == (0, 0), head["failures"]
    assert {record.version for record in records[-20:]} == {"1.1"}

    nothing_to_count = {
        "Test traffic reaches it through the front door",
        "The smoke tests pass against it",
        "All traffic is directed to the new colour: no new request on the old one",
        "Error share and response times stay within the limits",
        "The old colour has no request in flight",
    }
    assert {check for check, passed in checks.items() if passed is None} == nothing_to_count
    assert {passed for check, passed in checks.items() if check not in nothing_to_count} == {True}


def test_a_version_that_does_not_run_gets_no_traffic(example: Example) -> None:
    told = example.play("release", bluegreen_version="crash")
    assert told.returncode == 2, told.stdout
    assert "CrashLoopBackOff" in told.stdout
    assert example.live() == "blue"
    assert example.record()["release"]["state"] == "refused"


def test_what_was_half_done_is_recovered(example: Example) -> None:
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


def test_a_plan_shows_the_patch_and_makes_none(example: Example) -> None:
    ready = example.play("pre_deploy", bluegreen_version="1.1")
    assert ready.returncode == 0, ready.stdout
    before = example.versions()
    planned = example.play("switch", "--check", "--diff", bluegreen_version="1.1")
    assert planned.returncode == 0, planned.stdout
    for line in ('"my-app-preview"', '"version": "blue"', '"version": "green"'):
        assert line in planned.stdout
    assert example.versions() == before
