# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With plain dictionaries; in a playbook, see the integration tests of releases."""

from __future__ import annotations

import typing as t

import pytest

from plugins.filter.skew_ms import FilterModule, skew_ms

START = "2026-11-23T03:00:00.000000+00:00"


def moved(*times: str | None) -> dict[str, t.Any]:
    return {"moved": {"routes": [{"name": "r", "committed_at": at} for at in times]}}


def at(ms: int) -> str:
    return f"2026-11-23T03:00:00.{ms:03}000+00:00"


@pytest.mark.parametrize(
    ("what", "hostvars", "expected"),
    [
        ("two hosts", {"a": moved(at(100)), "b": moved(at(130))}, 30.0),
        ("the routes of one host", {"a": moved(at(5), at(1), at(9))}, 8.0),
        ("at the same instant", {"a": moved(at(5)), "b": moved(at(5))}, 0.0),
        ("another zone", {"a": moved(START), "b": moved("2026-11-23T04:00:00.002000+01:00")}, 2.0),
        ("one change is no distance", {"a": moved(at(5)), "b": moved(None)}, None),
        ("nothing was changed", {"a": moved(), "b": {}}, None),
        ("one failed without routes", {"a": moved(at(5)), "b": {"moved": {"failed": True, "routes": None}}}, None),
        ("no result at all", {"a": moved(at(5), at(6)), "b": {"moved": "lost"}}, 1.0),
        ("a host that nobody knows", {"a": moved(at(5), at(6))}, 1.0),
        (
            "clocks that are off",
            {
                "a": {**moved(at(100)), "clock": {"offset_ms": 50.0}},
                "b": {**moved(at(40)), "clock": {"offset_ms": -12.5}},
            },
            2.5,
        ),
        (
            "a clock that was not measured",
            {"a": {**moved(at(100)), "clock": {"skipped": True}}, "b": {**moved(at(40)), "clock": {"offset_ms": None}}},
            60.0,
        ),
    ],
)
def test_from_the_first_to_the_last(what: str, hostvars: dict[str, t.Any], expected: float | None) -> None:
    assert skew_ms(["a", "b"], hostvars, "moved", "clock") == expected, what


def test_without_clocks_the_hosts_own_times_count() -> None:
    hostvars = {"a": {**moved(at(1)), "clock": {"offset_ms": 50}}, "b": moved(at(2))}
    assert skew_ms(["a", "b"], hostvars, "moved") == 1.0


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"skew_ms": skew_ms}
