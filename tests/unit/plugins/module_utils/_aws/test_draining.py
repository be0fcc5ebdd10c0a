# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What needs no AWS; with one that drains as AWS documents, see tests/integration/targets/aws/test_target_drain.py."""

from __future__ import annotations

import contextlib
import json
import typing as t

import pytest

pytest.importorskip("jmespath")

from plugins.module_utils._aws import drain_places, drain_watch
from plugins.module_utils._aws.client import CodedError, LostAnswerError
from plugins.module_utils._aws.drain_order import Order, parse
from plugins.module_utils._aws.drain_places import Delay, name_of, names_of
from plugins.module_utils._aws.drain_watch import Seen, count
from plugins.module_utils._aws.draining import DELAY, drain_targets
from plugins.module_utils._aws.in_use import check_unused, unused_by
from plugins.module_utils._aws.shared import Look, Shared
from plugins.module_utils._errors import BlueGreenError, DeniedError
from plugins.module_utils._health.probe import Answer, parse_condition
from plugins.module_utils._wait import Clock
from plugins.modules import target_drain
from tests.unit.plugins.module_utils._aws.fakes import Calls
from tests.unit.plugins.modules.process import as_spec, bare, documented_options

ARN = "arn:aws:elasticloadbalancing:us-east-1:123456789012"
BLUE, GREEN = f"{ARN}:targetgroup/blue/1", f"{ARN}:targetgroup/green/2"
BALANCER, NETWORK = f"{ARN}:loadbalancer/app/shop/3", f"{ARN}:loadbalancer/net/shop/4"
LISTENER = f"{ARN}:listener/app/shop/3/5"
RULE = f"{ARN}:listener-rule/app/shop/3/5/6"
OWN = 300

Json = dict[str, t.Any]


class Killed(BaseException):
    """The process is no more: nobody puts anything back."""


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep)


class Cloud(Calls):
    """As much of AWS as a drain asks for. Targets drain for the delay of their group, idle or not."""

    def __init__(self, time: Time, targets: t.Sequence[str] = ("i-1",)) -> None:
        self.time, self.delay, self.tags = time, OWN, dict[str, str]()
        self.targets: dict[str, float | None] = dict.fromkeys(targets)
        """When each is out; None: it is registered."""
        self.calls: list[str] = []
        self.writes = 0
        self.faults: dict[int, BaseException] = {}
        """By the number of the write, what befalls it before it is made; a lost answer comes after it."""
        self.dead = False
        self.listeners: list[Json] = []
        self.rules: list[Json] = []
        self.on_look: t.Callable[[], None] = lambda: None

    def call(self, service: str, action: str, **asked: t.Any) -> Json:
        self.calls.append(action)
        if action.startswith("describe_"):
            return dict(getattr(self, action)(**asked))
        if self.dead:
            raise Killed
        self.writes += 1
        fault = self.faults.get(self.writes)
        if fault is not None and not isinstance(fault, LostAnswerError):
            self.dead = isinstance(fault, Killed)
            raise fault
        getattr(self, action)(**asked)
        if fault is not None:
            raise fault
        return {}

    def pages(self, service: str, action: str, key: str, **asked: t.Any) -> list[t.Any]:
        return list(self.call(service, action, **asked)[key])

    def look(self, *what: str, ask: t.Callable[[], t.Any]) -> Look[t.Any]:
        return Look(Shared(ask, self.time.clock), self.time.clock)

    def describe_target_groups(self, TargetGroupArns: list[str]) -> Json:  # noqa: N803
        return {"TargetGroups": [{"TargetGroupArn": arn, "LoadBalancerArns": [BALANCER]} for arn in TargetGroupArns]}

    def describe_listeners(self, LoadBalancerArn: str) -> Json:  # noqa: N803
        return {"Listeners": self.listeners}

    def describe_rules(self, ListenerArn: str) -> Json:  # noqa: N803
        return {"Rules": self.rules}

    def describe_tags(self, ResourceArns: list[str]) -> Json:  # noqa: N803
        tags = [{"Key": key, "Value": value} for key, value in self.tags.items()]
        return {"TagDescriptions": [{"ResourceArn": arn, "Tags": tags} for arn in ResourceArns]}

    def describe_target_group_attributes(self, TargetGroupArn: str) -> Json:  # noqa: N803
        return {"Attributes": [{"Key": "stickiness.enabled", "Value": "false"}, {"Key": DELAY, "Value": self.delay}]}

    def describe_target_health(self, TargetGroupArn: str) -> Json:  # noqa: N803
        self.on_look()
        there = {name: ends for name, ends in self.targets.items() if ends is None or ends > self.time.now}
        return {
            "TargetHealthDescriptions": [
                described(name, 80, "healthy" if ends is None else "draining") for name, ends in there.items()
            ]
        }

    def add_tags(self, ResourceArns: list[str], Tags: list[Json]) -> None:  # noqa: N803
        self.tags.update({tag["Key"]: tag["Value"] for tag in Tags})

    def remove_tags(self, ResourceArns: list[str], TagKeys: list[str]) -> None:  # noqa: N803
        for key in TagKeys:
            self.tags.pop(key, None)

    def modify_target_group_attributes(self, TargetGroupArn: str, Attributes: list[Json]) -> None:  # noqa: N803
        self.delay = int(Attributes[0]["Value"])

    def deregister_targets(self, TargetGroupArn: str, Targets: list[Json]) -> None:  # noqa: N803
        for target in Targets:
            if self.targets[target["Id"]] is None:
                self.targets[target["Id"]] = self.time.now + self.delay


def described(name: str, port: int | None, state: str = "healthy") -> Json:
    target = {"Id": name, **({"Port": port} if port else {})}
    return {"Target": target, "TargetHealth": {"State": state}}


def drain(cloud: Cloud, **more: t.Any) -> Json:
    order = Order(**{"groups": (BLUE,), "timeout": 1000.0, "interval": 5.0, **more})
    return drain_targets(t.cast(t.Any, cloud), order, dry_run=False, clock=cloud.time.clock)


@pytest.fixture
def cloud() -> Cloud:
    return Cloud(Time())


def test_options_and_documentation_agree() -> None:
    assert as_spec(documented_options("target_drain")) == bare(target_drain.ARGUMENT_SPEC)


# --- Values -----------------------------------------------------------------------------------------------

NAMES = [
    ("i-1", 80, "i-1:80", {"i-1", "i-1:80"}),
    ("10.0.0.1", 8080, "10.0.0.1:8080", {"10.0.0.1", "10.0.0.1:8080"}),
    ("fd00::1", 80, "fd00::1:80", {"fd00::1", "[fd00::1]:80"}),
    ("arn:aws:lambda:us-east-1:1:function:f", None, "arn:aws:lambda:us-east-1:1:function:f", set[str]()),
]


@pytest.mark.parametrize(("identity", "port", "name", "others"), NAMES)
def test_a_target_has_names(identity: str, port: int | None, name: str, others: set[str]) -> None:
    target = described(identity, port)
    assert name_of(target) == name
    assert {name, *others} <= names_of(target)
    assert "i-10" not in names_of(target)


DELAYS = {
    "untouched": (300, None, 300, {None: None, 60: 60, 300: None, 400: None, 0: 0}),
    "lowered by a killed one": (60, "300 lowered to 60", 300, {None: None, 60: 60, 30: 30, 300: None}),
    "tagged, and killed before it was lowered": (300, "300 lowered to 60", 300, {60: 60}),
    "changed by somebody since": (120, "300 lowered to 60", 120, {60: 60, 200: None}),
    "a tag of somebody else": (60, "please keep", 60, {30: 30}),
    "a group without one": (None, None, None, {None: None, 30: None}),
}


@pytest.mark.parametrize("what", DELAYS)
def test_the_delay_that_a_group_is_to_have(what: str) -> None:
    found, tag, own, during = DELAYS[what]
    delay = Delay.of(found, tag)
    assert delay.own == own
    assert {wanted: delay.during(wanted) for wanted in during} == during


COUNTS = [
    (200, {"in_flight": 0}, 0),
    (200, {"in_flight": 7}, 7),
    (200, {"in_flight": 0.5}, 0.5),
    (200, {"in_flight": -1}, None),
    (200, {"in_flight": True}, None),
    (200, {"in_flight": "0"}, None),
    (200, {"in_flight": None}, None),
    (200, {}, None),
    (200, [], None),
    (503, {"in_flight": 0}, None),
]


@pytest.mark.parametrize(("status", "content", "number"), COUNTS)
def test_only_a_number_is_a_count(status: int, content: t.Any, number: float | None) -> None:
    found = count("http://a/", Answer(status, json.dumps(content).encode()), parse_condition("in_flight"))
    assert (found.number, bool(found.problem)) == (number, number is None)


def test_no_answer_is_no_count() -> None:
    query = parse_condition("in_flight")
    for answer in (Answer(problem="connection refused"), Answer(200, b"no JSON"), Answer(200, b"{", truncated=True)):
        found = count("http://a/", answer, query)
        assert (found.number, bool(found.problem)) == (None, True)


GIVEN: Json = {
    "target_groups": ["blue"],
    "targets": None,
    "deregistration_delay": None,
    "in_flight": None,
    "unused": None,
    "classic_load_balancer": None,
    "instances": None,
    "connection_draining": None,
    "timeout": 9.0,
    "interval": 1.0,
}
ASKED: Json = {
    "urls": ["http://a/"],
    "query": "in_flight",
    "quiet": 5.0,
    "timeout": 2.0,
    "validate_certs": True,
    "ca_path": None,
}
WRONG = [
    ({"target_groups": None}, "target_groups and classic_load_balancer are empty; "),
    ({"target_groups": []}, "target_groups is empty; "),
    ({"target_groups": ["a", "a"]}, "target_groups is a, a; "),
    ({"targets": [""]}, "targets is empty; "),
    ({"classic_load_balancer": "old", "instances": []}, "instances is empty; "),
    ({"unused": []}, "unused is empty; "),
    ({"deregistration_delay": -1}, "deregistration_delay is -1; expected seconds from 0 to 3600"),
    ({"deregistration_delay": 3601}, "deregistration_delay is 3601; "),
    ({"connection_draining": 0}, "connection_draining is 0; expected seconds from 1 to 3600"),
    ({"connection_draining": 3601}, "connection_draining is 3601; "),
    ({"timeout": -1.0}, "timeout is -1 and interval 1; "),
    ({"timeout": float("nan")}, "timeout is nan and interval 1; "),
    ({"timeout": float("inf")}, "timeout is inf and interval 1; "),
    ({"interval": 0.0}, "timeout is 9 and interval 0; "),
    ({"interval": float("nan")}, "timeout is 9 and interval nan; "),
    ({"in_flight": {**ASKED, "urls": []}}, "in_flight.urls is empty; "),
    ({"in_flight": {**ASKED, "urls": ["http://a/", "http://a:80/"]}}, "in_flight.urls is http://a/, http://a:80/; "),
    ({"in_flight": {**ASKED, "urls": ["tcp://a:80"]}}, "in_flight.urls is tcp://a:80; "),
    ({"in_flight": {**ASKED, "urls": ["a"]}}, "in_flight: endpoint 1 (a) has no scheme"),
    ({"in_flight": {**ASKED, "query": "]"}}, "in_flight: expect is not a JMESPath"),
    (
        {"in_flight": {**ASKED, "quiet": 9.0}},
        "in_flight.quiet is 9; expected 0 or more, and less than the timeout",
    ),
    ({"in_flight": {**ASKED, "quiet": float("nan")}}, "in_flight.quiet is nan; "),
    ({"in_flight": {**ASKED, "timeout": 0.0}}, "in_flight.timeout is 0; "),
]


@pytest.mark.parametrize(("more", "message"), WRONG)
def test_options_that_cannot_be_right_are_invalid(more: Json, message: str) -> None:
    assert parse({**GIVEN, "in_flight": ASKED}).in_flight
    with pytest.raises(BlueGreenError) as caught:
        parse({**GIVEN, **more})
    assert caught.value.code == "invalid"
    assert str(caught.value).startswith(message)


# --- Who still uses it ------------------------------------------------------------------------------------


def forward(weights: t.Mapping[str, int], sticky: int | None = None) -> list[Json]:
    config: Json = {"TargetGroups": [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights.items()]}
    if sticky:
        config["TargetGroupStickinessConfig"] = {"Enabled": True, "DurationSeconds": sticky}
    return [{"Type": "forward", "ForwardConfig": config}]


ALONE = [{"Type": "forward", "TargetGroupArn": BLUE}]
LOGIN = [{"Type": "authenticate-oidc", "AuthenticateOidcConfig": {}}]
IDLE = forward({BLUE: 0, GREEN: 1})
USERS = {
    "nobody": (IDLE, IDLE, (), None, 0),
    "a redirect": ([{"Type": "redirect"}], [{"Type": "fixed-response"}], (), None, 0),
    "the default action": (forward({BLUE: 1, GREEN: 99}), IDLE, (), "listener HTTP 80 of load balancer shop", 0),
    "without weights": (ALONE, IDLE, (), "listener HTTP 80", 0),
    "behind a login": ([*LOGIN, *ALONE], IDLE, (), "listener HTTP 80", 0),
    "a rule": (IDLE, forward({BLUE: 1}), (), "rule 7 of listener HTTP 80", 0),
    "a rule that nobody uses": (IDLE, forward({BLUE: 1}), (RULE,), None, 0),
    "a listener that nobody uses": (ALONE, forward({BLUE: 1}), (LISTENER,), None, 0),
    "a rule of a listener in use": (ALONE, forward({BLUE: 1}), (RULE,), "listener HTTP 80", 0),
    "who sticks to it": (forward({BLUE: 0, GREEN: 1}, sticky=600), IDLE, (), None, 1),
}


@pytest.mark.parametrize("what", USERS)
def test_what_has_traffic_is_refused(cloud: Cloud, what: str) -> None:
    actions, by_rule, unused, said, warnings = USERS[what]
    cloud.listeners = [{"ListenerArn": LISTENER, "Protocol": "HTTP", "Port": 80, "DefaultActions": actions}]
    default = {"RuleArn": f"{RULE}7", "Priority": "default", "IsDefault": True, "Actions": actions}
    cloud.rules = [{"RuleArn": RULE, "Priority": "7", "Actions": by_rule}, default]
    if said is None:
        assert len(check_unused(t.cast(t.Any, cloud), {BLUE: [BALANCER]}, unused)) == warnings
        return
    with pytest.raises(BlueGreenError) as caught:
        check_unused(t.cast(t.Any, cloud), {BLUE: [BALANCER]}, unused)
    assert (caught.value.code, said in str(caught.value)) == ("conflict", True), str(caught.value)


def test_each_load_balancer_is_asked_once_and_a_network_one_for_no_rules(cloud: Cloud) -> None:
    cloud.listeners = [{"ListenerArn": LISTENER, "DefaultActions": IDLE}]
    assert check_unused(t.cast(t.Any, cloud), {BLUE: [NETWORK], GREEN + "0": [NETWORK]}, ()) == []
    assert cloud.calls == ["describe_listeners"]
    assert not unused_by(RULE, [RULE + "1"])


# --- The drain --------------------------------------------------------------------------------------------


def test_all_targets_leave_in_batches_and_are_looked_at_together() -> None:
    cloud = Cloud(Time(), [f"i-{number}" for number in range(250)])
    told = drain(cloud, interval=100.0)
    assert cloud.calls.count("deregister_targets") == 3
    assert cloud.calls.count("describe_target_health") <= 7
    (group,) = told["target_groups"]
    assert {each["state"] for each in group["targets"]} == {"unused"}
    assert all(OWN <= each["seconds"] <= OWN + 100 for each in group["targets"])
    assert told["changed"]


def test_who_is_draining_already_is_waited_for_and_nothing_is_changed(cloud: Cloud) -> None:
    cloud.targets = {"i-1": 50.0}
    told = drain(cloud, delay=5)
    assert (told["changed"], cloud.writes, cloud.time.now >= 50) == (False, 0, True)


def test_a_lowered_delay_makes_it_short_and_is_put_back(cloud: Cloud) -> None:
    drain(cloud, delay=20)
    assert (cloud.delay, cloud.tags, cloud.time.now < 30) == (OWN, {}, True)


@pytest.mark.parametrize("wanted", [5, 20, 60, None])
@pytest.mark.parametrize("kth", range(1, 6))
def test_killed_before_any_write_the_next_puts_back(cloud: Cloud, kth: int, wanted: int | None) -> None:
    cloud.targets["i-2"] = None
    cloud.faults = {kth: Killed()}
    with pytest.raises(Killed):
        drain(cloud, delay=20, targets=("i-1",))
    cloud.dead = False
    drain(cloud, delay=wanted)
    assert (cloud.delay, cloud.tags) == (OWN, {})
    assert all(ends is not None for ends in cloud.targets.values())


@pytest.mark.parametrize("second", range(1, 8))
@pytest.mark.parametrize("first", range(1, 6))
def test_killed_twice_it_is_put_back_all_the_same(cloud: Cloud, first: int, second: int) -> None:
    """The second one lowers it to something else."""
    cloud.targets.update({"i-2": None, "i-3": None})
    for kth, name, delay in ((first, "i-1", 20), (second, "i-2", 10)):
        cloud.writes, cloud.dead, cloud.faults = 0, False, {kth: Killed()}
        with contextlib.suppress(Killed):
            drain(cloud, delay=delay, targets=(name,))
    cloud.dead, cloud.faults = False, {}
    drain(cloud)
    assert (cloud.delay, cloud.tags) == (OWN, {})


@pytest.mark.parametrize("kth", range(1, 6))
def test_a_write_that_is_refused_is_told_and_all_is_put_back_or_named(cloud: Cloud, kth: int) -> None:
    cloud.faults = {kth: DeniedError("not authorised")}
    with pytest.raises(BlueGreenError) as caught:
        drain(cloud, delay=20)
    assert caught.value.code == ("denied" if kth < 4 else "undo_failed")
    assert "target group blue" in str(caught.value)
    assert caught.value.details["target_groups"][0]["name"] == "blue"
    assert cloud.delay == (20 if kth == 4 else OWN)
    cloud.faults = {}
    drain(cloud)
    assert (cloud.delay, cloud.tags) == (OWN, {})


@pytest.mark.parametrize("kth", range(2, 5))
def test_a_lost_answer_is_looked_up(cloud: Cloud, kth: int) -> None:
    cloud.faults = {kth: LostAnswerError("no answer")}
    assert drain(cloud, delay=20)["changed"]
    assert (cloud.delay, cloud.tags) == (OWN, {})


def test_both_errors_are_told(cloud: Cloud) -> None:
    cloud.faults = {4: DeniedError("not authorised")}
    with pytest.raises(BlueGreenError) as caught:
        drain(cloud, delay=20, timeout=5.0)
    assert caught.value.code == "undo_failed"
    assert "still has i-1:80 (draining)" in str(caught.value)
    assert "may still have deregistration delay 20 s (not authorised)" in str(caught.value)


def test_a_delay_that_somebody_changes_meanwhile_stays(cloud: Cloud) -> None:
    def change() -> None:
        if cloud.delay == 20:
            cloud.delay = 77

    cloud.on_look = lambda: change() if cloud.writes else None
    drain(cloud, delay=20)
    assert (cloud.delay, cloud.tags) == (77, {})


def test_a_target_that_comes_back_is_a_conflict(cloud: Cloud) -> None:
    def come_back() -> None:
        if cloud.time.now > 10:
            cloud.targets["i-1"] = None

    cloud.on_look = come_back
    with pytest.raises(BlueGreenError) as caught:
        drain(cloud)
    assert (caught.value.code, "i-1:80 is healthy after it had left" in str(caught.value)) == ("conflict", True)


def test_a_timeout_names_the_first_and_lists_all() -> None:
    cloud = Cloud(Time(), [f"i-{number}" for number in range(7)])
    with pytest.raises(BlueGreenError) as caught:
        drain(cloud, timeout=10.0)
    assert caught.value.code == "timeout"
    assert "i-4:80 (draining) and 2 more" in str(caught.value)
    assert len(caught.value.details["left"]) == 7


# --- What the app counts ----------------------------------------------------------------------------------


class Told:
    """Instead of the app: what its answers say, one after the other, the last for ever."""

    answers: t.ClassVar[list[t.Any]] = []

    def __init__(self, *_: object) -> None:
        pass

    def __call__(self, target: t.Any, limit: float) -> Answer:
        told = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return Answer(problem="connection refused") if told is None else Answer(200, json.dumps({"n": told}).encode())

    def close(self) -> None:
        pass


STORIES = {
    "idle": ([0], 10, False),
    "busy for a while": ([3, 1, 0], 20, False),
    "idle, and busy again": ([0, 0, 1, 0], 25, False),
    "blind in between": ([0, 0, None, 0], 25, False),
    "blind": ([None], OWN, True),
    "busy for long": ([2] * 100 + [0], 500, True),
}


@pytest.mark.parametrize("what", STORIES)
def test_the_app_ends_it_when_it_was_idle_for_long_enough(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    answers, least, out = STORIES[what]
    monkeypatch.setattr(drain_watch, "JITTER", 0.0)
    monkeypatch.setattr(drain_watch, "Http", type("Some", (Told,), {"answers": list(answers)}))
    given = {**GIVEN, "timeout": 1000.0, "in_flight": {**ASKED, "query": "n", "quiet": 10.0}}
    told = drain(cloud, in_flight=parse(given).in_flight)
    assert least <= cloud.time.now <= least + 10
    assert (told["left"] == []) is out


def test_who_is_registered_is_not_drained_however_idle_the_app() -> None:
    assert not Seen(({"a": "healthy"},), quiet=99.0).drained(5.0)
    assert Seen(({"a": "draining"},), quiet=5.0).drained(5.0)
    assert not Seen(({"a": "draining"},), quiet=4.9).drained(5.0)
    assert not Seen(({"a": "draining"},)).drained(None)
    assert Seen(({"a": "unused"}, {})).drained(None)


# --- Classic load balancers -------------------------------------------------------------------------------

CURRENT = "Instance deregistration currently in progress."
STATES = [
    ("InService", "N/A", True, "InService"),
    ("OutOfService", "Instance has failed at least the UnhealthyThreshold", True, "OutOfService"),
    ("InService", CURRENT, False, "draining"),
    ("InService", CURRENT, True, "draining"),
    ("InService", "N/A", False, "draining"),
    ("Unknown", "A transient error occurred. Please try again later.", False, "draining"),
    ("OutOfService", "Instance is not currently registered with the LoadBalancer.", False, "unused"),
]


@pytest.mark.parametrize(("state", "description", "registered", "expected"), STATES)
def test_the_state_of_an_instance(state: str, description: str, registered: bool, expected: str) -> None:
    assert drain_places._classic_state({"State": state, "Description": description}, registered) == expected


class Old(Calls):
    """A classic load balancer; its instances are out at once, and the first of them is terminated then."""

    def __init__(self) -> None:
        self.registered = ["i-1", "i-2", "i-3"]
        self.terminated: set[str] = set()
        self.asked: list[t.Any] = []

    def call(self, service: str, action: str, **asked: t.Any) -> Json:
        ids = [each["InstanceId"] for each in asked.get("Instances", ())]
        if action == "describe_load_balancer_attributes":
            return {"LoadBalancerAttributes": {"ConnectionDraining": {"Enabled": True, "Timeout": 60}}}
        if action == "describe_load_balancers":
            there = [{"InstanceId": each} for each in self.registered]
            return {"LoadBalancerDescriptions": [{"Instances": there}]}
        if action == "deregister_instances_from_load_balancer":
            self.registered = [each for each in self.registered if each not in ids]
            self.terminated = {ids[0]}
            return {}
        self.asked.append(ids)
        if self.terminated & {*ids}:
            raise CodedError("InvalidInstance", "Could not find EC2 instance")
        told = {name: "InService" if name in self.registered else "OutOfService" for name in ids or self.registered}
        return {"InstanceStates": [{"InstanceId": name, "State": state} for name, state in told.items()]}


def test_an_instance_that_is_terminated_meanwhile_is_out() -> None:
    old = Old()
    order = Order(balancer="old", instances=("i-1", "i-2"), timeout=10.0)
    told = drain_targets(t.cast(t.Any, old), order, dry_run=False, clock=Time().clock)
    assert [each["state"] for each in told["classic_load_balancer"]["targets"]] == ["unused", "unused"]
    assert old.asked == [["i-1", "i-2"], [], ["i-1", "i-2"], ["i-1"], ["i-2"]]
    with pytest.raises(BlueGreenError) as caught:
        drain_targets(t.cast(t.Any, old), order, dry_run=False, clock=Time().clock)
    assert caught.value.code == "missing"
