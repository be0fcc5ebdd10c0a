# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One question to an API for all who want to know the same at the same moment. Private to this collection."""

from __future__ import annotations

import threading
import typing as t

from .._wait import SYSTEM_CLOCK, Clock

T = t.TypeVar("T")

FRESH = 0.25
"""Seconds for which an answer counts as what is there."""


class Shared(t.Generic[T]):
    """An answer and its age, for any number of threads."""

    def __init__(self, ask: t.Callable[[], T], clock: Clock = SYSTEM_CLOCK) -> None:
        self._ask, self._clock = ask, clock
        self._lock = threading.Lock()
        self._answers: list[T] = []
        self._at = 0.0
        self._turn, self._outdated = 0, 0

    def read(self, seen: int) -> tuple[int, T]:
        """An answer of a later turn than the one ``seen``, and which it is; asked for anew unless it is fresh."""
        with self._lock:
            if self._turn <= max(seen, self._outdated) or self._clock.now() - self._at > FRESH:
                self._asked()
            return self._turn, self._answers[0]

    def outdated(self) -> None:
        """What was asked before now does not count any more, for anybody."""
        self._outdated = self._turn

    def first(self) -> T:
        """The answer that there is, of whatever age."""
        with self._lock:
            if not self._answers:
                self._asked()
            return self._answers[0]

    def _asked(self) -> None:
        at = self._clock.now()
        self._answers = [self._ask()]
        self._turn, self._at = self._turn + 1, at


class Look(t.Generic[T]):
    """What one of them has seen."""

    def __init__(self, shared: Shared[T], clock: Clock = SYSTEM_CLOCK) -> None:
        self._shared, self._clock = shared, clock
        self._turn, self._at = 0, float("-inf")

    def again(self) -> T:
        """What is there now."""
        self._turn, answer = self._shared.read(self._turn)
        self._at = self._clock.now()
        return answer

    def once(self) -> T:
        """What does not change, asked for by the first who wants to know."""
        return self._shared.first()

    def is_fresh(self) -> bool:
        """Whether what was seen last still counts as what is there."""
        return self._clock.now() - self._at <= FRESH

    def outdated(self) -> None:
        """What was asked before now does not count any more."""
        self._shared.outdated()
        self._at = float("-inf")
