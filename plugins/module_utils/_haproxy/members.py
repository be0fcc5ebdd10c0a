# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each server of a backend is, and which of them HAProxy gives requests to. Private to this collection.

Source: HAProxy Management Guide, sections 9.1 "CSV format" and 9.3 "show servers state".
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

Row = t.Mapping[str, str]

MAINT, TRACKED_MAINT, DISABLED, DRAIN, TRACKED_DRAIN, UNRESOLVED = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
"""The bits of srv_admin_state. ``DISABLED`` only tells what the configuration once said; 0x40, which is not here, that
the host name was set at run time, as by an SRV record."""
HELD = TRACKED_MAINT | TRACKED_DRAIN | UNRESOLVED
"""Out for a reason that no command about the server itself takes away."""
AGENT_ENABLED = 0x02
"""A bit of srv_agent_state."""
CHECK_CONFIGURED, CHECK_ENABLED, CHECK_PAUSED = 0x02, 0x04, 0x08
"""Bits of srv_check_state."""
NEVER_CHECKED = "1"
"""srv_check_status."""
STOPPED, STARTING, RUNNING, STOPPING = range(4)
"""srv_op_state; one that is stopping answers its health check with 404, and gets nobody new."""


@dataclass(frozen=True)
class Member:
    """A server: a row of ``show servers state``, and what only ``show stat`` tells of it."""

    backend: str
    name: str
    colour: str | None = None
    """None: of neither."""
    admin: int = 0
    op: int = RUNNING
    weight: int = 1
    initial: int = 1
    """The weight in the configuration."""
    backup: bool = False
    tracks: str = ""
    """Backend and server whose health it shares."""
    last_check: str = ""
    has_agent: bool = False
    """An agent of its own may change its state and weight at any time."""
    from_dns: bool = False
    """It comes from an SRV record, as does its weight, unless the configuration says otherwise."""
    is_checked: bool = False
    """It has health checks, which rest in maintenance."""
    awaits_check: bool = False
    """It came out of maintenance, and no check has told since then whether it is up."""

    @classmethod
    def of(cls, state: Row, counted: Row, colour: str | None) -> Member:
        return cls(
            backend=state["be_name"],
            name=state["srv_name"],
            colour=colour,
            admin=int(state["srv_admin_state"]),
            op=int(state["srv_op_state"]),
            weight=int(state["srv_uweight"]),
            initial=int(state["srv_iweight"]),
            backup=counted.get("bck") == "1",
            tracks=counted.get("tracked") or "",
            last_check=counted.get("last_chk") or "",
            has_agent=bool(int(state.get("srv_agent_state") or 0) & AGENT_ENABLED),
            from_dns=state.get("srvrecord", "-") != "-",
            is_checked=_check_state(state) & CHECK_ENABLED > 0,
            awaits_check=_awaits_check(state, counted),
        )

    @property
    def place(self) -> str:
        return f"{self.backend}/{self.name}"

    @property
    def in_maintenance(self) -> bool:
        return bool(self.admin & MAINT)

    @property
    def is_out(self) -> bool:
        """In maintenance or drain, for whatever reason."""
        return bool(self.admin & (MAINT | DRAIN | HELD))

    @property
    def is_up(self) -> bool:
        return self.op in (STARTING, RUNNING)

    @property
    def is_known(self) -> bool:
        """Something tells HAProxy whether it is up. Otherwise it is taken for up, dead or alive."""
        return self.is_checked or self.has_agent or bool(self.tracks)

    @property
    def takes(self) -> bool:
        """It is meant to get requests; whether it is up is another matter."""
        return not self.is_out and self.weight > 0

    def why_not(self) -> str:
        """Why it gets no requests."""
        reasons = {
            MAINT: "is in maintenance",
            UNRESOLVED: "has no address, as its name does not resolve",
            TRACKED_MAINT: f"tracks {self.tracks}, which is in maintenance",
            TRACKED_DRAIN: f"tracks {self.tracks}, which is in drain",
            DRAIN: "is in drain",
        }
        why = next((reason for bit, reason in reasons.items() if self.admin & bit), "")
        if not why and not self.is_up:
            why = f"is down ({self.last_check})" if self.last_check else "is down"
        return f"{self.name} {why or 'has weight 0'}"


def _check_state(state: Row) -> int:
    bits = int(state.get("srv_check_state") or 0)
    return bits if bits & CHECK_CONFIGURED else 0


def _awaits_check(state: Row, counted: Row) -> bool:
    """Out of maintenance HAProxy takes it for up, on the very brink: the first good check lifts its health from there,
    unless C(fall) is 1; the first bad one takes it down."""
    if _check_state(state) & (CHECK_ENABLED | CHECK_PAUSED) != CHECK_ENABLED or int(state["srv_op_state"]) != RUNNING:
        return False
    on_the_brink = int(counted.get("check_fall") or 1) > 1 and counted.get("check_health") == counted.get("check_rise")
    return state.get("srv_check_status") == NEVER_CHECKED or on_the_brink


def serving(members: t.Iterable[Member]) -> list[Member]:
    """Who is meant to get the requests of each backend.

    Backup servers are, where there is no other: that is when none is set to, or none that is set to is up
    while one of the backups is. Only the first of them is, but for C(option allbackups).
    """
    chosen: list[Member] = []
    of_backend: dict[str, list[Member]] = {}
    for member in members:
        if member.takes:
            of_backend.setdefault(member.backend, []).append(member)
    for able in of_backend.values():
        active = [member for member in able if not member.backup]
        backups = [member for member in able if member.backup]
        fails_over = not any(m.is_up for m in active) and any(m.is_up for m in backups)
        chosen += active if active and not fails_over else backups
    return chosen


def carried(members: t.Iterable[Member], colour: str) -> int:
    """The weight of the colour's members among those that serve."""
    return sum(member.weight for member in members if member.colour == colour)


def followed(members: t.Sequence[Member]) -> list[Member]:
    """The same after what is inherited from a server of theirs was inherited anew."""
    now = {member.place: member for member in members}
    for _depth in range(len(now)):
        heirs = {place: _heir(member, now) for place, member in now.items() if member.tracks in now}
        if all(now[place] == heir for place, heir in heirs.items()):
            break
        now.update(heirs)
    return [*now.values()]


def _heir(member: Member, others: t.Mapping[str, Member]) -> Member:
    tracked = others[member.tracks]
    admin = member.admin & ~(TRACKED_MAINT | TRACKED_DRAIN)
    admin |= TRACKED_MAINT if tracked.admin & (MAINT | TRACKED_MAINT) else 0
    admin |= TRACKED_DRAIN if tracked.admin & (DRAIN | TRACKED_DRAIN) else 0
    return replace(member, admin=admin)
