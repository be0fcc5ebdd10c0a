# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of servers in messages. Private to this collection."""

from __future__ import annotations

import typing as t

from .members import Member, serving

STICKS = (
    "clients whom a cookie or a stick table leads to a server stay on the colour that is drained, as long as they "
    "like; a stage that waits until it is quiet fails, and the traffic goes back. Set lower_with: maint to keep them "
    "off it"
)


def names(members: t.Sequence[Member]) -> str:
    """The first few."""
    more = f" and {len(members) - 3} more" if len(members) > 3 else ""
    return ", ".join(member.name for member in members[:3]) + more


def foreign(members: t.Sequence[Member]) -> str:
    """The servers of neither colour that get some of the traffic, in a sentence. Empty: none."""
    found = [member for member in serving(members) if member.colour is None]
    return f"{names(found)} of the backend take traffic and belong to neither colour" if found else ""


def failed_over(members: t.Sequence[Member]) -> str:
    """Whether backup servers serve only until the others are up again, in a sentence. Empty: no."""
    chosen = {member.place for member in serving(members)}
    down = [member for member in members if member.takes and not member.backup and member.place not in chosen]
    if not down:
        return ""
    return f"{', '.join(m.why_not() for m in down[:3])}, and HAProxy has gone over to backup servers until that ends"


def because_of_backups(after: t.Sequence[Member]) -> str:
    found = [m for m in after if m.backup and m.takes and m.colour]
    if not found:
        return ""
    return f": {names(found)} are backup servers, which get nothing while another one is usable"
