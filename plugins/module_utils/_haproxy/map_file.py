# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's map file on disk, which a reload or restart reads. Private to this collection."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

from .._errors import DeniedError, DriftError, InvalidError, MissingError, TimeLimitError
from .._files import replace_file


class MapFile:
    """A map file whose entries are changed whole: a reader sees the old file or the new one."""

    def __init__(self, path: str) -> None:
        if not os.path.isabs(path):
            raise InvalidError(f"the map file {path!r} is no absolute path", "one such as /etc/haproxy/bluegreen.map")
        self.path = path
        self._real = os.path.realpath(path)  # a link to the file stays one when the file is replaced
        self._directory = os.path.dirname(self._real)

    def get(self, key: str) -> str:
        """The value of ``key``, which must stand in the file exactly once."""
        values = [value for name, value in map(_entry, self._lines()) if name == key]
        if not values:
            raise MissingError(
                f"the map file {self.path} has no entry {key!r}",
                "one line that starts with it",
                "Set the load balancer up with the role bluegreen.deploy.haproxy, or add the line",
            )
        if len(values) > 1:
            raise DriftError(
                f"the map file {self.path} has {len(values)} entries {key!r}",
                "one",
                "Remove all but the right one",
            )
        return values[0]

    def set(self, key: str, value: str) -> None:
        """Replace the value of ``key``, durably, before anybody can read it."""
        lines = [f"{key} {value}\n" if _entry(line)[0] == key else line for line in self._lines()]
        try:
            replace_file(self._real, "".join(lines).encode(errors="surrogateescape"))
        except OSError as error:
            raise DeniedError(
                f"the map file {self.path} cannot be written: {error.strerror}",
                "a directory that this user may write to, with room in it",
                "A switch that is not on disk would be lost at the next reload, so nothing was changed",
            ) from error

    def check_writable(self) -> None:
        self._lines()
        if not os.access(self._directory, os.R_OK | os.W_OK | os.X_OK):
            raise DeniedError(
                f"the directory {self._directory} of the map file may not be written by this user",
                "read and write access, since it is locked and the file replaced whole",
                "Use become",
            )

    @contextlib.contextmanager
    def locked(self, timeout: float) -> t.Iterator[None]:
        """Keep other switches away from this file's directory while it is read and written."""
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            _lock(directory, self.path, timeout)
            yield
        finally:
            os.close(directory)

    def _lines(self) -> list[str]:
        try:
            with open(self.path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
                return file.readlines()
        except FileNotFoundError as error:
            raise MissingError(
                f"there is no map file {self.path}",
                "the file that HAProxy's map() names",
                "Set map_file if it lies elsewhere, or persist to false if this host has none",
            ) from error
        except OSError as error:
            raise DeniedError(
                f"the map file {self.path} cannot be read: {error.strerror}", todo="Use become"
            ) from error


def _entry(line: str) -> tuple[str, str]:
    name, value = [*line.split(None, 1), "", ""][:2]
    return ("", "") if name.startswith("#") else (name, value.strip())


def _lock(directory: int, name: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            return fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise TimeLimitError(
                    f"another switch has held the map file {name} for {timeout:g} s",
                    "to be alone with it",
                    "See which process on this host holds a lock on its directory",
                ) from error
            time.sleep(0.005)
