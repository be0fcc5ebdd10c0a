# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HAProxy provider: a map entry per app, or the states and weights of servers. Private to this collection.

Source: HAProxy Management Guide, section 9.3; the figures that chose the map way are in docs/haproxy.md.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
import typing as t
from collections import Counter

from .._errors import (
    ConflictError,
    DeniedError,
    DriftError,
    InvalidError,
    MissingError,
    NotReadyError,
    NotVerifiedError,
    UnsupportedError,
)
from .._haproxy.map_file import MapFile
from .._haproxy.pool import Pool, Server, activity, all_out
from .._haproxy.runtime_api import RuntimeApi, need_admin, parse_address, parse_version, word
from .._wait import until
from .router import Activity, Capabilities, Provider, Router
from .split import WHOLE, Split

HEAVIEST = 256


class _HAProxy(Router):
    """What both ways share: one socket, and one member for each server."""

    def __init__(self, colours: tuple[str, str], options: t.Mapping[str, t.Any], backends: t.Mapping[str, str]) -> None:
        self._colours = colours
        self._socket: str = options["socket"] or ""
        self._timeout: float = options["timeout"]
        if not 0 < self._timeout < float("inf"):
            raise InvalidError(f"timeout is {self._timeout:g}", "a number of seconds above 0")
        self._api = RuntimeApi(self._socket, self._timeout)
        unnamed = [colour for colour in colours if not isinstance(backends.get(colour), str)]
        if unnamed or len(backends) > len(colours):
            raise InvalidError(
                f"backends names {', '.join(map(str, backends))}", f"a backend for {' and '.join(colours)}"
            )
        if options["backends"] and len(set(backends.values())) < len(colours):
            raise InvalidError(f"backends names {backends[colours[0]]} for both colours", "one for each colour")
        self._backends = {colour: word(backends[colour], "backend name") for colour in colours}
        self._pool = Pool(self._api, self._backends.values())

    def _check_rights(self) -> None:
        info, level = self._api.ask("show info", "show cli level")
        parse_version(info)
        need_admin(level, self._socket)

    def _belongs(self, colour: str, backend: str, server: str) -> bool:
        return backend == self._backends[colour]

    def long_lived(self) -> dict[str, int] | None:
        counts = Counter(
            colour
            for backend, server in self._pool.long_lived()
            for colour in self._colours
            if self._belongs(colour, backend, server)
        )
        return {colour: counts[colour] for colour in self._colours}


class HAProxyMap(_HAProxy):
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
        servers = self._pool.servers()
        found = [
            f"the running HAProxy sends traffic to {colour}, and each of its servers is in maintenance or drain"
            for colour in self._colours
            if self._split(running).share(colour) and all_out(self._of(colour, servers))
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
                raise ConflictError(f"the split is {found}", f"{expected}", "Somebody else moved the traffic")
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
        if _value(read_back) != entry:
            raise NotVerifiedError(f"the map entry reads {_value(read_back)!r} after it was set", repr(entry))

    def by_hand(self, wanted: Split) -> str:
        entry = _entry(wanted, active=wanted.leader or wanted.first)
        if self._replaced and self._split(self._replaced) == wanted:
            entry = self._replaced
        running = _by_hand(self._socket, [f"set map {self._map} {self._key} {entry}"])
        return f"{_write_by_hand(self._file.path, self._key, entry)} && {running}" if self._file else running

    def verify(self, wanted: Split) -> bool | None:
        return self.read() == wanted and not (self._file and self._file.get(self._key) != self._running())

    def observe(self) -> dict[str, Activity] | None:
        servers, backends = self._pool.statistics()
        return {
            colour: activity(
                [row for row in servers if row["pxname"] == self._backends[colour]],
                [row for row in backends if row["pxname"] == self._backends[colour]],
                ready=("UP", "no check"),
            )
            for colour in self._colours
        }

    def _of(self, colour: str, servers: t.Sequence[Server]) -> list[Server]:
        return [server for server in servers if server.backend == self._backends[colour]]

    def _get(self) -> str:
        return f"get map {self._map} {self._key}"

    def _running(self) -> str:
        (answer,) = self._api.ask(self._get())
        entry = _value(answer)
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
        if entry.count(":") != 2 or not share.isdecimal() or int(share) > WHOLE or not colours <= {*self._colours}:
            raise DriftError(
                f"the map entry {self._key!r} is {entry[:60]!r}",
                f"active:candidate:share in 0.01 %, with the colours {' and '.join(self._colours)}",
                "Put the entry right with HAProxy's 'set map', in the map file too",
            )
        return Split.only(self._colours, active, WHOLE - int(share))


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


def _by_hand(socket: str, commands: t.Sequence[str]) -> str:
    """Whoever ran this has this Python; socat is on few hosts, and its addresses have a syntax of their own."""
    address = parse_address(socket)
    unix = isinstance(address, str)
    program = (
        "import socket,sys;"
        + ("s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);" if unix else "")
        + ("" if unix else "s=socket.create_connection(sys.argv[1].rsplit(chr(58),1));")
        + "s.sendall(chr(10).join([*sys.argv[2:],chr(10)]).encode());print(s.makefile().read())"
    )
    where = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
    return shlex.join([sys.executable, "-c", program, where, *commands])


def _value(answer: str) -> str | None:
    found = re.search(r'found=yes.* value="([^"]*)"', answer)
    return found.group(1) if found else None


class HAProxyServers(_HAProxy):
    """For a configuration that we did not write: servers are raised and lowered.

    Two backends, of which the configuration takes the one that has servers; or one backend whose servers
    belong to the colours by a pattern.
    """

    capabilities = Capabilities(finest_step=100, sticky=False, counts_connections=True, survives_reload=False)

    def __init__(self, colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> None:
        one, two = options["backend"], options["backends"]
        if bool(one) == bool(two):
            raise InvalidError("way: servers has both or none of backend and backends", "one of them")
        super().__init__(colours, options, two or dict.fromkeys(colours, one))
        self._patterns = _patterns(colours, options["servers"]) if one else None
        self._lower = options["lower_with"]
        self._known: list[Server] = []

    def read(self) -> Split:
        servers = self._pool.servers()
        weights = {colour: self._carried(colour, servers) for colour in self._colours}
        total = sum(weights.values())
        if not total:
            raise NotReadyError(
                f"no server of {' or '.join(self._colours)} takes traffic",
                "at least one that is ready and has a weight",
                "Set one ready with HAProxy's 'set server'",
            )
        step = self.capabilities.finest_step
        first = self._colours[0]
        share = step * round(WHOLE / step * weights[first] / total)
        least, most = bool(weights[first]), WHOLE - bool(weights[self._colours[1]])
        return Split.only(self._colours, first, min(max(share, least), most))

    def drift(self) -> tuple[str, ...]:
        if self._patterns or not 0 < self.read().first_share < WHOLE:
            return ()
        return (f"both {' and '.join(self._pool.backends)} take traffic, and the frontend's rules decide between them",)

    def check(self, wanted: Split) -> None:
        self._check_rights()
        servers = self._known = self._pool.servers()
        for colour in self._colours:
            if not self._of(colour, servers):
                raise MissingError(
                    f"no server of {self._backends[colour]} belongs to {colour}",
                    "at least one",
                    "Correct the backend or the pattern of its servers",
                )
        shared = [s.name for s in servers if all(self._belongs(c, s.backend, s.name) for c in self._colours)]
        if shared:
            raise InvalidError(f"server {shared[0]!r} matches the patterns of both colours", "one of them")
        if not self._patterns and 0 < wanted.first_share < WHOLE:
            raise UnsupportedError(
                f"two backends cannot hold the split {wanted}",
                "100 % for one colour",
                "Use way: map, or one backend with the servers of both colours",
            )
        self._weights(wanted, servers)

    def apply(self, wanted: Split, expected: Split | None, live: str | None = None) -> None:
        found = self.read()
        if found != expected:
            raise ConflictError(f"the split is {found}", f"{expected}", "Somebody else moved the traffic")
        servers = self._pool.servers()
        raised = wanted.raised_from(found) or (wanted.leader or wanted.first)
        weights = self._weights(wanted, servers)
        order = [raised, wanted.other(raised)]
        if weights and weights[raised] * len(self._of(raised, servers)) >= self._carried(raised, servers):
            order.reverse()  # else the raised one has more than its share until the other has its weight
        for colour in order:
            self._set(colour, wanted, weights, servers)
            if colour == raised:
                self._wait_up(raised)

    def by_hand(self, wanted: Split) -> str:
        servers = self._known or self._pool.servers()
        weights = self._weights(wanted, servers)
        raised = wanted.leader or wanted.first
        order = (raised, wanted.other(raised))
        commands = [line for colour in order for line in self._commands(colour, wanted, weights, servers)]
        return _by_hand(self._socket, ["prompt", *commands, "quit"])

    def verify(self, wanted: Split) -> bool | None:
        return self.read() == wanted

    def observe(self) -> dict[str, Activity] | None:
        rows, _backends = self._pool.statistics()
        mine = {c: [row for row in rows if self._belongs(c, row["pxname"], row["svname"])] for c in self._colours}
        lowered = self._lower.upper()
        return {c: activity(mine[c], mine[c], ready=("UP", "no check", lowered)) for c in self._colours}

    def _belongs(self, colour: str, backend: str, server: str) -> bool:
        if backend != self._backends[colour]:
            return False
        return not self._patterns or self._patterns[colour].fullmatch(server) is not None

    def _of(self, colour: str, servers: t.Sequence[Server]) -> list[Server]:
        return [server for server in servers if self._belongs(colour, server.backend, server.name)]

    def _carried(self, colour: str, servers: t.Sequence[Server]) -> int:
        """The weight of the colour's servers that take traffic now."""
        return sum(server.weight for server in self._of(colour, servers) if not server.is_out)

    def _weights(self, wanted: Split, servers: t.Sequence[Server]) -> dict[str, int]:
        """A weight for each server of each colour that comes nearest to the split wanted."""
        first, second = self._colours
        many = {colour: len(self._of(colour, servers)) for colour in self._colours}
        if wanted.first_share in (0, WHOLE):
            return {}
        nearest, weights = min(
            (abs(wanted.first_share - WHOLE * a * many[first] / (a * many[first] + b * many[second])), (a, b))
            for a, b in _pairs(wanted, many[first], many[second])
        )
        if nearest > self.capabilities.finest_step / 2:
            raise UnsupportedError(
                f"no weights from 1 to {HEAVIEST} hold {wanted} over {many[first]} and {many[second]} servers",
                "a split that they can",
                "Take a larger share, or use way: map",
            )
        return dict(zip(self._colours, weights))

    def _set(self, colour: str, wanted: Split, weights: t.Mapping[str, int], servers: t.Sequence[Server]) -> None:
        commands = self._commands(colour, wanted, weights, servers)
        objections = [(c, answer) for c, answer in zip(commands, self._api.ask(*commands)) if answer]
        if objections:
            command, answer = objections[0]
            raise DeniedError(f"HAProxy answers {answer!r} to {command!r}", "no objection")

    def _commands(
        self, colour: str, wanted: Split, weights: t.Mapping[str, int], servers: t.Sequence[Server]
    ) -> list[str]:
        """To raise or lower all servers of a colour, its weights first when it is raised."""
        if wanted.share(colour):
            weight = weights.get(colour, "100%")
            verbs = [f"weight {weight}", "state ready"]
        else:
            verbs = [f"state {self._lower}"]
        return [
            f"set server {word(server.backend, 'backend name')}/{word(server.name, 'server name')} {verb}"
            for server in self._of(colour, servers)
            for verb in verbs
        ]

    def _wait_up(self, colour: str) -> None:
        """Never lower the old colour before HAProxy itself would send a request to the new one."""
        _servers, up = until(
            self._pool.servers,
            lambda servers: any(server.is_up and not server.is_out for server in self._of(colour, servers)),
            timeout=self._timeout,
            interval=0.05,
        )
        if not up:
            raise NotReadyError(f"no server of {colour} came up within {self._timeout:g} s", "one that is up")


def _pairs(wanted: Split, first: int, second: int) -> t.Iterator[tuple[int, int]]:
    """Weights to try: for each of the first colour's, the nearest of the second's."""
    for a in range(1, HEAVIEST + 1):
        exact = a * first * (WHOLE - wanted.first_share) / (wanted.first_share * second)
        yield a, min(max(round(exact), 1), HEAVIEST)


def _patterns(colours: tuple[str, str], given: t.Mapping[str, str] | None) -> dict[str, re.Pattern[str]]:
    given = given or {}
    missing = [colour for colour in colours if not given.get(colour) or not isinstance(given[colour], str)]
    if missing:
        raise InvalidError(f"there is no pattern for the servers of {missing[0]}", "servers: a pattern for each colour")
    try:
        return {colour: re.compile(given[colour]) for colour in colours}
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidError(f"a pattern of servers does not parse: {error}", "a regular expression") from error


def _build(colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> Router:
    return {"map": HAProxyMap, "servers": HAProxyServers}[options["way"]](colours, options)


PROVIDER = Provider(
    name="haproxy",
    spec={
        "type": "dict",
        "options": {
            "socket": {"type": "str", "required": True},
            "way": {"type": "str", "choices": ["map", "servers"], "default": "map"},
            "map": {"type": "str"},
            "key": {"type": "str", "no_log": False},
            "map_file": {"type": "path"},
            "persist": {"type": "bool", "default": True},
            "backends": {"type": "dict"},
            "backend": {"type": "str"},
            "servers": {"type": "dict"},
            "lower_with": {"type": "str", "choices": ["drain", "maint"], "default": "drain"},
            "timeout": {"type": "float", "default": 5.0},
        },
        "required_if": [("way", "map", ("map", "key"))],
    },
    build=_build,
)
