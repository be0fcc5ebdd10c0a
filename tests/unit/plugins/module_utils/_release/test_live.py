# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from plugins.module_utils._errors import ConflictError
from plugins.module_utils._release.live import live_colour


def release(state: str, before: str | None, after: str | None) -> dict[str, t.Any]:
    return {"id": "shop-1", "state": state, "from": {"colour": before}, "to": {"colour": after}}


@pytest.mark.parametrize(
    ("releases", "colour"),
    [
        ([], None),
        ([release("released", "blue", "green")], "green"),
        ([release("rolled_back", "blue", "green")], "blue"),
        ([release("refused", "blue", "green")], "blue"),
        ([release("released", "blue", "green"), release("refused", None, None)], "green"),
        ([release("released", "blue", "green"), release("retired", "green", "green")], "green"),
        ([release("released", "blue", "green"), release("failed", "green", "green")], "green"),
        ([release("open", "green", "green")], "green"),
        ([release("released", "blue", "green"), release("recovered", "blue", "")], "blue"),
    ],
)
def test_the_last_release_that_knew_it(releases: list[dict[str, t.Any]], colour: str | None) -> None:
    *history, last = releases or [None]
    assert live_colour({"record": {"release": last, "history": history}}) == colour


@pytest.mark.parametrize("state", ["open", "failed", "aborted"])
def test_a_release_that_has_left_it_open_is_no_answer(state: str) -> None:
    with pytest.raises(ConflictError, match=f"release shop-1 is {state}"):
        live_colour({"record": {"release": release(state, "blue", "green"), "history": []}})


def test_no_record_at_all() -> None:
    assert live_colour({"record": None}) is None
    assert live_colour({}) is None
