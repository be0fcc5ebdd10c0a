# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._errors import InvalidError
from plugins.module_utils._traffic.split import WHOLE, Split, colour_pair, percent, units

from .fakes import BLUE, COLOURS, GREEN, green

SHARES = st.integers(0, WHOLE)
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(),
    st.from_regex(r"-?[0-9]{0,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,9})?", fullmatch=True),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(), st.integers(), max_size=2),
)


@pytest.mark.parametrize(
    ("shares", "green_percent"),
    [
        ({"green": 100}, 100),
        ({"green": 0}, 0),
        ({"blue": 0}, 100),
        ({"green": 12.5}, 12.5),
        ({"green": "12.5"}, 12.5),
        ({"green": "0.01"}, 0.01),
        ({"blue": "0.01"}, 99.99),
        ({"green": 0.07}, 0.07),
        ({"blue": 90, "green": 10}, 10),
        ({"blue": 33.33, "green": 66.67}, 66.67),
        ({"green": Decimal("1e1")}, 10),
        ({"green": "10." + "0" * 60}, 10),
    ],
)
def test_percentages_become_a_split(shares: dict[str, t.Any], green_percent: float) -> None:
    split = Split.parse(COLOURS, shares)
    assert split == Split("blue", "green", WHOLE - round(green_percent * 100))
    assert split.percents() == {"blue": percent(split.first_share), "green": green_percent}


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({}, "the split is empty; expected a share for blue or green"),
        ({"red": 10}, "colour 'red' is not known; expected blue or green"),
        ({1: 10}, "colour '1' is not known; expected blue or green"),
        ({None: 10}, "colour 'None' is not known; expected blue or green"),
        ({"Green": 10}, "colour 'Green' is not known; expected blue or green"),
        ({"green": -1}, "share of green is -1 %; expected a percentage from 0 to 100"),
        ({"green": 100.01}, "share of green is 100.01 %; expected a percentage from 0 to 100"),
        ({"green": "9e999999"}, "share of green is 9e999999 %; expected a percentage from 0 to 100"),
        ({"green": 0.001}, "share of green is 0.001 %; expected a multiple of 0.01 %"),
        ({"green": "1e-999999"}, "share of green is 1e-999999 %; expected a multiple of 0.01 %"),
        ({"green": "10." + "0" * 30 + "1"}, f"share of green is 10.{'0' * 30}1 %; expected a multiple of 0.01 %"),
        ({"green": True}, "share of green is True; expected a percentage such as 10 or 12.5"),
        ({"green": None}, "share of green is None; expected a percentage such as 10 or 12.5"),
        ({"green": "ten"}, "share of green is 'ten'; expected a percentage such as 10 or 12.5"),
        ({"green": "10 %"}, "share of green is '10 %'; expected a percentage such as 10 or 12.5"),
        ({"green": "nan"}, "share of green is 'nan'; expected a percentage such as 10 or 12.5"),
        ({"green": "sNaN"}, "share of green is 'sNaN'; expected a percentage such as 10 or 12.5"),
        ({"green": float("inf")}, "share of green is inf; expected a percentage such as 10 or 12.5"),
        ({"green": [10]}, "share of green is [10]; expected a percentage such as 10 or 12.5"),
        ({"blue": 90, "green": 20}, "the split is blue 90 % + green 20 %, which adds up to 110 %; expected 100 %"),
        ({"blue": 0, "green": 0}, "the split is blue 0 % + green 0 %, which adds up to 0 %; expected 100 %"),
        ({"blue": 50, "green": 50, "red": 0}, "colour 'red' is not known; expected blue or green"),
    ],
)
def test_a_bad_split_is_refused_in_one_line(shares: dict[t.Any, t.Any], message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Split.parse(COLOURS, shares)
    assert caught.value.message == message


@given(st.dictionaries(st.one_of(st.sampled_from(COLOURS), st.text(max_size=3)), ANYTHING, max_size=3))
def test_whatever_is_given_is_a_whole_split_or_an_invalid_one(shares: dict[str, t.Any]) -> None:
    try:
        split = Split.parse(COLOURS, shares)
    except InvalidError:
        return
    assert split.share("blue") + split.share("green") == WHOLE
    assert all(split.share(colour) == units(value, colour) for colour, value in shares.items())


@given(SHARES)
def test_a_split_written_out_is_read_back(first: int) -> None:
    split = Split("blue", "green", first)
    percents = split.percents()
    assert Split.parse(COLOURS, percents) == split
    assert Split.parse(COLOURS, {"green": str(percents["green"])}) == split


@given(SHARES, SHARES)
def test_the_colour_that_gets_more_is_the_raised_one(one: int, two: int) -> None:
    before, after = Split(*COLOURS, one), Split(*COLOURS, two)
    raised = after.raised_from(before)
    assert raised is None if one == two else after.share(raised or "") > before.share(raised or "")


@pytest.mark.parametrize(
    ("split", "leader", "text"),
    [
        (BLUE, "blue", "blue 100 %, green 0 %"),
        (GREEN, "green", "blue 0 %, green 100 %"),
        (green(50), None, "blue 50 %, green 50 %"),
        (green(50.01), "green", "blue 49.99 %, green 50.01 %"),
        (green(0.5), "blue", "blue 99.5 %, green 0.5 %"),
    ],
)
def test_the_leader_has_more_than_half(split: Split, leader: str | None, text: str) -> None:
    assert (split.leader, str(split)) == (leader, text)


@pytest.mark.parametrize(
    "names",
    [
        *([], ["blue"], ["blue", "blue"], ["blue", "green", "red"], ["1", "2"]),
        *(["blue", name] for name in ("", "gr een", "green\n", "gr:een", "grün", "green;")),
    ],
)
def test_colours_are_two_different_names(names: list[str]) -> None:
    with pytest.raises(InvalidError):
        colour_pair(names)


def test_colours_may_have_other_names() -> None:
    assert colour_pair(["stable", "next_1"]) == ("stable", "next_1")


@pytest.mark.parametrize(("first", "second", "share"), [("blue", "blue", 1), ("blue", "green", -1), ("a", "b", 10_001)])
def test_a_value_that_is_no_split_cannot_be_made(first: str, second: str, share: int) -> None:
    with pytest.raises(InvalidError):
        Split(first, second, share)


def test_a_split_knows_no_third_colour() -> None:
    for ask in (BLUE.share, BLUE.other):
        with pytest.raises(InvalidError):
            ask("red")
