# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What befalls a record in a DynamoDB table."""

from __future__ import annotations

import json
import shlex
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from plugins.module_utils._aws import client
from plugins.module_utils._errors import (
    BlueGreenError,
    BrokenRecordError,
    ConflictError,
    DeniedError,
    InvalidError,
    LockedError,
    MissingError,
    UnreachableError,
)
from plugins.module_utils._release import ledger
from plugins.module_utils._release.dynamodb import KIND
from plugins.module_utils._release.ledger import Request
from plugins.module_utils._release.record import Record
from plugins.module_utils._release.registry import build_store
from plugins.module_utils._release.store import Store, load, update
from tests.aws.handle import SECRET, Aws
from tests.unit.plugins.modules.process import run_module

TABLE = "releases"
ROUNDS = 20
KEY = {"app": {"S": "shop"}}
OLD, NEW = {"release": "old"}, {"release": "new"}


def make_table(aws: Aws, key: str = "app") -> None:
    aws.client("dynamodb").create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )


def options_of(aws: Aws, **more: Any) -> dict[str, Any]:
    """C(store), with all that the argument spec would add."""
    keys = {"access_key": "AKIDTEST", "secret_key": SECRET, "region": "us-east-1"}
    known = {name: option.get("default") for name, option in KIND.spec.items()}
    return {**known, "type": "dynamodb", "table": TABLE, "endpoint_url": aws.url, **keys, **more}


def store_at(aws: Aws, **more: Any) -> Store:
    return build_store({"store": options_of(aws, **more)}, "shop")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two attempts for each call, so that nobody waits half a minute for what fails for ever."""
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    monkeypatch.setattr(client, "_CLIENTS", {})


@pytest.fixture
def store(aws: Aws) -> Store:
    make_table(aws)
    return store_at(aws)


def item(aws: Aws) -> dict[str, Any]:
    """What is there, seen by somebody else."""
    found: dict[str, Any] = aws.client("dynamodb").get_item(TableName=TABLE, Key=KEY, ConsistentRead=True)
    return dict(found.get("Item", {}))


def asked(aws: Aws, action: str) -> int:
    return len(aws.calls("dynamodb", action))


# --- Who does not get through ------------------------------------------------------------------------------

FOR_EVER: list[tuple[Any, type[BlueGreenError], str]] = [
    ("Throttling", UnreachableError, "Rate exceeded (Throttling), after all attempts"),
    ({"code": "ProvisionedThroughputExceededException"}, UnreachableError, "Try again when less is going on"),
    ("500", UnreachableError, "InternalFailure"),
    ("html", UnreachableError, "Bad Gateway (502)"),
    ("reset", UnreachableError, "closed before we received a valid response"),
    ("ExpiredToken", DeniedError, "They may have expired"),
]


@pytest.mark.parametrize("case", FOR_EVER, ids=lambda case: str(case[0]))
@pytest.mark.parametrize("action", ["GetItem", "PutItem"])
def test_a_call_that_never_gets_through_says_why_and_leaves_the_old_record(
    aws: Aws, store: Store, action: str, case: tuple[Any, type[BlueGreenError], str]
) -> None:
    fault, error, said = case
    version = store.write(OLD, None)
    before = item(aws)
    aws.fail("dynamodb", action, fault, times=None)
    with pytest.raises(error) as caught:
        store.read() if action == "GetItem" else store.write(NEW, version)
    assert said in caught.value.message
    aws.clear_faults()
    assert item(aws) == before
    assert store.write(NEW, version)


@pytest.mark.parametrize("fault", ["Throttling", "500", "html", "reset"])
@pytest.mark.parametrize("action", ["GetItem", "PutItem"])
def test_a_call_that_fails_once_is_repeated(aws: Aws, store: Store, action: str, fault: str) -> None:
    aws.fail("dynamodb", action, fault)
    version = store.write(OLD, None)
    stored = store.read()
    assert stored is not None
    assert (stored.content, stored.version) == (OLD, version)
    assert asked(aws, action) == 2


def test_nobody_who_answers_is_unreachable_in_time(aws: Aws, store: Store) -> None:
    with pytest.raises(UnreachableError, match="endpoint_url and the network"):
        store_at(aws, endpoint_url="http://127.0.0.1:1").read()
    hanging = store_at(aws, timeout=0.2)
    aws.fail("dynamodb", None, "hang", times=None)
    try:
        for call in (hanging.read, lambda: hanging.write(OLD, None)):
            with pytest.raises(UnreachableError, match="Read timeout"):
                call()
    finally:
        aws.clear_faults()
    assert item(aws) == {}


# --- A write whose answer is lost --------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, None])
@pytest.mark.parametrize("first", [True, False])
def test_a_write_whose_answer_is_lost_is_known_by_its_version(
    aws: Aws, store: Store, first: bool, times: int | None
) -> None:
    """Repeated by the library, it meets itself: that is no conflict."""
    expected = None if first else store.write(OLD, None)
    aws.clear_calls()
    aws.fail("dynamodb", "PutItem", "after", times=times)
    version = store.write(NEW, expected)
    assert asked(aws, "PutItem") == 2
    aws.clear_faults()
    stored = store.read()
    assert stored is not None
    assert (stored.content, stored.version) == (NEW, version)
    assert store.write(OLD, version)


def test_a_lost_answer_when_somebody_else_wrote_first_is_a_conflict(aws: Aws, store: Store) -> None:
    version = store.write(OLD, None)
    theirs = store_at(aws, timeout=9.0).write({"release": "theirs"}, version)
    before = item(aws)
    aws.fail("dynamodb", "PutItem", "after")
    with pytest.raises(ConflictError, match=r"changed meanwhile; expected the content that was read"):
        store.write(NEW, version)
    assert item(aws) == before
    assert before["version"] == {"S": theirs}


def test_a_lost_answer_that_nobody_can_look_into_stays_lost(aws: Aws, store: Store) -> None:
    aws.fail("dynamodb", "PutItem", "after", times=None)
    aws.fail("dynamodb", "GetItem", "ExpiredToken", times=None)
    with pytest.raises(UnreachableError, match="put_item"):
        store.write(OLD, None)


@pytest.mark.parametrize("fault", ["after", "reset"])
def test_a_release_that_begins_without_an_answer_knows_whether_it_has(aws: Aws, store: Store, fault: str) -> None:
    aws.fail("dynamodb", "PutItem", fault, times=None)
    if fault == "after":
        assert update(store, begins("alice"))[1].open
    else:
        with pytest.raises(UnreachableError, match="The record does not show the write"):
            update(store, begins("alice"))
    aws.clear_faults()
    assert bool(load(store)[0].open) == (fault == "after")


# --- Two at once -------------------------------------------------------------------------------------------


def begins(owner: str) -> Callable[[Record], Record]:
    return lambda record: ledger.begin(record, Request(id=f"of-{owner}", owner=owner), time.time())


def begin(owner: str, mine: Store, together: threading.Barrier, ended: list[Any]) -> None:
    together.wait(30)
    try:
        ended.append(update(mine, begins(owner))[1])
    except BlueGreenError as error:
        ended.append(error)


def test_of_two_releases_that_begin_at_once_exactly_one_does(aws: Aws, store: Store) -> None:
    for number in range(ROUNDS):
        cell = {"name": f"shop-{number}"}
        together, ended = threading.Barrier(2), []  # type: ignore[var-annotated]
        both = [
            threading.Thread(target=begin, args=(owner, store_at(aws, **cell, timeout=timeout), together, ended))
            for owner, timeout in (("alice", 9.0), ("bob", 8.0))  # two connections
        ]
        for each in both:
            each.start()
        for each in both:
            each.join(60)
        begun = [one for one in ended if isinstance(one, Record)]
        assert [type(one) for one in ended if one not in begun] == [LockedError], ended
        assert load(store_at(aws, **cell))[0] == begun[0]


# --- What is there, or is not ------------------------------------------------------------------------------


def test_a_record_that_is_too_big_leaves_the_old_one(aws: Aws, store: Store) -> None:
    version = store.write(OLD, None)
    with pytest.raises(DeniedError, match=r"Item size .* expected at most 400 KiB\. The old record is untouched"):
        store.write({"release": "x" * 400 * 1024}, version)
    stored = store.read()
    assert stored is not None
    assert (stored.content, stored.version) == (OLD, version)
    assert store.write({"release": "x" * 390 * 1024}, version)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"record": {"S": '{"release": {"id"'}}, "it is no JSON"),
        ({"record": {"S": ""}}, "it is no JSON"),
        ({"record": {"S": "[" * 100_000}}, "it is nested"),
        ({"record": {"N": "1"}}, "has no text record"),
        ({"record": {"M": {"release": {"S": "old"}}}}, "has no text record"),
        ({}, "has no text record"),
        ({"record": {"S": "{}"}, "version": {"N": "1"}}, "has no text version"),
        ({"record": {"S": "{}"}, "version": {"S": ""}}, "has no text version"),
    ],
)
def test_a_broken_record_is_named_and_not_overwritten(
    aws: Aws, store: Store, attributes: Mapping[str, Any], said: str
) -> None:
    aws.client("dynamodb").put_item(TableName=TABLE, Item={**KEY, "version": {"S": "v1"}, **attributes})
    before = item(aws)
    for call in (store.read, lambda: update(store, begins("alice"))):
        with pytest.raises(BrokenRecordError, match=said) as caught:
            call()
        assert "delete-item --table-name releases" in caught.value.message
        assert "bluegreen.deploy.recover" in caught.value.message
    with pytest.raises(ConflictError):
        store.write(NEW, None)
    assert item(aws) == before


def test_a_record_that_was_deleted_in_between_is_a_conflict(aws: Aws, store: Store) -> None:
    version = store.write(OLD, None)
    aws.client("dynamodb").delete_item(TableName=TABLE, Key=KEY)
    with pytest.raises(ConflictError):
        store.write(NEW, version)
    assert store.read() is None


def test_a_table_that_is_missing_is_made_with_the_command_that_is_told(aws: Aws) -> None:
    store = store_at(aws)
    for call in (store.read, lambda: store.write(OLD, None)):
        with pytest.raises(MissingError, match=r"a table releases\. Make it with aws --region us-east-1") as caught:
            call()
    words = shlex.split(caught.value.message.partition("Make it with ")[2])
    assert words[words.index("dynamodb") :][:2] == ["dynamodb", "create-table"]
    flags = words[words.index("create-table") + 1 :]
    told = dict(zip(flags[::2], flags[1::2], strict=True))
    assert told == {
        "--table-name": TABLE,
        "--billing-mode": "PAY_PER_REQUEST",
        "--attribute-definitions": "AttributeName=app,AttributeType=S",
        "--key-schema": "AttributeName=app,KeyType=HASH",
    }
    make_table(aws)
    assert store.write(OLD, None)


def test_a_table_with_another_key_is_invalid(aws: Aws) -> None:
    make_table(aws, "name")
    store = store_at(aws)
    for call in (store.read, lambda: store.write(OLD, None)):
        with pytest.raises(InvalidError, match="expected a table whose whole key is app, a string"):
            call()


@pytest.mark.parametrize("action", ["GetItem", "PutItem"])
def test_who_may_not_is_told_the_action(aws: Aws, store: Store, action: str) -> None:
    version = store.write(OLD, None)
    before = item(aws)
    words = f"User: arn:aws:iam::123456789012:user/ci is not authorized to perform: dynamodb:{action} on resource: x"
    aws.fail("dynamodb", action, {"code": "AccessDeniedException", "status": 400, "message": words}, times=None)
    with pytest.raises(DeniedError, match=f"not authorized to perform: dynamodb:{action}"):
        store.read() if action == "GetItem" else store.write(NEW, version)
    aws.clear_faults()
    assert item(aws) == before


def test_options_that_cannot_be_right_are_invalid(aws: Aws) -> None:
    for options in ({"table": None}, {"table": ""}, {"timeout": 0.0}, {"secret_key": None}):
        with pytest.raises(InvalidError):
            store_at(aws, **options)


# --- All of it ---------------------------------------------------------------------------------------------


def test_what_is_in_the_item(aws: Aws, store: Store) -> None:
    version = store.write({"release": {"id": "r1"}}, None)
    found = item(aws)
    assert json.loads(found.pop("record")["S"]) == {"release": {"id": "r1"}}
    assert found == {**KEY, "version": {"S": version}}


def test_the_module_keeps_its_record_there_and_tells_no_secret(aws: Aws, store: Store) -> None:
    token = "not-a-secret-token"
    options = options_of(aws, session_token=token)
    given = {"app": "shop", "store": {name: value for name, value in options.items() if value is not None}}
    begun = run_module("release", **given, action="begin", owner="alice", _ansible_verbosity=4)
    done = run_module("release", **given, action="finish", token=begun["token"], state="released")
    read = run_module("release", **given)
    assert (begun["open"], done["open"], read["release"]["state"]) == (True, False, "released")
    aws.fail("dynamodb", None, "ExpiredToken", times=None)
    refused = run_module("release", **given)
    assert refused["failure"] == {"code": "denied"}
    assert "expired" in refused["msg"]
    told = str([begun, done, read, refused])
    assert SECRET not in told
    assert token not in told


def test_a_change_costs_three_calls(aws: Aws, store: Store) -> None:
    """One to read, one to write, and one that sees whether it was written."""
    update(store, begins("alice"))
    assert [call.action for call in aws.calls("dynamodb") if call.action != "CreateTable"] == [
        "GetItem",
        "PutItem",
        "GetItem",
    ]
