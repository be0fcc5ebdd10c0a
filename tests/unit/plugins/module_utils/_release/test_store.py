# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from plugins.module_utils._errors import (
    BlueGreenError,
    BrokenRecordError,
    ConflictError,
    InvalidError,
    LockedError,
    NotVerifiedError,
    TimeLimitError,
    UnreachableError,
    UnsupportedError,
)
from plugins.module_utils._json import DEEPEST
from plugins.module_utils._release import ledger
from plugins.module_utils._release.ledger import Entry, Request
from plugins.module_utils._release.record import Record, document
from plugins.module_utils._release.store import MARKS, TRIES, Store, as_text, load, update

from .fakes import NOW, Around, FakeStore, Gone, Lossy, Mute, Racing, Refusing


def begins(owner: str = "alice") -> t.Callable[[Record], Record]:
    return lambda record: ledger.begin(record, Request(id=f"of-{owner}", owner=owner), NOW)


def noted(name: str) -> t.Callable[[Record], Record]:
    """A change that anybody may make, and that others' changes do not hinder."""
    return lambda record: replace(record, takeovers=[*record.takeovers, {"name": name}])


def names(store: Store) -> list[str]:
    return [each["name"] for each in load(store)[0].takeovers]


def fails(error: type[BlueGreenError], call: t.Callable[[], object]) -> str:
    with pytest.raises(BlueGreenError) as caught:
        call()
    assert caught.value.__class__ is error
    return caught.value.message


def test_a_change_is_written_and_returned_with_what_was_before() -> None:
    store = FakeStore()
    before, after = update(store, begins())
    assert (before, after) == (Record("shop"), load(store)[0])
    assert after.lock is not None
    assert after.lock.owner == "alice"


def test_what_changes_nothing_writes_nothing() -> None:
    store = FakeStore()
    assert update(store, lambda record: record) == (Record("shop"), Record("shop"))
    assert store.writes == 0


def test_a_change_that_is_refused_writes_nothing() -> None:
    store = FakeStore()
    update(store, begins())
    assert "of-alice" in fails(LockedError, lambda: update(store, begins("bob")))
    assert store.writes == 1


@pytest.mark.parametrize("times", [0, 1, TRIES - 1])
def test_a_lost_race_is_run_again_on_what_the_winner_left(times: int) -> None:
    inner = FakeStore()
    store = Racing(inner, lambda: update(inner, noted("other")), times)
    update(store, noted("ours"))
    assert names(inner) == ["other"] * times + ["ours"]


def test_races_are_lost_only_so_often() -> None:
    inner = FakeStore()
    store = Racing(inner, lambda: update(inner, noted("other")), TRIES)
    assert f"others wrote first {TRIES} times" in fails(ConflictError, lambda: update(store, noted("ours")))
    assert names(inner) == ["other"] * TRIES


def test_a_change_that_the_winner_forbids_is_refused() -> None:
    inner = FakeStore()
    fails(LockedError, lambda: update(Racing(inner, lambda: update(inner, begins("bob")), 1), begins()))
    assert load(inner)[0].token == int(NOW)


def test_another_write_right_after_ours_does_not_hide_ours() -> None:
    inner = FakeStore()
    _before, after = update(Racing(inner, lambda: update(inner, noted("other")), 0, after=True), noted("ours"))
    assert [each["name"] for each in after.takeovers] == ["ours"]
    assert names(inner) == ["ours", "other"]


def test_a_store_that_always_refuses_is_a_conflict() -> None:
    store = Refusing(FakeStore())
    fails(ConflictError, lambda: update(store, begins()))
    assert store.asked == TRIES


def test_a_lost_write_is_not_verified() -> None:
    store = Lossy(FakeStore())
    assert "what was written is not there" in fails(NotVerifiedError, lambda: update(store, begins()))
    assert store.asked == 1


@pytest.mark.parametrize("error", [TimeLimitError("no answer"), UnreachableError("gone"), ConflictError("ours, twice")])
def test_a_write_that_was_made_counts_whatever_the_store_answered(error: BlueGreenError) -> None:
    inner = FakeStore()
    _before, after = update(Mute(inner, error, writes=True), begins())
    assert (after, inner.writes) == (load(inner)[0], 1)


@pytest.mark.parametrize("error", [TimeLimitError, UnreachableError])
def test_a_write_without_an_answer_that_is_not_there_is_an_error(error: type[BlueGreenError]) -> None:
    inner = FakeStore()
    message = fails(error, lambda: update(Mute(inner, error("no answer"), writes=False), begins()))
    assert message.startswith("the cell of shop: no answer. The record does not show the write. Look at the release")
    assert inner.content is None


@pytest.mark.parametrize("writes", [True, False])
def test_who_cannot_know_whether_it_was_written_is_told_so_and_nobody_else_begins(writes: bool) -> None:
    inner = FakeStore()
    store = Gone(inner, TimeLimitError("no answer"), writes)
    message = fails(TimeLimitError, lambda: update(store, begins()))
    assert "it may have been written. Look at the release with the playbook bluegreen.deploy.status" in message
    if writes:
        fails(LockedError, lambda: update(inner, begins("bob")))
    else:
        assert update(inner, begins("bob"))[1].open


def test_marks_are_kept_only_for_a_while() -> None:
    store = FakeStore()
    for number in range(MARKS + 5):
        update(store, noted(str(number)))
    assert len(load(store)[0].writes) == MARKS


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        ({"schema": 1}, BrokenRecordError, "the cell of shop: its record has no app. Mend the cell"),
        ([], BrokenRecordError, "the cell of shop: it is no record of releases. Mend the cell"),
        ({"schema": 99}, UnsupportedError, "the cell of shop: the record has schema 99"),
    ],
)
def test_what_is_no_record_is_never_overwritten(content: t.Any, error: type[BlueGreenError], says: str) -> None:
    store = FakeStore(content)
    assert fails(error, lambda: update(store, begins())).startswith(says)
    assert (store.content, store.writes) == (content, 0)


def test_a_number_that_json_cannot_hold_is_invalid() -> None:
    store = FakeStore()
    update(store, begins())
    entry = Entry(step="a", result={"x": float("nan")})
    fails(InvalidError, lambda: update(store, lambda record: ledger.step(record, record.token, entry, NOW)))
    assert store.writes == 1


def test_no_part_of_the_text_is_a_whole_document() -> None:
    text = as_text(document(update(Around(FakeStore()), begins())[1]))
    assert not text.endswith("\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda record: replace(record, token=2**63),
        lambda record: replace(record, history=["x"]),
        lambda record: replace(record, more={"deep": _nested(DEEPEST)}),
        lambda record: ledger.begin(record, Request(id="a", owner="alice", routes={"lb1": "x"}), NOW),
        lambda record: ledger.begin(record, Request(id="a", owner="alice", to_={"colour": ["green"]}), NOW),
    ],
)
def test_what_could_not_be_read_again_is_not_written(change: t.Callable[[Record], Record]) -> None:
    store = FakeStore()
    update(store, noted("a"))
    fails(InvalidError, lambda: update(store, change))
    assert names(store) == ["a"]


def _nested(levels: int) -> t.Any:
    return {"a": _nested(levels - 1)} if levels else 0
