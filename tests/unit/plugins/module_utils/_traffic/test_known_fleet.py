# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever raises the fence leaves beside it with whom it runs."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from plugins.module_utils._errors import DriftError
from plugins.module_utils._traffic.fence import Fence, StaleTokenError, known_fleet
from plugins.module_utils._traffic.known_fleet import KnownFleet

FLEET = {"token": 7, "record_host": "lb1", "load_balancers": ["lb1", "lb2"]}


def raised(home: Path, token: int, *load_balancers: str) -> KnownFleet:
    fleet = KnownFleet(token, "lb1", load_balancers)
    Fence(str(home), "shop", token, fleet).raise_up()
    return fleet


def test_the_last_release_is_remembered_and_a_stale_one_is_not(tmp_path: Path) -> None:
    assert known_fleet(str(tmp_path), "shop") is None
    raised(tmp_path, 3, "lb1")
    latest = raised(tmp_path, 7, "lb1", "lb2")
    Fence(str(tmp_path), "shop", 7).raise_up()
    with pytest.raises(StaleTokenError):
        raised(tmp_path, 4, "lb1")
    assert known_fleet(str(tmp_path), "shop") == latest == KnownFleet.of(FLEET)
    assert (tmp_path / "shop.fence.json").stat().st_mode & 0o777 == 0o600


def test_a_check_remembers_nothing(tmp_path: Path) -> None:
    Fence(str(tmp_path), "shop", 7, KnownFleet.of(FLEET)).check()
    assert known_fleet(str(tmp_path), "shop") is None


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7"]
    + [
        json.dumps({**FLEET, **wrong})
        for wrong in t.cast(
            list[dict[str, t.Any]],
            [
                {"token": 0},
                {"token": True},
                {"token": "7"},
                {"token": 2**63},
                {"record_host": None},
                {"record_host": ""},
                {"record_host": "x" * 10_001},
                {"load_balancers": "lb1"},
                {"load_balancers": [1]},
                {"load_balancers": ["lb1"] * 10_001},
            ],
        )
    ],
)
def test_what_cannot_be_believed_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "shop.fence.json").write_text(text)
    (tmp_path / "shop.fence.json").chmod(0o600)
    with pytest.raises(DriftError, match="cannot be believed"):
        known_fleet(str(tmp_path), "shop")
