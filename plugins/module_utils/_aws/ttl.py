# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another TTL for the record sets of a name, well before or after its weights move. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._errors import InvalidError, NotVerifiedError
from .._traffic.route import later
from .._wait import SYSTEM_CLOCK, Clock, until
from .hosted_zone import RecordSets
from .records import LONGEST_TTL, Move
from .resolved import Resolvers

ALL_ALIASES = "The record sets are aliases, which have the TTL of what they lead to. It was left as it is"
SOME_ALIASES = "Aliases among the record sets have the TTL of what they lead to. It was left as it is"
GRACE = 10.0
"""Seconds after the old TTL within which resolvers must have the new one: clocks and answers take whole seconds."""


@dataclass(frozen=True)
class TtlChange:
    """What was done, or would be."""

    what: str
    before: t.Mapping[str, int | None]
    """By set identifier."""
    after: t.Mapping[str, int | None]
    old: int | None
    """The longest TTL there was, of those that can be changed."""
    settled_at: str | None
    """From when on nobody has an answer with the old TTL, ISO 8601 in UTC. None: nothing was changed now."""
    note: str | None

    @property
    def changed(self) -> bool:
        return self.before != self.after


def check_ttl(ttl: int) -> int:
    if not 0 <= ttl <= LONGEST_TTL:
        raise InvalidError(f"ttl is {ttl}", f"seconds from 0 to {LONGEST_TTL}")
    return ttl


def change_ttl(
    sets: RecordSets,
    ttl: int,
    resolvers: Resolvers,
    *,
    in_sync_timeout: float | None,
    wait: bool,
    dry_run: bool = False,
    clock: Clock = SYSTEM_CLOCK,
) -> TtlChange:
    """All record sets in one batch; then until all servers have it, unless told not to, and until the old TTL is over.

    Raises ``conflict`` if somebody else changed one of them meanwhile, and ``not_verified`` if a resolver then keeps
    an answer for longer than the new TTL.
    """
    resolvers.check()
    group = sets.read()
    moves = group.with_ttl(check_ttl(ttl))
    old = max((int(before["TTL"]) for before, _after in moves), default=None)
    after = {**group.ttls(), **{record["SetIdentifier"]: ttl for _before, record in moves}}
    note = None if len(moves) == len(group.found) else SOME_ALIASES if moves else ALL_ALIASES
    settled = None
    if not dry_run and sets.put(moves):
        if in_sync_timeout is not None:
            sets.in_sync(in_sync_timeout)
        left = sets.settles_in(old)
        settled = later(left)
        if wait and left:
            clock.sleep(left)
            _ask(resolvers, moves[0], clock)
    return TtlChange(sets.what, group.ttls(), after, old, settled, note)


def _ask(resolvers: Resolvers, move: Move, clock: Clock) -> None:
    _before, after = move
    keeping, done = until(
        lambda: resolvers.keeping(after, int(after["TTL"])),
        lambda found: not found,
        timeout=GRACE,
        interval=1.0,
        clock=clock,
    )
    if not done:
        raise NotVerifiedError(
            "; ".join(keeping),
            f"no resolver to keep an answer for longer than the new TTL of {after['TTL']} s",
            "It has a lower limit of its own, or is not one that asks Route 53",
        )
