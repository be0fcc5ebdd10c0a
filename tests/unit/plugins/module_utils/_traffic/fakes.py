# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A route in memory, which fails when it is told to."""

from __future__ import annotations

import typing as t

from plugins.module_utils._errors import ConflictError
from plugins.module_utils._traffic.router import Activity, Capabilities, Counted, Router
from plugins.module_utils._traffic.split import Split

COLOURS = ("blue", "green")
BLUE, GREEN = Split.only(COLOURS, "blue"), Split.only(COLOURS, "green")


def green(percent: float) -> Split:
    return Split.parse(COLOURS, {"green": percent})


class FakeRouter(Router):
    """``log`` gets (name, split) of each change, ``raises`` says what the next calls of a method raise."""

    capabilities = Capabilities(finest_step=100, sticky=True, counts_connections=True, survives_reload=True)

    def __init__(self, split: Split | None = BLUE, name: str = "", log: list[t.Any] | None = None) -> None:
        self.split, self.name = split, name
        self.log = [] if log is None else log
        self.drifts: tuple[str, ...] = ()
        self.ready = dict.fromkeys(COLOURS, 2)
        self.busy = dict.fromkeys(COLOURS, 0)
        self.sockets = dict.fromkeys(COLOURS, 0)
        self.raises: dict[str, list[Exception | None]] = {}
        self.verdicts: list[bool | None] = []
        self.at_apply: t.Callable[[], object] = lambda: None
        self.moves_before_it_fails = False
        self.by_itself: str | None = None
        self.stands: bool | None = None

    def _may_fail(self, method: str) -> None:
        queue = self.raises.get(method)
        error = queue.pop(0) if queue else None
        if error:
            raise error

    def read(self) -> Split | None:
        self._may_fail("read")
        return self.split

    def drift(self) -> tuple[str, ...]:
        return self.drifts

    def check(self, wanted: Split) -> None:
        self._may_fail("check")

    def apply(self, wanted: Split, expected: Split | None, live: str | None = None) -> None:
        self.at_apply()
        if self.split != expected:
            raise ConflictError(f"the split is {self.split}", str(expected))
        if self.moves_before_it_fails:
            self.split = wanted
        self._may_fail("apply")
        self.log.append((self.name, wanted))
        self.split, self.drifts = wanted, ()

    def verify(self, wanted: Split) -> bool | None:
        self._may_fail("verify")
        return self.verdicts.pop(0) if self.verdicts else self.split == wanted

    def as_left(self) -> bool | None:
        return self.stands

    def changed_by_itself(self, since: float) -> str | None:
        return self.by_itself

    def by_hand(self, wanted: Split) -> str:
        self._may_fail("by_hand")
        return f"move {self.name} to {wanted}"

    def observe(self) -> dict[str, Activity] | None:
        self._may_fail("observe")
        return {c: Activity(2, self.ready[c], Counted(self.busy[c] + self.sockets[c], 0, 0, 0.0)) for c in COLOURS}

    def long_lived(self) -> dict[str, int] | None:
        return dict(self.sockets)
