# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listeners and rules keep what the engine takes for granted, and all that is not ours in them."""

from __future__ import annotations

import json
import shlex
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from demo.rig import wait_until
from plugins.module_utils._aws import client, shared
from plugins.module_utils._aws.connection import AWS_SPEC
from plugins.module_utils._errors import BlueGreenError, ConflictError
from plugins.module_utils._traffic.alb import PROVIDER
from plugins.module_utils._traffic.route import Route
from plugins.module_utils._traffic.router import Router
from plugins.module_utils._traffic.split import Split
from plugins.module_utils._traffic.switch import Order, switch
from plugins.module_utils._wait import SYSTEM_CLOCK
from tests.aws.handle import REGION, SECRET, Aws
from tests.aws.scene import ZONES, Scene, forward
from tests.integration.balancer import BLUE, COLOURS, GREEN, green
from tests.integration.contract import SHARED_SPLITS, Case, Contract
from tests.unit.plugins.modules.process import run_module

DEFAULTS = {name: option.get("default") for name, option in PROVIDER.spec["options"].items()}
PORTS = {"blue": (8001, 8002), "green": (8003, 8004)}
"""Nobody is there: what the load balancer sees is told to it."""
ROUNDS = 100
MORE_THAN_THE_PROOF_NEEDS = 10
"""Looks at the targets: a change is proven in fewer, and what falls ill before that is another failure."""
KEY = "AKIDTEST"


class Shop(Scene):
    """A load balancer with two healthy targets of each colour, one in each zone; blue has everything."""

    def __init__(self, aws: Aws, kind: str = "application") -> None:
        super().__init__(aws)
        client._CLIENTS.clear()
        protocol = "HTTP" if kind == "application" else "TCP"
        self.balancer_arn = self.balancer(kind=kind)
        self.groups = {colour: self.group(f"shop-{colour}", Protocol=protocol) for colour in COLOURS}
        self.blue, self.green = self.groups["blue"], self.groups["green"]
        self.arn = self.listener(self.balancer_arn, {self.blue: 100, self.green: 0}, Protocol=protocol)
        for colour, group in self.groups.items():
            for port, zone in zip(PORTS[colour], ZONES, strict=True):
                self.register(group, port, zone=zone)
                self.tell(colour, port, "healthy")

    def tell(self, colour: str, port: int, state: str, reason: str | None = None) -> None:
        self.aws.force_health(self.groups[colour], "127.0.0.1", state, reason, port=port)

    def actions(self, arn: str | None = None) -> list[dict[str, Any]]:
        described = self.described(arn or self.arn)
        return list(described.get("DefaultActions") or described["Actions"])

    def described(self, arn: str) -> dict[str, Any]:
        elbv2 = self.aws.client("elbv2")
        if ":listener-rule/" in arn:
            return dict(elbv2.describe_rules(RuleArns=[arn])["Rules"][0])
        return dict(elbv2.describe_listeners(ListenerArns=[arn])["Listeners"][0])

    def weights(self, arn: str | None = None) -> dict[str, int]:
        """By colour, or by ARN where it is another group's."""
        (action,) = [each for each in self.actions(arn) if each["Type"] == "forward"]
        names = {group: colour for colour, group in self.groups.items()}
        found = {each["TargetGroupArn"]: each["Weight"] for each in action["ForwardConfig"]["TargetGroups"]}
        return {names.get(group, group): weight for group, weight in found.items()}

    def leave(self, arn: str, weights: Mapping[str, int]) -> None:
        """As somebody else does it."""
        if ":listener-rule/" in arn:
            self.aws.client("elbv2").modify_rule(RuleArn=arn, Actions=forward(weights))
        else:
            self.split(arn, weights)

    def rule_weights(self) -> set[tuple[int, ...]]:
        """All that any rule has."""
        rules = self.aws.client("elbv2").describe_rules(ListenerArn=self.arn)["Rules"]
        groups = [each["Actions"][0]["ForwardConfig"]["TargetGroups"] for each in rules if not each["IsDefault"]]
        return {tuple(each["Weight"] for each in group) for group in groups}

    def hosts(self, many: int, weights: Mapping[str, int] | None = None) -> list[str]:
        """So many rules, a host name each."""
        given = weights or {self.blue: 100, self.green: 0}
        asked = ([{"Field": "host-header", "Values": [f"h{number}.example"]}] for number in range(1, many + 1))
        return [self.rule(self.arn, number, each, given) for number, each in enumerate(asked, 1)]

    def options(self, **more: Any) -> dict[str, Any]:
        names = {colour: f"shop-{colour}" for colour in COLOURS}
        way = {} if {"rule_arn", "load_balancer"} & more.keys() else {"listener_arn": self.arn}
        keys = {"region": REGION, "access_key": KEY, "secret_key": SECRET, "endpoint_url": self.aws.url}
        return {**keys, "target_groups": names, **way, **more}

    def router(self, **more: Any) -> Router:
        return PROVIDER.build(COLOURS, {**DEFAULTS, **self.options(**more)})

    def route(self, name: str = "shop", **more: Any) -> dict[str, Any]:
        return {"name": name, "provider": "alb", "alb": self.options(**more)}

    def traffic(self, *routes: dict[str, Any], **options: Any) -> dict[str, Any]:
        return run_module("traffic", routes=[*routes] or [self.route()], **options)


@pytest.fixture
def shop(aws: Aws) -> Shop:
    return Shop(aws)


# --- The contract -----------------------------------------------------------------------------------------


FINE = (*SHARED_SPLITS, green(0.1), green(99.9))
FEW = (BLUE, green(10), GREEN)


def listener(aws: Aws) -> Case:
    shop = Shop(aws)
    return _case(shop, shop.router(), shop.arn, FINE)


def rule(aws: Aws) -> Case:
    shop = Shop(aws)
    (arn,) = shop.hosts(1)
    return _case(shop, shop.router(rule_arn=arn), arn, FEW)


def network(aws: Aws) -> Case:
    shop = Shop(aws, "network")
    return _case(shop, shop.router(), shop.arn, FEW)


def _case(shop: Shop, router: Router, arn: str, holds: tuple[Split, ...]) -> Case:
    left = {
        "all weights are 0": lambda: shop.leave(arn, {shop.blue: 0, shop.green: 0}),
        "one group is not attached": lambda: shop.leave(arn, {shop.blue: 1}),
    }
    return Case(router, lambda: shop.described(arn), holds, (green(0.01), green(33.33)), left)


@pytest.fixture(params=[listener, rule, network])
def case(request: pytest.FixtureRequest, aws: Aws) -> Case:
    made: Case = request.param(aws)
    return made


class TestAlb(Contract):
    """Of a listener's default action, of a rule, and of a network load balancer's listener."""


# --- What is changed, and what is not ---------------------------------------------------------------------


OIDC = {
    "Issuer": "https://id.example",
    "AuthorizationEndpoint": "https://id.example/a",
    "TokenEndpoint": "https://id.example/t",
    "UserInfoEndpoint": "https://id.example/u",
    "ClientId": "shop",
    "ClientSecret": "hidden",
}
POOL = {
    "UserPoolArn": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_a",
    "UserPoolClientId": "shop",
    "UserPoolDomain": "shop",
}
TOKEN = {"JwksEndpoint": "https://id.example/keys", "Issuer": "https://id.example"}
BEFORE = {
    "oidc": {"Type": "authenticate-oidc", "AuthenticateOidcConfig": OIDC},
    "cognito": {"Type": "authenticate-cognito", "AuthenticateCognitoConfig": POOL},
    "token": {"Type": "jwt-validation", "JwtValidationConfig": TOKEN},
}
"""What lets in, or not, before it is forwarded."""


@pytest.mark.parametrize("what", BEFORE)
def test_all_else_of_the_action_stays(shop: Shop, what: str) -> None:
    """Stickiness, a third group without a share, and an action before it, whose secret is never told."""
    other = shop.group("other")
    lets_in = {**BEFORE[what], "Order": 1}
    (forwards,) = forward({shop.blue: 100, shop.green: 0, other: 0}, sticky=600)
    elbv2 = shop.aws.client("elbv2")
    elbv2.modify_listener(ListenerArn=shop.arn, DefaultActions=[lets_in, {**forwards, "Order": 2}])
    before = shop.described(shop.arn)
    assert "hidden" not in json.dumps(before)
    done = shop.traffic(split={"green": 10})
    assert done["changed"], done
    assert shop.weights() == {"blue": 90, "green": 10, other: 0}
    assert shop.traffic(to="blue")["changed"]
    after = shop.described(shop.arn)
    for described in (before, after):
        config = described["DefaultActions"][1]["ForwardConfig"]
        config["TargetGroups"] = sorted(config["TargetGroups"], key=str)
    assert after == before


def test_functions_are_switched_like_any_other_target(shop: Shop) -> None:
    """A group of one function each, which nobody checks, as AWS has it by default."""
    elbv2, arn = shop.aws.client("elbv2"), "arn:aws:lambda:us-east-1:123456789012:function:shop"
    groups = {}
    for colour in COLOURS:
        made = elbv2.create_target_group(Name=f"function-{colour}", TargetType="lambda")["TargetGroups"][0]
        groups[colour] = made["TargetGroupArn"]
        elbv2.register_targets(TargetGroupArn=groups[colour], Targets=[{"Id": f"{arn}:{colour}"}])
    listener = shop.listener(shop.balancer_arn, {groups["blue"]: 1, groups["green"]: 0}, Port=8080)
    route = shop.route(listener_arn=listener, target_groups=groups)
    (moved,) = shop.traffic(route, split={"green": 10})["routes"]
    assert (moved["verified"], shop.weights(listener)) == (True, {groups["blue"]: 90, groups["green"]: 10})


def test_the_plan_is_what_is_done(shop: Shop) -> None:
    for share in (10, 50, 100):
        planned = shop.traffic(split={"green": share}, _ansible_check_mode=True, _ansible_diff=True)
        before = shop.weights()
        done = shop.traffic(split={"green": share}, _ansible_diff=True)
        assert planned["diff"] == done["diff"]
        (held,) = done["diff"]["after"]["shop"].values()
        assert held == {"shop-blue": 100 - share, "shop-green": share}
        assert before != shop.weights() == {"blue": 100 - share, "green": share}
        assert not shop.traffic(split={"green": share})["changed"]


def test_one_listener_costs_a_read_a_write_and_a_look_back(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "FRESH", 60.0)  # on a slow machine it is read once more, right before the change
    router = shop.router(target_groups=shop.groups)
    shop.aws.clear_calls()
    switch([Route("shop", router)], Order(GREEN))
    made = Counter(call.action for call in shop.aws.calls())
    assert made == {"DescribeTargetHealth": 3, "DescribeListeners": 2, "ModifyListener": 1}


def test_twenty_rules_are_switched_and_no_other(shop: Shop) -> None:
    """A read for all of them, a write each, and a look back at all, as often as it takes."""
    arns = shop.hosts(22)
    named, left = arns[:20], arns[20:]
    before = [shop.described(arn) for arn in left]
    totals = []
    for to, held in (("green", (0, 100)), ("blue", (100, 0)), ("green", (0, 100))):
        shop.aws.clear_calls()
        routes = [shop.route(f"r{number}", rule_arn=arn, target_groups=shop.groups) for number, arn in enumerate(named)]
        assert shop.traffic(*routes, to=to)["changed"]
        made = Counter(call.action for call in shop.aws.calls())
        assert made["ModifyRule"] == 20
        assert {tuple(shop.weights(arn).values()) for arn in named} == {held}
        totals.append(made.total())
    assert min(totals) <= 1.3 * 22 + 3  # and the targets' health: of both colours, and of one again
    assert [shop.described(arn) for arn in left] == before


def test_twenty_rules_by_name_cost_as_much_as_by_their_arns(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The load balancer, its listeners and the target groups are looked up once, and not by each route."""
    monkeypatch.setattr(shared, "FRESH", 60.0)
    shop.hosts(20)
    named = {"load_balancer": "shop", "port": 80}
    routes = [Route(f"r{number}", shop.router(rule_priority=number, **named)) for number in range(1, 21)]
    shop.aws.clear_calls()
    switch(routes, Order(GREEN))
    made = Counter(call.action for call in shop.aws.calls())
    assert made.pop("DescribeRules") < 20  # before, and after, as often as it takes
    del made["DescribeTargetHealth"]
    assert made == {"DescribeLoadBalancers": 1, "DescribeListeners": 1, "DescribeTargetGroups": 1, "ModifyRule": 20}


def test_one_listener_by_name_is_looked_up_and_read_at_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "FRESH", 60.0)
    shop.aws.clear_calls()
    switch([Route("shop", shop.router(load_balancer="shop", port=80))], Order(GREEN))
    made = Counter(call.action for call in shop.aws.calls())
    assert made.pop("DescribeTargetHealth") == 3
    assert made == {"DescribeLoadBalancers": 1, "DescribeTargetGroups": 1, "DescribeListeners": 2, "ModifyListener": 1}


def test_several_listeners_and_rules_are_one_switch(shop: Shop) -> None:
    second = shop.listener(shop.balancer_arn, {shop.blue: 100, shop.green: 0}, port=443)
    arns = shop.hosts(10)
    routes = [shop.route(), shop.route("https", listener_arn=second)]
    routes += [shop.route(f"r{number}", rule_arn=arn) for number, arn in enumerate(arns)]
    assert shop.traffic(*routes, to="green")["changed"]
    assert {tuple(shop.weights(arn).values()) for arn in (*arns,)} == {(0, 100)}
    assert (shop.weights(), shop.weights(second)) == ({"blue": 0, "green": 100}, {"blue": 0, "green": 100})


def test_the_command_by_hand_is_the_change(shop: Shop) -> None:
    router = shop.router()
    router.read()
    words = shlex.split(router.by_hand(GREEN))
    assert words[:1] + words[5:8] == ["aws", "elbv2", "modify-listener", "--listener-arn"]
    shop.aws.client("elbv2").modify_listener(ListenerArn=shop.arn, DefaultActions=json.loads(words[-1]))
    assert router.read() == GREEN


# --- Names, tags and pages --------------------------------------------------------------------------------


def test_listeners_and_rules_are_found_by_name_port_priority_and_tag(shop: Shop) -> None:
    """Among 60 listeners and 130 rules, of which AWS tells some at a time."""
    shop.aws.set(rules_per_load_balancer=200)
    arns = shop.hosts(130)
    for port in range(8100, 8158):
        shop.listener(shop.balancer_arn, {shop.blue: 100, shop.green: 0}, port=port)
    last = shop.listener(shop.balancer_arn, {shop.blue: 100, shop.green: 0}, port=9000)
    shop.aws.client("elbv2").add_tags(ResourceArns=[arns[128]], Tags=[{"Key": "app", "Value": "shop"}])
    named = {"load_balancer": "shop", "port": 80}
    routes = [
        shop.route("by port", load_balancer="shop", port=9000),
        shop.route("by priority", rule_priority=130, **named),
        shop.route("by tag", rule_tags={"app": "shop"}, **named),
    ]
    assert shop.traffic(*routes, to="green")["changed"]
    assert [tuple(shop.weights(arn).values()) for arn in (arns[129], arns[128], arns[0])] == [
        (0, 100),
        (0, 100),
        (100, 0),
    ]
    assert shop.weights(last) == {"blue": 0, "green": 100}


# --- Health -----------------------------------------------------------------------------------------------


def test_a_group_that_nothing_forwards_to_is_drift_and_is_added_with_weight_0(shop: Shop) -> None:
    shop.split(shop.arn, {shop.blue: 1})
    told = shop.traffic(to="green")
    assert (told["failure"]["code"], "which has no health" in told["msg"]) == ("drift", True), told["msg"]
    assert shop.traffic(to="blue", on_drift="mend")["changed"]
    assert shop.weights() == {"blue": 100, "green": 0}
    assert shop.traffic(to="green")["changed"]


def test_what_a_group_that_keeps_clients_with_a_target_needs_is_told_before(shop: Shop) -> None:
    """docs.aws.amazon.com/elasticloadbalancing/latest/application/sticky-sessions.html, "Target group stickiness"."""
    shop.split(shop.arn, {shop.blue: 1})
    shop.aws.client("elbv2").modify_target_group_attributes(
        TargetGroupArn=shop.green, Attributes=[{"Key": "stickiness.enabled", "Value": "true"}]
    )
    told = shop.traffic(to="green")
    assert told["failure"]["code"] == "drift"
    assert "target group shop-green keeps clients with a target, so that AWS takes both groups only in" in told["msg"]


UNFIT = {
    "all unhealthy": ({8003: "unhealthy", 8004: "unhealthy"}, "none is ready (target 127.0.0.1:8003 is unhealthy"),
    "one zone without": ({8004: "unhealthy"}, f"green is not ready everywhere: zone {ZONES[1]} has 0 healthy targets"),
    "initial": ({8003: "initial", 8004: "initial"}, "none is ready (target 127.0.0.1:8003 is initial"),
}


CROSS_ZONE = "load_balancing.cross_zone.enabled"


def cross_zone(shop: Shop, value: str) -> None:
    attribute = {"Key": CROSS_ZONE, "Value": value}
    shop.aws.client("elbv2").modify_target_group_attributes(TargetGroupArn=shop.green, Attributes=[attribute])


@pytest.mark.parametrize("what", UNFIT)
def test_what_is_not_healthy_everywhere_gets_no_traffic(shop: Shop, what: str) -> None:
    states, said = UNFIT[what]
    cross_zone(shop, "false")
    for port, state in states.items():
        shop.tell("green", port, state, "Target.FailedHealthChecks" if state == "unhealthy" else None)
    told = shop.traffic(to="green")
    assert (told["failure"]["code"], said in told["msg"]) == ("not_ready", True), told["msg"]
    assert shop.weights() == {"blue": 100, "green": 0}
    if what == "one zone without":
        assert shop.traffic(shop.route(healthy_per_zone=0), to="green")["changed"]


@pytest.mark.parametrize(
    ("kind", "of_the_group", "of_the_balancer", "moved"),
    [
        ("application", None, None, True),  # on, as AWS has it
        ("application", "use_load_balancer_configuration", None, True),
        ("application", "false", None, False),
        ("network", None, None, False),  # off, as AWS has it
        ("network", None, "true", True),
        ("network", "use_load_balancer_configuration", "true", True),
        ("network", "false", "true", False),
        ("network", "true", None, True),
    ],
)
def test_targets_of_one_zone_serve_all_where_requests_cross_zones(
    aws: Aws, kind: str, of_the_group: str | None, of_the_balancer: str | None, moved: bool
) -> None:
    shop = Shop(aws, kind)
    if of_the_group:
        cross_zone(shop, of_the_group)
    if of_the_balancer:
        attribute = {"Key": CROSS_ZONE, "Value": of_the_balancer}
        shop.aws.client("elbv2").modify_load_balancer_attributes(
            LoadBalancerArn=shop.balancer_arn, Attributes=[attribute]
        )
    shop.tell("green", 8004, "unhealthy", "Target.FailedHealthChecks")
    assert shop.traffic(to="green").get("changed", False) is moved
    if moved:  # who says how many must have them everywhere
        shop.leave(shop.arn, {shop.blue: 100, shop.green: 0})
        assert shop.traffic(shop.route(healthy_per_zone=1), to="green")["failure"]["code"] == "not_ready"


def test_a_zone_in_which_the_live_colour_has_nobody_needs_none_of_the_other(shop: Shop) -> None:
    shop.tell("blue", 8002, "unhealthy", "Target.FailedHealthChecks")
    shop.tell("green", 8004, "unhealthy", "Target.FailedHealthChecks")
    assert shop.traffic(to="green")["changed"]


def test_a_zone_without_targets_does_not_keep_the_traffic_from_its_way_home(shop: Shop) -> None:
    assert shop.traffic(to="green")["changed"]
    shop.tell("blue", 8001, "unhealthy", "Target.FailedHealthChecks")
    assert shop.traffic(to="blue", all_or_nothing=False)["changed"]


def test_how_many_are_ready_is_told(shop: Shop) -> None:
    shop.tell("green", 8003, "unhealthy", "Target.Timeout")
    told = run_module("traffic_info", routes=[shop.route()])
    (route,) = told["routes"]
    assert [(seen["members"], seen["ready"]) for seen in route["activity"].values()] == [(2, 2), (2, 1)]


# --- Stickiness -------------------------------------------------------------------------------------------


def test_a_canary_that_is_verified_can_be_watched(shop: Shop) -> None:
    router = shop.router()
    switch([Route("shop", router)], Order(Split.parse(COLOURS, {"green": 10})))
    seen = router.observe()
    assert seen
    assert [one.ready for one in seen.values()] == [2, 2]


def test_who_sticks_to_the_old_colour_is_told_until_when(shop: Shop) -> None:
    shop.split(shop.arn, {shop.blue: 100, shop.green: 0}, sticky=600)
    (moved,) = shop.traffic(to="green")["routes"]
    left = _seconds(moved["old_until"]) - _seconds(moved["committed_at"])
    assert left == pytest.approx(600, abs=1)
    assert shop.weights() == {"blue": 0, "green": 100}


def test_the_way_home_leaves_nobody_behind(shop: Shop) -> None:
    """Only a group that is in the action holds its clients.

    docs.aws.amazon.com/elasticloadbalancing/latest/application/sticky-sessions.html
    """
    shop.split(shop.arn, {shop.blue: 0, shop.green: 100}, sticky=600)
    (moved,) = shop.traffic(to="blue", all_or_nothing=False)["routes"]
    assert _seconds(moved["old_until"]) == pytest.approx(_seconds(moved["committed_at"]), abs=1)
    assert shop.weights() == {"blue": 100}


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


# --- Others, and errors -----------------------------------------------------------------------------------


def test_nobody_elses_change_is_overwritten(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "FRESH", 0.0)  # however short before it was read
    for number in range(ROUNDS):
        router = shop.router()
        expected = router.read()
        shop.split(shop.arn, {shop.blue: 100 + number, shop.green: 200})
        there = shop.described(shop.arn)
        with pytest.raises(ConflictError):
            router.apply(GREEN, expected)
        assert shop.described(shop.arn) == there


def test_a_change_while_the_instant_is_waited_for_is_a_conflict(shop: Shop) -> None:
    """What was read too long ago is read again right before the change."""
    moved = threading.Timer(1.0, lambda: shop.split(shop.arn, {shop.blue: 50, shop.green: 50}))
    moved.start()
    try:
        with pytest.raises(ConflictError):
            switch([Route("shop", shop.router())], Order(GREEN, expect=BLUE, commit_at=time.time() + 4.0))
    finally:
        moved.join()
    assert shop.weights() == {"blue": 50, "green": 50}


def test_an_error_at_any_of_twenty_writes_puts_all_back(shop: Shop) -> None:
    arns = shop.hosts(20)
    routes = [Route(f"r{number}", shop.router(rule_arn=arn)) for number, arn in enumerate(arns)]
    for kth in range(1, 21):
        shop.aws.fail("elbv2", "ModifyRule", "AccessDenied", nth=kth)
        with pytest.raises(BlueGreenError, match="is not authorized") as caught:
            switch(routes, Order(GREEN))
        assert caught.value.code == "denied"
        assert sum(bool(call.fault) for call in shop.aws.calls("elbv2", "ModifyRule")) == kth  # one each time
        assert shop.rule_weights() == {(100, 0)}


FAULTS = {
    "throttled for a while": ("Throttling", 2, None),
    "throttled for good": ("Throttling", None, "unreachable"),
    "500 for a while": ("500", 2, None),
    "500 for good": ("500", None, "unreachable"),
    "a page of a gateway": ("html", None, "unreachable"),
    "closed before": ("reset", 2, None),
    "closed after it was done": ("after", 1, None),
    "silent": ("hang", None, "unreachable"),
    "expired": ("ExpiredToken", None, "denied"),
}


@pytest.mark.parametrize(
    ("what", "action"),
    [
        *((what, "ModifyListener") for what in FAULTS),
        *((what, "DescribeListeners") for what in FAULTS if what != "throttled for good"),  # half a minute each
    ],
)
def test_a_fault_is_ridden_out_or_told(shop: Shop, what: str, action: str) -> None:
    fault, times, code = FAULTS[what]
    shop.aws.fail("elbv2", action, fault, times=times)
    told = shop.traffic(shop.route(timeout=0.5), to="green")
    assert told.get("failure", {}).get("code") == code, told["msg"]
    shop.aws.clear_faults()
    assert shop.weights() == ({"blue": 100, "green": 0} if code else {"blue": 0, "green": 100})
    assert SECRET not in json.dumps(told)


@pytest.mark.parametrize("fault", ["Throttling", "500", "reset", "after"])
def test_what_an_operator_sets_between_two_attempts_is_not_overwritten(shop: Shop, fault: str) -> None:
    """Throttled, or its answer lost: the change is made once, and again only over what was read."""
    shop.aws.fail("elbv2", "ModifyListener", fault, times=1)
    router = shop.router()
    router._action = action = router._place()
    router.check(GREEN)
    assert router.read() == BLUE
    theirs = {shop.blue: 70, shop.green: 30}

    def operate(_seconds: float) -> None:
        shop.leave(shop.arn, theirs)

    action._aws._clock = replace(SYSTEM_CLOCK, sleep=operate)
    if fault == "after":  # it was made, as is seen at once, and what the operator sets later stands
        router.apply(GREEN, BLUE)
        assert router.read() == GREEN
        return
    with pytest.raises(ConflictError) as caught:
        router.apply(GREEN, BLUE)
    assert "now forwards to shop-blue with weight 70, shop-green with weight 30" in caught.value.found
    assert shop.weights() == {"blue": 70, "green": 30}
    assert len(shop.aws.calls("elbv2", "ModifyListener")) == 2  # ours, which failed, and the operator's


# --- The test listener ------------------------------------------------------------------------------------


def test_a_test_listener_follows_the_idle_colour(shop: Shop) -> None:
    """It moves once the traffic has moved as a whole, there and back, and never with a canary."""
    test = shop.listener(shop.balancer_arn, {shop.green: 1}, Port=8080)
    route = shop.route(test_listener_arn=test)
    for to, leads in (({"green": 10}, {"green": 1}), ({"green": 100}, {"blue": 100, "green": 0})):
        told = shop.traffic(route, split=to)
        assert "failure" not in told, told["msg"]
        assert shop.weights(test) == leads, to
    assert shop.traffic(route, to="blue")["changed"]
    assert (shop.weights(), shop.weights(test)) == ({"blue": 100, "green": 0}, {"blue": 0, "green": 100})
    assert shop.traffic(route, to="blue")["changed"] is False


def test_a_test_listener_that_leads_to_the_live_colour_is_drift(shop: Shop) -> None:
    test = shop.listener(shop.balancer_arn, {shop.blue: 1}, Port=8080)
    route = shop.route(load_balancer="alb", port=80, test_port=8080)
    route["alb"]["load_balancer"] = shop.balancer_arn
    refused = shop.traffic(route, to="green")
    assert (refused["failure"]["code"], shop.weights()) == ("drift", {"blue": 100, "green": 0})
    assert "the test listener, leads to blue 100 %, green 0 % and not to green" in refused["msg"]
    mended = shop.traffic(route, to="blue", on_drift="mend")
    assert (mended["routes"][0]["changed"], shop.weights(test)) == (True, {"blue": 0, "green": 100})
    assert shop.traffic(route, to="green", _ansible_check_mode=True, _ansible_diff=True)["diff"]["after"] != {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"test_port": 8080}, "test_port is set without load_balancer"),
        ({"test_listener_arn": "itself"}, "the test listener is the one with the traffic"),
        ({"load_balancer": "alb", "port": 80, "test_port": 80}, "the test listener is the one with the traffic"),
        (
            {"load_balancer": "alb", "port": 80, "test_port": 1, "test_listener_arn": "a"},
            "are set; expected one of them",
        ),
    ],
)
def test_a_test_listener_that_cannot_be_one_is_refused(shop: Shop, given: dict[str, Any], said: str) -> None:
    asked = {name: shop.arn if value == "itself" else value for name, value in given.items()}
    told = shop.traffic(shop.route(**asked), to="green")
    assert (told["failure"]["code"], said in told["msg"]) == ("invalid", True), told["msg"]


def dead(shop: Shop) -> None:
    """Both colours, as when the database that they share is down; and nobody has a weight."""
    for colour, ports in PORTS.items():
        for port in ports:
            shop.tell(colour, port, "unhealthy")
    shop.leave(shop.arn, {shop.blue: 0, shop.green: 0})


def test_the_way_home_is_open_where_both_colours_are_unhealthy(shop: Shop) -> None:
    """With all of its targets unhealthy a load balancer of AWS sends requests to each of them."""
    dead(shop)
    assert shop.traffic(to="blue")["failure"]["code"] == "not_ready"
    (home,) = shop.traffic(to="blue", all_or_nothing=False)["routes"]
    assert (home["verified"], shop.weights()) == (None, {"blue": 100, "green": 0})


def test_force_moves_to_an_unhealthy_colour_and_leaves_it_there(shop: Shop) -> None:
    dead(shop)
    (forced,) = shop.traffic(to="green", force=True)["routes"]
    assert (forced["verified"], shop.weights()) == (None, {"blue": 0, "green": 100})


def test_weights_that_somebody_sets_to_0_right_after_a_forced_change_are_no_success(shop: Shop) -> None:
    router = shop.router()
    really = router.apply

    def apply(*asked: Any) -> None:
        really(*asked)
        if not router.home:
            shop.leave(shop.arn, {shop.blue: 0, shop.green: 0})

    router.apply = apply  # type: ignore[method-assign]
    with pytest.raises(BlueGreenError, match=r"all weights of .* are 0") as caught:
        switch([Route("shop", router)], Order(GREEN, force=True))
    assert caught.value.code == "not_verified"


def test_a_colour_of_which_most_targets_fall_ill_while_it_is_watched_goes_home(shop: Shop) -> None:
    """A target group with one healthy target of two passes its own checks."""
    told: dict[str, Any] = {}

    def release() -> None:
        told.update(shop.traffic(to="green", watch={"duration": 120, "interval": 0.2}))

    watching = threading.Thread(target=release)
    watching.start()
    wait_until(lambda: shop.weights() == {"blue": 0, "green": 100}, 60, "green has the traffic")
    looks = len(shop.aws.calls("elbv2", "DescribeTargetHealth"))
    wait_until(
        lambda: len(shop.aws.calls("elbv2", "DescribeTargetHealth")) > looks + MORE_THAN_THE_PROOF_NEEDS,
        60,
        "the watch looks at the targets again and again",
    )
    for port in PORTS["green"]:
        shop.tell("green", port, "unhealthy")
    watching.join(60)
    assert (told["failure"]["code"], shop.weights()) == ("threshold_exceeded", {"blue": 100, "green": 0})


def test_a_stickiness_that_an_operator_sets_between_two_attempts_is_not_overwritten(shop: Shop) -> None:
    """The weights are as they were, and all else of the action is to stay as well."""
    shop.aws.fail("elbv2", "ModifyListener", "Throttling", times=1)
    router = shop.router()
    action = router._place()
    router.check(GREEN)
    assert router.read() == BLUE

    def operate(_seconds: float) -> None:
        shop.split(shop.arn, {shop.blue: 100, shop.green: 0}, sticky=60)

    action._aws._clock = replace(SYSTEM_CLOCK, sleep=operate)
    with pytest.raises(ConflictError):
        router.apply(GREEN, BLUE)
    (left,) = shop.actions()
    assert left["ForwardConfig"]["TargetGroupStickinessConfig"] == {"Enabled": True, "DurationSeconds": 60}


def test_a_group_that_is_deleted_in_between_is_missing(shop: Shop) -> None:
    shop.aws.fail(
        "elbv2", "ModifyListener", {"code": "TargetGroupNotFound", "message": "Target groups not found", "status": 400}
    )
    told = shop.traffic(to="green")
    assert (told["failure"]["code"], "Target groups not found" in told["msg"]) == ("missing", True), told["msg"]
    assert shop.weights() == {"blue": 100, "green": 0}


# --- Bad input --------------------------------------------------------------------------------------------


def other_network(shop: Shop) -> str:
    vpc = shop.new_vpc("10.9.0.0/16")
    return shop.group("far", VpcId=vpc)


def at(balancer: str, port: int | None) -> dict[str, Any]:
    return {"listener_arn": None, "load_balancer": balancer, "port": port}


def no_such_rule(shop: Shop) -> dict[str, Any]:
    return {"listener_arn": None, "rule_arn": shop.arn.replace(":listener/", ":listener-rule/") + "/0123456789abcdef"}


BAD = {
    "unknown listener": (
        lambda s: {"listener_arn": s.arn[:-4] + "0000"},
        "missing",
        "is not there; expected the one that is named",
    ),
    "no listener": (lambda _s: {"listener_arn": "web"}, "invalid", "listener_arn is web"),
    "unknown rule": (no_such_rule, "missing", "is not there; expected the one that is named"),
    "no rule": (lambda s: {"listener_arn": None, "rule_arn": s.arn}, "invalid", "expected the ARN of a rule"),
    "two ways": (lambda s: {"load_balancer": "shop", "port": 80, "listener_arn": s.arn}, "invalid", "expected one"),
    "no way": (lambda _s: {"listener_arn": None}, "invalid", "none of listener_arn"),
    "no port": (lambda _s: at("shop", None), "invalid", "load_balancer is set without port"),
    "unknown balancer": (lambda _s: at("nobody", 80), "missing", "load balancer does not exist"),
    "unknown port": (
        lambda _s: at("shop", 81),
        "missing",
        "port 81 of load balancer shop, only HTTP 80",
    ),
    "unknown priority": (lambda _s: {"rule_priority": 7}, "missing", "there are no rules of priority 7, only default"),
    "unknown tag": (lambda _s: {"rule_tags": {"app": "x"}}, "missing", "there are no rules with the tags"),
    "unknown group": (lambda _s: {"target_groups": {"blue": "shop-blue", "green": "nobody"}}, "missing", "not found"),
    "one colour": (lambda _s: {"target_groups": {"blue": "shop-blue"}}, "invalid", "one of its own for blue and green"),
    "the same twice": (lambda _s: {"target_groups": dict.fromkeys(COLOURS, "shop-blue")}, "invalid", "one of its own"),
    "another region": (lambda _s: {"region": "eu-west-1"}, "missing", "in this account and region"),
    "nobody there": (lambda _s: {"endpoint_url": "http://127.0.0.1:1", "timeout": 0.2}, "unreachable", "127.0.0.1:1"),
    "half a key": (lambda _s: {"secret_key": None}, "invalid", "only one of access_key and secret_key"),
    "no time": (lambda _s: {"timeout": 0}, "invalid", "timeout is 0"),
    "unknown profile": (lambda _s: {"profile": "nobody", "access_key": None, "secret_key": None}, "invalid", "nobody"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_with_a_code(shop: Shop, what: str) -> None:
    more, code, said = BAD[what]
    told = shop.traffic(shop.route(**more(shop)), to="green")
    assert (told["failure"]["code"], said in told["msg"]) == (code, True), told["msg"]
    assert "\n" not in told["msg"]
    assert SECRET not in json.dumps(told)
    assert shop.weights() == {"blue": 100, "green": 0}


ACTIONS = {
    "redirect": (
        lambda _s: [{"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301", "Host": "x"}}],
        "unsupported",
        "is redirect; expected one that forwards",
    ),
    "three": (lambda s: forward({s.blue: 1, s.group("third"): 1}), "drift", "gives a share to target group third"),
    "neither": (lambda s: forward({s.group("third"): 1}), "missing", "forwards to third"),
}


@pytest.mark.parametrize("what", ACTIONS)
def test_an_action_that_is_no_split_is_refused(shop: Shop, what: str) -> None:
    make, code, said = ACTIONS[what]
    shop.aws.client("elbv2").modify_listener(ListenerArn=shop.arn, DefaultActions=make(shop))
    there = shop.actions()
    told = shop.traffic(to="green")
    assert (told["failure"]["code"], said in told["msg"]) == (code, True), told["msg"]
    assert shop.actions() == there


def left_by(shop: Shop, weights: Mapping[str, int], sticky: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    (action,) = forward({shop.groups[colour]: weight for colour, weight in weights.items()})
    if sticky:
        action["ForwardConfig"]["TargetGroupStickinessConfig"] = dict(sticky)
    return [action]


@pytest.mark.parametrize(
    ("weights", "sticky", "mend"),
    [
        pytest.param(
            {"blue": 1, "green": 0}, None, False, id="CodeDeploy at first (terraform-aws-alb-single-listener 47)"
        ),
        pytest.param(
            {"blue": 100, "green": 0}, {"Enabled": False, "DurationSeconds": 3600}, False, id="Terraform 14119"
        ),
        pytest.param({"blue": 50, "green": 50}, {"Enabled": True, "DurationSeconds": 1}, False, id="Pulumi 5798"),
        pytest.param({"blue": 0}, None, True, id="one group of weight 0 (provider-upjet-aws 1771)"),
        pytest.param({"green": 1}, None, True, id="only one group (terraform-aws-alb 296)"),
    ],
)
def test_what_other_tools_leave_is_released_from_and_gone_home_to(
    shop: Shop, weights: dict[str, int], sticky: dict[str, Any] | None, mend: bool
) -> None:
    shop.aws.client("elbv2").modify_listener(ListenerArn=shop.arn, DefaultActions=left_by(shop, weights, sticky))
    config = shop.actions()[0]["ForwardConfig"]["TargetGroupStickinessConfig"]
    drift = {"on_drift": "mend"} if mend else {}
    told = shop.traffic(to="green", **drift)
    assert ("failure" not in told, shop.weights()["green"]) == (True, 100 if told["routes"][0]["changed"] else 1), told
    assert "failure" not in shop.traffic(to="blue", **drift)
    assert {colour: weight for colour, weight in shop.weights().items() if weight} == {"blue": 100}
    assert shop.actions()[0]["ForwardConfig"]["TargetGroupStickinessConfig"] == config


def test_a_third_group_that_somebody_adds_during_a_release_keeps_nobody_from_going_home(shop: Shop) -> None:
    """As Pulumi adds one that is to have weight 0 with weight 1 (pulumi-aws, issue 5772)."""
    assert shop.traffic(split={"green": 50})["changed"]
    third = shop.group("third")
    shop.leave(shop.arn, {shop.blue: 50, shop.green: 50, third: 1})
    assert shop.traffic(to="green")["failure"]["code"] == "drift"
    (home,) = shop.traffic(to="blue", all_or_nothing=False, on_drift="mend")["routes"]
    assert (home["verified"], shop.weights()) == (None, {"blue": 100, "green": 0, third: 1})
    assert "gives a share to target group third" in home["drift"][0]


def test_a_third_group_that_gets_a_share_while_it_is_watched_is_told(shop: Shop) -> None:
    told: dict[str, Any] = {}
    watching = threading.Thread(target=lambda: told.update(shop.traffic(to="green", watch={"duration": 60})))
    watching.start()
    wait_until(lambda: shop.weights() == {"blue": 0, "green": 100}, 60, "green has the traffic")
    looks = len(shop.aws.calls("elbv2", "DescribeTargetHealth"))
    wait_until(lambda: len(shop.aws.calls("elbv2", "DescribeTargetHealth")) > looks + 5, 60, "it is watched")
    shop.leave(shop.arn, {shop.blue: 0, shop.green: 100, shop.group("third"): 1})
    watching.join(90)
    assert told["watched"]["verdict"] == "inconclusive"
    assert "gives a share to target group third" in told["watched"]["reason"]


def test_a_group_of_another_load_balancer_or_network_is_refused_by_aws(shop: Shop) -> None:
    shop.split(shop.arn, {shop.blue: 1})
    second = shop.balancer("second")
    taken = shop.group("taken", 8003)
    shop.listener(second, {taken: 1})
    for group in (taken, other_network(shop)):
        told = shop.traffic(shop.route(target_groups={"blue": shop.blue, "green": group}), to="blue", on_drift="mend")
        assert told["failure"]["code"] in ("invalid", "unsupported"), told["msg"]
        assert shop.weights() == {"blue": 1}


def test_without_credentials_it_is_denied(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in shop.aws.environment.items():
        if "KEY" not in name:
            monkeypatch.setenv(name, value)
    told = shop.traffic(shop.route(access_key=None, secret_key=None), to="green")
    assert (told["failure"]["code"], "nable to locate credentials" in told["msg"]) == ("denied", True), told["msg"]


def test_options_are_those_of_amazon_aws() -> None:
    assert {"region", "profile", "access_key", "secret_key", "session_token", "endpoint_url"} <= AWS_SPEC.keys()
    assert BLUE != GREEN
