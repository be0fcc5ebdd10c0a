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
import typing as t
from pathlib import Path

PROC = Path("/proc")


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """Of one process."""

    pid: int
    words: t.Sequence[str]

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
        directory = next(iter(self._values("-C")), "")
        return [str(Path(directory, file)) for file in self._values("-f")]

    def _values(self, option: str) -> list[str]:
        return [value for word, value in zip(self.words, self.words[1:]) if word == option]


def of_haproxys() -> list[CommandLine]:
    """Of those that see the same files as we, so of none in a container. Empty where there is no Linux."""
    found = []
    for directory in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            if (directory / "ns/mnt").samefile(PROC / "self/ns/mnt"):
                words = (directory / "cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
                found.append(CommandLine(int(directory.name), words[:-1]))
    return sorted((each for each in found if each.is_haproxy), key=lambda each: each.pid)


def of_master(socket: str) -> list[CommandLine]:
    """Of whatever was started with that master socket, its workers included."""
    return [each for each in of_haproxys() if each.master_socket == socket]


def with_file(path: str) -> list[CommandLine]:
    """Of those that were started with that file of a configuration."""
    real = os.path.realpath(path)
    return [each for each in of_haproxys() if real in (os.path.realpath(file) for file in each.files)]
