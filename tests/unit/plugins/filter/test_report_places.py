# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from plugins.filter.report_places import FilterModule

report_places = FilterModule().filters()["report_places"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current directory, with an inventory in a directory of its own beside it."""
    for name in ("work", "shop/inventory/lab"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def test_it_is_beside_the_inventory_or_else_in_the_current_directory(here):
    shop = here / "shop"
    assert report_places("", str(shop), [str(shop / "hosts.yml")]) == [f"{shop}/reports", f"{here}/work/reports"]


@pytest.mark.parametrize("inventory_dir", [None, ""])
def test_without_an_inventory_file_it_is_in_the_current_directory(here, inventory_dir):
    assert report_places("", inventory_dir, ["lb1,lb2"]) == [f"{here}/work/reports"]


@pytest.mark.parametrize("lies_in", ["inventory", "inventory/lab"])
def test_it_is_never_in_a_directory_that_is_read_as_an_inventory(here, lies_in):
    source = here / "shop" / "inventory"
    found = report_places("", str(here / "shop" / lies_in), [str(source) + "/"])
    assert found == [f"{here}/shop/reports", f"{here}/work/reports"]


def test_nor_is_it_where_the_current_directory_is_one(here, monkeypatch):
    monkeypatch.chdir(here / "shop" / "inventory")
    assert report_places("", str(here / "shop" / "inventory"), ["."]) == [f"{here}/shop/reports"]


def test_it_is_never_in_an_installed_collection(here, monkeypatch):
    examples = here / "ansible_collections" / "bluegreen" / "deploy" / "examples"
    examples.mkdir(parents=True)
    assert report_places("", str(examples), []) == [f"{here}/work/reports"]
    monkeypatch.chdir(examples)
    assert report_places("", str(examples), []) == []


def test_a_directory_that_was_asked_for_is_taken_as_it_is(here, monkeypatch):
    monkeypatch.setenv("HOME", "/home/alice")
    assert report_places("out", str(here), []) == [f"{here}/work/out"]
    assert report_places("/var/log/shop", str(here), []) == ["/var/log/shop"]
    assert report_places("~/out", None) == ["/home/alice/out"]
