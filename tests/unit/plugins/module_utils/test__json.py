# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils._json import DEEPEST, LARGEST, LONGEST_NUMBER, is_deeper, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(deadline=None)
@given(VALUES)
def test_what_is_json_is_read_as_it_is(value: t.Any) -> None:
    assert parse_json(json.dumps(value)) == value


@given(st.text() | st.binary())
def test_anything_else_is_a_value_error(text: str | bytes) -> None:
    try:
        parse_json(text)
    except ValueError:
        return


@pytest.mark.parametrize("opens", ["[", '{"a":'])
@pytest.mark.parametrize("levels", [DEEPEST, DEEPEST + 1, 500, 100_000])
def test_so_deep_and_no_deeper(opens: str, levels: int) -> None:
    text = opens * levels + "0" + {"[": "]"}.get(opens, "}") * levels
    if levels > DEEPEST:
        with pytest.raises(ValueError, match=r"nested"):
            parse_json(text)
    else:
        assert not is_deeper(parse_json(text), levels)
        assert is_deeper(parse_json(text), levels - 1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("NaN", "no number that can be kept"),
        ("-Infinity", "no number that can be kept"),
        ("1e999", "no number that can be kept"),
        ("9" * (LONGEST_NUMBER + 1), "no number that can be kept"),
        ('"' + "x" * LARGEST + '"', "larger than"),
        ("", "no JSON"),
        ("{", "no JSON"),
        (b"\xff", "no JSON"),
    ],
)
def test_what_would_break_whoever_goes_on_with_it_is_refused(text: str | bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_json(text)


@pytest.mark.parametrize("text", ["9" * LONGEST_NUMBER, "1.5e300", '"\\ud800"', " 1\n"])
def test_what_breaks_nobody_is_read(text: str) -> None:
    assert parse_json(text) == json.loads(text)
