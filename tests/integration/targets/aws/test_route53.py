# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Weighted record sets keep what the engine takes for granted, and all that is not ours in the zone."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from plugins.module_utils import _wait
from plugins.module_utils._aws import client, hosted_zone, shared
from plugins.module_utils._aws.resolved import Resolvers
from plugins.module_utils._aws.ttl import change_ttl
from plugins.module_utils._errors import BlueGreenError, ConflictError, NotReadyError, NotVerifiedError
from plugins.module_utils._traffic.route import Route
from plugins.module_utils._traffic.route53 import PROVIDER
from plugins.module_utils._traffic.route53_router import Route53
from plugins.module_utils._traffic.split import Split
from plugins.module_utils._traffic.switch import Order, switch
from plugins.modules.dns_ttl import ARGUMENT_SPEC
from tests.aws.handle import SECRET, Aws
from tests.integration.balancer import BLUE, COLOURS, GREEN, green
from tests.integration.contract import SHARED_SPLITS, Case, Contract
from tests.unit.plugins.modules.process import as_spec, bare, documented_options, run_module

ROUNDS = 100
VALUES = {"blue": "192.0.2.1", "green": "192.0.2.2"}
DEFAULTS = {name: option.get("default") for name, option in PROVIDER.spec["options"].items()}
CHANGE = "ChangeResourceRecordSets"


@pytest.fixture(autouse=True)
def _quick(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered of another test's account, and changes are in sync for the second who asks."""
    monkeypatch.setattr(client, "_CLIENTS", {})
    monkeypatch.setattr(hosted_zone, "POLL", 0.01)
    aws.set(sync_scale=0.0)


def record(colour: str, weight: int, name: str = "www", **more: Any) -> dict[str, Any]:
    which = {"Name": f"{name}.example.com", "Type": "A", "SetIdentifier": colour, "Weight": weight}
    return {**which, "TTL": 60, "ResourceRecords": [{"Value": VALUES.get(colour, "192.0.2.9")}], **more}


def alias(colour: str, weight: int, name: str = "www") -> dict[str, Any]:
    target = {"HostedZoneId": "Z35SXDOTRQ7X7K", "DNSName": f"{colour}-1.us-east-1.elb.amazonaws.com"}
    which = {"Name": f"{name}.example.com", "Type": "A", "SetIdentifier": colour, "Weight": weight}
    return {**which, "AliasTarget": {**target, "EvaluateTargetHealth": True}}


KINDS: dict[str, tuple[Callable[..., dict[str, Any]], Callable[..., dict[str, Any]]]] = {
    "plain": (record, record),
    "alias": (alias, alias),
    "mixed": (alias, record),
}


@dataclass
class Zone:
    """example.com with www, all of which goes to blue."""

    aws: Aws
    kind: str = "plain"
    id: str = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.aws.client("route53")
        told = self.client.create_hosted_zone(Name="example.com", CallerReference="test")
        self.id = told["HostedZone"]["Id"].rpartition("/")[2]
        of_blue, of_green = KINDS[self.kind]
        self.change(("CREATE", of_blue("blue", 100)), ("CREATE", of_green("green", 0)))
        self.aws.clear_calls()

    def change(self, *changes: tuple[str, dict[str, Any]]) -> None:
        batch = {"Changes": [{"Action": action, "ResourceRecordSet": each} for action, each in changes]}
        self.client.change_resource_record_sets(HostedZoneId=self.id, ChangeBatch=batch)

    def weigh_nothing(self) -> None:
        self.change(*(("UPSERT", {**each, "Weight": 0}) for each in self.of().values()))

    def records(self) -> list[dict[str, Any]]:
        """All that is in the zone."""
        pages = self.client.get_paginator("list_resource_record_sets").paginate(HostedZoneId=self.id)
        return [each for page in pages for each in page["ResourceRecordSets"]]

    def of(self, name: str = "www") -> dict[str, dict[str, Any]]:
        """Those of type A, by set identifier."""
        found = [each for each in self.records() if (each["Name"], each["Type"]) == (f"{name}.example.com.", "A")]
        return {each.get("SetIdentifier", ""): each for each in found}

    def weights(self, name: str = "www") -> dict[str, int]:
        return {identifier: each["Weight"] for identifier, each in self.of(name).items()}

    def options(self, **more: Any) -> dict[str, Any]:
        keys = {"access_key": "AKIDTEST", "secret_key": SECRET, "endpoint_url": self.aws.url, "region": "us-east-1"}
        return {**keys, "zone_id": self.id, "record": "www.example.com.", **more}

    def router(self, **more: Any) -> Route53:
        return Route53(COLOURS, {**DEFAULTS, **self.options(**more)})

    def route(self, **more: Any) -> Route:
        return Route("www", self.router(**more))

    def sets(self, **more: Any) -> hosted_zone.RecordSets:
        options = {**DEFAULTS, **self.options(**more)}
        return hosted_zone.RecordSets(client.connect(options), options, COLOURS)

    def traffic(self, more: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        given = {name: value for name, value in self.options(**(more or {})).items() if value is not None}
        told = run_module("traffic", routes=[{"name": "www", "provider": "route53", "route53": given}], **options)
        assert SECRET not in json.dumps(told)
        return told

    def dns_ttl(self, ttl: int, more: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        return run_module("dns_ttl", ttl=ttl, route53=self.options(**(more or {})), **options)

    def called(self, action: str) -> int:
        return len(self.aws.calls("route53", action))


@pytest.fixture
def zone(aws: Aws) -> Zone:
    return Zone(aws)


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest, aws: Aws) -> Case:
    made = Zone(aws, request.param)
    left = {"all weights are 0": made.weigh_nothing}
    return Case(made.router(), made.records, (*SHARED_SPLITS, green(0.5)), (green(0.1), green(33.33)), left)


class TestRoute53(Contract):
    """Of plain record sets, aliases, and one of each."""


# --- What is changed, and what is not ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_weights_change(aws: Aws, kind: str) -> None:
    zone = Zone(aws, kind)
    zone.change(
        *(("CREATE", record(colour, 7, "api")) for colour in COLOURS),
        ("CREATE", {**record("blue", 1), "Type": "TXT", "ResourceRecords": [{"Value": '"v=1"'}]}),
        ("CREATE", record("last", 0)),
    )
    before = zone.records()
    for share in (0.5, 10, 100):
        planned = zone.traffic(split={"green": share}, _ansible_check_mode=True, _ansible_diff=True)
        aws.clear_calls()
        done = zone.traffic(split={"green": share}, _ansible_diff=True)
        assert planned["diff"] == done["diff"]
        assert (planned["changed"], done["changed"], zone.called(CHANGE)) == (True, True, 1)
        shown = {"blue": 199, "green": 1} if share == 0.5 else {"blue": 100 - share, "green": share}
        assert done["diff"]["after"]["www"] == {"www.example.com. A": shown}
        (change,) = aws.calls("route53", CHANGE)
        actions = [each["Action"] for each in change.parameters["ChangeBatch"]["Changes"]]
        assert actions == ["DELETE", "DELETE", "CREATE", "CREATE"]
        assert {each: zone.weights()[each] for each in shown} == shown

    def without_weight(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        ours = ("www.example.com.", "A")
        return [{**each, "Weight": 0} if (each["Name"], each["Type"]) == ours else each for each in records]

    assert without_weight(zone.records()) == without_weight(before)
    assert zone.traffic(to="green")["changed"] is False


def test_a_switch_is_one_read_one_write_and_a_look(zone: Zone) -> None:
    (outcome,) = switch([zone.route()], Order(GREEN))
    assert (outcome.changed, outcome.verified, zone.weights()) == (True, True, {"blue": 0, "green": 100})
    assert (zone.called(CHANGE), zone.called("GetChange")) == (1, 2)
    assert zone.called("ListResourceRecordSets") <= 3 + 1  # read, verified, and the one of this test


def test_not_waiting_is_not_knowing(zone: Zone) -> None:
    (outcome,) = switch([zone.route(wait=False)], Order(GREEN))
    assert (outcome.verified, zone.called("GetChange")) == (None, 0)


def test_the_last_moment_of_the_old_colour(zone: Zone) -> None:
    router = zone.router()
    assert router.lingers(BLUE, BLUE) == 0.0
    router.apply(GREEN, router.read())
    assert router.lingers(BLUE, GREEN) == hosted_zone.PROPAGATION + 60
    assert router.verify(GREEN) is True
    assert 0 < (router.lingers(BLUE, GREEN) or 0) <= 60
    website = {"HostedZoneId": "Z3AQBSTGFYJSTF", "DNSName": "x.s3-website.amazonaws.com", "EvaluateTargetHealth": False}
    told = {name: value for name, value in alias("blue", 0).items() if name != "AliasTarget"}
    zone.change(("UPSERT", {**told, "AliasTarget": website}))
    router.read()
    assert router.lingers(BLUE, GREEN) is None
    assert router.lingers(GREEN, BLUE) is not None


def test_weights_of_somebody_else_are_read_and_put_back(zone: Zone) -> None:
    for weights in ((3, 7), (1, 254), (255, 1), (0, 1)):
        zone.change(*(("UPSERT", record(colour, weight)) for colour, weight in zip(COLOURS, weights, strict=True)))
        router = zone.router()
        before = router.read()
        assert before == Split.of_weights(COLOURS, *weights)
        router.apply(green(50), before)
        router.apply(before, green(50))
        assert router.read() == before


def test_two_names_of_one_zone_move_together_or_not(zone: Zone) -> None:
    zone.change(*(("CREATE", record(colour, 100 * (colour == "blue"), "api")) for colour in COLOURS))
    routes = [zone.route(), Route("api", zone.router(record="api.example.com."))]
    switch(routes, Order(green(20)))
    assert zone.weights() == zone.weights("api") == {"blue": 80, "green": 20}
    zone.aws.fail("route53", CHANGE, {"code": "InvalidChangeBatch", "message": "[it is protected]"}, nth=2)
    with pytest.raises(BlueGreenError, match="it is protected") as caught:
        switch(routes, Order(GREEN))
    assert (caught.value.code, zone.weights(), zone.weights("api")) == (
        "invalid",
        {"blue": 80, "green": 20},
        {"blue": 80, "green": 20},
    )


def test_a_wildcard_and_a_zone_by_name(zone: Zone) -> None:
    for name in ("\\052", "deep.er"):
        zone.change(*(("CREATE", record(colour, 100 * (colour == "blue"), name)) for colour in COLOURS))
    for named in ("deep.er", "deep.er.example.com", "Deep.Er.Example.com."):
        assert zone.router(zone_id=None, zone="example.com", record=named).read() == BLUE
    assert zone.router(record="deep.er").read() == BLUE
    assert zone.router(zone_id=f"/hostedzone/{zone.id}").read() == BLUE
    router = zone.router(record="*.example.com.")
    assert router.read() == BLUE


def test_other_names_for_the_colours_sets(zone: Zone) -> None:
    zone.change(("CREATE", record("one", 5, "api")), ("CREATE", record("two", 5, "api")))
    router = zone.router(record="api.example.com.", set_identifiers={"green": "one", "blue": "two"})
    router.apply(GREEN, router.read())
    assert zone.weights("api") == {"one": 100, "two": 0}


# --- Pages ------------------------------------------------------------------------------------------------


def test_of_300_record_sets_one_page_is_read(zone: Zone) -> None:
    for start in range(0, 300, 100):
        names = [f"{'az'[number % 2]}{number:03}" for number in range(start, start + 100)]
        zone.change(*(("CREATE", record("only", 1, name)) for name in names))
    others = [each for each in zone.records() if each["Name"] != "www.example.com."]
    zone.aws.clear_calls()
    assert zone.router().read() == BLUE
    (asked,) = zone.aws.calls("route53", "ListResourceRecordSets")
    assert asked.parameters["StartRecordName"] == "www.example.com."
    switch([zone.route()], Order(GREEN))
    assert zone.weights() == {"blue": 0, "green": 100}
    assert [each for each in zone.records() if each["Name"] != "www.example.com."] == others


@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_page_that_ends_between_the_colours(zone: Zone, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    zone.change(*(("CREATE", record(f"c{number}", 0)) for number in range(5)), ("CREATE", record("x", 1, "zzz")))
    monkeypatch.setattr(hosted_zone, "PAGE", str(page))
    zone.aws.clear_calls()
    router = zone.router()
    assert router.read() == BLUE
    assert zone.called("ListResourceRecordSets") == -(-7 // page)
    router.apply(GREEN, BLUE)
    assert zone.weights() == {"blue": 0, "green": 100, **{f"c{number}": 0 for number in range(5)}}


# --- Others -----------------------------------------------------------------------------------------------


def meddled(number: int) -> list[dict[str, Any]]:
    """Of a kind of its own each time: a weight, a value, the TTLs."""
    ways = (
        [record("blue", 101 + number)],
        [record("green", 0, ResourceRecords=[{"Value": f"198.51.100.{number}"}])],
        [record("blue", 100, TTL=100 + number), record("green", 0, TTL=100 + number)],
    )
    return ways[number % 3]


def test_nobody_elses_change_is_overwritten(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that comes after the last look."""
    monkeypatch.setattr(shared, "FRESH", 60.0)
    for number in range(ROUNDS):
        zone.change(("UPSERT", record("blue", 100)), ("UPSERT", record("green", 0)))
        router = zone.router()
        expected = router.read()
        zone.change(*(("UPSERT", each) for each in meddled(number)))
        there = zone.records()
        with pytest.raises(ConflictError, match="It has changed since it was read"):
            router.apply(GREEN, expected)
        assert zone.records() == there


def test_who_deletes_a_colour_meanwhile_is_told(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "FRESH", 60.0)
    router = zone.router()
    expected = router.read()
    zone.change(("DELETE", record("green", 0)))
    with pytest.raises(ConflictError, match=r"is blue with weight 100 and TTL 60 now; expected blue .*, green with"):
        router.apply(GREEN, expected)
    assert zone.weights() == {"blue": 100}


# --- Faults -----------------------------------------------------------------------------------------------

ONCE = ("Throttling", "PriorRequestNotComplete", "500", "reset", "after")


@pytest.mark.parametrize("action", [CHANGE, "ListResourceRecordSets", "GetChange"])
@pytest.mark.parametrize("fault", ONCE)
def test_what_befalls_one_call_once_is_overcome(zone: Zone, action: str, fault: str) -> None:
    zone.aws.fail("route53", action, fault)
    (outcome,) = switch([zone.route()], Order(GREEN))
    assert zone.weights() == {"blue": 0, "green": 100}
    lost = (action, fault) == (CHANGE, "after")  # made, but by which change?
    assert outcome.verified is (None if lost else True)


@pytest.mark.parametrize("fault", [*ONCE, "html", "hang", "AccessDenied", "ExpiredToken"])
def test_one_that_stays_is_told_and_nothing_is_changed(zone: Zone, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(client, "ATTEMPTS", 1)
    zone.aws.fail("route53", CHANGE, fault, times=None)
    route = zone.route(timeout=1.0)
    if fault == "after":
        (outcome,) = switch([route], Order(GREEN))
        assert (outcome.verified, zone.weights()) == (None, {"blue": 0, "green": 100})
        return
    with pytest.raises(BlueGreenError) as caught:
        switch([route], Order(GREEN))
    zone.aws.clear_faults()
    code = "denied" if fault in ("AccessDenied", "ExpiredToken") else "unreachable"
    assert (caught.value.code, zone.weights()) == (code, {"blue": 100, "green": 0}), caught.value.message
    assert "route53 change_resource_record_sets" in caught.value.message
    (told,) = caught.value.details["routes"]
    assert (told["changed"], told["restored"], told["after"]) == (False, True, {"blue": 100, "green": 0})


@pytest.mark.parametrize("fault", ["Throttling", "html", "AccessDenied"])
def test_a_change_of_which_nobody_tells_whether_it_is_in_sync_is_put_back(
    zone: Zone, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(client, "ATTEMPTS", 1)
    zone.aws.fail("route53", "GetChange", fault)
    with pytest.raises(BlueGreenError, match="route53 get_change"):
        switch([zone.route()], Order(GREEN))
    assert zone.weights() == {"blue": 100, "green": 0}


def test_a_change_that_stays_pending(zone: Zone) -> None:
    zone.aws.set(sync_scale=1000.0)
    router = zone.router(wait_timeout=0.05)
    router.apply(GREEN, router.read())
    with pytest.raises(
        NotVerifiedError, match=r"after 0.05 s change C\w+ of www.example.com. A is PENDING; expected IN"
    ):
        router.verify(GREEN)


def test_lost_by_all_attempts_and_yet_made(zone: Zone) -> None:
    """The library sends it again, and then the record sets are no more what they were."""
    zone.aws.fail("route53", CHANGE, "after")
    router = zone.router()
    router.apply(green(30), router.read())
    assert zone.called(CHANGE) == 2
    assert (router.read(), router.verify(green(30))) == (green(30), None)
    assert router.lingers(BLUE, green(30)) == hosted_zone.PROPAGATION + 60
    router.apply(GREEN, green(30))
    assert router.verify(GREEN) is True


# --- Health checks ----------------------------------------------------------------------------------------


def checked(zone: Zone, kind: str = "HTTP", **more: Any) -> str:
    told = {"IPAddress": "192.0.2.1", "Port": 80} if kind == "HTTP" else {"ChildHealthChecks": [], "HealthThreshold": 1}
    asked = {"Type": kind, **told, **more}
    made = zone.client.create_health_check(CallerReference=json.dumps(asked), HealthCheckConfig=asked)
    return str(made["HealthCheck"]["Id"])


def test_health_checks_of_route_53_are_a_gate(zone: Zone) -> None:
    assert zone.router().observe() is None
    good, bad = checked(zone), checked(zone, Inverted=True)
    zone.change(("UPSERT", record("blue", 100, HealthCheckId=good)), ("UPSERT", record("green", 0, HealthCheckId=bad)))
    seen = zone.router().observe()
    assert seen is not None
    assert {colour: (one.members, one.ready) for colour, one in seen.items()} == {"blue": (1, 1), "green": (1, 0)}
    with pytest.raises(NotReadyError, match=rf"health check {bad} passes for 1 of 1 health checkers, and is inverted"):
        switch([zone.route()], Order(GREEN))
    assert zone.weights() == {"blue": 100, "green": 0}
    zone.change(("UPSERT", record("green", 0, HealthCheckId=good)))
    switch([zone.route()], Order(GREEN))
    assert zone.of()["green"]["HealthCheckId"] == good


def test_health_checks_that_cannot_be_told(zone: Zone) -> None:
    zone.change(("UPSERT", record("green", 0, HealthCheckId=checked(zone, "CALCULATED"))))
    assert zone.router().observe() is None
    zone.change(("UPSERT", record("green", 0, HealthCheckId=checked(zone, Disabled=True))))
    seen = zone.router().observe()
    assert seen is not None
    assert [one.ready for one in seen.values()] == [1, 1]


# --- By hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_by_hand(aws: Aws, kind: str) -> None:
    zone = Zone(aws, kind)
    router = zone.router()
    router.read()
    words = shlex.split(router.by_hand(GREEN))
    assert words[:1] + words[-6:-4] == ["aws", "route53", "change-resource-record-sets"]
    assert words[-4:-1] == ["--hosted-zone-id", zone.id, "--change-batch"]
    assert SECRET not in " ".join(words)
    zone.client.change_resource_record_sets(HostedZoneId=zone.id, ChangeBatch=json.loads(words[-1]))
    assert router.read() == GREEN


# --- Bad input --------------------------------------------------------------------------------------------

BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no weights": ({"record": "simple"}, "unsupported", "is a DNS name without weights; expected weighted record sets"),
    "latency": ({"record": "near"}, "unsupported", "is a DNS name without weights"),
    "a third": ({"record": "three"}, "drift", "gives a share to red, which is neither colour's"),
    "one colour": ({"record": "half"}, "missing", "half.example.com. A has the record sets blue, and none is green"),
    "no such record": ({"record": "nobody"}, "missing", "there is no record set nobody.example.com. A"),
    "another type": ({"type": "AAAA"}, "missing", "there is no record set www.example.com. AAAA"),
    "a type without weights": ({"type": "NS"}, "invalid", "value of type must be one of"),
    "another identifier": ({"set_identifiers": {"blue": "b", "green": "g"}}, "missing", "and none is b of blue"),
    "half the identifiers": ({"set_identifiers": {"blue": "b"}}, "invalid", "one of its own for blue and green"),
    "one for both": ({"set_identifiers": {"blue": "b", "green": "b"}}, "invalid", "set_identifiers is"),
    "no zone": ({"zone_id": None}, "invalid", "none of zone_id and zone is set; expected one of them"),
    "both": ({"zone": "example.com"}, "invalid", "both of zone_id and zone is set; expected one of them"),
    "private, by id": ({"private_zone": True}, "invalid", "private_zone is set with zone_id"),
    "no such zone": ({"zone_id": None, "zone": "example.org"}, "missing", "there is no hosted zone example.org."),
    "no such id": ({"zone_id": "Z00000000000"}, "missing", "(NoSuchHostedZone)"),
    "no such id, and a short name": ({"zone_id": "Z00000000000", "record": "www"}, "missing", "(NoSuchHostedZone)"),
    "two zones": ({"zone_id": None, "zone": "twice.example"}, "invalid", "there are 2 hosted zones twice.example.: "),
    "elsewhere": (
        {"zone_id": None, "zone": "example.com", "record": "www.example.org."},
        "invalid",
        "record www.example.org. is not in zone example.com.",
    ),
    "no record": ({"record": ""}, "invalid", "record is empty"),
    "no time": ({"wait_timeout": 0}, "invalid", "wait_timeout is 0; expected a number of seconds above 0"),
    "no credentials": ({"access_key": None, "secret_key": None}, "denied", "Unable to locate credentials"),
    "nobody there": ({"endpoint_url": "http://127.0.0.1:9"}, "unreachable", "Could not connect"),
}


@pytest.fixture
def crowded(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> Zone:
    """With all that is no route."""
    told = {name: value for name, value in record("eu", 1, "near").items() if name != "Weight"}
    bare_one = {name: told[name] for name in ("Type", "TTL", "ResourceRecords")}
    zone.change(
        ("CREATE", {**bare_one, "Name": "simple.example.com"}),
        ("CREATE", {**told, "Region": "eu-west-1"}),
        *(("CREATE", record(name, 5, "three")) for name in ("blue", "green", "red")),
        ("CREATE", record("blue", 1, "half")),
    )
    for private in ({}, {"VPC": {"VPCRegion": "us-east-1", "VPCId": "vpc-1"}}):
        config = {"Comment": "", "PrivateZone": bool(private)}
        asked = {"Name": "twice.example", "CallerReference": str(private), "HostedZoneConfig": config}
        zone.client.create_hosted_zone(**asked, **private)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return zone


def test_bad_input_is_one_clear_line_and_nothing_changes(crowded: Zone) -> None:
    there = crowded.records()
    for case, (options, code, said) in BAD.items():
        told = crowded.traffic(options, to="green")
        assert (told["failure"]["code"], said in told["msg"]) == (code, True), (case, told["msg"])
        assert "\n" not in told["msg"]
    assert crowded.records() == there
    assert crowded.called(CHANGE) == 1  # the fixture's own


def test_a_zone_of_two_is_told_apart(crowded: Zone) -> None:
    given = {"zone_id": None, "zone": "twice.example", "record": "@"}
    for private in (True, False):
        with pytest.raises(BlueGreenError, match=r"there is no record set twice.example. A"):
            crowded.router(**given, private_zone=private).read()


# --- The TTL beforehand -----------------------------------------------------------------------------------


class FakeClock:
    def __init__(self) -> None:
        self.time, self.slept = 0.0, list[float]()
        self.clock = _wait.Clock(now=lambda: self.time, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


def lowered(
    zone: Zone, ttl: int, fake: FakeClock, where: dict[str, Any] | None = None, *resolvers: str, **more: Any
) -> Any:
    options = {**DEFAULTS, **zone.options(**(where or {}))}
    sets = hosted_zone.RecordSets(client.connect(options), options, COLOURS, fake.clock)
    return change_ttl(
        sets, ttl, Resolvers(resolvers), **{"in_sync_timeout": 120.0, "wait": True, "clock": fake.clock, **more}
    )


def test_the_old_ttl_is_waited_out_once_the_change_is_in_sync(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosted_zone, "POLL", 2.0)
    zone.change(("CREATE", record("last", 0)))
    fake = FakeClock()
    done = lowered(zone, 10, fake)
    assert (done.changed, done.old, fake.slept) == (True, 60, [2.0, 60.0])
    assert {name: each["TTL"] for name, each in zone.of().items()} == {"blue": 10, "green": 10, "last": 10}
    assert zone.weights() == {"blue": 100, "green": 0, "last": 0}
    again = lowered(zone, 10, fake)
    assert (again.changed, again.old, again.settled_at, fake.slept) == (False, 10, None, [2.0, 60.0])
    back = lowered(zone, 60, fake, wait=False)
    assert (back.changed, back.old, fake.slept) == (True, 10, [2.0, 60.0, 2.0])
    assert back.settled_at is not None


def test_when_nobody_tells_that_it_is_in_sync_the_propagation_is_waited_for_too(zone: Zone) -> None:
    fake = FakeClock()
    lowered(zone, 10, fake, in_sync_timeout=None)
    assert fake.slept == [hosted_zone.PROPAGATION + 60]


def test_another_change_of_the_ttl_is_no_ones_to_overwrite(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    sets, there = zone.sets(), []
    put = sets.put

    def late(moves: Any) -> bool:
        zone.change(("UPSERT", record("blue", 50)))
        there.extend(zone.records())
        return put(moves)

    monkeypatch.setattr(sets, "put", late)
    with pytest.raises(ConflictError):
        change_ttl(sets, 10, Resolvers([]), in_sync_timeout=120.0, wait=False)
    assert zone.records() == there


def test_the_module(zone: Zone) -> None:
    planned = zone.dns_ttl(1, wait=False, _ansible_check_mode=True, _ansible_diff=True)
    assert (planned["changed"], planned["settled_at"], zone.called(CHANGE)) == (True, None, 0)
    done = zone.dns_ttl(1, wait=False, _ansible_diff=True)
    assert planned["diff"] == done["diff"]
    assert done["diff"]["after"] == {"www.example.com. A": {"blue": 1, "green": 1}}
    assert (done["changed"], done["ttl_before"], done["note"], bool(done["settled_at"])) == (True, 60, None, True)
    back = zone.dns_ttl(done["ttl_before"])  # a second is waited out
    assert (back["changed"], back["ttl_before"]) == (True, 1)
    assert zone.dns_ttl(60)["changed"] is False
    assert zone.weights() == {"blue": 100, "green": 0}


@pytest.mark.parametrize("kind", ["alias", "mixed"])
def test_aliases_have_no_ttl(aws: Aws, kind: str) -> None:
    zone = Zone(aws, kind)
    told = zone.dns_ttl(30, wait=False)
    plain = kind == "mixed"
    assert (told["changed"], told["ttl_before"], bool(told["settled_at"])) == (plain, 60 if plain else None, plain)
    assert "It was left as it is" in told["note"]


def test_the_modules_bad_input(crowded: Zone) -> None:
    for ttl, options, code, said in (
        (-1, {}, "invalid", "ttl is -1; expected seconds from 0 to"),
        (2**31, {}, "invalid", "ttl is 2147483648"),
        (60, {"record": "simple"}, "unsupported", "is a DNS name without weights"),
        (60, {"record": "nobody"}, "missing", "there is no record set nobody.example.com. A"),
    ):
        told = crowded.dns_ttl(ttl, options)
        assert (told["failure"]["code"], said in told["msg"]) == (code, True), told["msg"]


def test_the_modules_documentation_is_its_argument_spec() -> None:
    assert as_spec(documented_options("dns_ttl")) == bare(ARGUMENT_SPEC)
