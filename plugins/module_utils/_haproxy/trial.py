# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever comes out of maintenance is checked before anybody is sent there. Private to this collection.

HAProxy takes such a server for up until its first check, and sends it its share at once. With weight 0 it is checked,
and gets nobody.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._errors import ConflictError
from .members import MAINT, Member
from .plan import told


def entrants(before: t.Sequence[Member], after: t.Sequence[Member]) -> list[Member]:
    """Those that are to take traffic after maintenance and have checks, as they are before."""
    take = {member.place for member in after if member.takes}
    return [member for member in before if member.place in take and member.in_maintenance and member.is_checked]


def begin(entrants: t.Sequence[Member]) -> list[str]:
    return [told(m, verb) for m in entrants for verb in ("weight 0", "state ready")]


def end(entrants: t.Sequence[Member]) -> list[str]:
    """As it was before."""
    return [told(m, verb) for m in entrants for verb in ("state maint", f"weight {m.weight}")]


def is_over(entrants: t.Sequence[Member], now: t.Sequence[Member]) -> bool:
    places = {member.place for member in entrants}
    return not any(member.awaits_check for member in now if member.place in places)


def interrupted(entrants: t.Sequence[Member], now: t.Sequence[Member]) -> ConflictError | None:
    """Whether somebody has put one of them back into maintenance meanwhile."""
    places = {member.place for member in entrants}
    shut = [member for member in now if member.place in places and member.in_maintenance]
    if not shut:
        return None
    return ConflictError(
        f"server {shut[0].name} was put into maintenance while it was checked",
        "nobody else who changes its state meanwhile",
        "See who did, and begin anew",
    )


def as_before(entrants: t.Sequence[Member], now: t.Sequence[Member]) -> list[Member]:
    """The servers as they are now, but those on trial with the weight and in the maintenance they had before: who is
    raised with them depends on it."""
    before = {member.place: member for member in entrants}
    return [_rested(member, before[member.place]) if member.place in before else member for member in now]


def _rested(now: Member, before: Member) -> Member:
    return replace(now, weight=before.weight, admin=now.admin | MAINT)
