# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A record in an item of a DynamoDB table. Private to this collection.

Source: docs.aws.amazon.com/amazondynamodb/latest/developerguide, "Constraints" for the size, "Condition expressions".
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
import typing as t

from .._aws.client import Aws, CodedError, connect
from .._aws.connection import AWS_SPEC
from .._errors import (
    BlueGreenError,
    BrokenRecordError,
    ConflictError,
    DeniedError,
    InvalidError,
    MissingError,
    UnreachableError,
)
from .._json import parse_json
from .record import Json
from .store import Store, Stored, StoreKind, as_text

KEY = "app"
RECORD = "record"
VERSION = "version"
LARGEST = 400
"""KiB of an item, the names of its attributes included."""

CHANGED = "ConditionalCheckFailedException"
TOO_BIG = "Item size"
WRONG_KEY = " key "


class DynamoDbStore(Store):
    """One item. Each write gives it a version of its own, so that whoever wrote can tell whether it is still theirs."""

    def __init__(self, app: str, aws: Aws, table: str, name: str, command: t.Sequence[str]) -> None:
        self._aws, self._table = aws, table
        self._key = {KEY: {"S": name}}
        self._create = shlex.join(
            [
                *(*command, "create-table", "--table-name", table, "--billing-mode", "PAY_PER_REQUEST"),
                *("--attribute-definitions", f"AttributeName={KEY},AttributeType=S"),
                *("--key-schema", f"AttributeName={KEY},KeyType=HASH"),
            ]
        )
        delete = shlex.join([*command, "delete-item", "--table-name", table, "--key", json.dumps(self._key)])
        super().__init__(
            app,
            f"item {name} of DynamoDB table {table}",
            f"Mend its {RECORD}, and give it another {VERSION}; or delete it with {delete}, and run the playbook "
            "bluegreen.deploy.recover",
        )

    def read(self) -> Stored | None:
        item = self._item()
        if item is None:
            return None
        text, version = (item.get(name, {}).get("S") for name in (RECORD, VERSION))
        if text is None or not version:
            lacking = RECORD if text is None else VERSION
            raise BrokenRecordError(f"{self.place} has no text {lacking}", "a whole record", self.mend)
        try:
            return Stored(parse_json(text), version)
        except ValueError as error:
            raise BrokenRecordError(f"{self.place}: {error}", "a whole record", self.mend) from error

    def write(self, content: Json, expected: str | None) -> str:
        """A conflict, too, may be with our own write, whose answer was lost and which was then repeated."""
        version = secrets.token_hex(16)
        try:
            self._put(as_text(content), version, expected)
        except (ConflictError, UnreachableError) as error:
            if not self._holds(version, error):
                raise
        return version

    def _put(self, text: str, version: str, expected: str | None) -> None:
        condition: Json = {
            "ConditionExpression": "attribute_not_exists(#name)" if expected is None else "#name = :expected",
            "ExpressionAttributeNames": {"#name": KEY if expected is None else VERSION},
        }
        if expected is not None:
            condition["ExpressionAttributeValues"] = {":expected": {"S": expected}}
        item = {**self._key, RECORD: {"S": text}, VERSION: {"S": version}}
        try:
            with self._told():
                self._aws.call("dynamodb", "put_item", TableName=self._table, Item=item, **condition)
        except CodedError as error:
            if error.told != CHANGED:
                raise
            raise ConflictError(
                f"{self.place} has changed meanwhile", "the content that was read", "Read it again"
            ) from error
        except InvalidError as error:
            if TOO_BIG not in error.found:
                raise
            raise DeniedError(
                f"{self.place} does not take {len(text)} bytes: {error.found}",
                f"at most {LARGEST} KiB",
                "The old record is untouched. Delete what you need no more of its history",
            ) from error

    def _holds(self, version: str, failure: BlueGreenError) -> bool:
        """Whether a write that failed like that is there all the same."""
        try:
            item = self._item() or {}
        except BlueGreenError as error:
            raise failure from error
        return bool(item.get(VERSION) == {"S": version})

    def _item(self) -> Json | None:
        with self._told():
            found = self._aws.call("dynamodb", "get_item", TableName=self._table, Key=self._key, ConsistentRead=True)
        return found.get("Item")

    @contextlib.contextmanager
    def _told(self) -> t.Iterator[None]:
        try:
            yield
        except MissingError as error:
            raise MissingError(error.found, f"a table {self._table}", f"Make it with {self._create}") from error
        except InvalidError as error:
            if WRONG_KEY in error.found:
                error.expected = f"a table whose whole key is {KEY}, a string, as {self._create} makes it"
            raise


def _command(options: t.Mapping[str, t.Any]) -> list[str]:
    named = (("--region", "region"), ("--profile", "profile"), ("--endpoint-url", "endpoint_url"))
    return ["aws", *(word for flag, name in named if options[name] for word in (flag, options[name])), "dynamodb"]


def _build(app: str, options: t.Mapping[str, t.Any]) -> Store:
    if not options["table"]:
        raise InvalidError("store.table is not set", "the name of a DynamoDB table")
    aws = connect({**options, "validate_certs": options["validate_certs"] is not False})
    return DynamoDbStore(app, aws, options["table"], options["name"] or app, _command(options))


KIND = StoreKind(
    "dynamodb",
    {
        **AWS_SPEC,
        "validate_certs": {"type": "bool"},  # stores share it, and for another one its default is in the environment
        "table": {"type": "str"},
        "name": {"type": "str"},
    },
    _build,
)
