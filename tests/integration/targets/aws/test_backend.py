# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The AWS that the other tests stand on: does it answer as AWS documents, and do requests go where its API says?"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from demo.rig import COLOURS, ROOT, Instance, free_ports, load_command, wait_until
from tests.aws.handle import Aws
from tests.aws.scene import PATIENCE, ZONES, Scene, forward

VERSIONS = {"blue": "1.0", "green": "1.1"}
ASKED = 400  # requests; shares are held against six standard deviations of a toss
NOWHERE = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/nowhere/0123456789abcdef"
MATCHER = {"HttpCode": "200"}

Weights = Mapping[str, int]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def colour(self) -> str | None:
        return self.headers["X-Colour"]


def ask(url: str, path: str = "/version", method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    """One request on a connection of its own; redirects are not followed."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        got = connection.getresponse()
        return Answer(got.status, got.headers, got.read())
    finally:
        connection.close()


def tell(app: Instance, **faults: object) -> None:
    ask(app.url, "/_ctl", "POST", json.dumps(faults).encode())


def code_of(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def refused(call: Callable[[], object]) -> str:
    """The code of the error that the call has to end in."""
    with pytest.raises(ClientError) as caught:
        call()
    return code_of(caught.value)


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Instance]]:
    """One of each colour."""
    directory = tmp_path_factory.mktemp("apps")
    found = {
        colour: Instance(colour, colour, port, directory) for colour, port in zip(COLOURS, free_ports(2), strict=True)
    }
    try:
        for colour, app in found.items():
            app.start(VERSIONS[colour])
        yield found
    finally:
        for app in found.values():
            app.stop()


class Shop(Scene):
    """Blue and green behind a listener, both healthy."""

    def __init__(self, aws: Aws, apps: Mapping[str, Instance]) -> None:
        super().__init__(aws)
        self.apps = apps
        for app in apps.values():
            tell(app, unhealthy=False, fail_share=0, latency_ms=0)
        self.balancer_arn = self.balancer()
        self.groups = {colour: self.group(colour, app.port) for colour, app in apps.items()}
        self.blue, self.green = self.groups["blue"], self.groups["green"]
        self.arn = self.listener(self.balancer_arn, {self.blue: 100, self.green: 0})
        for group in self.groups.values():
            self.wait_for(group, "healthy")

    @property
    def url(self) -> str:
        return self.aws.listener_url(self.arn)

    def ask(self, path: str = "/version", **headers: str) -> Answer:
        return ask(self.url, path, "GET", None, **headers)

    def counted(self, many: int = ASKED) -> Counter[str | None]:
        return Counter(self.ask().colour for _each in range(many))


@pytest.fixture
def scene(aws: Aws) -> Scene:
    return Scene(aws)


@pytest.fixture
def shop(aws: Aws, apps: dict[str, Instance]) -> Shop:
    return Shop(aws, apps)


@pytest.fixture
def elbv2(aws: Aws) -> Any:
    return aws.client("elbv2")


# --- The server itself ------------------------------------------------------------------------------------


def test_moto_is_as_the_patches_know_it() -> None:
    """Where this fails: read what moto has changed there, mend the patch, then ``python -m tests.aws.canary``."""
    from tests.aws.patches import digests, recorded  # noqa: PLC0415
    from tests.aws.world import MENDED  # noqa: PLC0415 -- its import records all patches

    assert MENDED
    known, now = recorded(), digests()
    assert {name: now.get(name) for name in known | now if known.get(name) != now.get(name)} == {}


@pytest.mark.parametrize("how", ["terminated", "orphaned"])
def test_server_ends(tmp_path: Path, how: str) -> None:
    starter = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    words = [sys.executable, "-m", "tests.aws", "--while-alive", str(starter.pid)]
    with (tmp_path / "out").open("w+b") as out:
        server = subprocess.Popen(words, cwd=ROOT, stdout=out, stdin=subprocess.DEVNULL)
    try:
        wait_until((tmp_path / "out").read_text, 60, "it listens")
        if how == "terminated":
            server.terminate()
        else:
            starter.kill()
            starter.wait(10)
        assert server.wait(30) == 0
    finally:
        for process in (server, starter):
            process.kill()
            process.wait(10)


def test_other_services_answer(aws: Aws) -> None:
    dynamodb = aws.client("dynamodb")
    key = [{"AttributeName": "app", "AttributeType": "S"}]
    schema = [{"AttributeName": "app", "KeyType": "HASH"}]
    dynamodb.create_table(TableName="t", AttributeDefinitions=key, KeySchema=schema, BillingMode="PAY_PER_REQUEST")
    item = {"TableName": "t", "Item": {"app": {"S": "shop"}}, "ConditionExpression": "attribute_not_exists(app)"}
    dynamodb.put_item(**item)
    assert refused(lambda: dynamodb.put_item(**item)) == "ConditionalCheckFailedException"
    assert aws.calls("dynamodb", "PutItem")[0].parameters["Item"] == {"app": {"S": "shop"}}
    cloudwatch = aws.client("cloudwatch")
    cloudwatch.put_metric_data(Namespace="shop", MetricData=[{"MetricName": "errors", "Value": 1.0}])
    assert [each["MetricName"] for each in cloudwatch.list_metrics()["Metrics"]] == ["errors"]


def test_reset_leaves_nothing(shop: Shop, elbv2: Any) -> None:
    url = shop.url
    shop.aws.set(latency_ms=1, page_size=1)
    shop.aws.reset()
    assert elbv2.describe_load_balancers()["LoadBalancers"] == []
    assert shop.aws.settings["page_size"] == 50
    assert [call.action for call in shop.aws.calls()] == ["DescribeLoadBalancers"]
    with pytest.raises(ConnectionRefusedError):
        ask(url)


# --- Health -----------------------------------------------------------------------------------------------


def test_a_group_that_nothing_refers_to_has_no_health(shop: Shop, elbv2: Any) -> None:
    preview = shop.group("preview", shop.apps["green"].port)
    assert shop.states(preview) == {shop.apps["green"].port: ("unused", "Target.NotInUse")}
    asked = [{"Field": "path-pattern", "Values": ["/preview"]}]
    rule = shop.rule(shop.arn, 10, asked, {preview: 0})
    shop.wait_for(preview, "healthy")
    elbv2.delete_rule(RuleArn=rule)
    assert shop.states(preview) == {shop.apps["green"].port: ("unused", "Target.NotInUse")}


def test_a_target_is_initial_at_first(shop: Shop) -> None:
    """And again when its group comes into use again."""
    port = shop.apps["green"].port
    shop.split(shop.arn, {shop.blue: 1})
    shop.aws.set(health_scale=1000)  # the first check is made at once, the second one after hours
    fresh = shop.group("fresh", port)
    shop.split(shop.arn, {shop.blue: 1, shop.green: 0, fresh: 0})
    for group in (fresh, shop.green):
        assert shop.states(group)[port][0] == "initial"
        wait_until(lambda group=group: shop.states(group)[port][1] == "Elb.InitialHealthChecking", PATIENCE, "checked")


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_unhealthy_for_a_reason(shop: Shop) -> None:
    shop.aws.set(shortest_timeout=0.2, drain_scale=0)
    with silent() as port:
        closed = free_ports(1)[0]
        shop.register(shop.green, port, closed)
        tell(shop.apps["green"], unhealthy=True)
        shop.wait_for(shop.green, "unhealthy")
        assert shop.states(shop.green) == {
            port: ("unhealthy", "Target.Timeout"),
            closed: ("unhealthy", "Target.FailedHealthChecks"),
            shop.apps["green"].port: ("unhealthy", "Target.ResponseCodeMismatch"),
        }
    told = shop.aws.client("elbv2").describe_target_health(TargetGroupArn=shop.green)["TargetHealthDescriptions"]
    assert "Health checks failed with these codes: [503]" in [each["TargetHealth"].get("Description") for each in told]
    shop.deregister(shop.green, port, closed)
    tell(shop.apps["green"], unhealthy=False)
    wait_until(lambda: list(shop.states(shop.green).values()) == [("healthy", None)], PATIENCE, "green recovers")


def test_forced_health(shop: Shop) -> None:
    port = shop.apps["blue"].port
    shop.aws.force_health(shop.blue, "127.0.0.1", "unhealthy", "Target.Timeout", port=port)
    assert shop.states(shop.blue) == {port: ("unhealthy", "Target.Timeout")}
    shop.aws.force_health(shop.blue, "127.0.0.1", None)
    assert shop.states(shop.blue) == {port: ("healthy", None)}
    with pytest.raises(ValueError, match="no such target"):
        shop.aws.force_health(shop.blue, "127.0.0.9", "healthy")


def test_draining(shop: Shop, elbv2: Any) -> None:
    """docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html"""
    port, draining = shop.apps["green"].port, ("draining", "Target.DeregistrationInProgress")
    shop.aws.set(drain_scale=1000)
    shop.deregister(shop.green, port)
    shop.deregister(shop.green, port)
    assert shop.states(shop.green) == {port: draining}
    shop.split(shop.arn, {shop.green: 1})
    assert shop.ask().status == 503
    shop.register(shop.green, port)
    assert shop.states(shop.green)[port][0] == "initial"
    shop.wait_for(shop.green, "healthy")
    shop.aws.set(drain_scale=0.001)  # 300 s
    shop.deregister(shop.green, port)
    target = [{"Id": "127.0.0.1", "Port": port}]
    soon = {"Delay": 1, "MaxAttempts": 30}
    elbv2.get_waiter("target_deregistered").wait(TargetGroupArn=shop.green, Targets=target, WaiterConfig=soon)
    assert shop.states(shop.green) == {}
    told = elbv2.describe_target_health(TargetGroupArn=shop.green, Targets=target)["TargetHealthDescriptions"]
    assert (told[0]["TargetHealth"]["State"], told[0]["TargetHealth"]["Reason"]) == ("unused", "Target.NotRegistered")
    shop.deregister(shop.green, port, 1)


def test_the_delay_is_the_one_of_the_group(shop: Shop, elbv2: Any) -> None:
    shop.aws.set(drain_scale=1000)
    for delay, left in (("0", {}), ("3600", {shop.apps["blue"].port: ("draining", "Target.DeregistrationInProgress")})):
        group = {"0": shop.green, "3600": shop.blue}[delay]
        attributes = [{"Key": "deregistration_delay.timeout_seconds", "Value": delay}]
        elbv2.modify_target_group_attributes(TargetGroupArn=group, Attributes=attributes)
        shop.deregister(group, *shop.states(group))
        assert shop.states(group) == left


def test_targets_are_told_apart_by_port_and_know_their_zone(scene: Scene, elbv2: Any) -> None:
    group = scene.group("two")
    for port, zone in zip((8001, 8002), ZONES, strict=True):
        scene.register(group, port, zone=zone)
    told = elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    assert [(each["Target"], each["HealthCheckPort"]) for each in told] == [
        ({"Id": "127.0.0.1", "Port": 8001, "AvailabilityZone": ZONES[0]}, "8001"),
        ({"Id": "127.0.0.1", "Port": 8002, "AvailabilityZone": ZONES[1]}, "8002"),
    ]
    scene.deregister(group, 8001)
    assert list(scene.states(group)) == [8002]  # at once: the group is not in use


# --- What the API refuses ---------------------------------------------------------------------------------

LISTENER_REFUSED = {
    "weight 1000": ("ValidationError", lambda shop: forward({shop.blue: 1000})),
    "weight -1": ("ValidationError", lambda shop: forward({shop.blue: -1})),
    "no such group": ("TargetGroupNotFound", lambda shop: forward({NOWHERE: 1})),
    "no such group, by ARN alone": (
        "TargetGroupNotFound",
        lambda shop: [{"Type": "forward", "TargetGroupArn": NOWHERE}],
    ),
    "six groups": (
        "ValidationError",
        lambda shop: forward({shop.group(f"extra-{number}"): 1 for number in range(6)}),
    ),
    "sticky for 0 s": ("ValidationError", lambda shop: forward({shop.blue: 1}, sticky=0)),
    "sticky for too long": ("ValidationError", lambda shop: forward({shop.blue: 1}, sticky=604_801)),
    "sticky without end": (
        "ValidationError",
        lambda shop: [
            {
                "Type": "forward",
                "ForwardConfig": {
                    "TargetGroups": [{"TargetGroupArn": shop.blue}],
                    "TargetGroupStickinessConfig": {"Enabled": True},
                },
            }
        ],
    ),
    "two minds": (
        "ValidationError",
        lambda shop: [{"Type": "forward", "TargetGroupArn": shop.green, **_config(shop.blue)}],
    ),
    "one ARN, two groups": (
        "ValidationError",
        lambda shop: [{"Type": "forward", "TargetGroupArn": shop.green, **_config(shop.green, shop.blue)}],
    ),
    "another load balancer's": ("TargetGroupAssociationLimit", lambda shop: forward({_elsewhere(shop): 1})),
    "another network's": (
        "InvalidConfigurationRequest",
        lambda shop: forward({shop.group("far", VpcId=shop.new_vpc("10.9.0.0/16")): 1}),
    ),
    "TCP": (
        "IncompatibleProtocols",
        lambda shop: forward({_tcp(shop): 1}),
    ),
}


def _config(*arns: str) -> dict[str, Any]:
    return {"ForwardConfig": {"TargetGroups": [{"TargetGroupArn": arn} for arn in arns]}}


def _tcp(shop: Scene, name: str = "tcp") -> str:
    asked = {"Name": name, "Protocol": "TCP", "Port": 80, "VpcId": shop.vpc, "TargetType": "ip"}
    return str(shop.aws.client("elbv2").create_target_group(**asked)["TargetGroups"][0]["TargetGroupArn"])


def _elsewhere(shop: Scene) -> str:
    group = shop.group("elsewhere")
    shop.listener(shop.balancer("other"), {group: 1})
    return group


@pytest.mark.parametrize("case", LISTENER_REFUSED)
def test_actions_that_are_refused(shop: Shop, elbv2: Any, case: str) -> None:
    """By all four calls that take actions; nothing is changed by it."""
    code, build = LISTENER_REFUSED[case]
    actions = build(shop)
    before = elbv2.describe_listeners(ListenerArns=[shop.arn])["Listeners"]
    asked = [{"Field": "path-pattern", "Values": ["/x"]}]
    rule = shop.rule(shop.arn, 1, asked, {shop.blue: 1})
    new = {"LoadBalancerArn": shop.balancer_arn, "Protocol": "HTTP", "Port": 8080, "DefaultActions": actions}
    calls: list[Callable[[], object]] = [
        lambda: elbv2.modify_listener(ListenerArn=shop.arn, Port=81, DefaultActions=actions),
        lambda: elbv2.create_listener(**new),
        lambda: elbv2.modify_rule(RuleArn=rule, Actions=actions),
        lambda: elbv2.create_rule(ListenerArn=shop.arn, Priority=2, Conditions=asked, Actions=actions),
    ]
    assert [refused(call) for call in calls] == [code] * 4
    assert elbv2.describe_listeners(LoadBalancerArn=shop.balancer_arn)["Listeners"] == before
    assert [rule["Priority"] for rule in elbv2.describe_rules(ListenerArn=shop.arn)["Rules"]] == ["1", "default"]


def test_five_groups_and_the_greatest_values_are_taken(shop: Shop, elbv2: Any) -> None:
    groups = {shop.group(f"extra-{number}"): 999 for number in range(5)}
    shop.split(shop.arn, groups, sticky=604_800)
    config = elbv2.describe_listeners(ListenerArns=[shop.arn])["Listeners"][0]["DefaultActions"][0]["ForwardConfig"]
    assert {each["TargetGroupArn"]: each["Weight"] for each in config["TargetGroups"]} == groups
    assert config["TargetGroupStickinessConfig"] == {"Enabled": True, "DurationSeconds": 604_800}


REFUSED: dict[str, tuple[str, Callable[[Shop, Any], object]]] = {
    "a port twice": ("DuplicateListener", lambda shop, elbv2: shop.listener(shop.balancer_arn, {shop.blue: 1}, 80)),
    "to a port twice": (
        "DuplicateListener",
        lambda shop, elbv2: elbv2.modify_listener(
            ListenerArn=shop.listener(shop.balancer_arn, {shop.blue: 1}, 81), Port=80
        ),
    ),
    "priority 50001": ("ValidationError", lambda shop, elbv2: _rule(shop, 50_001)),
    "a priority twice": ("PriorityInUse", lambda shop, elbv2: [_rule(shop, 50_000), _rule(shop, 50_000)]),
    "to change the default rule": (
        "OperationNotPermitted",
        lambda shop, elbv2: elbv2.modify_rule(RuleArn=_default(shop, elbv2), Actions=forward({shop.green: 1})),
    ),
    "to delete the default rule": (
        "OperationNotPermitted",
        lambda shop, elbv2: elbv2.delete_rule(RuleArn=_default(shop, elbv2)),
    ),
    "to move the default rule": (
        "OperationNotPermitted",
        lambda shop, elbv2: elbv2.set_rule_priorities(
            RulePriorities=[{"RuleArn": _default(shop, elbv2), "Priority": 1}]
        ),
    ),
    "no such listener": (
        "ListenerNotFound",
        lambda shop, elbv2: elbv2.describe_listeners(ListenerArns=[shop.arn[:-1] + "z"]),
    ),
    "no such rule": (
        "RuleNotFound",
        lambda shop, elbv2: elbv2.delete_rule(RuleArn=shop.arn.replace("listener", "listener-rule") + "/1"),
    ),
    "a group in use": ("ResourceInUse", lambda shop, elbv2: elbv2.delete_target_group(TargetGroupArn=shop.green)),
    "a delay of 3601 s": (
        "ValidationError",
        lambda shop, elbv2: _attribute(shop, "deregistration_delay.timeout_seconds", 3601),
    ),
    "a slow start of 5 s": ("ValidationError", lambda shop, elbv2: _attribute(shop, "slow_start.duration_seconds", 5)),
    "no such attribute": ("ValidationError", lambda shop, elbv2: _attribute(shop, "speed", 5)),
    "no such instance": (
        "InvalidTarget",
        lambda shop, elbv2: elbv2.register_targets(
            TargetGroupArn=shop.group("machines", TargetType="instance"), Targets=[{"Id": "i-0123456789abcdef0"}]
        ),
    ),
    "tags of 21": ("ValidationError", lambda shop, elbv2: elbv2.describe_tags(ResourceArns=[shop.arn] * 21)),
}


def _rule(shop: Shop, priority: int) -> str:
    return shop.rule(shop.arn, priority, [{"Field": "path-pattern", "Values": ["/x"]}], {shop.blue: 1})


def _default(shop: Shop, elbv2: Any) -> str:
    return str(elbv2.describe_rules(ListenerArn=shop.arn)["Rules"][-1]["RuleArn"])


def _attribute(shop: Shop, key: str, value: int) -> object:
    attributes = [{"Key": key, "Value": str(value)}]
    return shop.aws.client("elbv2").modify_target_group_attributes(TargetGroupArn=shop.blue, Attributes=attributes)


@pytest.mark.parametrize("case", REFUSED)
def test_refused(shop: Shop, elbv2: Any, case: str) -> None:
    code, call = REFUSED[case]
    assert refused(lambda: call(shop, elbv2)) == code


def test_actions_are_told_as_aws_tells_them(shop: Shop, elbv2: Any) -> None:
    off = {"Enabled": False}

    def told() -> dict[str, Any]:
        found: dict[str, Any] = elbv2.describe_listeners(ListenerArns=[shop.arn])["Listeners"][0]
        return found

    elbv2.modify_listener(ListenerArn=shop.arn, DefaultActions=[{"Type": "forward", "TargetGroupArn": shop.green}])
    one = {"TargetGroups": [{"TargetGroupArn": shop.green, "Weight": 1}], "TargetGroupStickinessConfig": off}
    action = {"Type": "forward", "TargetGroupArn": shop.green, "Order": 1, "ForwardConfig": one}
    assert told()["DefaultActions"] == [action]
    assert elbv2.describe_rules(ListenerArn=shop.arn)["Rules"][0]["Actions"] == [action]
    shop.split(shop.arn, {shop.blue: 3, shop.green: 0})
    groups = [{"TargetGroupArn": shop.blue, "Weight": 3}, {"TargetGroupArn": shop.green, "Weight": 0}]
    several = {"TargetGroups": groups, "TargetGroupStickinessConfig": off}
    assert told()["DefaultActions"] == [{"Type": "forward", "Order": 1, "ForwardConfig": several}]
    rule = elbv2.describe_rules(RuleArns=[_rule(shop, 7)])["Rules"][0]
    assert rule["Conditions"] == [{"Field": "path-pattern", "Values": ["/x"], "PathPatternConfig": {"Values": ["/x"]}}]


def test_who_uses_a_group(shop: Shop, elbv2: Any) -> None:
    def users(group: str) -> list[str]:
        found = elbv2.describe_target_groups(TargetGroupArns=[group])["TargetGroups"][0]["LoadBalancerArns"]
        return [str(arn) for arn in found]

    shop.split(shop.arn, {shop.green: 1})
    assert (users(shop.blue), users(shop.green)) == ([], [shop.balancer_arn])
    found = elbv2.describe_target_groups(LoadBalancerArn=shop.balancer_arn)["TargetGroups"]
    assert [group["TargetGroupArn"] for group in found] == [shop.green]
    shop.listener(shop.balancer("other"), {shop.blue: 1})
    elbv2.delete_listener(ListenerArn=shop.arn)
    assert users(shop.green) == []
    elbv2.delete_target_group(TargetGroupArn=shop.green)


def test_rules_change_places(shop: Shop, elbv2: Any) -> None:
    first, second = _rule(shop, 1), _rule(shop, 2)
    swapped = [{"RuleArn": first, "Priority": 2}, {"RuleArn": second, "Priority": 1}]
    elbv2.set_rule_priorities(RulePriorities=swapped)
    assert [rule["RuleArn"] for rule in elbv2.describe_rules(ListenerArn=shop.arn)["Rules"]][:2] == [second, first]


def test_network_load_balancer(scene: Scene, elbv2: Any) -> None:
    balancer, group = scene.balancer("net", "network"), _tcp(scene)
    listener = scene.listener(balancer, {group: 1}, Protocol="TCP")
    assert "/net/" in balancer
    assert "/net/" in listener
    assert elbv2.describe_load_balancers(LoadBalancerArns=[balancer])["LoadBalancers"][0]["Type"] == "network"


def test_connections_through_a_network_load_balancer(shop: Shop) -> None:
    groups = {colour: _tcp(shop, f"tcp-{colour}") for colour in COLOURS}
    listener = shop.listener(shop.balancer("net", "network"), {groups["blue"]: 1, groups["green"]: 0}, Protocol="TCP")
    for colour, group in groups.items():
        shop.register(group, shop.apps[colour].port)
        shop.wait_for(group, "healthy")
    kept = http.client.HTTPConnection(shop.aws.listener_url(listener).removeprefix("http://"), timeout=PATIENCE)
    for weight in (0, 1):  # a connection stays where it is
        shop.split(listener, {groups["blue"]: 1 - weight, groups["green"]: weight})
        kept.request("GET", "/version")
        answer = kept.getresponse()
        assert (answer.read() != b"", answer.headers["X-Colour"]) == (True, "blue")
    kept.close()
    assert ask(shop.aws.listener_url(listener)).colour == "green"


# --- Pages ------------------------------------------------------------------------------------------------


def test_pages(shop: Shop, elbv2: Any) -> None:
    shop.aws.set(rules_per_load_balancer=130, page_size=20)
    for number in range(130):
        _rule(shop, 1000 - number)
    for number in range(59):
        shop.listener(shop.balancer_arn, {shop.blue: 1}, 1000 + number)
    for number in range(38):
        shop.group(f"group-{number}")
    assert refused(lambda: _rule(shop, 1)) == "TooManyRules"

    def pages(action: str, member: str, **asked: Any) -> list[list[Any]]:
        return [page[member] for page in elbv2.get_paginator(action).paginate(**asked)]

    rules = pages("describe_rules", "Rules", ListenerArn=shop.arn)
    assert [len(page) for page in rules] == [20] * 6 + [11]
    priorities = [rule["Priority"] for page in rules for rule in page]
    assert priorities == [*(str(number) for number in range(871, 1001)), "default"]
    listeners = pages("describe_listeners", "Listeners", LoadBalancerArn=shop.balancer_arn)
    assert [len(page) for page in listeners] == [20, 20, 20]
    assert len({each["ListenerArn"] for page in listeners for each in page}) == 60
    groups = pages("describe_target_groups", "TargetGroups")
    assert [len(page) for page in groups] == [20, 20]
    assert len(elbv2.describe_listeners(LoadBalancerArn=shop.balancer_arn, PageSize=400)["Listeners"]) == 60


def test_a_hundred_rules_by_default(shop: Shop) -> None:
    for number in range(1, 101):
        _rule(shop, number)
    assert refused(lambda: _rule(shop, 101)) == "TooManyRules"


# --- Requests ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("blue", "green"), [(1, 0), (0, 999), (80, 20), (1, 1), (1, 999)])
def test_weights(shop: Shop, blue: int, green: int) -> None:
    shop.split(shop.arn, {shop.blue: blue, shop.green: green})
    share = green / (blue + green)
    found, slack = shop.counted()["green"], 6 * (ASKED * share * (1 - share)) ** 0.5
    assert abs(found - ASKED * share) <= slack


@pytest.mark.parametrize(
    ("weights", "status"), [({"blue": 0, "green": 0}, 503), ({"empty": 1, "blue": 0}, 503), ({"blue": 1}, 200)]
)
def test_groups_that_nobody_answers_for(shop: Shop, weights: Weights, status: int) -> None:
    arns = {**shop.groups, "empty": shop.group("empty")}
    shop.split(shop.arn, {arns[name]: weight for name, weight in weights.items()})
    assert {shop.ask().status for _each in range(10)} == {status}


def test_unhealthy_targets_get_nothing_unless_all_are(shop: Shop) -> None:
    """docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html, fail open"""
    green = shop.apps["green"].port
    shop.register(shop.blue, green)
    shop.wait_for(shop.blue, "healthy")
    assert shop.counted(10) == {"blue": 5, "green": 5}
    shop.aws.force_health(shop.blue, "127.0.0.1", "unhealthy", port=green)
    assert shop.counted(10) == {"blue": 10}
    shop.aws.force_health(shop.blue, "127.0.0.1", "unhealthy")
    assert shop.counted(10) == {"blue": 5, "green": 5}


def test_a_target_that_does_not_answer(shop: Shop) -> None:
    def closes(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                server.accept()[0].close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        group = shop.group("broken", server.getsockname()[1], free_ports(1)[0])
        threading.Thread(target=closes, args=(server,), daemon=True).start()
        shop.split(shop.arn, {group: 1})
        assert {shop.ask().status for _each in range(4)} == {502}
        server.shutdown(socket.SHUT_RDWR)


def test_sticky_clients_stay_until_their_group_is_gone(shop: Shop) -> None:
    """docs.aws.amazon.com/elasticloadbalancing/latest/application/sticky-sessions.html"""
    shop.split(shop.arn, {shop.blue: 1, shop.green: 0}, sticky=3600)
    first = shop.ask()
    cookie = first.headers["Set-Cookie"].partition(";")[0]
    assert (first.colour, cookie.partition("=")[0]) == ("blue", "AWSALBTG")
    shop.split(shop.arn, {shop.blue: 0, shop.green: 1}, sticky=3600)
    assert {shop.ask(Cookie=f"a=b; {cookie}").colour for _each in range(20)} == {"blue"}
    assert shop.ask().colour == "green"
    assert shop.ask(Cookie="AWSALBTG=nonsense").colour == "green"
    shop.split(shop.arn, {shop.green: 1}, sticky=3600)
    assert shop.ask(Cookie=cookie).colour == "green"
    shop.split(shop.arn, {shop.blue: 0, shop.green: 1})
    assert shop.ask(Cookie=cookie).colour == "green"  # stickiness is switched off


def test_a_sticky_session_ends(shop: Shop) -> None:
    shop.split(shop.arn, {shop.blue: 1, shop.green: 0}, sticky=1)
    cookie = shop.ask().headers["Set-Cookie"].partition(";")[0]
    shop.split(shop.arn, {shop.blue: 0, shop.green: 1}, sticky=1)
    wait_until(lambda: shop.ask(Cookie=cookie).colour == "green", PATIENCE, "it has ended")


CONDITIONS: dict[str, tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]] = {
    "host": (
        [{"Field": "host-header", "Values": ["*.example.com"]}],
        {"Host": "Shop.Example.com:80"},
        {"Host": "example.com"},
    ),
    "path": ([{"Field": "path-pattern", "Values": ["/ver*n"]}], {}, {"path": "/Version"}),
    "header": (
        [{"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-Canary", "Values": ["yes", "y?"]}}],
        {"x_canary": "YA"},
        {"x_canary": "no"},
    ),
    "query": (
        [{"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "colour", "Value": "gr*"}]}}],
        {"path": "/version?a=1&colour=GREEN"},
        {"path": "/version?colour=blue"},
    ),
    "query value": (
        [{"Field": "query-string", "QueryStringConfig": {"Values": [{"Value": "green"}]}}],
        {"path": "/version?x=green"},
        {"path": "/version?green=x"},
    ),
    "method": (
        [{"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["GET"]}}],
        {},
        {"method": "POST", "path": "/"},
    ),
    "source": (
        [{"Field": "source-ip", "SourceIpConfig": {"Values": ["127.0.0.0/8"]}}],
        {},
        {},
    ),
    "all of them": (
        [
            {"Field": "host-header", "Values": ["shop.test"]},
            {"Field": "path-pattern", "Values": ["/version"]},
        ],
        {"Host": "shop.test"},
        {"Host": "shop.test", "path": "/"},
    ),
    "brackets are no pattern": ([{"Field": "path-pattern", "Values": ["/[v]ersion"]}], {"path": "/[v]ersion"}, {}),
}


@pytest.mark.parametrize("case", CONDITIONS)
def test_conditions(shop: Shop, case: str) -> None:
    conditions, meant, other = CONDITIONS[case]
    shop.rule(shop.arn, 1, conditions, {shop.green: 1})
    assert ask(shop.url, **meant).colour == "green"
    if other != meant:
        assert ask(shop.url, **other).colour == "blue"


def test_the_first_rule_decides(shop: Shop, elbv2: Any) -> None:
    path = [{"Field": "path-pattern", "Values": ["*"]}]
    shop.rule(shop.arn, 20, path, {shop.green: 1})
    assert shop.ask().colour == "green"
    rule = shop.rule(shop.arn, 3, path, {shop.blue: 1})
    assert shop.ask().colour == "blue"
    elbv2.delete_rule(RuleArn=rule)
    assert shop.ask().colour == "green"


def test_answers_of_its_own(shop: Shop, elbv2: Any) -> None:
    fixed = {"StatusCode": "418", "ContentType": "text/plain", "MessageBody": "tea"}
    moved = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301", "Host": "#{host}", "Path": "/new/#{path}"}
    elbv2.modify_listener(
        ListenerArn=shop.arn, DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": fixed}]
    )
    answer = shop.ask()
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (418, b"tea", "text/plain")
    elbv2.modify_listener(ListenerArn=shop.arn, DefaultActions=[{"Type": "redirect", "RedirectConfig": moved}])
    answer = shop.ask("/a?b=c", Host="shop.test")
    assert (answer.status, answer.headers["Location"]) == (301, "https://shop.test:443/new/a?b=c")


def test_requests_arrive_as_they_were_sent(shop: Shop) -> None:
    body = os.urandom(100_000)
    answer = ask(shop.url, "/", "POST", body)
    direct = ask(shop.apps["blue"].url, "/", "POST", body)
    assert (answer.status, json.loads(answer.body)) == (direct.status, json.loads(direct.body))
    chunks = (body[at : at + 999] for at in range(0, len(body), 999))
    connection = http.client.HTTPConnection(shop.url.removeprefix("http://"), timeout=PATIENCE)
    for _each in range(2):  # the connection is kept
        connection.request("POST", "/", chunks, encode_chunked=True)
        got = connection.getresponse()
        assert (got.status, len(got.read()) > 0) == (200, True)
        chunks = (body for _each in range(1))
    connection.request("HEAD", "/version")
    assert connection.getresponse().read() == b""
    connection.close()


def test_what_is_under_way_ends_where_it_is(shop: Shop) -> None:
    found: list[Answer] = []
    slow = threading.Thread(target=lambda: found.append(shop.ask("/slow?seconds=2")))
    slow.start()
    busy = re.compile(rb"^http_requests_in_flight\{.*\} [1-9]", re.MULTILINE)
    wait_until(lambda: busy.search(ask(shop.apps["blue"].url, "/metrics").body), PATIENCE, "it is under way")
    shop.split(shop.arn, {shop.green: 1})
    assert shop.ask().colour == "green"
    slow.join(PATIENCE)
    assert [(answer.status, answer.colour) for answer in found] == [(200, "blue")]


def test_live_load_through_switches(shop: Shop, tmp_path: Path) -> None:
    """GETs, POSTs, slow ones, chunked streams and WebSockets, of which none may fail."""
    out = tmp_path / "load.jsonl"
    load = subprocess.Popen(
        load_command(shop.url, out, "--rate", "200"), cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    longest = threading.Timer(PATIENCE, load.kill)
    longest.start()
    try:
        assert load.stdout
        for number, line in enumerate(load.stdout):  # four lines a second
            if number % 2 == 0:
                green = (0, 100, 50, 10)[number // 2 % 4]
                shop.split(shop.arn, {shop.blue: 100 - green, shop.green: green})
            if number == 16:
                load.send_signal(signal.SIGTERM)
            assert json.loads(line)
        load.wait(PATIENCE)
    finally:
        longest.cancel()
        load.kill()
        load.wait(10)
    summary = json.loads(out.read_text().splitlines()[0])
    assert (summary["failed"], summary["release_errors"], summary["failures"]) == (0, 0, [])
    assert summary["ok"] > 200
    assert set(summary["versions"]) == {"blue", "green"}
    assert set(summary["kinds"]) == {"get", "post", "short", "slow", "stream", "ws"}


# --- Faults and the log -----------------------------------------------------------------------------------

FAULTS: dict[str, tuple[str | dict[str, Any], str]] = {
    "throttled": ("Throttling", "Throttling"),
    "expired": ("ExpiredToken", "ExpiredToken"),
    "500": ("500", "InternalFailure"),
    "a page": ("html", "502"),
    "reset": ("reset", "ConnectionClosedError"),
    "after": ("after", "ConnectionClosedError"),
    "own": ({"code": "TargetGroupNotFound", "status": 404, "message": "<gone>"}, "TargetGroupNotFound"),
}


def outcome(call: Callable[[], object]) -> str:
    try:
        call()
    except ClientError as error:
        return code_of(error)
    except BotoCoreError as error:
        return type(error).__name__
    return "ok"


@pytest.mark.parametrize("case", FAULTS)
def test_faults(shop: Shop, elbv2: Any, case: str) -> None:
    fault, code = FAULTS[case]
    shop.aws.fail("elbv2", "ModifyListener", fault, nth=2, times=2)
    outcomes, colours = [], []
    for green in (1, 0, 1, 0):
        outcomes.append(outcome(lambda green=green: shop.split(shop.arn, {shop.blue: 1 - green, shop.green: green})))
        colours.append(shop.ask().colour)
    assert outcomes == ["ok", code, code, "ok"]
    assert colours == (["green", "blue", "green", "blue"] if case == "after" else ["green", "green", "green", "blue"])


def test_a_fault_of_one_listener_for_ever(shop: Shop, elbv2: Any) -> None:
    other = shop.listener(shop.balancer_arn, {shop.blue: 1}, 81)
    shop.aws.fail(None, None, "Throttling", times=None, ListenerArn=other)
    assert [outcome(lambda: shop.split(other, {shop.blue: 1})) for _each in range(5)] == ["Throttling"] * 5
    assert outcome(lambda: shop.split(shop.arn, {shop.blue: 1})) == "ok"
    shop.aws.clear_faults()
    assert outcome(lambda: shop.split(other, {shop.blue: 1})) == "ok"


def test_a_call_that_hangs(shop: Shop, elbv2: Any) -> None:
    """Nothing is done by it, and the others are answered meanwhile."""
    shop.aws.fail("elbv2", "ModifyListener", "hang")
    found: list[str] = []
    call = threading.Thread(target=lambda: found.append(outcome(lambda: shop.split(shop.arn, {shop.green: 1}))))
    call.start()
    wait_until(lambda: shop.aws.calls("elbv2", "ModifyListener"), PATIENCE, "it was received")
    assert elbv2.describe_listeners(ListenerArns=[shop.arn])["Listeners"]
    assert found == []
    shop.aws.clear_faults()
    call.join(PATIENCE)
    assert found == ["ConnectionClosedError"]
    assert shop.ask().colour == "blue"


@pytest.mark.parametrize("fault", ["Thunder", {"status": 400}])
def test_a_fault_that_there_is_not(aws: Aws, fault: str | dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Thunder|code"):
        aws.fail("elbv2", "ModifyListener", fault)


@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("route53", lambda client: client.list_hosted_zones(), "Throttling"),
        ("ec2", lambda client: client.describe_vpcs(), "Throttling"),
        ("autoscaling", lambda client: client.describe_auto_scaling_groups(), "Throttling"),
        ("dynamodb", lambda client: client.list_tables(), "Throttling"),
        ("elb", lambda client: client.describe_load_balancers(), "Throttling"),
        ("cloudwatch", lambda client: client.list_metrics(), "Throttling"),
        ("sts", lambda client: client.get_caller_identity(), "Throttling"),
    ],
)
def test_faults_in_the_words_of_each_protocol(aws: Aws, service: str, call: Callable[[Any], object], code: str) -> None:
    client = aws.client(service)
    aws.fail(service, None, "Throttling")
    assert [outcome(lambda: call(client)) for _each in range(2)] == [code, "ok"]


def test_the_log(shop: Shop) -> None:
    shop.aws.clear_calls()
    shop.aws.fail("elbv2", "ModifyListener", "Throttling", nth=2)
    for green in (1, 2):
        outcome(lambda green=green: shop.split(shop.arn, {shop.blue: 1, shop.green: green}))
    shop.states(shop.blue)
    calls = shop.aws.calls()
    assert [(call.service, call.action, call.status, call.fault) for call in calls] == [
        ("elbv2", "ModifyListener", 200, None),
        ("elbv2", "ModifyListener", None, "Throttling"),
        ("elbv2", "DescribeTargetHealth", 200, None),
    ]
    asked = calls[0].parameters
    assert asked["ListenerArn"] == shop.arn
    assert asked["DefaultActions"] == forward({shop.blue: 1, shop.green: 1})
    assert calls[0].at <= calls[1].at <= calls[2].at


def test_a_setting_that_there_is_not(aws: Aws) -> None:
    with pytest.raises(ValueError, match="no such setting: speed"):
        aws.set(speed=1)


# --- Route 53 ---------------------------------------------------------------------------------------------


class Zone:
    """example.com, with www weighted between blue and green."""

    def __init__(self, aws: Aws) -> None:
        self.client = aws.client("route53")
        told = self.client.create_hosted_zone(Name="example.com", CallerReference="test")
        self.id = told["HostedZone"]["Id"]
        self.change(("CREATE", weighted("blue", 100)), ("CREATE", weighted("green", 0)))

    def change(self, *changes: tuple[str, dict[str, Any]]) -> str:
        batch = {"Changes": [{"Action": action, "ResourceRecordSet": record} for action, record in changes]}
        told = self.client.change_resource_record_sets(HostedZoneId=self.id, ChangeBatch=batch)
        return str(told["ChangeInfo"]["Id"])

    def records(self) -> list[tuple[str, str | None, int | None]]:
        pages = self.client.get_paginator("list_resource_record_sets").paginate(HostedZoneId=self.id)
        found = [record for page in pages for record in page["ResourceRecordSets"]]
        return [
            (record["Name"], record.get("SetIdentifier"), record.get("Weight"))
            for record in found
            if record["Type"] not in ("NS", "SOA")
        ]


def weighted(colour: str, weight: int, name: str = "www", ttl: int = 60) -> dict[str, Any]:
    values = [{"Value": f"192.0.2.{list(COLOURS).index(colour) + 1}"}]
    which = {"Name": f"{name}.example.com", "Type": "A", "SetIdentifier": colour, "Weight": weight}
    return {**which, "TTL": ttl, "ResourceRecords": values}


def simple(name: str, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.9"}], **more}


@pytest.fixture
def zone(aws: Aws) -> Zone:
    return Zone(aws)


def test_a_change_takes_a_while(zone: Zone) -> None:
    first = zone.change(("UPSERT", weighted("blue", 80)), ("UPSERT", weighted("green", 20)))
    second = zone.change(("UPSERT", weighted("blue", 60)))
    assert first != second

    def status(change: str) -> str:
        return str(zone.client.get_change(Id=change)["ChangeInfo"]["Status"])

    assert status(first) == "PENDING"
    wait_until(lambda: status(first) == "INSYNC", PATIENCE, "it is in sync")
    assert status(second) == "PENDING"
    soon = {"Delay": 1, "MaxAttempts": 30}
    zone.client.get_waiter("resource_record_sets_changed").wait(Id=second, WaiterConfig=soon)
    assert refused(lambda: status("C0123456789")) == "NoSuchChange"


BATCHES: dict[str, tuple[str, list[tuple[str, dict[str, Any]]]]] = {
    "what is there": ("InvalidChangeBatch", [("CREATE", weighted("blue", 1))]),
    "a simple one beside": ("InvalidChangeBatch", [("CREATE", simple("www.example.com"))]),
    "a weight of 256": ("InvalidInput", [("UPSERT", weighted("blue", 256))]),
    "another TTL": ("InvalidChangeBatch", [("UPSERT", weighted("blue", 1, ttl=61))]),
    "another zone": ("InvalidChangeBatch", [("CREATE", simple("www.example.org"))]),
    "another zone, alike": ("InvalidChangeBatch", [("CREATE", simple("www.badexample.com"))]),
    "to delete what is not there": ("InvalidChangeBatch", [("DELETE", weighted("blue", 100, "api"))]),
    "to delete what is otherwise": ("InvalidChangeBatch", [("DELETE", weighted("blue", 99))]),
    "no values": ("InvalidInput", [("CREATE", {"Name": "x.example.com", "Type": "A", "TTL": 60})]),
    "no identifier": ("InvalidInput", [("CREATE", simple("x.example.com", Weight=1))]),
    "too many": (
        "InvalidChangeBatch",
        [("UPSERT", simple(f"x{number}.example.com")) for number in range(501)],
    ),
    "too long": (
        "InvalidChangeBatch",
        [
            (
                "CREATE",
                {**simple(f"x{number}.example.com", Type="TXT"), "ResourceRecords": [{"Value": f'"{"x" * 200}"'}]},
            )
            for number in range(200)
        ],
    ),
}


@pytest.mark.parametrize("case", BATCHES)
def test_a_batch_is_taken_whole_or_not(zone: Zone, case: str) -> None:
    code, changes = BATCHES[case]
    before = zone.records()
    assert refused(lambda: zone.change(("UPSERT", weighted("green", 50)), *changes)) == code
    assert zone.records() == before


def test_a_weighted_record_is_deleted_alone(zone: Zone) -> None:
    zone.change(("CREATE", weighted("blue", 7, "api")), ("CREATE", simple("www.sub.example.com")))
    zone.change(("DELETE", weighted("blue", 100)), ("UPSERT", weighted("green", 255)))
    assert zone.records() == [
        ("api.example.com.", "blue", 7),
        ("www.sub.example.com.", None, None),
        ("www.example.com.", "green", 255),
    ]


def test_both_ttls_at_once_and_aliases(zone: Zone) -> None:
    zone.change(("UPSERT", weighted("blue", 1, ttl=30)), ("UPSERT", weighted("green", 1, ttl=30)))
    alias = {"HostedZoneId": "Z2P70J7EXAMPLE", "DNSName": "shop-1.us-east-1.elb.amazonaws.com"}
    blue = {name: value for name, value in weighted("blue", 9).items() if name not in ("TTL", "ResourceRecords")}
    zone.change(("UPSERT", {**blue, "AliasTarget": {**alias, "EvaluateTargetHealth": True}}))
    assert zone.records() == [("www.example.com.", "blue", 9), ("www.example.com.", "green", 1)]


@pytest.mark.parametrize("size", [1, 7, 300])
def test_pages_of_records(zone: Zone, size: int) -> None:
    """A page may end between blue and green."""
    names = [f"n{number:03}" for number in range(4 if size < 10 else 150)]
    for name in names:
        zone.change(*(("CREATE", weighted(colour, 1, name)) for colour in COLOURS))
    pages = list(
        zone.client.get_paginator("list_resource_record_sets").paginate(
            HostedZoneId=zone.id, PaginationConfig={"PageSize": size}
        )
    )
    found = [(each["Name"], each.get("SetIdentifier")) for page in pages for each in page["ResourceRecordSets"]]
    assert len(pages) > 1
    assert [each for each in found if each[1]] == [
        (f"{name}.example.com.", colour) for name in [*names, "www"] for colour in COLOURS
    ]


# --- Auto Scaling -----------------------------------------------------------------------------------------


class Fleet:
    """A group of two instances behind blue, of three zones."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.client = shop, shop.aws.client("autoscaling")
        self.group = shop.group("machines", TargetType="instance", Port=8080)
        shop.split(shop.arn, {shop.blue: 1, self.group: 0})
        ec2 = shop.aws.client("ec2")
        data = {"ImageId": "ami-12345678", "InstanceType": "t3.micro"}
        template = ec2.create_launch_template(LaunchTemplateName="shop", LaunchTemplateData=data)["LaunchTemplate"]
        self.client.create_auto_scaling_group(
            AutoScalingGroupName="shop",
            MinSize=1,
            MaxSize=4,
            DesiredCapacity=2,
            LaunchTemplate={"LaunchTemplateId": template["LaunchTemplateId"], "Version": "1"},
            VPCZoneIdentifier=",".join(shop.subnets),
            TargetGroupARNs=[self.group],
        )

    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.describe_auto_scaling_groups(AutoScalingGroupNames=["shop"])
        return dict(found["AutoScalingGroups"][0])

    def instances(self) -> set[str]:
        return {each["InstanceId"] for each in self.told()["Instances"]}

    def targets(self) -> dict[str, str]:
        elbv2 = self.shop.aws.client("elbv2")
        found = elbv2.describe_target_health(TargetGroupArn=self.group)["TargetHealthDescriptions"]
        return {each["Target"]["Id"]: each["TargetHealth"]["State"] for each in found}

    def scale(self, desired: int) -> None:
        self.client.set_desired_capacity(AutoScalingGroupName="shop", DesiredCapacity=desired)


@pytest.fixture
def fleet(shop: Shop) -> Fleet:
    return Fleet(shop)


def test_instances_come_and_go_as_targets(fleet: Fleet) -> None:
    assert {each["AvailabilityZone"] for each in fleet.told()["Instances"]} == set(ZONES)
    fleet.shop.aws.set(drain_scale=1000)
    wait_until(lambda: set(fleet.targets().values()) == {"healthy"}, PATIENCE, "they are healthy")
    before = fleet.instances()
    assert set(fleet.targets()) == before
    fleet.scale(1)
    left = fleet.instances()
    assert len(left) == 1
    assert fleet.targets() == {**dict.fromkeys(before, "draining"), **dict.fromkeys(left, "healthy")}
    fleet.scale(4)
    assert len(set(fleet.targets()) - before) == 3
    fleet.client.detach_load_balancer_target_groups(AutoScalingGroupName="shop", TargetGroupARNs=[fleet.group])
    assert set(fleet.targets().values()) == {"draining"}


def test_instances_answer_where_they_are_placed(fleet: Fleet) -> None:
    for instance in fleet.instances():
        fleet.shop.aws.place(instance, fleet.shop.apps["green"].port)
    wait_until(lambda: set(fleet.targets().values()) == {"healthy"}, PATIENCE, "they are healthy")
    fleet.shop.split(fleet.shop.arn, {fleet.group: 1})
    assert fleet.shop.counted(4) == {"green": 4}
    tell(fleet.shop.apps["green"], unhealthy=True)
    wait_until(lambda: set(fleet.targets().values()) == {"unhealthy"}, PATIENCE, "they are not")


FLEET_REFUSED: dict[str, tuple[str, Callable[[Fleet], object]]] = {
    "above": ("ValidationError", lambda fleet: fleet.scale(5)),
    "below": ("ValidationError", lambda fleet: fleet.scale(0)),
    "above, by an update": (
        "ValidationError",
        lambda fleet: fleet.client.update_auto_scaling_group(AutoScalingGroupName="shop", DesiredCapacity=5),
    ),
    "no such group": (
        "ValidationError",
        lambda fleet: fleet.client.set_desired_capacity(AutoScalingGroupName="nobody", DesiredCapacity=1),
    ),
    "no such group, suspended": (
        "ValidationError",
        lambda fleet: fleet.client.suspend_processes(AutoScalingGroupName="nobody"),
    ),
    "to delete it with its instances": (
        "ResourceInUse",
        lambda fleet: fleet.client.delete_auto_scaling_group(AutoScalingGroupName="shop"),
    ),
}


@pytest.mark.parametrize("case", FLEET_REFUSED)
def test_auto_scaling_refuses(fleet: Fleet, case: str) -> None:
    code, call = FLEET_REFUSED[case]
    assert refused(lambda: call(fleet)) == code
    assert (fleet.told()["DesiredCapacity"], len(fleet.instances())) == (2, 2)


def test_suspended_processes(fleet: Fleet) -> None:
    def suspended() -> set[str]:
        return {each["ProcessName"] for each in fleet.told()["SuspendedProcesses"]}

    before = fleet.instances()
    fleet.client.suspend_processes(AutoScalingGroupName="shop", ScalingProcesses=["Terminate", "AZRebalance"])
    fleet.scale(1)
    assert suspended() == {"Terminate", "AZRebalance"}
    assert fleet.instances() == before
    fleet.client.resume_processes(AutoScalingGroupName="shop", ScalingProcesses=["Terminate"])
    assert suspended() == {"AZRebalance"}
    assert len(fleet.instances()) == 1


def test_a_group_is_deleted_by_force_and_scaled_to_zero(fleet: Fleet) -> None:
    fleet.client.update_auto_scaling_group(AutoScalingGroupName="shop", MinSize=0, DesiredCapacity=0)
    assert fleet.instances() == set()
    fleet.scale(2)
    fleet.client.delete_auto_scaling_group(AutoScalingGroupName="shop", ForceDelete=True)
    assert fleet.client.describe_auto_scaling_groups()["AutoScalingGroups"] == []


# --- Classic load balancers -------------------------------------------------------------------------------


class Classic:
    """One, with two instances."""

    def __init__(self, aws: Aws) -> None:
        self.client = aws.client("elb")
        listeners = [{"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 80}]
        self.client.create_load_balancer(LoadBalancerName="old", Listeners=listeners, AvailabilityZones=[ZONES[0]])
        made = aws.client("ec2").run_instances(ImageId="ami-12345678", MinCount=2, MaxCount=2)["Instances"]
        self.ids = [each["InstanceId"] for each in made]
        asked = {"LoadBalancerName": "old", "Instances": [{"InstanceId": each} for each in self.ids]}
        told = self.client.register_instances_with_load_balancer(**asked)["Instances"]
        assert [each["InstanceId"] for each in told] == self.ids

    def drain(self, seconds: int) -> None:
        attributes = {"ConnectionDraining": {"Enabled": True, "Timeout": seconds}}
        self.client.modify_load_balancer_attributes(LoadBalancerName="old", LoadBalancerAttributes=attributes)

    def deregister(self, identity: str) -> list[str]:
        asked = {"LoadBalancerName": "old", "Instances": [{"InstanceId": identity}]}
        told = self.client.deregister_instances_from_load_balancer(**asked)["Instances"]
        return [each["InstanceId"] for each in told]

    def health(self, *ids: str) -> dict[str, tuple[str, str]]:
        asked = {"Instances": [{"InstanceId": each} for each in ids]} if ids else {}
        told = self.client.describe_instance_health(LoadBalancerName="old", **asked)["InstanceStates"]
        return {each["InstanceId"]: (each["State"], each["Description"]) for each in told}


@pytest.fixture
def classic(aws: Aws) -> Classic:
    return Classic(aws)


def test_an_instance_that_is_deregistered_is_out_of_service(classic: Classic) -> None:
    gone, left = classic.ids
    assert classic.deregister(gone) == [left]
    assert classic.health(gone)[gone][0] == "OutOfService"
    assert classic.health() == {left: ("InService", "N/A")}
    classic.client.get_waiter("instance_deregistered").wait(
        LoadBalancerName="old", Instances=[{"InstanceId": gone}], WaiterConfig={"Delay": 1, "MaxAttempts": 5}
    )


def test_connection_draining(aws: Aws, classic: Classic) -> None:
    """docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-conn-drain.html"""
    first, second = classic.ids
    classic.drain(60)
    aws.set(drain_scale=1000)
    classic.deregister(first)
    assert classic.health()[first] == ("InService", "Instance deregistration currently in progress.")
    aws.set(drain_scale=0.001)
    classic.deregister(second)
    wait_until(lambda: classic.health(second)[second][0] == "OutOfService", PATIENCE, "it has drained")
    told = classic.client.describe_load_balancer_attributes(LoadBalancerName="old")["LoadBalancerAttributes"]
    assert told["ConnectionDraining"] == {"Enabled": True, "Timeout": 60}


CLASSIC_REFUSED: dict[str, tuple[str, Callable[[Classic], object]]] = {
    "no such instance": ("InvalidInstance", lambda classic: classic.deregister("i-0123456789abcdef0")),
    "no such load balancer": (
        "LoadBalancerNotFound",
        lambda classic: classic.client.describe_instance_health(LoadBalancerName="nobody"),
    ),
    "an hour and a second": ("InvalidConfigurationRequest", lambda classic: classic.drain(3601)),
}


@pytest.mark.parametrize("case", CLASSIC_REFUSED)
def test_classic_refuses(classic: Classic, case: str) -> None:
    code, call = CLASSIC_REFUSED[case]
    assert refused(lambda: call(classic)) == code


# --- CloudFormation ---------------------------------------------------------------------------------------


def test_a_template_with_weights(aws: Aws, scene: Scene, elbv2: Any) -> None:
    groups = {
        colour: {
            "Type": "AWS::ElasticLoadBalancingV2::TargetGroup",
            "Properties": {"Name": colour, "Protocol": "HTTP", "Port": 80, "VpcId": scene.vpc, "TargetType": "ip"},
        }
        for colour in COLOURS
    }
    weights = [
        {"TargetGroupArn": {"Ref": colour}, "Weight": weight} for colour, weight in zip(COLOURS, (3, 1), strict=True)
    ]
    balancer = {
        "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
        "Properties": {"Name": "shop", "Subnets": scene.subnets},
    }
    actions = [{"Type": "forward", "ForwardConfig": {"TargetGroups": weights}}]
    properties = {"LoadBalancerArn": {"Ref": "alb"}, "Protocol": "HTTP", "Port": 80, "DefaultActions": actions}
    listener = {"Type": "AWS::ElasticLoadBalancingV2::Listener", "Properties": properties}
    template = {"Resources": {**groups, "alb": balancer, "listener": listener}}
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(StackName="shop", TemplateBody=json.dumps(template))
    arn = elbv2.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
    told = elbv2.describe_listeners(LoadBalancerArn=arn)["Listeners"][0]
    assert [each["Weight"] for each in told["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]] == [3, 1]
    assert ask(aws.listener_url(told["ListenerArn"])).status == 503
    cloudformation.delete_stack(StackName="shop")
    assert elbv2.describe_load_balancers()["LoadBalancers"] == []
