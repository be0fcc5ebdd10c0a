# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The map way of the HAProxy provider. Private to this collection."""

from __future__ import annotations

import contextlib
import re
import shlex
import typing as t

from .._errors import DeniedError, DriftError, MissingError, NotVerifiedError, UnsupportedError
from .._haproxy import counts
from .._haproxy.map_entry import value
from .._haproxy.map_file import MapFile
from .._haproxy.members import Member
from .._haproxy.pool import Look
from .._haproxy.runtime_api import word
from .haproxy_base import HAProxyRouter, by_hand
from .router import Activity, Capabilities
from .split import WHOLE, Split, moved


class HAProxyMap(HAProxyRouter):
    """One map entry holds the whole routing state of an app: C(active:candidate:share of the candidate in 0.01 %)."""

    capabilities = Capabilities(finest_step=1, sticky=True, counts_connections=True, survives_reload=True)

    def __init__(self, colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> None:
        self._key = word(options["key"] or "", "map key")
        super().__init__(colours, options, options["backends"] or {c: f"{self._key}_{c}" for c in colours})
        self._map = word(options["map"] or "", "map")
        self._file = MapFile(options["map_file"] or options["map"]) if options["persist"] else None
        self._replaced: str | None = None

    def read(self) -> Split:
        return self._split(self._running())

    def live(self) -> str | None:
        return self._running().split(":")[0]

    def drift(self) -> tuple[str, ...]:
        running = self._running()
        split = self._split(running)
        found = [
            f"the running HAProxy sends traffic to {colour}, and each of its servers is in maintenance or drain"
            for colour in self._colours
            if split.share(colour) and _all_out(self._pool.states(self._backends[colour]))
        ]
        if self._file:
            written = self._file.get(self._key)
            if written != running:
                found.insert(0, f"the map file {self._file.path} says {written!r}, the running HAProxy {running!r}")
        return tuple(found)

    def check(self, wanted: Split) -> None:
        self._check_rights()
        if self._file:
            self._file.check_writable()

    def apply(self, wanted: Split, expected: Split | None, live: str | None = None) -> None:
        with self._file.locked(self._timeout) if self._file else contextlib.nullcontext():
            running = self._running()
            found = self._split(running)
            if found != expected:
                raise moved(found, expected)
            entry = _entry(wanted, active=live or running.split(":")[0])
            if self._replaced and self._split(self._replaced) == wanted:
                entry = self._replaced  # the way back restores which colour was active, too
            self._replaced = running
            if self._file:
                self._file.set(self._key, entry)
            if running != entry:
                self._set(entry)

    def _set(self, entry: str) -> None:
        answer, read_back = self._api.ask(f"set map {self._map} {self._key} {entry}", self._get())
        if answer:
            raise DeniedError(f"HAProxy answers {answer!r} to 'set map'", "no objection")
        if value(read_back) != entry:
            raise NotVerifiedError(f"the map entry reads {value(read_back)!r} after it was set", repr(entry))

    def by_hand(self, wanted: Split) -> str:
        entry = _entry(wanted, active=wanted.leader or wanted.first)
        if self._replaced and self._split(self._replaced) == wanted:
            entry = self._replaced
        running = by_hand(self._socket, [f"set map {self._map} {self._key} {entry}"])
        return f"{_write_by_hand(self._file.path, self._key, entry)} && {running}" if self._file else running

    def verify(self, wanted: Split) -> bool | None:
        return self.read() == wanted and not (self._file and self._file.get(self._key) != self._running())

    def observe(self) -> dict[str, Activity] | None:
        look = self._look()
        return {colour: self._activity(colour, look) for colour in self._colours}

    def _activity(self, colour: str, look: Look) -> Activity:
        members = look.of(colour)
        ready = [member for member in members if member.takes and member.is_up]
        unready = [member for member in members if not (member.takes and member.is_up)]
        return Activity(
            members=len(members),
            ready=len(ready),
            counted=counts.of_backend(look.backends[self._backends[colour]]),
            unready=tuple(member.why_not() for member in unready[:3]),
            unchecked=sum(not member.is_known for member in ready),
        )

    def _is_as_configured(self) -> bool:
        return self._file is None

    def _get(self) -> str:
        return f"get map {self._map} {self._key}"

    def _running(self) -> str:
        (answer,) = self._api.ask(self._get())
        entry = value(answer)
        if entry is None:
            what = "has no map" if "Unknown map" in answer else f"has no entry {self._key!r} in the map"
            raise MissingError(
                f"the running HAProxy {what} {self._map!r}",
                f"an entry such as {self._colours[0]}:{self._colours[1]}:0",
                "Set the load balancer up with the role bluegreen.deploy.haproxy, or use way: servers",
            )
        return entry

    def _split(self, entry: str) -> Split:
        active, candidate, share = [*entry.split(":"), "", "", ""][:3]
        colours = {active} if share == "0" else {active, candidate}
        if entry.count(":") != 2:
            raise UnsupportedError(
                f"the map entry {self._key!r} is {entry[:60]!r}",
                f"{self._form()}, which a frontend of the role bluegreen.deploy.haproxy reads",
                "Leave the entry as it is: a configuration that takes the backend's name from it would find none. "
                "Use way: servers, or let the role write the frontend: see docs/haproxy.md",
            )
        if not share.isdecimal() or int(share) > WHOLE or not colours <= {*self._colours}:
            raise DriftError(
                f"the map entry {self._key!r} is {entry[:60]!r}",
                self._form(),
                "Put the entry right with HAProxy's 'set map', in the map file too",
            )
        return Split.only(self._colours, active, WHOLE - int(share))

    def _form(self) -> str:
        return f"active:candidate:share in 0.01 %, with the colours {' and '.join(self._colours)}"


def _entry(wanted: Split, active: str) -> str:
    """The map entry for a split: all traffic makes a colour the active one, a part of it never does."""
    for colour in wanted.colours:
        if wanted.share(colour) == WHOLE:
            active = colour
    candidate = wanted.other(active)
    return f"{active}:{candidate}:{wanted.share(candidate)}"


def _write_by_hand(path: str, key: str, entry: str) -> str:
    pattern = re.sub(r"([.\[])", r"\\\1", key)
    change = rf"s|^[[:space:]]*{pattern}[[:space:]].*|{key} {entry}|"
    return shlex.join(["sed", "-i", "--follow-symlinks", "-e", change, "--", path])


def _all_out(members: t.Iterator[Member]) -> bool:
    """Whether there are servers, and none that is not out."""
    first = next(members, None)
    return first is not None and first.is_out and all(member.is_out for member in members)
