# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from plugins.module_utils._aws.forward import Forward, short
from plugins.module_utils._errors import BlueGreenError
from plugins.module_utils._traffic.split import Split

COLOURS = ("blue", "green")
ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012"
GROUPS = {colour: f"{ARN}:targetgroup/{colour}/1" for colour in COLOURS}
OTHER = f"{ARN}:targetgroup/other/1"
BLUE, GREEN = GROUPS.values()

Json = dict[str, t.Any]


def action(weights: dict[str, int | None], **config: t.Any) -> Json:
    groups = [{"TargetGroupArn": arn, **({} if w is None else {"Weight": w})} for arn, w in weights.items()]
    return {"Type": "forward", "Order": 1, "ForwardConfig": {"TargetGroups": groups, **config}}


def forward(*actions: Json) -> Forward:
    return Forward("listener x", actions, GROUPS)


def green(share: int) -> Split:
    return Split.only(COLOURS, "green", share)


@pytest.mark.parametrize(
    ("given", "share", "unattached"),
    [
        (action({BLUE: 100, GREEN: 0}), 0, []),
        (action({GREEN: 1, BLUE: 999}), 10, []),
        (action({GREEN: 1}), 10_000, ["blue"]),
        (action({BLUE: None}), 0, ["green"]),
        ({"Type": "forward", "TargetGroupArn": BLUE}, 0, ["green"]),
        (action({BLUE: 1, GREEN: 2, OTHER: 0}), 6667, []),
    ],
)
def test_what_is_read(given: Json, share: int, unattached: list[str]) -> None:
    assert (forward(given).check().split(), forward(given).unattached()) == (green(share), unattached)


def test_a_share_of_somebody_else_is_told() -> None:
    found = forward(action({BLUE: 1, OTHER: 1})).check()
    assert found.split() == green(0)
    assert found.strangers() == (
        "listener x gives a share to target group other, which is neither colour's (on_drift: mend leaves it)",
    )
    assert forward(action({BLUE: 1, OTHER: 0})).strangers() == ()


def test_where_all_weights_are_0_nobody_serves() -> None:
    assert forward(action({BLUE: 0, GREEN: 0})).check().split() is None


@pytest.mark.parametrize(
    ("actions", "code", "said"),
    [
        ([action({OTHER: 1})], "missing", "forwards to other; expected blue or green"),
        ([{"Type": "redirect"}], "unsupported", "the action of listener x is redirect"),
        ([], "unsupported", "the action of listener x is nothing"),
        (
            [{"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": BLUE, "Weight": 1}] * 2}}],
            "drift",
            "names target group blue twice",
        ),
    ],
)
def test_what_is_no_split(actions: list[Json], code: str, said: str) -> None:
    with pytest.raises(BlueGreenError) as caught:
        forward(*actions).check().split()
    assert (caught.value.code, said in caught.value.message) == (code, True), caught.value.message


def weights(actions: t.Sequence[Json]) -> dict[str, int]:
    groups = actions[-1]["ForwardConfig"]["TargetGroups"]
    return {each["TargetGroupArn"]: each["Weight"] for each in groups}


@pytest.mark.parametrize(
    ("share", "expected"), [(0, (100, 0)), (1000, (90, 10)), (10_000, (0, 100)), (10, (999, 1)), (1250, (875, 125))]
)
def test_the_weights_are_as_plain_as_can_be(share: int, expected: tuple[int, int]) -> None:
    held = weights(forward(action({BLUE: 1, GREEN: 1})).holding(green(share)))
    assert held == dict(zip((BLUE, GREEN), expected, strict=True))


def test_whatever_was_read_can_be_put_back() -> None:
    for first, second in ((1, 254), (7, 3), (999, 998), (1, 2), (3, 0), (0, 1), (500, 1), (1, 999)):
        before = forward(action({BLUE: first, GREEN: second})).split()
        held = weights(forward(action({BLUE: 1, GREEN: 0})).holding(before))
        assert forward(action(t.cast("dict[str, int | None]", held))).split() == before


def test_all_else_stays_and_what_was_a_single_group_is_two() -> None:
    oidc = {"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": {"ClientId": "x"}}
    sticky = {"Enabled": True, "DurationSeconds": 60}
    single = {**action({BLUE: 1}, TargetGroupStickinessConfig=sticky), "TargetGroupArn": BLUE, "Order": 2}
    first, second = forward(oidc, single).holding(green(0))
    assert first["AuthenticateOidcConfig"] == {"ClientId": "x", "UseExistingClientSecret": True}
    assert "TargetGroupArn" not in second
    assert (second["Order"], second["ForwardConfig"]["TargetGroupStickinessConfig"]) == (2, sticky)
    assert weights([second]) == {BLUE: 100, GREEN: 0}
    assert forward(oidc, single).sticky_for() == 60
    assert weights(forward(oidc, single).holding(green(0), only=True)) == {BLUE: 100}


@pytest.mark.parametrize(
    ("config", "sticky", "seconds"),
    [
        ({}, False, 0.0),
        ({"Enabled": False, "DurationSeconds": 60}, False, 0.0),
        ({"Enabled": True, "DurationSeconds": 60}, True, 60.0),
        ({"Enabled": True}, True, None),  # of a network load balancer, which names none
    ],
)
def test_for_how_long_clients_stay(config: dict[str, t.Any], sticky: bool, seconds: float | None) -> None:
    given = forward(action({BLUE: 1}, TargetGroupStickinessConfig=config))
    assert (given.is_sticky(), given.sticky_for()) == (sticky, seconds)


def test_more_groups_than_aws_takes_are_refused() -> None:
    others = {f"{ARN}:targetgroup/o{number}/1": 0 for number in range(4)}
    given: dict[str, int | None] = {BLUE: 1, **others}
    with pytest.raises(BlueGreenError, match="would forward to 6 target groups"):
        forward(action(given)).holding(green(0))


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        (BLUE, "blue"),
        (f"{ARN}:listener/app/shop/1/2", "listener/app/shop/1/2"),
        (f"{ARN}:loadbalancer/net/shop/1", "loadbalancer/net/shop/1"),
        ("plain", "plain"),
    ],
)
def test_short_names(arn: str, name: str) -> None:
    assert short(arn) == name
