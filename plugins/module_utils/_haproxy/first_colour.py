# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The colour that a load balancer without an entry begins with: the one that serves. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._errors import BlueGreenError, ConflictError

WHOLE = 10_000
"""The share of a candidate that has all traffic."""


@dataclass(frozen=True)
class Entry:
    """What a load balancer says of the app: its map file, and the HAProxy that runs. None: nothing."""

    written: str | None
    running: str | None


Entries = t.Mapping[str, Entry]


def new_ones(entries: Entries) -> list[str]:
    """The load balancers that are about to get an entry."""
    return [host for host, entry in entries.items() if entry.written is None]


def only_the_record_knows(entries: Entries) -> bool:
    """There is somebody to tell, and no load balancer that could."""
    return bool(new_ones(entries)) and not _said(entries)


def first_colour(entries: Entries, colours: t.Sequence[str], wanted: str, by_record: t.Callable[[], str | None]) -> str:
    """By what the load balancers say, else the record, else what is ``wanted``, else the first.

    Raises C(conflict) where these do not agree on one colour that has all traffic.
    """
    new, said = new_ones(entries), _said(entries)
    if not new:
        return wanted or colours[0]  # nobody will read it
    try:
        live, told_by = (_agreed(said, colours), _names(said)) if said else (by_record(), "the record")
    except BlueGreenError as error:
        if wanted and not said:
            return wanted
        raise error.of(f"{', '.join(new)} has no entry yet, and what is live is not known") from error
    if live and wanted and live != wanted:
        raise ConflictError(
            f"{', '.join(new)} has no entry yet; by {told_by} {live} is live, and haproxy_live is {wanted}",
            "the colour that serves",
            "Take haproxy_live out of the inventory: it is for a first set-up",
        )
    return live or wanted or colours[0]


def _said(entries: Entries) -> dict[str, str]:
    """What those say that run; where none does, what they will start with."""
    running = {host: entry.running for host, entry in entries.items() if entry.running is not None}
    return running or {host: entry.written for host, entry in entries.items() if entry.written is not None}


def _agreed(said: t.Mapping[str, str], colours: t.Sequence[str]) -> str:
    live = {host: _whole(entry) for host, entry in said.items()}
    (first, *others) = {*live.values()}
    if others or first not in colours:
        raise ConflictError(
            "; ".join(f"{host} has {entry}" for host, entry in sorted(said.items())),
            f"all traffic on {' or '.join(colours)}, everywhere the same",
            "Wait for the release that is under way, or put the others on one colour with the playbook "
            "bluegreen.deploy.recover",
        )
    return str(first)


def _whole(entry: str) -> str | None:
    """The colour that has all traffic by an entry."""
    active, candidate, share = [*entry.split(":"), "", ""][:3]
    return {"0": active, str(WHOLE): candidate}.get(share)


def _names(hosts: t.Iterable[str]) -> str:
    return ", ".join(sorted(hosts))
