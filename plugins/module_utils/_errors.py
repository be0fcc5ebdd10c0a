# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors with a code that a playbook can decide on. Private to this collection."""

from __future__ import annotations

import typing as t

E = t.TypeVar("E", bound="BlueGreenError")


class BlueGreenError(Exception):
    """What was found, what was expected, and the next thing to do, on one line.

    ``details`` is returned to the playbook beside the code; it never holds a secret.
    """

    code: t.ClassVar[str] = "failed"

    def __init__(self, found: str, expected: str = "", todo: str = "", **details: t.Any) -> None:
        self.found = found
        self.expected = expected
        self.todo = todo
        self.details = details
        super().__init__(found)

    def __str__(self) -> str:
        return self.message

    def of(self: E, what: str) -> E:
        """The same error, named after the part of the work it befell."""
        if not self.found.startswith(what):
            self.found = f"{what}: {self.found}"
        return self

    @property
    def message(self) -> str:
        text = self.found
        if self.expected:
            text = f"{text}; expected {self.expected}"
        if self.todo:
            text = f"{text}. {self.todo}"
        return " ".join(text.split())


class InvalidError(BlueGreenError):
    """An option that cannot be right, whatever the routes say."""

    code = "invalid"


class UnsupportedError(BlueGreenError):
    """The provider, or its version, cannot do what is asked."""

    code = "unsupported"


class MissingError(BlueGreenError):
    """A part that must be there is not: a socket, a map entry, a backend, a library."""

    code = "missing"


class UnreachableError(BlueGreenError):
    """Nobody answers."""

    code = "unreachable"


class TimeLimitError(BlueGreenError):
    """It did not come to an end in the time given."""

    code = "timeout"


class RefusedError(BlueGreenError):
    """What we asked to take something new has said no, and goes on with what it has."""

    code = "refused"


class DeniedError(BlueGreenError):
    """We may not do it."""

    code = "denied"


class ConflictError(BlueGreenError):
    """Something is not as it was read, or as it was left: it has changed meanwhile."""

    code = "conflict"


class DriftError(BlueGreenError):
    """Two places that should say the same do not."""

    code = "drift"


class NotReadyError(BlueGreenError):
    """A colour or an endpoint that must be healthy is not."""

    code = "not_ready"


class NotVerifiedError(BlueGreenError):
    """The change was made, and reading it back shows something else."""

    code = "not_verified"


class ThresholdError(BlueGreenError):
    """What was watched went past the limit."""

    code = "threshold_exceeded"


class PartialError(BlueGreenError):
    """Some routes were lost in the change, and the others were kept where they were sent, as was asked for."""

    code = "partial"


class UndoFailedError(BlueGreenError):
    """A change failed, and so did putting it back: the route is in doubt."""

    code = "undo_failed"


class LockedError(BlueGreenError):
    """Another release is open, and holds the lock."""

    code = "locked"


class FrozenError(BlueGreenError):
    """A freeze is in force: no new release may begin."""

    code = "frozen"


class IncompleteError(BlueGreenError):
    """The inventory holds fewer load balancers than there are."""

    code = "incomplete"


class BrokenRecordError(BlueGreenError):
    """What is stored is no record of ours: truncated, of something else, or mended badly by hand."""

    code = "broken"
