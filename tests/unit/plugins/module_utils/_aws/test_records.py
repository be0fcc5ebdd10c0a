# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from plugins.module_utils._aws.records import (
    FINEST,
    MOST_WEIGHT,
    Group,
    changes,
    full_name,
    plain,
    told,
    ttl_of,
    weights_of,
)
from plugins.module_utils._errors import BlueGreenError, UnsupportedError
from plugins.module_utils._traffic.split import WHOLE, Split

COLOURS = ("blue", "green")
IDENTIFIERS = {"blue": "blue", "green": "green"}
BALANCER = {
    "HostedZoneId": "Z35SXDOTRQ7X7K",
    "DNSName": "shop-1.us-east-1.elb.amazonaws.com.",
    "EvaluateTargetHealth": True,
}
WEBSITE = {
    "HostedZoneId": "Z3AQBSTGFYJSTF",
    "DNSName": "s3-website-us-east-1.amazonaws.com.",
    "EvaluateTargetHealth": False,
}


def record(name: str, weight: int | None, ttl: int = 60, **more: t.Any) -> dict[str, t.Any]:
    values = {"TTL": ttl, "ResourceRecords": [{"Value": f"192.0.2.{len(name)}"}]}
    which = {"Name": "www.example.com.", "Type": "A", "SetIdentifier": name}
    return {**which, **({} if weight is None else {"Weight": weight}), **values, **more}


def alias(name: str, weight: int, to: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
    found = {"Name": "www.example.com.", "Type": "A", "SetIdentifier": name, "Weight": weight}
    return {**found, "AliasTarget": to or BALANCER}


def group(*found: dict[str, t.Any]) -> Group:
    return Group("www.example.com. A", found, IDENTIFIERS)


NAMES = {
    "www.example.com": "www.example.com.",
    "WWW.Example.Com.": "www.example.com.",
    "\\052.example.com.": "*.example.com.",
    "*.example.com": "*.example.com.",
    "_sip._tcp.example.com": "_sip._tcp.example.com.",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_one_form(name: str) -> None:
    assert plain(name) == NAMES[name]


FULL = {
    "@": "example.com.",
    "example.com": "example.com.",
    "www": "www.example.com.",
    "WWW": "www.example.com.",
    "*": "*.example.com.",
    "a.b": "a.b.example.com.",
    "www.example.com": "www.example.com.",
    "www.example.com.": "www.example.com.",
    "badexample.com": "badexample.com.example.com.",
    "www.example.org.": "www.example.org.",
}


@pytest.mark.parametrize("record", FULL)
def test_a_name_in_full(record: str) -> None:
    for zone in ("example.com.", "Example.com"):
        assert full_name(record, zone) == FULL[record]


WEIGHTS = {
    0: (0, 100),
    50: (1, 199),
    100: (1, 99),
    1250: (25, 175),
    5000: (50, 50),
    9950: (199, 1),
    10000: (100, 0),
    39: (1, 253),
    3333: (1, 2),
}


@pytest.mark.parametrize("share", WEIGHTS)
def test_weights(share: int) -> None:
    assert weights_of(Split(*COLOURS, share)) == WEIGHTS[share]


def test_every_step_is_exact() -> None:
    for share in range(0, WHOLE + 1, FINEST):
        first, second = weights_of(Split(*COLOURS, share))
        assert (first * WHOLE, max(first, second) <= MOST_WEIGHT) == (share * (first + second), True)


def test_whatever_was_read_can_be_put_back() -> None:
    read = {
        Split.of_weights(COLOURS, first, second)
        for first in range(0, MOST_WEIGHT + 1, 15)
        for second in range(MOST_WEIGHT + 1)
        if first + second
    }
    for split in read:
        assert Split.of_weights(COLOURS, *weights_of(split)) == split
        assert max(weights_of(split)) <= MOST_WEIGHT


def test_a_share_that_no_weights_have() -> None:
    with pytest.raises(UnsupportedError, match=r"blue 0.01 %, green 99.99 %; expected a coarser one"):
        weights_of(Split(*COLOURS, 1))


TTLS: dict[str, tuple[dict[str, t.Any], int | None]] = {
    "plain": (record("blue", 1, 300), 300),
    "application load balancer": (alias("blue", 1), 60),
    "dualstack": (alias("blue", 1, {**BALANCER, "DNSName": "dualstack.shop-1.eu-west-1.elb.amazonaws.com."}), 60),
    "network load balancer": (alias("blue", 1, {**BALANCER, "DNSName": "shop-1.elb.eu-west-1.amazonaws.com"}), 60),
    "in China": (alias("blue", 1, {**BALANCER, "DNSName": "shop-1.cn-north-1.elb.amazonaws.com.cn."}), 60),
    "website": (alias("blue", 1, WEBSITE), None),
    "looks alike": (alias("blue", 1, {**BALANCER, "DNSName": "elb.amazonaws.com.example.com."}), None),
}


@pytest.mark.parametrize("case", TTLS)
def test_how_long_an_answer_is_kept(case: str) -> None:
    found, ttl = TTLS[case]
    assert ttl_of(found) == ttl


READ = {
    (100, 0): 10000,
    (0, 255): 0,
    (1, 0): 10000,
    (3, 1): 7500,
    (1, 254): 39,
}


@pytest.mark.parametrize("weights", READ)
def test_a_split_is_read(weights: tuple[int, int]) -> None:
    found = group(record("green", weights[1]), record("idle", 0), record("blue", weights[0])).check()
    assert found.split() == Split(*COLOURS, READ[weights])


WRONG: dict[str, tuple[Group, str, str]] = {
    "nothing": (group(), "missing", "there is no record set www.example.com. A"),
    "a simple one": (
        group({"Name": "www.example.com.", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]}),
        "unsupported",
        "is a DNS name without weights",
    ),
    "latency": (group(record("blue", None, Region="eu-west-1")), "unsupported", "is a DNS name without weights"),
    "traffic policy": (
        group(record("blue", 1, TrafficPolicyInstanceId="x"), record("green", 1)),
        "unsupported",
        "belongs to a traffic policy",
    ),
    "one colour": (
        group(record("blue", 1), record("red", 0)),
        "missing",
        "has the record sets blue, red, and none is green",
    ),
    "twice": (group(record("blue", 1), record("blue", 1, 30), record("green", 0)), "drift", "has blue twice"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_it_cannot_be(case: str) -> None:
    found, code, said = WRONG[case]
    with pytest.raises(BlueGreenError) as caught:
        found.check().split()
    assert (caught.value.code, said in caught.value.message) == (code, True), caught.value.message


def test_a_third_that_has_a_share_is_told_and_left() -> None:
    found = group(record("blue", 1), record("green", 0), record("red", 5)).check()
    assert found.split() == Split.only(COLOURS, "blue")
    assert "gives a share to red, which is neither colour's" in found.drift()[0]
    assert [after["SetIdentifier"] for _before, after in found.moves(Split.only(COLOURS, "green"))] == ["blue", "green"]


def test_only_the_weights_move() -> None:
    blue, green, red = record("blue", 100, HealthCheckId="x"), alias("green", 0), record("red", 0)
    moves = group(red, blue, green).moves(Split.only(COLOURS, "green", 50))
    assert moves == [(blue, {**blue, "Weight": 199}), (green, {**green, "Weight": 1})]
    batch = changes(moves)
    assert [one["Action"] for one in batch] == ["DELETE", "DELETE", "CREATE", "CREATE"]
    assert [one["ResourceRecordSet"] for one in batch[:2]] == [blue, green]


def test_both_are_compared_though_one_stays() -> None:
    blue, green = record("blue", 99), record("green", 1)
    assert group(blue, green).moves(Split.only(COLOURS, "green", 50)) == [
        (blue, {**blue, "Weight": 199}),
        (green, green),
    ]


DRIFT: dict[str, tuple[Group, bool]] = {
    "alike": (group(record("blue", 1), record("green", 1)), False),
    "two load balancers": (group(alias("blue", 1), alias("green", 1)), False),
    "a load balancer and a plain one alike": (group(alias("blue", 1), record("green", 1)), False),
    "a load balancer and a plain one": (group(alias("blue", 1), record("green", 1, 300)), True),
    "an alias of which it is not known": (group(alias("blue", 1, WEBSITE), record("green", 1, 300)), False),
    "others": (group(record("blue", 1, 30), record("green", 1, 300)), True),
}


@pytest.mark.parametrize("case", DRIFT)
def test_ttls_that_drifted_are_told_and_mended(case: str) -> None:
    found, drifted = DRIFT[case]
    assert bool(found.drift()) == drifted
    after = group(*(record for _before, record in found.moves(found.split())))
    assert after.drift() == ()


def test_a_third_ones_ttl_is_mended_with_the_others() -> None:
    found = group(alias("blue", 1), record("green", 0, 300), record("red", 0, 300), alias("last", 0))
    moved = [after for _before, after in found.moves(Split.only(COLOURS, "green"))]
    assert [(one["SetIdentifier"], one["Weight"], one.get("TTL")) for one in moved] == [
        ("blue", 0, None),
        ("green", 100, 60),
        ("red", 0, 60),
    ]


def test_all_plain_ones_get_the_ttl() -> None:
    found = group(record("blue", 1, 300), record("green", 0, 300), alias("last", 0), record("red", 0, 300))
    assert [(before, after["TTL"]) for before, after in found.with_ttl(10)] == [
        (found.found[0], 10),
        (found.found[1], 10),
        (found.found[3], 10),
    ]


def test_record_sets_for_a_message() -> None:
    simple = {"Name": "www.example.com.", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]}
    assert told([]) == "nothing"
    assert told([record("blue", 0), alias("green", 5), simple]) == (
        "blue with weight 0 and TTL 60, green with weight 5, a simple one and TTL 60"
    )


def test_where_all_weights_are_0_the_shares_are_even() -> None:
    """As Route 53 has it."""
    split = group(record("blue", 0), record("green", 0)).check().split()
    assert split.percents() == {"blue": 50, "green": 50}
