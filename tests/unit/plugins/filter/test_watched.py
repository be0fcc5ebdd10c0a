# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

pytest.importorskip("ansible.errors")

from ansible.errors import AnsibleFilterError

from plugins.filter.watched import FilterModule, watched

RULES = {
    "duration": "10",  # before ansible-core 2.19 a template is a text
    "max_error_share": 1,
    "max_latency_ms": "",
    "min_requests": 50,
    "on_inconclusive": "extend",
    "extend_for": 60,
}


def seen(requests: int, errors: int, **more: t.Any) -> dict[str, t.Any]:
    watch = {
        "verdict": "inconclusive",
        "reason": "for the fleet to judge",
        "requests": requests,
        "errors": errors,
        "latency_ms": 3.0,
        "blind_looks": 0,
        "samples": [{"requests": requests}],
    }
    return {"moved": {"watched": {**watch, **more}}}


def test_three_that_see_too_little_see_together_that_it_is_bad() -> None:
    hosts = ["lb3", "lb1", "lb2"]
    hostvars = {"lb1": seen(27, 8), "lb2": seen(29, 9), "lb3": seen(25, 7)}
    begun = watched(hosts, hostvars, "", RULES)
    assert (begun["decision"], begun["next"]) == ("watch", 10)
    found = watched(hosts, hostvars, "moved", RULES, begun)
    assert (found["verdict"], found["passed"], found["decision"]) == ("fail", False, "back")
    assert (found["requests"], found["errors"], found["error_share"]) == (81, 24, 29.63)
    assert list(found["load_balancers"]) == ["lb1", "lb2", "lb3"]


def test_what_was_counted_before_is_added() -> None:
    hostvars = {"lb1": seen(30, 0)}
    begun = watched(["lb1"], hostvars, "", RULES)
    once = watched(["lb1"], hostvars, "moved", RULES, begun)
    assert (once["verdict"], once["passed"], once["decision"], once["next"]) == ("inconclusive", None, "watch", 15)
    twice = watched(["lb1"], hostvars, "moved", RULES, once)
    assert (twice["verdict"], twice["requests"], twice["watched_for"]) == ("pass", 60, 25)


@pytest.mark.parametrize(
    "result", [{}, {"moved": {"watched": None}}, {"moved": {"failed": True}}, {"moved": {"skipped": True}}]
)
def test_without_a_watch_nothing_is_judged(result: dict[str, t.Any]) -> None:
    begun = watched(["lb1"], {}, "", RULES)
    found = watched(["lb1"], {"lb1": result}, "moved", RULES, begun)
    assert (found["verdict"], found["passed"], found["decision"]) == ("", None, "go_on")


@pytest.mark.parametrize(
    ("rules", "before"),
    [
        ({**RULES, "on_inconclusive": "maybe"}, {}),
        ({**RULES, "min_requests": 0}, {}),
        ({**RULES, "duration": "soon"}, {}),
        (RULES, None),
    ],
)
def test_what_cannot_be_judged_is_an_error(rules: dict[str, t.Any], before: t.Any) -> None:
    with pytest.raises(AnsibleFilterError, match="the watch cannot be judged"):
        watched(["lb1"], {"lb1": seen(1, 0)}, "moved", rules, before)


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"watched": watched}
