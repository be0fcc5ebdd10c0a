# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from plugins.module_utils._errors import ConflictError, UnreachableError
from plugins.module_utils._haproxy.first_colour import Entry, first_colour, only_the_record_knows

COLOURS = ("blue", "green")
BLUE, GREEN, ALL_GREEN, CANARY = "blue:green:0", "green:blue:0", "blue:green:10000", "blue:green:1000"
NEW = Entry(None, None)


def here(entry: str) -> Entry:
    return Entry(entry, entry)


def chosen(entries: dict[str, Entry], wanted: str = "", record: str | None = None) -> str:
    return first_colour(entries, COLOURS, wanted, lambda: record)


@pytest.mark.parametrize(
    ("entries", "wanted", "record", "colour"),
    [
        ({"lb1": NEW}, "", None, "blue"),
        ({"lb1": NEW}, "green", None, "green"),
        ({"lb1": NEW}, "", "green", "green"),
        ({"lb1": NEW, "lb2": here(GREEN)}, "", "blue", "green"),
        ({"lb1": NEW, "lb2": here(GREEN), "lb3": here(ALL_GREEN)}, "green", None, "green"),
        ({"lb1": NEW, "lb2": here(GREEN), "lb3": Entry(BLUE, None)}, "", None, "green"),
        ({"lb1": NEW, "lb2": Entry(GREEN, None)}, "", None, "green"),
        ({"lb1": NEW, "lb2": Entry(BLUE, GREEN)}, "", None, "green"),
        ({"lb1": Entry(None, GREEN)}, "", "blue", "green"),
    ],
)
def test_what_is_there_says_it_then_the_record_then_the_user(
    entries: dict[str, Entry], wanted: str, record: str | None, colour: str
) -> None:
    assert chosen(entries, wanted, record) == colour


@pytest.mark.parametrize(
    ("entries", "wanted", "record", "says"),
    [
        ({"lb1": here(BLUE), "lb2": here(GREEN)}, "", None, "lb1 has blue:green:0; lb2 has green:blue:0"),
        ({"lb1": here(CANARY), "lb2": here(CANARY)}, "", None, "lb1 has blue:green:1000; lb2 has blue:green:1000"),
        ({"lb1": here("red:blue:0")}, "", None, "lb1 has red:blue:0"),
        ({"lb1": here("shop_blue")}, "", None, "lb1 has shop_blue"),
        ({"lb1": here(GREEN)}, "blue", None, "by lb1 green is live, and haproxy_live is blue"),
        ({}, "blue", "green", "by the record green is live, and haproxy_live is blue"),
    ],
)
def test_a_contradiction_is_refused(entries: dict[str, Entry], wanted: str, record: str | None, says: str) -> None:
    with pytest.raises(ConflictError, match=says) as caught:
        chosen({**entries, "lb9": NEW}, wanted, record)
    assert caught.value.message.startswith("lb9 has no entry yet")


def test_where_nobody_is_new_nothing_can_contradict() -> None:
    entries = {"lb1": here(BLUE), "lb2": here(GREEN)}
    assert chosen(entries, "green") == "green"
    assert not only_the_record_knows(entries)


def test_the_record_is_asked_only_where_no_load_balancer_can_tell() -> None:
    assert only_the_record_knows({"lb1": NEW})
    assert not only_the_record_knows({"lb1": NEW, "lb2": here(BLUE)})


def test_a_record_that_does_not_tell_leaves_it_to_the_user() -> None:
    def blind() -> t.NoReturn:
        raise UnreachableError("the record cannot be read")

    assert first_colour({"lb1": NEW}, COLOURS, "green", blind) == "green"
    with pytest.raises(UnreachableError, match=r"^lb1 has no entry yet, .*: the record cannot be read"):
        first_colour({"lb1": NEW}, COLOURS, "", blind)
