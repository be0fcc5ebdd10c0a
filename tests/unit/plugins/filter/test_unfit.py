# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

from plugins.filter.unfit import FilterModule, unfit

SEEN = {"lb1": {"routes": [{"split": {"blue": 0, "green": 100}, "activity": None}]}}
DEAD, LIVING = (
    {"lb1": {"endpoints": [{"endpoint": "http://one/health", "healthy": healthy, "reason": "refused"}]}}
    for healthy in (False, True)
)


def retired(colour: str) -> dict[str, t.Any]:
    """The record after the colour was retired."""
    other = {"blue": "green", "green": "blue"}[colour]
    return {"release": {"id": "shop-1.1", "state": "retired", "to": {"colour": other}}}


def test_it_says_what_to_start() -> None:
    said = unfit("blue", SEEN, DEAD, LIVING, {"failed": True})
    assert said == (
        "lb1: no member of blue out of 1 answers (http://one/health: refused); expected one that can take the "
        "traffic. Start blue, and try again. Nothing was changed"
    )


def test_a_colour_that_was_retired_is_said_to_be() -> None:
    assert "blue was stopped when shop-1.1 retired it: start it" in unfit("blue", SEEN, DEAD, LIVING, retired("blue"))
    assert "retired" not in unfit("blue", SEEN, DEAD, LIVING, retired("green"))


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert unfit("blue", SEEN, {}, {}, {}) == ""
    assert unfit("blue", SEEN, {"lb1": {}}, LIVING, {}) == ""


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"unfit": unfit}
