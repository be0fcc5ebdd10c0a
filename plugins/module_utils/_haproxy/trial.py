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

from .members import Member
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


def with_own_weights(entrants: t.Sequence[Member], now: t.Sequence[Member]) -> list[Member]:
    """The servers as they are now, but with the weights that those on trial had before."""
    weights = {member.place: member.weight for member in entrants}
    return [replace(member, weight=weights.get(member.place, member.weight)) for member in now]
