# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a record is kept: a cell that is written only if nobody else wrote meanwhile. Private to this collection."""

from __future__ import annotations

import abc
import json
import secrets
import typing as t
from dataclasses import dataclass, replace

from .._errors import (
    BlueGreenError,
    BrokenRecordError,
    ConflictError,
    InvalidError,
    NotVerifiedError,
    TimeLimitError,
    UnreachableError,
)
from .._json import DEEPEST, is_deeper
from .record import Json, Record, document, parse_record

TRIES = 10
"""How often a write that lost a race is made anew."""

MARKS = 20
"""Marks of writes that a record keeps: as many may follow ours before we look."""

LOOK_FIRST = "Look at the release with the playbook bluegreen.deploy.status before it is tried again"


@dataclass(frozen=True)
class Stored:
    """What a store holds, and the version that names this content when it is replaced."""

    content: t.Any
    version: str


class Store(abc.ABC):
    """One app's cell. Knows nothing of locks, tokens or releases."""

    def __init__(self, app: str, place: str, mend: str) -> None:
        self.app = app
        self.place = place
        """What messages call it."""
        self.mend = mend
        """What to do about a content that is no record."""

    @abc.abstractmethod
    def read(self) -> Stored | None:
        """What is there now. None: nothing yet. Raises ``broken``, ``denied``, ``unreachable`` or ``timeout``."""

    @abc.abstractmethod
    def write(self, content: Json, expected: str | None) -> str:
        """Replace the content whose version is ``expected``; None: there must be none. Returns the new version.

        Raises ``conflict`` if something else is there, and ``denied`` if it may not be written: then nothing was.
        After ``timeout`` or ``unreachable`` it may have been.
        """


@dataclass(frozen=True)
class StoreKind:
    """A kind of store: its options within C(store), and what makes one."""

    name: str
    spec: dict[str, t.Any]
    build: t.Callable[[str, t.Mapping[str, t.Any]], Store]


def load(store: Store) -> tuple[Record, str | None]:
    """The record and its version; an empty one without a version where there is none yet."""
    stored = store.read()
    if stored is None:
        return Record(store.app), None
    try:
        return parse_record(store.app, stored.content), stored.version
    except BrokenRecordError as error:
        error.todo = store.mend
        raise error.of(store.place) from error
    except BlueGreenError as error:
        raise error.of(store.place) from error


def update(store: Store, change: t.Callable[[Record], Record]) -> tuple[Record, Record]:
    """Apply the pure ``change``, on what others wrote meanwhile if need be; the record before and after.

    Whether it was written is read back, whatever the store answered. What changes nothing writes nothing.
    """
    mark = secrets.token_hex(8)
    found, version = load(store)
    for _attempt in range(TRIES):
        changed = change(found)
        if changed == found:
            return found, found
        changed = replace(changed, writes=[*found.writes, mark][-MARKS:])
        _refuse_unreadable(store, changed)
        failure = _failure(store, document(changed), version)
        seen, version = _look_after(store, failure)
        if mark in seen.writes:
            return found, changed
        if not isinstance(failure, ConflictError):
            raise failure
        found = seen
    raise ConflictError(f"{store.place}: others wrote first {TRIES} times", "to be alone for a moment", "Run it again")


def _refuse_unreadable(store: Store, changed: Record) -> None:
    """What could not be read again must not take the place of what can."""
    try:
        parse_record(store.app, document(changed))
    except BrokenRecordError as error:
        raise InvalidError(
            f"{store.place}: what is to be written would be no record: {error.found}",
            error.expected or "a value of its type",
            "Nothing was written. Correct what is given to the module release",
        ) from error


def _failure(store: Store, content: Json, version: str | None) -> BlueGreenError:
    """Write; what to raise if the content does not show it."""
    try:
        store.write(content, version)
    except ConflictError as error:
        return error
    except (TimeLimitError, UnreachableError) as error:
        error.todo = f"The record does not show the write. {error.todo or LOOK_FIRST}"
        return error.of(store.place)
    return NotVerifiedError(
        f"{store.place}: what was written is not there", "the record as it was written", "See who else replaces it"
    )


def _look_after(store: Store, failure: BlueGreenError) -> tuple[Record, str | None]:
    try:
        return load(store)
    except (TimeLimitError, UnreachableError) as error:
        what = "answered" if isinstance(failure, NotVerifiedError) else "did not answer"
        error.found = f"{error.found}, after a write that the store {what}: it may have been written"
        error.todo = LOOK_FIRST
        raise error.of(store.place) from failure


def as_text(content: Json) -> str:
    """The document as text. No newline ends it: a part of it is then never a whole document."""
    if is_deeper(content, DEEPEST):
        raise InvalidError("it is nested too deep", f"{DEEPEST} levels at most")
    try:
        return json.dumps(content, indent=1, allow_nan=False)
    except ValueError as error:
        raise InvalidError("a number is not finite", "numbers that JSON can hold") from error
