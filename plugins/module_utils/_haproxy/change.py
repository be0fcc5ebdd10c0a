# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telling servers what they are to do, and waiting where somebody would lose by haste. Private to this collection."""

from __future__ import annotations

import typing as t

from .._errors import DeniedError, NotReadyError
from .._wait import until
from . import trial
from .frontend import queued
from .members import Member
from .pool import Look
from .runtime_api import RuntimeApi


class Change:
    """``timeout`` is in seconds, for each wait."""

    def __init__(self, api: RuntimeApi, look: t.Callable[[], Look], timeout: float) -> None:
        self._api, self._look, self._timeout = api, look, timeout

    def tell(self, *commands: str) -> None:
        objections = [(c, answer) for c, answer in zip(commands, self._api.ask(*commands)) if answer]
        if objections:
            command, answer = objections[0]
            raise DeniedError(f"HAProxy answers {answer!r} to {command!r}", "no objection")

    def try_out(self, entrants: t.Sequence[Member]) -> Look:
        """Let those that come out of maintenance be checked; who was not in time is taken for up, as HAProxy does."""
        self.tell(*trial.begin(entrants))
        return self._when(lambda look: trial.is_over(entrants, look.members))[0]

    def prove(self, colours: t.Sequence[str], *, patient: bool = True) -> None:
        """Wait until HAProxy itself would send a request to each of the colours, as its checks have told.

        Whoever was not checked in time is taken for up. Without patience only the checks are waited for, and not that
        somebody who is down comes up.
        """
        look, _all = self._when(lambda look: not (_unproven if patient else _undecided)(colours, look))
        down = [colour for colour in colours if not any(m.takes and m.is_up for m in look.of(colour))]
        if down:
            found = f"came up within {self._timeout:g} s" if patient else "is up"
            raise NotReadyError(
                f"no server of {down[0]} {found} ({'; '.join(m.why_not() for m in look.of(down[0])[:3])})",
                "one that is up",
                f"Start {down[0]}, and see in HAProxy's status why its checks fail",
            )

    def let_queues_pass(self, backends: t.Collection[str]) -> None:
        """Whoever is queued in a backend whose servers are taken out waits in vain: give them the time."""
        self._when(lambda look: not queued(look, backends))

    def _when(self, so: t.Callable[[Look], bool]) -> tuple[Look, bool]:
        return until(self._look, so, timeout=self._timeout, interval=0.05)


def _unproven(colours: t.Sequence[str], look: Look) -> list[str]:
    """The colours none of whose servers is up for certain."""
    return [c for c in colours if not any(m.takes and m.is_up and not m.awaits_check for m in look.of(c))]


def _undecided(colours: t.Sequence[str], look: Look) -> list[str]:
    """Those of them of which a check may still tell better."""
    return [c for c in _unproven(colours, look) if any(m.takes and m.awaits_check for m in look.of(c))]
