# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the HAProxys of this host were started, as Linux tells. Private to this collection.

Source: HAProxy Management Guide, section 3 "Starting HAProxy"; proc(5).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import typing as t
from pathlib import Path

PROC = Path("/proc")
_OWN = re.compile(r"HAPROXY_(MWORKER|PROCESSES|LOAD_SUCCESS)|NOTIFY_SOCKET|LISTEN_")


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """Of one process."""

    pid: int
    words: t.Sequence[str]
    directory: str = ""
    """It was started in it, or went there; relative paths in its configuration begin there."""
    environment: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    near: bool = True
    """It shares our addresses."""

    @property
    def is_haproxy(self) -> bool:
        """One that serves, and does not just check a configuration. Its program may come after a loader's name."""
        return "-c" not in self.words and any(word.rpartition("/")[2] == "haproxy" for word in self.words)

    @property
    def master_socket(self) -> str:
        return next(iter(self._values("-S")), "").partition(",")[0]

    @property
    def files(self) -> list[str]:
        """The files and directories of its configuration, in their order."""
        return [str(Path(self.directory, file)) for file in self._values("-f")]

    def with_candidate(self, config: str, candidate: str) -> list[str]:
        """How to ask HAProxy of all of its configuration, with the candidate in the place of one file."""
        files = [candidate if _same(file, config) else file for file in self.expanded(config)]
        place = ["-C", self.directory] if self.directory else []
        quiet = [word for word in self.words if word == "-dr"]
        return ["-c", *place, *quiet, *(word for file in files for word in ("-f", file))]

    def named_in(self, text: str) -> dict[str, str]:
        """Of its environment, what the configuration makes use of; that of HAProxy itself would make it another one."""
        names = {*re.findall(r"\w+", text)}
        return {name: self.environment[name] for name in names & {*self.environment} if not _OWN.match(name)}

    def reads(self, config: str) -> bool:
        return any(_same(file, config) for file in self.expanded(config))

    def others(self, config: str) -> list[str]:
        """The files beside that one."""
        return [file for file in self.expanded(config) if not _same(file, config)]

    def expanded(self, config: str) -> list[str]:
        """All files of its configuration, as HAProxy reads directories, and the one that may have yet to be made."""
        found: list[str] = []
        for path in map(Path, self.files):
            names = {each.name for each in path.iterdir()} if path.is_dir() else set()
            names |= {Path(config).name} if _same(str(path), str(Path(config).parent)) else set()
            inside = [str(path / name) for name in sorted(names) if name.endswith(".cfg") and name[0] != "."]
            found += inside if path.is_dir() else [str(path)]
        return found

    def _values(self, option: str) -> list[str]:
        return [value for word, value in zip(self.words, self.words[1:]) if word == option]


def of(pid: int) -> CommandLine | None:
    """Of a process that sees the same files as we, so of none in a container. None where there is no Linux."""
    directory = PROC / str(pid)
    with contextlib.suppress(OSError):  # it has ended, or is somebody else's
        if (directory / "ns/mnt").samefile(PROC / "self/ns/mnt"):
            pairs = (each.partition("=") for each in _strings(directory / "environ"))
            environment = {name: value for name, _equals, value in pairs}
            place = (directory / "cwd").readlink()
            return CommandLine(
                pid,
                _words(pid),
                str(place) if place.is_dir() else "",
                environment,
                near=(directory / "ns/net").samefile(PROC / "self/ns/net"),
            )
    return None


def _words(pid: int) -> list[str]:
    with contextlib.suppress(OSError):  # it has ended
        return _strings(PROC / str(pid) / "cmdline")
    return []


def _strings(file: Path) -> list[str]:
    return file.read_bytes().decode(errors="surrogateescape").split("\0")[:-1]


def of_haproxys() -> list[CommandLine]:
    """Of all that run."""
    pids = sorted(int(directory.name) for directory in PROC.glob("[0-9]*"))
    found = (
        of(pid) for pid in pids if CommandLine(pid, _words(pid)).is_haproxy
    )  # most are none, and are not looked at
    return [each for each in found if each]


def of_master(socket: str) -> list[CommandLine]:
    """Of whatever was started with that master socket, its workers included."""
    return [each for each in of_haproxys() if each.master_socket == socket]


def that_read(path: str) -> list[CommandLine]:
    """Of those that have that file in their configuration."""
    return [each for each in of_haproxys() if each.reads(path)]


def files_beside(path: str) -> list[str]:
    """What other HAProxys are configured with, whose addresses are those of this host as well."""
    others = [each for each in of_haproxys() if each.near and not each.reads(path)]
    return sorted({file for each in others for file in each.expanded(path) if Path(file).is_file()})


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
