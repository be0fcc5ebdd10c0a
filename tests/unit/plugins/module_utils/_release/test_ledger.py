# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import typing as t
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils._errors import (
    BlueGreenError,
    BrokenRecordError,
    ConflictError,
    FrozenError,
    InvalidError,
    LockedError,
)
from plugins.module_utils._release import ledger
from plugins.module_utils._release.ledger import Ending, Entry, Request
from plugins.module_utils._release.record import Record, document, moment, parse_record

from .fakes import NOW

NEW = Request(id="shop-1", owner="alice", version="1", ttl=60.0, stage="pre_deploy")
FIRST = int(NOW)


def begun(**options: t.Any) -> Record:
    return ledger.begin(Record("shop"), replace(NEW, **options), NOW)


def parked() -> Record:
    return ledger.step(begun(), FIRST, Entry(park=True), NOW + 1)


def closed(state: str = "released", **options: t.Any) -> Record:
    return ledger.finish(begun(), FIRST, Entry(), Ending(state, **options), NOW + 1)


def frozen() -> Record:
    return ledger.freeze(Record("shop"), "carol", "Holidays", moment(NOW + 100), NOW)


def fails(error: type[BlueGreenError], call: t.Callable[[], object]) -> str:
    with pytest.raises(BlueGreenError) as caught:
        call()
    assert caught.value.__class__ is error
    assert "\n" not in caught.value.message
    return caught.value.message


# --- Begin ------------------------------------------------------------------------------------------------


def test_a_new_release_takes_the_lock() -> None:
    record = begun(from_={"colour": "blue"}, to_={"colour": "green"}, routes={"lb1": []}, reason="why")
    release, lock = record.release, record.lock
    assert release is not None
    assert lock is not None
    assert (release.id, release.state, release.owner, release.version) == ("shop-1", "open", "alice", "1")
    assert (release.from_, release.to_, release.routes) == ({"colour": "blue"}, {"colour": "green"}, {"lb1": []})
    assert (release.started_at, release.stage) == (moment(NOW), "pre_deploy")
    assert release.sessions == [{"owner": "alice", "token": FIRST, "at": moment(NOW), "why": "began"}]
    assert (lock.release, lock.owner, lock.reason, lock.token) == ("shop-1", "alice", "why", FIRST)
    assert (lock.taken_at, lock.expires_at, lock.parked) == (moment(NOW), moment(NOW + 60), False)
    assert record.token == FIRST


@pytest.mark.parametrize("now", [NOW, NOW - 1000, 0.0])
def test_a_token_is_higher_than_any_before_whatever_the_clock_says(now: float) -> None:
    again = ledger.begin(closed(), replace(NEW, id="shop-2"), now)
    assert again.token == FIRST + 1
    assert ledger.begin(Record("shop"), NEW, NOW + 50).token == FIRST + 50


TAKEN_UP: list[tuple[str, t.Callable[[], Record], dict[str, t.Any], str]] = [
    ("by its id", begun, {"id": "shop-1", "named": True}, "resumed"),
    ("by its id when parked", parked, {"id": "shop-1", "named": True}, "resumed"),
    (
        "by its id in a freeze",
        lambda: replace(begun(), freeze=frozen().freeze),
        {"id": "shop-1", "named": True},
        "resumed",
    ),
    ("taken over", begun, {"take_over": "dead job"}, "took over: dead job"),
    ("taken over under another id", begun, {"id": "x", "named": True, "take_over": "y"}, "took over: y"),
    ("joined", parked, {"join": True}, "joined"),
    ("joined, version not said", parked, {"join": True, "version": None}, "joined"),
]


@pytest.mark.parametrize(
    ("before", "options", "why"), [case[1:] for case in TAKEN_UP], ids=[case[0] for case in TAKEN_UP]
)
def test_an_open_release_is_taken_up(before: t.Callable[[], Record], options: dict[str, t.Any], why: str) -> None:
    request = replace(Request(id="made", owner="bob", version="1"), **options)
    record = ledger.begin(before(), request, NOW + 5)
    assert record.release is not None
    assert record.lock is not None
    assert (record.release.id, record.release.owner, record.release.state) == ("shop-1", "alice", "open")
    assert (record.lock.owner, record.lock.token, record.lock.parked) == ("bob", FIRST + 5, False)
    assert record.lock.expires_at == moment(NOW + 5 + 900)
    assert record.release.sessions[1:] == [{"owner": "bob", "token": FIRST + 5, "at": moment(NOW + 5), "why": why}]
    taken = [
        {
            "release": "shop-1",
            "owner": "bob",
            "from": "alice",
            "reason": why[11:],
            "token": FIRST + 5,
            "at": moment(NOW + 5),
        }
    ]
    assert record.takeovers == (taken if why.startswith("took over") else [])


REFUSED: list[tuple[str, t.Callable[[], Record], dict[str, t.Any], type[BlueGreenError], str]] = [
    (
        "open",
        begun,
        {},
        LockedError,
        "the release shop-1 of alice is open since 2027-01-15T08:00:00.000000+00:00, at stage",
    ),
    ("how long", begun, {}, LockedError, "its lock holds until 2027-01-15T08:01:00.000000+00:00"),
    ("what to do", begun, {}, LockedError, "Resume it with bluegreen_release=shop-1, or end it with the playbook"),
    ("run out", lambda: begun(ttl=0.5), {}, LockedError, "its lock held until"),
    ("parked", parked, {}, LockedError, "its lock is parked"),
    ("other id", begun, {"id": "shop-9", "named": True}, LockedError, "shop-1"),
    ("made id alike", begun, {"id": "shop-1"}, LockedError, "shop-1"),
    ("join not parked", begun, {"join": True}, LockedError, "shop-1"),
    ("join other version", parked, {"join": True, "version": "2"}, LockedError, "shop-1"),
    ("join other id", parked, {"join": True, "id": "x", "named": True}, LockedError, "shop-1"),
    ("frozen", frozen, {}, FrozenError, "frozen by carol until 2027-01-15T08:01:40.000000+00:00: Holidays"),
    ("frozen, join", frozen, {"join": True}, FrozenError, "thaw"),
    ("over", closed, {"id": "shop-1", "named": True}, ConflictError, "the release shop-1 is over"),
    ("no time", begun, {"ttl": 0.0}, InvalidError, "ttl is 0"),
    ("endless", begun, {"ttl": float("inf")}, InvalidError, "ttl is inf"),
    ("not a time", begun, {"ttl": float("nan")}, InvalidError, "ttl is nan"),
    ("too long", Record, {"ttl": 1e300}, InvalidError, "ttl leads out of the calendar"),
]


@pytest.mark.parametrize(
    ("before", "options", "error", "says"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_a_release_is_refused(
    before: t.Callable[..., Record], options: dict[str, t.Any], error: type[BlueGreenError], says: str
) -> None:
    there = Record("shop") if before is Record else before()
    request = replace(Request(id="made", owner="bob", version="1"), **options)
    assert says in fails(error, lambda: ledger.begin(there, request, NOW + 1))


def test_a_release_is_not_resumed_with_another_version() -> None:
    says = fails(ConflictError, lambda: ledger.begin(begun(), replace(NEW, named=True, version="2"), NOW + 1))
    assert "is of version 1, and 2 is asked for" in says


def test_the_last_release_goes_into_a_short_history_without_its_steps() -> None:
    record = ledger.step(begun(), FIRST, Entry(step="s", passed=True), NOW)
    for number in range(30):
        assert record.lock is not None
        record = ledger.finish(record, record.token, Entry(), Ending("released"), NOW)
        record = ledger.begin(record, replace(NEW, id=f"next-{number}"), NOW)
    assert [each["id"] for each in record.history] == [f"next-{number}" for number in range(9, 29)]
    assert not any("steps" in each for each in record.history)
    over = ledger.finish(record, record.token, Entry(), Ending("released"), NOW)
    for name in ("next-9", "next-29"):
        request = replace(NEW, id=name, named=True)
        assert name in fails(ConflictError, lambda request=request: ledger.begin(over, request, NOW))


# --- Step and finish --------------------------------------------------------------------------------------


def steps(*entries: Entry) -> list[dict[str, t.Any]]:
    record = begun()
    for number, entry in enumerate(entries):
        record = ledger.step(record, FIRST, entry, NOW + number + 1)
    assert record.release is not None
    keys = ("stage", "step", "status", "intended", "passed", "result", "attempts")
    return [{key: document(each)[key] for key in keys} for each in record.release.steps]


def row(step: str, status: str, **more: t.Any) -> dict[str, t.Any]:
    plain = {"stage": "pre_deploy", "intended": None, "passed": None, "result": None, "attempts": 1}
    return {**plain, "step": step, "status": status, **more}


@pytest.mark.parametrize(
    ("entries", "rows"),
    [
        ([Entry()], []),
        ([Entry(next="a", intended={"x": 1})], [row("a", "intended", intended={"x": 1})]),
        (
            [Entry(next="a", intended={"x": 1}), Entry(step="a", passed=True, result={"y": 2})],
            [row("a", "done", intended={"x": 1}, passed=True, result={"y": 2})],
        ),
        ([Entry(step="a", passed=False)], [row("a", "failed", passed=False)]),
        ([Entry(step="a")], [row("a", "done")]),
        (
            [Entry(next="a"), Entry(step="a", passed=True, next="b", stage="switch")],
            [row("a", "done", passed=True), row("b", "intended", stage="switch")],
        ),
        ([Entry(next="a"), Entry(next="a", intended={"x": 1})], [row("a", "intended", intended={"x": 1}, attempts=2)]),
        ([Entry(step="a", passed=False), Entry(next="a")], [row("a", "intended", attempts=2)]),
        (
            [Entry(step="a", passed=False), Entry(step="a", passed=True)],
            [row("a", "done", passed=True, attempts=2)],
        ),
        ([Entry(step="a", passed=True), Entry(next="a")], [row("a", "done", passed=True), row("a", "intended")]),
        (
            [Entry(next="a"), Entry(next="a", stage="switch")],
            [row("a", "intended"), row("a", "intended", stage="switch")],
        ),
    ],
)
def test_steps_are_opened_and_closed(entries: list[Entry], rows: list[dict[str, t.Any]]) -> None:
    assert steps(*entries) == rows


def test_each_write_renews_the_lock_and_takes_it_out_of_the_park() -> None:
    record = ledger.step(parked(), FIRST, Entry(in_doubt=["lb1"]), NOW + 30)
    assert record.lock is not None
    assert record.release is not None
    assert (record.lock.renewed_at, record.lock.expires_at) == (moment(NOW + 30), moment(NOW + 90))
    assert (record.lock.parked, record.lock.taken_at) == (False, moment(NOW))
    for given_names, kept in ((None, ["lb1"]), (["lb2"], ["lb2"]), ([], [])):
        record = ledger.step(record, FIRST, Entry(in_doubt=given_names), NOW + 31)
        assert record.release is not None
        assert record.release.in_doubt == kept


def test_what_is_too_deep_is_left_out_and_that_is_said() -> None:
    """As an app may have answered: what could not be read again would cost the record."""
    deep: dict[str, t.Any] = {}
    for _level in range(500):
        deep = {"a": deep}
    record = ledger.step(begun(), begun().token, Entry(step="a", result=deep, evidence={"x": 1}), NOW)
    assert record.release
    assert (record.release.steps[0].result, record.release.steps[0].evidence) == ({"cut": True, "deeper": 40}, {"x": 1})


def test_after_the_highest_token_there_is_none() -> None:
    fails(BrokenRecordError, lambda: ledger.begin(Record("shop", token=2**63 - 1), Request(id="a", owner="b"), NOW))


@pytest.mark.parametrize(("length", "cut"), [(16 * 1024 - len('{"x": ""}'), False), (16 * 1024, True)])
def test_what_is_too_large_is_left_out_and_that_is_said(length: int, cut: bool) -> None:
    large = {"x": "y" * length}
    record = ledger.step(begun(), FIRST, Entry(step="a", result=large, evidence=large, next="b", intended=large), NOW)
    assert record.release is not None
    first, second = record.release.steps
    kept = {"cut": True, "bytes": length + 9} if cut else large
    assert (first.result, first.evidence, second.intended) == (kept, kept, kept)


@pytest.mark.parametrize("state", ledger.ENDINGS)
def test_a_finished_release_is_closed_and_its_lock_free(state: str) -> None:
    record = ledger.step(begun(), FIRST, Entry(next="a"), NOW)
    ending = Ending(state, "because", {"lb1": []}, 300.0)
    record = ledger.finish(record, FIRST, Entry(step="a", passed=True, stage="post_deploy"), ending, NOW + 9)
    release = record.release
    assert release is not None
    assert (record.lock, release.state, release.why, release.routes_at_end) == (None, state, "because", {"lb1": []})
    assert (release.finished_at, release.confirm_until) == (moment(NOW + 9), moment(NOW + 309))
    assert (release.stage, release.steps[0].status) == ("post_deploy", "done")
    assert ledger.begin(record, replace(NEW, id="shop-2"), NOW + 10).token == FIRST + 10


def test_an_aborted_release_is_closed_as_it_stands() -> None:
    record = ledger.abort(ledger.step(begun(), FIRST, Entry(next="a"), NOW), FIRST, "dead", NOW + 2)
    assert record.release is not None
    assert (record.lock, record.release.state, record.release.why) == (None, "aborted", "dead")
    assert record.release.steps[0].status == "intended"


@pytest.mark.parametrize(
    ("ending", "says"),
    [
        (Ending("open"), "state is 'open'"),
        (Ending("released", confirmation_period=-1.0), "confirmation_period is -1"),
        (Ending("released", confirmation_period=float("nan")), "confirmation_period is nan"),
        (Ending("released", confirmation_period=1e300), "confirmation_period leads out"),
    ],
)
def test_an_ending_that_cannot_be_right_is_invalid(ending: Ending, says: str) -> None:
    assert says in fails(InvalidError, lambda: ledger.finish(begun(), FIRST, Entry(), ending, NOW))


@pytest.mark.parametrize(
    ("record", "token", "says"),
    [
        (Record("shop"), 1, "there is no release"),
        (begun(), FIRST - 1, "alice has the release shop-1 since"),
        (begun(), FIRST + 1, f"expected token {FIRST}"),
        (closed(), FIRST, "the release shop-1 is released since 2027-01-15T08:00:01"),
        (
            ledger.begin(begun(), Request(id="x", owner="bob", take_over="dead job"), NOW + 7),
            FIRST,
            "bob has the release shop-1 since 2027-01-15T08:00:07.000000+00:00 (took over: dead job)",
        ),
    ],
)
def test_a_token_that_holds_no_lock_writes_nothing(record: Record, token: int, says: str) -> None:
    for write in (
        lambda: ledger.step(record, token, Entry(step="a"), NOW),
        lambda: ledger.finish(record, token, Entry(), Ending("released"), NOW),
        lambda: ledger.abort(record, token, "why", NOW),
    ):
        assert says in fails(ConflictError, write)


# --- Freeze -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("until", ["2027-01-15T08:01:40Z", "2027-01-15T08:01:40", "2027-01-15T09:01:40+01:00"])
def test_a_freeze_ends_by_itself(until: str) -> None:
    record = ledger.freeze(Record("shop"), "carol", "Holidays", until, NOW)
    assert fails(FrozenError, lambda: ledger.begin(record, NEW, NOW + 99))
    assert ledger.begin(record, NEW, NOW + 100).open


@pytest.mark.parametrize("stage", ledger.WAYS_HOME)
def test_a_freeze_keeps_nobody_from_going_home(stage: str) -> None:
    assert ledger.begin(frozen(), replace(NEW, stage=stage), NOW + 1).release is not None


def test_a_freeze_is_thawed_and_says_by_whom() -> None:
    record = ledger.thaw(frozen(), "dave", "urgent", NOW + 1)
    assert record.freeze is not None
    assert record.freeze.thawed == {"owner": "dave", "reason": "urgent", "at": moment(NOW + 1)}
    assert ledger.begin(record, NEW, NOW + 2).open
    assert ledger.thaw(record, "dave", None, NOW + 3) is record
    assert ledger.freeze(frozen(), "carol", "Holidays", moment(NOW + 100), NOW + 1) == frozen()
    assert ledger.freeze(record, "carol", "Holidays", moment(NOW + 100), NOW + 1) != record


@pytest.mark.parametrize(
    "until", ["", "soon", "2027-01-15T08:00:00Z", "2020-01-01", "9999999-01-01", "0001-01-01T00:00+23:00"]
)
def test_a_freeze_until_no_time_to_come_is_invalid(until: str) -> None:
    fails(InvalidError, lambda: ledger.freeze(Record("shop"), "carol", "why", until, NOW))


# --- How things stand -------------------------------------------------------------------------------------


def test_how_things_stand() -> None:
    nothing = ledger.standing(Record("shop"), NOW)
    assert [nothing[key] for key in ("record", "release", "lock", "freeze", "open", "age", "lock_left")] == [
        *(None, None, None, None, False, None, None)
    ]
    going = ledger.standing(begun(), NOW + 10)
    assert (going["open"], going["age"], going["lock_left"], going["confirmation_left"]) == (True, 10, 50, None)
    assert ledger.standing(begun(), NOW + 100)["lock_left"] == 0
    over = ledger.standing(closed(confirmation_period=30.0), NOW + 11)
    assert (over["open"], over["age"], over["lock_left"], over["confirmation_left"]) == (False, None, None, 20)
    assert ledger.standing(closed(confirmation_period=30.0), NOW + 50)["confirmation_left"] == 0
    assert ledger.standing(frozen(), NOW)["freeze"]["reason"] == "Holidays"
    assert ledger.standing(frozen(), NOW + 100)["freeze"] is None


@pytest.mark.parametrize(
    ("state", "left"), [("refused", 20), ("failed", 20), ("retired", 20), ("released", None), ("rolled_back", None)]
)
def test_a_later_release_ends_the_confirmation_period_only_if_it_moved_the_traffic(
    state: str, left: float | None
) -> None:
    again = ledger.begin(closed(confirmation_period=30.0), replace(NEW, id="shop-2"), NOW + 2)
    assert ledger.standing(again, NOW + 11)["confirmation_left"] == 20
    over = ledger.finish(again, again.token, Entry(), Ending(state), NOW + 3)
    assert ledger.standing(over, NOW + 11)["confirmation_left"] == left


def test_a_recovery_without_a_release_leaves_the_last_one_as_it_was() -> None:
    before = closed(confirmation_period=30.0)
    opened = ledger.begin(before, replace(NEW, id="recovery", from_={"colour": "green"}, to_={}), NOW + 2)
    assert ledger.standing(opened, NOW + 2)["release"]["id"] == "recovery"
    over = ledger.finish(opened, opened.token, Entry(), Ending("recovered"), NOW + 3)
    stands, stood = ledger.standing(over, NOW + 11), ledger.standing(before, NOW + 11)
    kept = ("id", "state", "from", "to", "confirm_until")
    assert [stands["release"][key] for key in kept] == [stood["release"][key] for key in kept]
    assert (stands["confirmation_left"], stands["record"]["release"]["state"]) == (20, "recovered")
    alone = ledger.begin(Record("shop"), replace(NEW, id="recovery"), NOW)
    alone = ledger.finish(alone, alone.token, Entry(), Ending("recovered"), NOW)
    assert ledger.standing(alone, NOW)["release"] is None


# --- Whatever happens, in whatever order ------------------------------------------------------------------

OWNERS = ("alice", "bob", "carol")
MOVES = st.lists(
    st.tuples(
        st.sampled_from(OWNERS),
        st.sampled_from(("begin", "resume", "take_over", "join", "step", "park", "finish", "abort")),
        st.integers(-5, 100),
    ),
    max_size=40,
)


def move(record: Record, request: Request, what: str, token: int, now: float) -> Record:
    if what == "resume" and record.release:
        return ledger.begin(record, replace(request, id=record.release.id, named=True), now)
    if what == "take_over":
        return ledger.begin(record, replace(request, take_over="why"), now)
    if what in ("begin", "resume", "join"):
        return ledger.begin(record, replace(request, join=what == "join"), now)
    if what == "finish":
        return ledger.finish(record, token, Entry(step="s"), Ending("released"), now)
    if what == "abort":
        return ledger.abort(record, token, "why", now)
    return ledger.step(record, token, Entry(step="s", passed=True, park=what == "park"), now)


@settings(max_examples=300, deadline=None)
@given(MOVES)
def test_no_stale_token_ever_writes_and_there_is_one_holder_at_most(moves: list[tuple[str, str, int]]) -> None:
    record, now = Record("shop"), NOW
    tokens = dict.fromkeys(OWNERS, 0)
    given_out: list[int] = []
    for number, (owner, what, pause) in enumerate(moves):
        now += pause
        begins = what in ("begin", "resume", "take_over", "join")
        holder = record.lock.token if record.lock else None
        try:
            after = move(record, Request(id=f"r{number}", owner=owner, ttl=10.0), what, tokens[owner], now)
        except (LockedError, ConflictError):
            assert begins or tokens[owner] != holder
            continue
        if begins:
            assert after.token > max(given_out, default=0)
            given_out.append(after.token)
            tokens[owner] = after.token
        else:
            assert tokens[owner] == holder == max(given_out)
        record = parse_record("shop", json.loads(json.dumps(document(after))))
        assert record == after
        holders = [name for name in OWNERS if record.lock and tokens[name] == record.lock.token]
        assert len(holders) == (1 if record.open else 0)
