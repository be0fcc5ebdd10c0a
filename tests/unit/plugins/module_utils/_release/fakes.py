# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store in memory, and ways in which one fails."""

from __future__ import annotations

import typing as t

from plugins.module_utils._errors import BlueGreenError, ConflictError
from plugins.module_utils._release.store import Store, Stored, as_text

NOW = 1_800_000_000.0


class FakeStore(Store):
    """Refuses a write whose version is not the one there."""

    def __init__(self, content: t.Any = None) -> None:
        super().__init__("shop", "the cell of shop", "Mend the cell")
        self.content = content
        self.writes = 0

    def read(self) -> Stored | None:
        return None if self.content is None else Stored(self.content, str(self.writes))

    def write(self, content: dict[str, t.Any], expected: str | None) -> str:
        as_text(content)
        if expected != (None if self.content is None else str(self.writes)):
            raise ConflictError("the cell has changed")
        self.writes += 1
        self.content = content
        return str(self.writes)


class Around(Store):
    """Another store, some of whose writes go wrong."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner.app, inner.place, inner.mend)
        self.inner = inner
        self.asked = 0

    def read(self) -> Stored | None:
        return self.inner.read()

    def write(self, content: dict[str, t.Any], expected: str | None) -> str:
        self.asked += 1
        return self.inner.write(content, expected)


class Lossy(Around):
    """Says that it has written, and has not."""

    def write(self, content: dict[str, t.Any], expected: str | None) -> str:
        self.asked += 1
        return "written"


class Refusing(Around):
    """Somebody else always wrote first."""

    def write(self, content: dict[str, t.Any], expected: str | None) -> str:
        self.asked += 1
        raise ConflictError("the cell has changed")


class Mute(Around):
    """Its answer to a write is an error; whether it has written first can be chosen."""

    def __init__(self, inner: Store, error: BlueGreenError, writes: bool) -> None:
        super().__init__(inner)
        self.error = error
        self.does_write = writes

    def write(self, content: dict[str, t.Any], expected: str | None) -> str:
        self.asked += 1
        if self.does_write:
            self.inner.write(content, expected)
        raise self.error


class Gone(Mute):
    """After a write without an answer it answers nothing at all."""

    def read(self) -> Stored | None:
        if self.asked:
            raise self.error
        return super().read()


class Racing(Around):
    """Others write between our reading and our writing, ``times`` times, and once after it."""

    def __init__(self, inner: Store, other: t.Callable[[], object], times: int, after: bool = False) -> None:
        super().__init__(inner)
        self.other = other
        self.times = times
        self.after = after

    def write(self, content: dict[str, t.Any], expected: str | None) -> str:
        self.asked += 1
        if self.asked <= self.times:
            self.other()
        version = self.inner.write(content, expected)
        if self.after:
            self.other()
        return version
