# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example, made by its own template, releases by the playbooks under live load through the listener."""

from __future__ import annotations

import contextlib
import json
import math
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pytest

from demo.rig import COLOURS, ROOT, Instance, environment, free_ports, wait_until
from tests.aws.handle import REGION, SECRET, Aws
from tests.aws.scene import Scene, forward
from tests.integration.live_load import FEW, live_load

EXAMPLE = ROOT / "examples" / "aws"
QUICK = {
    "bluegreen_health_answers": 2,
    "bluegreen_health_timeout": 60,
    "bluegreen_front_answers": 10,
    "bluegreen_hold": 1,
    "bluegreen_watch": 1,
    "bluegreen_confirmation_period": 0,
}
VERSIONS = {"ami-0123456789abcdef0": "1.0", "ami-0fedcba9876543210": "1.1"}
"""By the image that an instance was started from."""
OLD, NEW = VERSIONS
TOKEN = "not-a-token-either"


class Machines:
    """Each instance that an Auto Scaling group starts is a demo app on loopback, and ends when the instance does."""

    def __init__(self, aws: Aws, directory: Path) -> None:
        self._aws, self._directory = aws, directory
        self._running: dict[str, Instance] = {}
        self.fail_share = dict.fromkeys(COLOURS, 0.0)
        """Of what users ask of each colour; its health check is fine all the same."""
        self.placed: list[str] = []
        """Those whose app answers: without one an instance is told healthy here, and each request fails."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()
        for machine in self._running.values():
            machine.stop()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            there = {identity: colour for colour in COLOURS for identity in self.of(colour)}
            for identity in there.keys() - self._running.keys():
                port = free_ports(1)[0]
                machine = self._running[identity] = Instance(identity, there[identity], port, self._directory)
                machine.start(VERSIONS[self._image(identity)], self.fail_share[there[identity]])
                self._aws.place(identity, port)
                self.placed.append(identity)

    def _image(self, identity: str) -> str:
        (found,) = self._aws.client("ec2").describe_instances(InstanceIds=[identity])["Reservations"]
        return str(found["Instances"][0]["ImageId"])

    def fall_ill(self) -> None:
        """All of them, as when what they share is down."""
        for machine in self._running.values():
            urllib.request.urlopen(f"{machine.url}/_ctl", json.dumps({"unhealthy": True}).encode(), timeout=10).close()

    def of(self, colour: str) -> list[str]:
        asked = self._aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[f"my-app-{colour}"])
        return [each["InstanceId"] for group in asked["AutoScalingGroups"] for each in group["Instances"]]


class Example:
    """The stack of examples/aws, with 1.0 live on blue."""

    def __init__(self, aws: Aws, directory: Path) -> None:
        self.aws, self.directory = aws, directory
        self.machines: Machines
        scene = Scene(aws)
        given = {"VpcId": scene.vpc, "Subnets": ",".join(scene.subnets), "ImageId": OLD, "TestCidr": "10.0.0.0/8"}
        aws.client("cloudformation").create_stack(
            StackName="my-app",
            TemplateBody=(EXAMPLE / "my-app.yml").read_text(),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        )
        elbv2 = aws.client("elbv2")
        (balancer,) = elbv2.describe_load_balancers(Names=["my-app"])["LoadBalancers"]
        listeners = elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
        self.listener = {each["Port"]: each["ListenerArn"] for each in listeners}
        groups = elbv2.describe_target_groups()["TargetGroups"]
        self.groups = {each["TargetGroupName"].removeprefix("my-app-"): each["TargetGroupArn"] for each in groups}

    def url(self, port: int) -> str:
        return self.aws.listener_url(self.listener[port])

    def healthy(self, colour: str) -> int:
        asked = self.aws.client("elbv2").describe_target_health(TargetGroupArn=self.groups[colour])
        return sum(each["TargetHealth"]["State"] == "healthy" for each in asked["TargetHealthDescriptions"])

    def weights(self) -> dict[str, int]:
        (listener,) = self.aws.client("elbv2").describe_listeners(ListenerArns=[self.listener[80]])["Listeners"]
        names = {arn: colour for colour, arn in self.groups.items()}
        found = listener["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]
        return {names[each["TargetGroupArn"]]: each["Weight"] for each in found}

    def suspended(self, colour: str) -> list[str]:
        asked = self.aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[f"my-app-{colour}"])
        return sorted(each["ProcessName"] for each in asked["AutoScalingGroups"][0]["SuspendedProcesses"])

    def play(self, playbook: str, *more: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        told = {
            **QUICK,
            "my_app_url": self.url(80),
            "my_app_image": NEW,
            "my_app_blue_url": self.url(8081),
            "my_app_green_url": self.url(8082),
            "bluegreen_state_dir": str(self.directory / "state"),
            "bluegreen_report_dir": str(self.directory / "reports"),
            "bluegreen_report_name": "report",
            **variables,
        }
        words = ["-i", str(EXAMPLE / "inventory.yml"), f"bluegreen.deploy.{playbook}", "-e", json.dumps(told), *more]
        return subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), *words],
            env=environment(**self.aws.environment, AWS_REGION=REGION),
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    def load(self) -> contextlib.AbstractContextManager[list[Any]]:
        """On the listener."""
        return live_load(self.url(80), self.directory, *FEW)


@pytest.fixture
def example(aws: Aws, tmp_path: Path) -> Iterator[Example]:
    made = Example(aws, tmp_path)
    with Machines(aws, tmp_path) as machines:
        wait_until(lambda: len(machines.placed) == made.healthy("blue") == 2, 60, "blue is healthy")
        made.machines = machines
        yield made


SCALE = ("status", "record", "scale")
SWITCH = ("status", "record", "switch", "processes")
STAGES = (
    ("pre_deploy", SCALE, "blue"),
    ("switch", SWITCH, "green"),
    ("rollback", SWITCH, "blue"),
    ("pre_deploy", SCALE, "blue"),
    ("switch", SWITCH, "green"),
    ("post_deploy", SWITCH, "green"),
    ("retire", SCALE, "green"),
    ("status", ("status",), "green"),
)
"""In this order, with which policies, and the colour that has everything then."""
OURS = {"autoscaling:DescribeAutoScalingGroups"}
"""What the test itself asks all the time."""
SERVICES = {"elbv2": "elasticloadbalancing"}
"""Where a policy says it otherwise."""


def figures(example: Example) -> dict[str, Any]:
    report = json.loads((example.directory / "reports" / "report.json").read_text())
    found: dict[str, Any] = report["load_balancers"]["aws"]["figures"]
    return found


def policies() -> dict[str, set[str]]:
    """The actions that docs/aws.md allows, by the name of the policy."""
    text = (ROOT / "docs" / "aws.md").read_text().split("## Rights")[1]
    found = json.loads(text.split("```json")[1].split("```")[0])
    resources = {
        resource for policy in found.values() for each in policy["Statement"] for resource in [each["Resource"]]
    }
    assert all(re.match(r"\*$|arn:\*:[a-z0-9]+:", each) for each in resources), "in every partition of AWS"
    return {
        name.removeprefix("bluegreen-"): {action for each in policy["Statement"] for action in each["Action"]}
        for name, policy in found.items()
    }


def test_a_release_its_way_back_and_the_end_of_the_old_colour_drop_nothing(example: Example) -> None:
    """Canary, swap, rollback and retire; and no stage makes a call that the documentation does not allow it."""
    allowed, used, gone = policies(), set(), math.inf
    with example.load() as seen:
        for stage, names, live in STAGES:
            example.aws.clear_calls()
            done = example.play(stage, bluegreen_version="1.1", bluegreen_rollback_fails=False)
            assert done.returncode == 0, (stage, done.stdout + done.stderr)
            assert {**dict.fromkeys(COLOURS, 0), **example.weights()} == {**dict.fromkeys(COLOURS, 0), live: 100}, stage
            assert bool(example.suspended("blue")) == (stage == "switch"), stage
            if stage in ("switch", "post_deploy"):
                until = datetime.fromisoformat(figures(example)["a client may reach the old colour until"])
                assert until.timestamp() < time.time()
            made = {f"{SERVICES.get(call.service, call.service)}:{call.action}" for call in example.aws.calls()}
            assert made - OURS - set().union(*(allowed[name] for name in names)) == set(), stage
            used |= made
            if stage == "retire":
                gone = time.time()
    head, records = seen
    assert (head["failed"], head["websockets"]["lost"]) == (0, 0), head["failures"]
    assert {record.version for record in records if record.start > gone} == {"1.1"}
    assert {"elasticloadbalancing:ModifyListener", "dynamodb:PutItem", "autoscaling:ResumeProcesses"} <= used


def test_who_sticks_to_the_old_colour_keeps_it_from_being_retired(example: Example) -> None:
    """And its way home takes everybody along at once, with the cookie that holds them to the other one."""
    (action,) = forward({example.groups["blue"]: 100, example.groups["green"]: 0}, sticky=600)
    example.aws.client("elbv2").modify_listener(ListenerArn=example.listener[80], DefaultActions=[action])
    released = example.play("release", bluegreen_version="1.1")
    assert released.returncode == 0, released.stdout
    told = example.play("retire")
    assert (told.returncode, "confirmation period" in told.stdout) == (2, True), told.stdout
    cookie, colour = visit(example.url(80))
    assert colour == "green"
    assert example.play("rollback", bluegreen_rollback_fails=False).returncode == 0
    assert {visit(example.url(80), cookie)[1] for _each in range(20)} == {"blue"}


def test_what_users_get_sends_a_version_back_and_ill_members_keep_nobody_from_going_home(example: Example) -> None:
    """The health check of 1.1 is fine, and its pages are not; later the database that both colours share is down."""
    example.machines.fail_share["green"] = 1.0
    with example.load() as seen:
        released = example.play("release", bluegreen_version="1.1", bluegreen_canary_steps=[50], bluegreen_hold=10)
        assert (released.returncode, example.weights()) == (2, {"blue": 100, "green": 0}), released.stdout
        back = time.time()
    assert "requests of ours at the front door failed" in released.stdout
    report = json.loads((example.directory / "reports" / "report.json").read_text())
    assert report["outcome"] == "rolled_back"
    failed = [each["check"] for each in report["load_balancers"]["aws"]["checklist"] if each["passed"] is False]
    assert failed == ["50 % of the traffic on green"]
    _head, records = seen
    assert {record.version for record in records if record.start > back} <= {"1.0"}

    example.machines.fall_ill()
    wait_until(lambda: not any(example.healthy(colour) for colour in COLOURS), 60, "nobody is healthy")
    nobody = forward(dict.fromkeys(example.groups.values(), 0))
    example.aws.client("elbv2").modify_listener(ListenerArn=example.listener[80], DefaultActions=nobody)
    home = example.play("recover", bluegreen_recover_to="blue", bluegreen_recover_fails=False)
    assert (home.returncode, example.weights()) == (0, {"blue": 100, "green": 0}), home.stdout


def visit(url: str, cookie: str = "") -> tuple[str, str]:
    """The cookie that was set, and the colour that answered."""
    with urllib.request.urlopen(urllib.request.Request(f"{url}/", headers={"Cookie": cookie}), timeout=10) as answer:
        return (answer.headers["Set-Cookie"] or "").split(";")[0], answer.headers["X-Colour"]


def test_no_secret_is_told_however_much_is(example: Example, tmp_path: Path) -> None:
    keys = {"access_key": "AKIDTEST", "secret_key": SECRET, "session_token": TOKEN, "region": REGION}
    group = {"load_balancer": "my-app", "port": 80, "target_groups": {c: f"my-app-{c}" for c in COLOURS}}
    route = {"name": "my-app", "provider": "alb", "alb": {**keys, **group}}
    given = {"bluegreen_routes": [route], "bluegreen_store": {"type": "dynamodb", "table": "bluegreen", **keys}}
    (tmp_path / "given.json").write_text(json.dumps(given))
    for playbook, code in (("switch", 2), ("status", 0)):  # the first one has no release to go on with
        done = example.play(playbook, "-vvv", "-e", f"@{tmp_path / 'given.json'}", bluegreen_version="1.1")
        assert done.returncode == code, done.stdout
        for secret in (SECRET, TOKEN):
            assert secret not in done.stdout + done.stderr
