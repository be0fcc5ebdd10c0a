# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With plain data; in a playbook, see the integration tests of releases."""

from __future__ import annotations

import typing as t

import pytest

from plugins.filter.old_until import FilterModule, old_until

EARLY, LATE = "2026-11-23T03:00:00.000000+00:00", "2026-11-23T03:10:00.000000+00:00"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"routes": [{"old_until": EARLY}, {"old_until": LATE}, {"old_until": None}]}, LATE),
        ([{"result": {"load_balancers": {"lb1": {"routes": [{"old_until": EARLY}]}}}}, {"result": None}], EARLY),
        ([{"old_until": ""}, {"routes": [{"old_until": EARLY}]}], EARLY),
        ({"old_until": LATE, "routes": [{"old_until": EARLY}]}, LATE),
        ({"routes": [{"old_until": None}]}, ""),
        ([], ""),
        ("old_until", ""),
        (None, ""),
    ],
)
def test_the_latest_moment_however_deep(value: t.Any, expected: str) -> None:
    assert old_until(value) == expected
    assert FilterModule().filters()["old_until"] is old_until


def test_the_moment_for_those_who_ask_only_then() -> None:
    routes = {"routes": [{"old_until": LATE, "cached_until": None}, {"old_until": LATE, "cached_until": EARLY}]}
    assert old_until(routes, "cached_until") == EARLY
