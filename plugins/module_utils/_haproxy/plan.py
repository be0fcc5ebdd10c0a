# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each server is told, so that a split comes into force. Private to this collection.

A plan is the servers as they are to be; the commands follow from comparing them with the servers as they are.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .members import DISABLED, DRAIN, HELD, MAINT, RUNNING, Member, followed, serving
from .runtime_api import word
from .sharing import own_weights, scaled, shared_out

OUT = {"drain": DRAIN, "maint": MAINT}


@dataclass(frozen=True)
class Wish:
    """What is wanted of the servers."""

    shares: t.Mapping[str, float]
    """Of each colour, from 0 to 1."""
    lower_with: str = "drain"
    force: bool = False
    """Also raise who was put in maintenance by hand, where nobody else of the colour could serve."""


@dataclass(frozen=True)
class Steps:
    """Commands, in the order in which nobody is lowered before somebody else is raised."""

    weigh: tuple[str, ...]
    raise_: tuple[str, ...]
    lower: tuple[str, ...]
    """Only once those that are raised are seen to be able to serve."""


def planned(members: t.Sequence[Member], wish: Wish) -> list[Member] | None:
    """The servers as they are to be. None: no weights can hold the shares."""
    opened = raised(members, wish)
    scales = _scales(wish, opened)
    if scales is None:
        return None
    touched = {m.place for c in scales for m in _raisable(of(c, members), wish)}
    after = {
        m.place: replace(m, weight=scaled(m.weight, scales[m.colour])) if m.colour and m.place in touched else m
        for m in opened
    }
    lowered = [m for c, share in wish.shares.items() if not share for m in _lowered(c, members, wish)]
    after.update({m.place: m for m in lowered if not m.backup})
    still = {m.colour for m in serving(followed([*after.values()]))}
    after.update({m.place: m for m in lowered if m.backup and m.colour in still})
    return followed([*after.values()])


def raised(members: t.Sequence[Member], wish: Wish) -> list[Member]:
    """The servers once all those of the colours with a share are raised, with weights of their own."""
    heaviest = max((member.initial for member in members), default=0) or 1
    weights: dict[str, int] = {}
    for colour, share in wish.shares.items():
        mine = _raisable(of(colour, members), wish) if share else []
        own = own_weights(mine, heaviest, _in_canary(members))
        weights.update({member.place: weight for member, weight in own.items()})
    opened = [replace(_opened(m), weight=weights[m.place]) if m.place in weights else m for m in members]
    return followed(opened)


def restored(members: t.Sequence[Member], found: t.Sequence[Member], wish: Wish) -> list[Member]:
    """The servers as they were found; whoever was put in maintenance by hand since then stays there."""
    before = {member.place: member for member in found}

    def back(now: Member) -> Member:
        old = before.get(now.place, now)
        if now.in_maintenance and not old.in_maintenance and wish.lower_with != "maint":
            return replace(now, weight=old.weight)
        bits = old.admin & (MAINT | DRAIN)
        op = old.op if now.in_maintenance else now.op
        return replace(now, admin=now.admin & ~(MAINT | DRAIN) | bits, op=op, weight=old.weight)

    return followed([back(member) for member in members])


def steps(before: t.Sequence[Member], after: t.Sequence[Member], shares: t.Mapping[str, float]) -> Steps:
    """``after`` names the same servers; those of a colour with a share are raised first."""
    was = {member.place: member for member in before}
    pairs = [(was[member.place], member) for member in after]
    up = [(old, new) for old, new in pairs if shares.get(new.colour or "")]
    down = [(old, new) for old, new in pairs if not shares.get(new.colour or "")]
    opened = [new for old, new in up if _out(old) and not _out(new)]
    shut = [(new, _out(new)) for old, new in pairs if _out(new) and _out(old) != _out(new)]
    return Steps(
        weigh=tuple(_weigh(_gently(up))),
        raise_=tuple(told(member, "state ready") for member in opened),
        lower=(
            *(told(member, f"state {how}") for member, how in shut),
            *_weigh(down),
            *(told(new, "state ready") for old, new in down if _out(old) and not _out(new)),
        ),
    )


def halfway(before: t.Sequence[Member], after: t.Sequence[Member], shares: t.Mapping[str, float]) -> list[Member]:
    """The servers once those of a colour with a share are raised, and nobody is lowered yet."""
    was = {member.place: member for member in before}
    return [
        replace(member, admin=was[member.place].admin if _out(member) else member.admin)
        if shares.get(member.colour or "")
        else was[member.place]
        for member in after
    ]


def ours(of_colour: t.Sequence[Member], lower_with: str) -> list[Member]:
    """Without those that somebody else has put in maintenance, such as for a repair, and not the switch.

    What we lower with maintenance looks the same, and so does what the configuration says: then it is by hand if
    others of the colour are not in maintenance, or if those bear the mark of ours, weight 0.
    """
    in_maintenance = [member for member in of_colour if member.in_maintenance]
    likely = in_maintenance if lower_with == "maint" else [m for m in in_maintenance if m.admin & DISABLED]
    marked = [member for member in likely if lower_with == "maint" and member.weight == 0 and member.initial]
    if marked or any(not member.in_maintenance and not member.admin & HELD for member in of_colour):
        likely = marked
    mine = {member.place for member in likely}
    return [member for member in of_colour if not member.in_maintenance or member.place in mine]


def is_as_told(now: Member | None, then: Member) -> bool:
    """Whether all that a command can set still stands; a server that is not there any more is not."""
    return now is not None and (now.weight, _out(now)) == (then.weight, _out(then))


def of(colour: str, members: t.Iterable[Member]) -> list[Member]:
    return [member for member in members if member.colour == colour]


def _raisable(of_colour: list[Member], wish: Wish) -> list[Member]:
    mine = ours(of_colour, wish.lower_with)
    able = any(not m.is_out for m in followed([_opened(m) for m in mine]))
    return of_colour if wish.force and not able else mine


def _scales(wish: Wish, opened: t.Sequence[Member]) -> dict[str, float] | None:
    """By what to multiply the weights of each colour that is raised: 1 where one has all."""
    colours = [colour for colour, share in wish.shares.items() if share]
    able = [[m.weight for m in of(colour, opened) if m.takes] for colour in colours]
    if len(colours) < 2 or not all(able):
        return dict.fromkeys(colours, 1.0)  # who cannot serve at all is another's question
    scales = shared_out((able[0], able[1]), wish.shares[colours[0]])
    return None if scales is None else dict(zip(colours, scales))


def _opened(member: Member) -> Member:
    """Who comes out of maintenance is taken for up until its first check."""
    op = RUNNING if member.in_maintenance else member.op
    return replace(member, admin=member.admin & ~(MAINT | DRAIN), op=op)


def _lowered(colour: str, members: t.Sequence[Member], wish: Wish) -> list[Member]:
    """All of them out, with the weights of their own; a mark on ours where others are in maintenance by hand."""
    of_colour = of(colour, members)
    mine = ours(of_colour, wish.lower_with)
    weights = own_weights(mine, 0, _in_canary(members))
    if wish.lower_with == "maint" and len(mine) < len(of_colour):
        weights = {member: 0 if member.initial else weight for member, weight in weights.items()}
    return [
        replace(m, admin=m.admin & ~DRAIN | OUT[wish.lower_with], weight=weights[m])
        for m in mine
        if not m.in_maintenance
    ]


def _in_canary(members: t.Sequence[Member]) -> bool:
    return len({member.colour for member in serving(members)} - {None}) > 1


def _out(member: Member) -> str:
    """How it was taken out by a command."""
    return "maint" if member.in_maintenance else "drain" if member.admin & DRAIN else ""


def _gently(pairs: list[tuple[Member, Member]]) -> list[tuple[Member, Member]]:
    """So ordered that the colour whose share grows has never more than it is to have."""

    def growth(colour: str | None) -> float:
        mine = [(old, new) for old, new in pairs if old.colour == colour]
        carried = sum(old.weight for old, _new in mine if not old.is_out)
        return sum(new.weight for _old, new in mine) / carried if carried else float("inf")

    grows = {colour: growth(colour) for colour in {old.colour for old, _new in pairs}}
    raised = max(grows, key=lambda colour: grows[colour], default=None)
    last = grows.get(raised, 0.0) >= 1
    return sorted(pairs, key=lambda pair: (pair[0].colour == raised) == last)


def _weigh(pairs: t.Iterable[tuple[Member, Member]]) -> list[str]:
    return [told(new, f"weight {new.weight}") for old, new in pairs if old.weight != new.weight]


def told(member: Member, verb: str) -> str:
    return f"set server {word(member.backend, 'backend name')}/{word(member.name, 'server name')} {verb}"
