# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._errors import BlueGreenError, BrokenRecordError, InvalidError, UnsupportedError
from plugins.module_utils._release import ledger
from plugins.module_utils._release.ledger import Ending, Entry, Request
from plugins.module_utils._release.record import Record, checked_app, document, epoch, moment, parse_record

from .fakes import NOW


def full() -> Record:
    record = ledger.begin(Record("shop"), Request(id="shop-1", owner="alice"), NOW)
    record = ledger.finish(record, record.token, Entry(step="a"), Ending("released"), NOW)
    record = ledger.begin(record, Request(id="shop-2", owner="bob"), NOW)
    record = ledger.begin(record, Request(id="x", owner="carol", take_over="why"), NOW)
    record = ledger.step(record, record.token, Entry(step="a", passed=True, next="b", intended={"x": 1}), NOW)
    return ledger.freeze(record, "dave", "Holidays", moment(NOW + 10), NOW)


def as_document(record: Record) -> t.Any:
    return json.loads(json.dumps(document(record)))


def paths(found: t.Any, at: tuple[t.Any, ...] = ()) -> t.Iterator[tuple[t.Any, ...]]:
    """The place of each part that this collection reads into a value."""
    if at[-1:] and at[-1] in ("history", "sessions", "takeovers", "writes", "from", "to", "routes", "intended"):
        return
    parts = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for key, part in parts:
        yield (*at, key)
        yield from paths(part, (*at, key))


def at(found: t.Any, path: tuple[t.Any, ...]) -> t.Any:
    for key in path:
        found = found[key]
    return found


def test_a_record_survives_its_document() -> None:
    assert parse_record("shop", as_document(full())) == full()
    assert parse_record("shop", as_document(Record("shop"))) == Record("shop")


def test_unknown_keys_are_kept_wherever_they_stand() -> None:
    found = as_document(full())
    places = [(), ("lock",), ("freeze",), ("release",), ("release", "steps", 0), ("release", "steps", 1)]
    for place in places:
        at(found, place)["later"] = {"than": "ours"}
    record = parse_record("shop", found)
    after = as_document(ledger.step(record, record.token, Entry(step="b", passed=False), NOW + 1))
    assert all(at(after, place)["later"] == {"than": "ours"} for place in places)


@pytest.mark.parametrize("wrong", [None, [], {}, 5, "text", {"app": "shop"}, {"schema": "1"}, {"schema": True}])
def test_what_is_no_record_is_broken(wrong: t.Any) -> None:
    with pytest.raises(BrokenRecordError):
        parse_record("shop", wrong)


@pytest.mark.parametrize("path", list(paths(as_document(full()))), ids=lambda path: ".".join(map(str, path)))
def test_a_part_of_the_wrong_type_is_broken_and_named(path: tuple[t.Any, ...]) -> None:
    found = as_document(full())
    at(found, path[:-1])[path[-1]] = object()
    with pytest.raises(BlueGreenError) as caught:
        parse_record("shop", found)
    assert caught.value.__class__ is BrokenRecordError
    assert path == ("schema",) or str(path[-1]) in caught.value.message


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("app",), "shopping"),
        (("token",), True),
        (("lock", "expires_at"), "soon"),
        (("lock", "token"), "7"),
        (("lock",), None),
        (("release", "state"), "released"),
        (("release",), None),
        (("release", "steps"), {}),
        (("release", "in_doubt"), ["lb1", 5]),
    ],
)
def test_a_record_that_contradicts_itself_is_broken(path: tuple[t.Any, ...], wrong: t.Any) -> None:
    found = as_document(full())
    at(found, path[:-1])[path[-1]] = wrong
    with pytest.raises(BrokenRecordError):
        parse_record("shop", found)


@pytest.mark.parametrize(
    "path", [("app",), ("lock", "token"), ("lock", "expires_at"), ("freeze", "until"), ("release", "id")]
)
def test_a_missing_part_is_broken_and_named(path: tuple[t.Any, ...]) -> None:
    found = as_document(full())
    del at(found, path[:-1])[path[-1]]
    with pytest.raises(BrokenRecordError, match=path[-1]):
        parse_record("shop", found)


def test_a_newer_schema_is_not_touched() -> None:
    with pytest.raises(UnsupportedError, match=r"schema 2; expected 1.*Upgrade"):
        parse_record("shop", {"schema": 2, "anything": "else"})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["schema", "app", "lock", "release", "token"]), inner)
        ),
    )
)
def test_no_document_leads_to_another_error(found: t.Any) -> None:
    with contextlib.suppress(BrokenRecordError, UnsupportedError):
        assert parse_record("shop", found).app == "shop"


@pytest.mark.parametrize("app", ["shop", "a", "_a", "-a", "A.b-c_9", "x" * 200])
def test_the_name_of_an_app(app: str) -> None:
    assert checked_app(app) == app


@pytest.mark.parametrize("app", ["", ".", "..", ".a", "a/b", "../a", "a b", "a\n", "ä", "a\0", "x" * 201, "a.revert"])
def test_a_name_that_leads_elsewhere_is_invalid(app: str) -> None:
    with pytest.raises(InvalidError):
        checked_app(app)


@given(st.integers(0, 4_000_000_000_000_000))
def test_times_are_kept_to_the_microsecond(micros: int) -> None:
    assert abs(epoch(moment(micros / 1e6)) - micros / 1e6) < 2e-6


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2027-01-15T08:00:00Z", NOW),
        ("2027-01-15T08:00:00z", NOW),
        ("2027-01-15T08:00:00", NOW),
        ("2027-01-15 09:00:00+01:00", NOW),
        ("2027-01-15T08:00:00.5Z", NOW + 0.5),
        ("2027-01-15T08:00:00.1234567+00:00", NOW + 0.123456),
        ("2027-01-15", NOW - 8 * 3600),
    ],
)
def test_a_time_as_people_write_it(text: str, seconds: float) -> None:
    assert epoch(text) == pytest.approx(seconds, abs=1e-6)
