# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets leave without a request being lost, never those that have traffic, and every delay is put back."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from demo.rig import wait_until
from plugins.module_utils._aws.draining import DELAY, DELAY_TAG
from tests.aws.handle import REGION, SECRET, Aws
from tests.aws.scene import PATIENCE, ZONES, Scene
from tests.integration.balancer import COLOURS
from tests.unit.plugins.modules.process import ROOT, run_module

NEVER = 1000.0
"""Of AWS's time: what drains does not come to an end in a test."""
SOON = 0.001


class App:
    """A web app that holds requests as long as it is told to, and tells how many."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.released.set()
        self.in_flight: Any = 0
        self.told: Any = None
        """What it says instead of the truth."""
        app = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/work":
                    app.work()
                told = app.in_flight if app.told is None else app.told
                content = json.dumps({"requests": {"active": told}}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def work(self) -> None:
        self.in_flight += 1
        self.released.wait(PATIENCE)
        self.in_flight -= 1

    def stop(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


class Shop(Scene):
    """One app of each colour behind a listener; blue has everything at first."""

    def __init__(self, aws: Aws) -> None:
        super().__init__(aws)
        self.apps = {colour: App() for colour in COLOURS}
        self.balancer_arn = self.balancer()
        self.groups = {colour: self.group(f"shop-{colour}", app.port) for colour, app in self.apps.items()}
        self.blue, self.green = self.groups["blue"], self.groups["green"]
        self.arn = self.listener(self.balancer_arn, {self.blue: 100, self.green: 0})
        self.pool = ThreadPoolExecutor(4)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.apps['blue'].port}"

    def ready(self) -> None:
        for group in self.groups.values():
            self.wait_for(group, "healthy")

    def release(self) -> None:
        """Green has everything now."""
        self.split(self.arn, {self.blue: 0, self.green: 100})

    def keys(self) -> dict[str, Any]:
        return {"region": REGION, "access_key": "AKIDTEST", "secret_key": SECRET, "endpoint_url": self.aws.url}

    def options(self, **more: Any) -> dict[str, Any]:
        alb = {**self.keys(), "listener_arn": self.arn, "target_groups": self.groups}
        route = {"name": "shop", "provider": "alb", "alb": alb}
        asked = {"routes": [route], "colour": "blue", "aws": self.keys(), "interval": 0.05, "timeout": PATIENCE}
        groups = {} if "classic_load_balancer" in more else {"target_groups": ["shop-blue"]}
        return {**asked, **groups, **more}

    def drain(self, **more: Any) -> dict[str, Any]:
        return run_module("target_drain", **self.options(**more))

    def in_flight(self, quiet: float = 0.2, **more: Any) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.apps['blue'].port}/stats"
        return {"in_flight": {"urls": [url], "query": "requests.active", "quiet": quiet, **more}}

    def delay(self, group: str | None = None) -> tuple[int, str | None]:
        """Of a group, and what it remembers."""
        elbv2, arn = self.aws.client("elbv2"), group or self.blue
        told = elbv2.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
        tags = elbv2.describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"]
        (seconds,) = [int(each["Value"]) for each in told if each["Key"] == DELAY]
        return seconds, next((each["Value"] for each in tags if each["Key"] == DELAY_TAG), None)

    def state(self) -> str | None:
        found = self.states(self.blue).get(self.apps["blue"].port)
        return found[0] if found else None

    def looks(self) -> int:
        """At targets, since they were deregistered."""
        actions = [call.action for call in self.aws.calls("elbv2")]
        after = actions[actions.index("DeregisterTargets") :] if "DeregisterTargets" in actions else []
        return after.count("DescribeTargetHealth")

    def request(self) -> Future[int]:
        """One that is held by blue until it is released."""
        self.apps["blue"].released.clear()
        url = f"{self.aws.listener_url(self.arn)}/work"

        def ask() -> int:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                answer.read()
                return int(answer.status)

        asked = self.pool.submit(ask)
        wait_until(lambda: self.apps["blue"].in_flight == 1, PATIENCE, "it is under way")
        return asked

    def stop(self) -> None:
        for app in self.apps.values():
            app.stop()
        self.pool.shutdown(wait=True)


@pytest.fixture
def shop(aws: Aws) -> Iterator[Shop]:
    shop = Shop(aws)
    try:
        yield shop
    finally:
        shop.stop()


# --- What is in flight ------------------------------------------------------------------------------------


def test_a_request_in_flight_ends_well_and_is_waited_for(shop: Shop) -> None:
    """And then nobody waits for the delay, for the whole of which AWS shows an idle target as draining.

    docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html
    """
    shop.ready()
    shop.aws.set(drain_scale=NEVER)
    asked = shop.request()
    shop.release()
    drained = shop.pool.submit(shop.drain, **shop.in_flight())
    wait_until(lambda: shop.looks() > 3, PATIENCE, "it is waited for")
    assert not drained.done()
    assert not asked.done()
    shop.apps["blue"].released.set()
    told = drained.result(PATIENCE)
    assert asked.result(PATIENCE) == 200
    assert told["changed"], told
    (group,) = told["target_groups"]
    assert group["deregistered"] == [shop.target]
    assert group["targets"] == [{"target": shop.target, "state": "draining", "seconds": None}]
    assert told["left"] == [{"from": "target group shop-blue", "target": shop.target, "state": "draining"}]
    assert [each["in_flight"] for each in told["in_flight"]] == [0]
    assert shop.state() == "draining"


def test_idle_targets_are_waited_for_until_they_are_out(shop: Shop) -> None:
    shop.release()
    shop.aws.set(drain_scale=SOON)
    told = shop.drain(_ansible_diff=True)
    (group,) = told["target_groups"]
    (target,) = group["targets"]
    assert (told["changed"], target["target"], target["state"]) == (True, shop.target, "unused")
    assert target["seconds"] > 0
    assert (told["left"], shop.states(shop.blue)) == ([], {})
    assert group["deregistration_delay"] == {"before": 300, "during": None, "after": 300}
    assert told["diff"] == {
        "before": {"target group shop-blue": {"registered": [shop.target], "deregistration_delay": 300}},
        "after": {"target group shop-blue": {"registered": [], "deregistration_delay": 300}},
    }
    again = shop.drain(targets=[shop.target])
    assert (again["changed"], again["target_groups"][0]["targets"][0]["state"]) == (False, "unused")


def test_an_app_with_work_is_waited_for_though_aws_is_done(shop: Shop) -> None:
    shop.release()
    shop.aws.set(drain_scale=0)
    shop.apps["blue"].told = 2
    told = shop.drain(timeout=0.3, **shop.in_flight(quiet=0))
    assert (told["failure"]["code"], "(2 in flight)" in told["msg"]) == ("timeout", True), told["msg"]
    assert told["left"] == []


def test_an_app_that_gives_no_number_leaves_it_to_aws(shop: Shop) -> None:
    shop.release()
    shop.aws.set(drain_scale=SOON)
    shop.apps["blue"].told = "many"
    told = shop.drain(**shop.in_flight(quiet=0))
    assert told["changed"], told
    assert told["in_flight"][0]["in_flight"] is None
    assert "'many'" in told["in_flight"][0]["problem"]
    assert told["left"] == []


def test_many_targets_cost_one_look_for_all(shop: Shop) -> None:
    shop.release()
    shop.aws.set(drain_scale=SOON)
    shop.register(shop.blue, *range(9000, 9129))
    shop.aws.clear_calls()
    told = shop.drain()
    assert len(told["target_groups"][0]["deregistered"]) == 130
    made = Counter(call.action for call in shop.aws.calls("elbv2"))
    assert made["DeregisterTargets"] == 2
    assert all("Targets" not in call.parameters for call in shop.aws.calls("elbv2", "DescribeTargetHealth"))


def test_only_those_that_are_named(shop: Shop) -> None:
    shop.release()
    shop.aws.set(drain_scale=SOON)
    shop.register(shop.blue, 9000)
    told = shop.drain(targets=[shop.target, "127.0.0.9"])
    assert told["target_groups"][0]["deregistered"] == [shop.target]
    assert {each["target"]: each["state"] for each in told["target_groups"][0]["targets"]} == {
        shop.target: "unused",
        "127.0.0.9": "unused",
    }
    assert list(shop.states(shop.blue)) == [9000]


# --- The delay --------------------------------------------------------------------------------------------


def test_the_delay_is_lowered_and_put_back(shop: Shop) -> None:
    shop.release()
    shop.aws.set(drain_scale=0.01)
    told = shop.drain(deregistration_delay=5)
    assert told["target_groups"][0]["deregistration_delay"] == {"before": 300, "during": 5, "after": 300}
    assert shop.delay() == (300, None)
    sent = [call.parameters for call in shop.aws.calls("elbv2", "ModifyTargetGroupAttributes")]
    assert [each["Attributes"][0]["Value"] for each in sent] == ["5", "300"]


def test_a_longer_delay_than_the_own_one_changes_nothing(shop: Shop) -> None:
    shop.release()
    shop.aws.set(drain_scale=SOON)
    assert shop.drain(deregistration_delay=301)["changed"]
    assert shop.aws.calls("elbv2", "ModifyTargetGroupAttributes") == []


def test_at_a_timeout_it_is_told_who_is_left_and_the_delay_is_back(shop: Shop) -> None:
    shop.release()
    shop.aws.set(drain_scale=NEVER)
    told = shop.drain(deregistration_delay=5, timeout=0.2)
    assert told["failure"]["code"] == "timeout"
    assert f"target group shop-blue still has {shop.target} (draining)" in told["msg"]
    assert told["left"] == [{"from": "target group shop-blue", "target": shop.target, "state": "draining"}]
    assert told["target_groups"][0]["deregistered"] == [shop.target]
    assert shop.delay() == (300, None)


def test_what_a_killed_drain_left_is_put_back_by_the_next(shop: Shop) -> None:
    shop.release()
    shop.aws.set(drain_scale=NEVER)
    asked = {"ANSIBLE_MODULE_ARGS": shop.options(deregistration_delay=5)}
    with subprocess.Popen(
        [sys.executable, "-m", "plugins.modules.target_drain"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin
        process.stdin.write(json.dumps(asked).encode())
        process.stdin.close()
        wait_until(lambda: shop.looks() > 0, PATIENCE, "it waits")
        process.kill()
    assert shop.delay() == (5, "300 lowered to 5")
    planned = shop.drain(_ansible_check_mode=True)
    assert planned["target_groups"][0]["deregistration_delay"] == {"before": 5, "during": None, "after": 300}
    assert (planned["changed"], shop.delay()) == (True, (5, "300 lowered to 5"))
    done = shop.drain(**shop.in_flight(quiet=0))
    assert (done["changed"], shop.delay()) == (True, (300, None)), done
    assert not shop.drain(**shop.in_flight(quiet=0))["changed"]


def test_a_delay_that_cannot_be_put_back_is_named(shop: Shop) -> None:
    shop.release()
    shop.aws.set(drain_scale=SOON)
    shop.aws.fail("elbv2", "ModifyTargetGroupAttributes", "AccessDenied", nth=2)
    told = shop.drain(deregistration_delay=5)
    assert told["failure"]["code"] == "undo_failed"
    assert "target group shop-blue may still have deregistration delay 5 s" in told["msg"]
    assert told["left"] == []
    assert shop.drain()["changed"]
    assert shop.delay() == (300, None)


# --- Who has traffic --------------------------------------------------------------------------------------


def test_the_live_colour_is_refused(shop: Shop) -> None:
    told = shop.drain()
    assert (told["failure"]["code"], "route shop has blue 100 %" in told["msg"]) == ("conflict", True), told["msg"]
    shop.split(shop.arn, {shop.blue: 1, shop.green: 99})
    assert shop.drain()["failure"]["code"] == "conflict"
    assert shop.state() not in ("draining", None)


def test_a_group_with_traffic_that_is_in_no_route_is_refused(shop: Shop) -> None:
    """Whose listener it is, is told; one that is said to have no users does not count."""
    shop.release()
    shop.aws.set(drain_scale=SOON)
    tests = shop.listener(shop.balancer_arn, {shop.blue: 1}, port=8443)
    told = shop.drain()
    assert told["failure"]["code"] == "conflict", told["msg"]
    assert f"listener HTTP 8443 of load balancer shop ({tests}) gives target group shop-blue weight 1" in told["msg"]
    path = [{"Field": "path-pattern", "Values": ["/old"]}]
    rule = shop.rule(shop.arn, 7, path, {shop.blue: 1})
    told = shop.drain(unused=[tests])
    assert (told["failure"]["code"], "rule 7 of listener HTTP 80" in told["msg"]) == ("conflict", True), told["msg"]
    assert shop.state() not in ("draining", None)
    assert shop.drain(unused=[tests, rule])["changed"]


def test_who_sticks_to_the_group_is_told(shop: Shop) -> None:
    shop.split(shop.arn, {shop.blue: 0, shop.green: 100}, sticky=600)
    told = shop.drain(_ansible_check_mode=True)
    assert "keeps clients with target group shop-blue for 600 s" in str(told["warnings"])


def test_check_mode_changes_nothing_and_waits_for_nobody(shop: Shop) -> None:
    shop.release()
    shop.ready()
    shop.aws.set(drain_scale=NEVER)
    shop.aws.clear_calls()
    told = shop.drain(deregistration_delay=5, _ansible_check_mode=True, _ansible_diff=True)
    assert told["changed"]
    assert told["target_groups"][0]["deregistered"] == [shop.target]
    assert told["target_groups"][0]["targets"] == [{"target": shop.target, "state": "healthy", "seconds": None}]
    assert told["target_groups"][0]["deregistration_delay"] == {"before": 300, "during": 5, "after": 300}
    assert told["diff"]["after"] == {"target group shop-blue": {"registered": [], "deregistration_delay": 300}}
    assert {call.action[:8] for call in shop.aws.calls("elbv2")} == {"Describe"}
    assert shop.state() == "healthy"


# --- Faults -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["Throttling", "after", "reset", "500"])
def test_a_fault_for_a_while_is_ridden_out(shop: Shop, fault: str) -> None:
    shop.release()
    shop.aws.set(drain_scale=0.01)
    for action in ("AddTags", "ModifyTargetGroupAttributes", "DeregisterTargets", "RemoveTags"):
        shop.aws.fail("elbv2", action, fault)
    told = shop.drain(deregistration_delay=5)
    assert told["changed"], told
    assert (shop.delay(), shop.states(shop.blue)) == ((300, None), {})


# --- Classic load balancers -------------------------------------------------------------------------------


class Classic:
    """A classic load balancer with two instances, of which the first is to leave."""

    def __init__(self, shop: Shop) -> None:
        self.client, self.shop = shop.aws.client("elb"), shop
        listeners = [{"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 80}]
        self.client.create_load_balancer(LoadBalancerName="old", Listeners=listeners, AvailabilityZones=[ZONES[0]])
        made = shop.aws.client("ec2").run_instances(ImageId="ami-12345678", MinCount=2, MaxCount=2)["Instances"]
        self.ids = [each["InstanceId"] for each in made]
        asked = [{"InstanceId": each} for each in self.ids]
        self.client.register_instances_with_load_balancer(LoadBalancerName="old", Instances=asked)
        shop.release()

    def attributes(self) -> dict[str, Any]:
        told = self.client.describe_load_balancer_attributes(LoadBalancerName="old")["LoadBalancerAttributes"]
        return dict(told["ConnectionDraining"])

    def drain(self, *instances: str, **more: Any) -> dict[str, Any]:
        asked = {"classic_load_balancer": "old", "instances": [*instances] or self.ids[:1], **more}
        return self.shop.drain(**asked)


@pytest.fixture
def classic(shop: Shop) -> Classic:
    return Classic(shop)


def test_an_instance_leaves_a_classic_load_balancer(shop: Shop, classic: Classic) -> None:
    """docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-conn-drain.html"""
    shop.aws.set(drain_scale=NEVER)
    told = classic.drain(connection_draining=300, timeout=0.2)
    assert (told["failure"]["code"], f"{classic.ids[0]} (draining)" in told["msg"]) == ("timeout", True), told["msg"]
    assert classic.attributes() == {"Enabled": True, "Timeout": 300}
    shop.aws.client("elb").register_instances_with_load_balancer(
        LoadBalancerName="old", Instances=[{"InstanceId": classic.ids[0]}]
    )
    shop.aws.set(drain_scale=SOON)
    shop.aws.clear_calls()
    told = classic.drain()
    assert told["changed"], told
    assert told["classic_load_balancer"]["targets"][0]["state"] == "unused"
    assert told["classic_load_balancer"]["deregistered"] == classic.ids[:1]
    assert shop.aws.calls("elb", "ModifyLoadBalancerAttributes") == []
    assert not classic.drain(connection_draining=300)["changed"]


def test_a_classic_load_balancer_is_not_left_without_anybody(classic: Classic) -> None:
    told = classic.drain(*classic.ids, connection_draining=60)
    assert (told["failure"]["code"], "no other instance in service" in told["msg"]) == ("conflict", True), told["msg"]
    assert classic.attributes()["Enabled"] is False
    classic.shop.aws.set(drain_scale=SOON)
    assert classic.drain(*classic.ids, connection_draining=60, unused=["old"])["changed"]


def test_a_classic_load_balancer_that_would_cut_requests_is_refused(classic: Classic) -> None:
    told = classic.drain()
    assert (told["failure"]["code"], "has no connection draining" in told["msg"]) == ("not_ready", True), told["msg"]
    planned = classic.drain(connection_draining=60, _ansible_check_mode=True)
    changed = planned["classic_load_balancer"]["connection_draining"]["after"]
    assert (planned["changed"], changed) == (True, {"enabled": True, "timeout": 60})
    assert classic.attributes()["Enabled"] is False


# --- Bad input --------------------------------------------------------------------------------------------

UNKNOWN = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/nowhere/0123456789abcdef"
Options = Callable[[Shop], dict[str, Any]]
BAD: dict[str, tuple[Options, str, str]] = {
    "nothing": (lambda _s: {"target_groups": None}, "invalid", "one of them at least"),
    "no instances": (lambda _s: {"classic_load_balancer": "old"}, "invalid", "required together"),
    "unknown group": (lambda _s: {"target_groups": ["nobody"]}, "missing", "not found"),
    "unknown ARN": (lambda _s: {"target_groups": [UNKNOWN]}, "missing", "not found"),
    "by name and by ARN": (lambda s: {"target_groups": ["shop-blue", s.blue]}, "invalid", "none of them twice"),
    "the live one's group": (lambda _s: {"target_groups": ["shop-green"]}, "conflict", "weight 100"),
    "unknown colour": (lambda _s: {"colour": "red"}, "invalid", "'red'"),
    "a delay too long": (lambda _s: {"deregistration_delay": 3601}, "invalid", "from 0 to 3600"),
    "another region": (lambda s: {"aws": {**s.keys(), "region": "eu-west-1"}}, "missing", "not found"),
    "unknown balancer": (
        lambda _s: {"classic_load_balancer": "no", "instances": ["i-1"]},
        "missing",
        "load balancer does not exist: no",
    ),
    "a query of no kind": (lambda s: s.in_flight(query="]"), "invalid", "in_flight: expect is not a JMESPath"),
    "no URL": (lambda s: s.in_flight(urls=["tcp://127.0.0.1:1"]), "invalid", "in_flight.urls is tcp://"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_with_a_code(shop: Shop, what: str) -> None:
    more, code, said = BAD[what]
    shop.release()
    told = shop.drain(**more(shop))
    assert (told["failure"]["code"], said in told["msg"]) == (code, True), told["msg"]
    assert "\n" not in told["msg"]
    assert SECRET not in json.dumps(told)
    for group in shop.groups.values():
        assert all(state != "draining" for state, _why in shop.states(group).values())
        assert shop.states(group)
