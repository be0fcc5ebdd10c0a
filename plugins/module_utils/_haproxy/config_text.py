# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A HAProxy configuration that is only partly ours. Private to this collection.

Each app has a part of its own between two marks, and so has what all of them stand on. Nothing outside is touched.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .._errors import ConflictError, InvalidError, MissingError
from .config_app import App
from .config_base import Base

BASE = "base"

_MARK = re.compile(r"# (BEGIN|END) bluegreen\.deploy (base|app [A-Za-z0-9_.-]+)(?=[:\s]|$)")
_SECTION = re.compile(
    r"\s*(global|defaults|frontend|backend|listen|peers|userlist|resolvers|mailers|program|http-errors|ring|cache"
    r"|fcgi-app|log-forward|log-profile|crt-store|traces|acme)(?!\S)(?:[ \t]+([^\s#]+))?"
)
_ROUTES = ("frontend", "backend", "listen")


@dataclasses.dataclass(frozen=True)
class Part:
    """Some lines in a row: one of our parts, or what stands between (no name)."""

    name: str
    start: int
    text: str
    file: str = ""
    """Where it is not the one at hand."""

    def line(self, number: int) -> str:
        return f"in {self.file}, line {number}" if self.file else f"line {number}"

    def lines(self) -> t.Iterator[tuple[int, str]]:
        return enumerate(self.text.splitlines(), self.start)

    def sections(self) -> t.Iterator[tuple[int, str, str]]:
        for number, line in self.lines():
            if found := _SECTION.match(line):
                yield number, found.group(1), found.group(2) or ""


@dataclasses.dataclass(frozen=True)
class ConfigText:
    """The text of a configuration file."""

    parts: t.Sequence[Part]
    beside: t.Sequence[Part] = ()
    """What HAProxy reads of other files with it."""

    def with_file(self, path: str, text: str) -> ConfigText:
        """The same with one more file that HAProxy reads with it."""
        more = [dataclasses.replace(part, file=path) for part in self.parse(text).parts]
        return ConfigText(self.parts, [*self.beside, *more])

    @property
    def all_parts(self) -> list[Part]:
        return [*self.parts, *self.beside]

    @classmethod
    def parse(cls, text: str) -> ConfigText:
        parts: list[Part] = []
        name, start, lines = "", 1, list[str]()
        for number, line in enumerate(text.splitlines(keepends=True), 1):
            mark = _MARK.match(line)
            if mark and mark.group(1) == "BEGIN":
                if name:
                    raise _broken(start, name)
                parts.append(Part("", start, "".join(lines)))
                name, start, lines = mark.group(2), number, [line]
            elif mark and mark.group(2) != name:
                raise _broken(number, mark.group(2))
            else:
                lines.append(line)
                if mark:
                    parts.append(Part(name, start, "".join(lines)))
                    name, start, lines = "", number + 1, []
        if name:
            raise _broken(start, name)
        twice = [part for part in parts if part.name and sum(part.name == each.name for each in parts) > 1]
        if twice:
            raise _broken(twice[-1].start, twice[-1].name)
        return cls([part for part in [*parts, Part("", start, "".join(lines))] if part.text])

    def __str__(self) -> str:
        return "".join(part.text for part in self.parts)

    def with_app(self, app: App, base: Base) -> ConfigText:
        """The same with the app's part as it should be, and what it needs beneath."""
        self._refuse_a_name_that_is_taken(app)
        self._refuse_a_bind_that_is_taken(app)
        if _MARK.search(app.extra):
            raise InvalidError("extra has a line that marks a part of bluegreen.deploy", "sections of yours only")
        below = self._with_base(base)
        return below.with_part(f"app {app.name}", app.text(loads_state=below.state_file is not None))

    def without_app(self, name: str) -> ConfigText:
        """The same without the app's part; what was beneath goes with the last app, where others have sections."""
        rest = self.with_part(f"app {name}", "")
        others = [part.name for part in rest.parts if part.name.startswith("app ")]
        return rest.with_part(BASE, "") if rest.adopted and not others else rest

    def with_part(self, name: str, text: str, *, first: bool = False) -> ConfigText:
        """The part with that name stays where it is; a new one goes to the end, or to the beginning."""
        marked = _marked(name, text) if text else ""
        old = str(self)
        for part in self.parts:
            if part.name == name:
                before, _marked_part, after = old.partition(part.text)
                # The blank line above came with the part
                return self._with((before if marked or not before.endswith("\n\n") else before[:-1]) + marked + after)
        if not marked:
            return self
        if first:
            return self._with(f"{marked}\n{old}" if old else marked)
        return self._with(_ended(old) + ("\n" if old else "") + marked)

    def _with(self, text: str) -> ConfigText:
        return ConfigText(self.parse(text).parts, self.beside)

    @property
    def state_file(self) -> str | None:
        """The server state file of the global section, wherever it comes from."""
        (base, file) = (self._global("server-state-base"), self._global("server-state-file"))
        return f"{base}/{file}" if base and file and not file.startswith("/") else file

    @property
    def own_state_file(self) -> str | None:
        """It, if it is ours to write."""
        return self.parse("".join(part.text for part in self.all_parts if part.name == BASE)).state_file

    def server_ports(self) -> dict[tuple[str, str], str]:
        """The port of each server, by backend and name."""
        ports, section = {}, ""
        for line in "".join(_ended(part.text) for part in self.all_parts).splitlines():
            if found := _SECTION.match(line):
                section = found.group(2) or ""
            words = line.split()
            if words[:1] == ["server"] and len(words) > 2:
                ports[section, words[1]] = words[2].rpartition(":")[2]
        return ports

    @property
    def drops_privileges(self) -> bool:
        return bool(self._global("user") or self._global("uid"))

    @property
    def adopted(self) -> bool:
        """Somebody else has written sections into the file."""
        return any(True for part in self._not_ours for _section in part.sections())

    def _with_base(self, base: Base) -> ConfigText:
        if not self.adopted:
            return self.with_part(BASE, base.whole(), first=True)
        beside = base.beside(
            socket=not self._has_socket(base.socket),
            state_file=ConfigText(self._not_ours).state_file is None,
        )
        return self.with_part(BASE, beside)

    def _has_socket(self, socket: str) -> bool:
        for part in self._not_ours:
            for number, line in part.lines():
                words = line.split()
                if words[:2] != ["stats", "socket"] or _bare(words[2] if len(words) > 2 else "") != _bare(socket):
                    continue
                if ["level", "admin"] not in [words[at : at + 2] for at in range(len(words))]:
                    raise MissingError(
                        f"{part.line(number)} has the stats socket {socket} without level admin",
                        "level admin, since a switch is made through it",
                        "Add it to the line, or name another socket",
                    )
                return True
        return False

    @property
    def _not_ours(self) -> list[Part]:
        """What stands there whatever becomes of our parts of this file."""
        return [part for part in self.all_parts if not part.name or part.file]

    def _global(self, keyword: str) -> str | None:
        for part in self.all_parts:
            inside = False
            for _number, line in part.lines():
                if found := _SECTION.match(line):
                    inside = found.group(1) == "global"
                words = line.split()
                if inside and words[:1] == [keyword] and len(words) > 1:
                    return words[1]
        return None

    def _refuse_a_name_that_is_taken(self, app: App) -> None:
        for part in self._others(app):
            for number, kind, name in part.sections():
                if kind in _ROUTES and name in app.names:
                    raise ConflictError(
                        f"{part.line(number)} has {kind} {name}, which {_whose(part)}",
                        f"no other section named so, since app {app.name} needs the name",
                        "Rename or remove that section, or name the app otherwise",
                    )

    def _refuse_a_bind_that_is_taken(self, app: App) -> None:
        wanted = {place: bind for bind in app.binds for place in _places(bind)}
        for part in self._others(app):
            for number, line in part.lines():
                words = line.split("#")[0].split(None, 1)
                if words[:1] != ["bind"] or len(words) < 2:
                    continue
                taken = [wanted[place] for place in _places(words[1]) if place in wanted]
                if taken:
                    raise ConflictError(
                        f"{part.line(number)} binds {words[1].split()[0]}, which {_whose(part)}, "
                        f"and app {app.name} wants {taken[0].split()[0]}",
                        "an address of its own for each app, since HAProxy would share the connections out by chance",
                        "Bind the app elsewhere, or have that frontend send its site to it: see docs/haproxy.md, "
                        '"Many sites behind one frontend"',
                    )

    def _others(self, app: App) -> list[Part]:
        return [part for part in self.all_parts if part.name != f"app {app.name}" or part.file]


def _marked(name: str, text: str) -> str:
    return (
        f"# BEGIN bluegreen.deploy {name}: the role haproxy writes this part; change its variables instead\n"
        f"{_ended(text)}# END bluegreen.deploy {name}\n"
    )


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _whose(part: Part) -> str:
    return f"belongs to {part.name}" if part.name else "is not of bluegreen.deploy"


def _broken(line: int, name: str) -> MissingError:
    return MissingError(
        f"line {line} marks the part {name!r} of bluegreen.deploy, which has no other end, or is there twice",
        "a BEGIN line and an END line around each part, once",
        "Put the lines back, from a backup of the file if need be",
    )


def _bare(socket: str) -> str:
    return re.sub(r"^(unix|ipv4|ipv6)@", "", socket)


def _places(bind: str) -> list[tuple[str, str]]:
    """What a bind line takes: host and port of each address in it."""
    addresses, *options = bind.split()
    hosts_and_ports = []
    for address in addresses.split(","):
        host, _colon, ports = _bare(address).rpartition(":")
        apart = " ".join(options[at] for at in range(1, len(options)) if options[at - 1] in ("interface", "namespace"))
        host = {"0.0.0.0": "", "*": "", "[::]": "::"}.get(host, host)  # noqa: S104 -- read, not bound
        first, _dash, last = ports.partition("-")
        if not first.isdigit() or not (last or first).isdigit() or int(last or first) - int(first) > 65535:
            hosts_and_ports.append((address, apart))
            continue
        both = [host, ""] if host == "::" and "v4v6" in options else [host]
        hosts_and_ports += [
            (each, f"{port} {apart}") for each in both for port in range(int(first), int(last or first) + 1)
        ]
    return hosts_and_ports
