# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from plugins.filter.alarms import FilterModule, alarms


def seen(share: float = 0, live: str | None = "blue", /, **ready: int) -> dict[str, t.Any]:
    told = {c: {"members": 2, "ready": n, "unready": [] if n else [f"{c}1 is down"]} for c, n in ready.items()}
    split = {"blue": 100 - share, "green": share}
    return {"routes": [{"name": "lb1", "split": split, "live": live, "activity": told or None}]}


NOBODY = {"routes": [{"name": "lb1", "split": {"blue": 0, "green": 0}, "live": None, "activity": None}]}


@pytest.mark.parametrize(
    ("what", "found", "expected"),
    [
        ("all on one", {"lb1": seen(blue=2, green=0)}, []),
        ("a provider that knows no members", {"lb1": seen()}, []),
        ("a canary", {"lb1": seen(10, blue=1, green=1)}, []),
        ("even shares on one of them", {"lb1": seen(50, None), "lb2": seen(10)}, []),
        (
            "they disagree",
            {"lb2": seen(100, "green"), "lb1": seen()},
            ["the load balancers do not agree on the live colour: blue on lb1, green on lb2, route lb1"],
        ),
        (
            "a dead colour has everything",
            {"lb1": seen(100, "green", blue=2, green=0)},
            ["lb1: green has 100 % of the traffic, and none of its 2 members is ready (green1 is down)"],
        ),
        (
            "a dead canary",
            {"lb1": seen(12.5, blue=2, green=0)},
            ["lb1: green has 12.5 % of the traffic, and none of its 2 members is ready (green1 is down)"],
        ),
        ("nobody serves", {"lb1": NOBODY}, ["lb1: nobody serves"]),
    ],
)
def test_what_is_wrong_with_the_traffic(what: str, found: dict[str, t.Any], expected: list[str]) -> None:
    assert alarms({}, found, []) == expected, what


def test_what_could_not_be_read_is_told() -> None:
    unseen = [{"host": "lb2", "msg": "no route to host"}]
    assert alarms({"missing": ["lb3"]}, {"lb1": seen()}, unseen) == [
        "lb2: in doubt, no route to host",
        "lb3: not in the inventory, though the last release ran on it",
    ]
    assert alarms({"failed": True, "msg": "it is empty"}, {"lb1": seen()}, []) == [
        "the record cannot be read: it is empty"
    ]


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"alarms": alarms}
