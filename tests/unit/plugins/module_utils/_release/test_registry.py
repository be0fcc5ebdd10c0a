# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from plugins.module_utils._errors import InvalidError
from plugins.module_utils._release.file import FileStore
from plugins.module_utils._release.registry import STORE_SPEC, STORES, build_store

OPTIONS = {"type": "file", "path": "/nobody/bluegreen", "timeout": 10.0}


def test_every_store_is_a_choice() -> None:
    options = STORE_SPEC["store"]["options"]
    assert options["type"]["choices"] == list(STORES)
    assert all(set(kind.spec) <= set(options) for kind in STORES.values())


def test_options_become_a_store() -> None:
    store = build_store({"store": OPTIONS}, "shop")
    assert isinstance(store, FileStore)
    assert (store.app, store.place) == ("shop", "/nobody/bluegreen/shop.json")


@pytest.mark.parametrize(
    ("app", "options"),
    [
        ("../shop", {}),
        ("shop", {"path": "relative"}),
        ("shop", {"path": ""}),
        ("shop", {"timeout": 0.0}),
        ("shop", {"timeout": float("inf")}),
        ("shop", {"timeout": float("nan")}),
    ],
)
def test_what_cannot_be_right_is_invalid(app: str, options: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidError):
        build_store({"store": {**OPTIONS, **options}}, app)
