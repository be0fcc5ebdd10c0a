# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's map file on disk, which a reload or restart reads. Private to this collection."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import typing as t

from .._errors import DeniedError, DriftError, InvalidError, MissingError
from .._files import MOST_LINKS, Folder


class MapFile:
    """A map file whose entries are changed whole: a reader sees the old file or the new one.

    It lies in a directory that nobody else can write to: who could, would have the load balancer's user, mostly
    root, read and write files of his choice, and would send the app's requests where he likes.
    """

    def __init__(self, path: str) -> None:
        if not os.path.isabs(path):
            raise InvalidError(
                f"the map file {path!r} is no absolute path",
                "one such as /etc/haproxy/bluegreen.map",
                "Set map_file where the map's name is no path, as with opt@, or persist to false where it has no file, "
                "as with virt@",
            )
        self.path = path
        self._open: tuple[Folder, str] | None = None

    def get(self, key: str) -> str:
        """The value of ``key``, which must stand in the file exactly once."""
        with self._place() as (folder, name):
            lines = self._lines(folder, name)
        values = [value for entry, value in map(_entry, lines) if entry == key]
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
        with self._place() as place, self._at(place):
            lines = [f"{key} {value}\n" if _entry(line)[0] == key else line for line in self._lines(*place)]
            self.write("".join(lines))

    def text(self) -> str | None:
        """All of it. None: there is none."""
        try:
            with self._place() as (folder, name):
                return "".join(self._lines(folder, name))
        except MissingError:
            return None

    def make(self, text: str) -> None:
        """Write it where there is none; HAProxy's user may read it."""
        with self._place() as (folder, name), self._writing():
            if folder.read(name, anybodys=True) is None:
                folder.replace(name, text.encode(), mode=0o644)

    def write(self, text: str) -> None:
        """Replace all of it."""
        with self._place() as (folder, name), self._writing():
            folder.replace(name, text.encode(errors="surrogateescape"), keep=True)

    def check_writable(self) -> None:
        with self._place() as (folder, name):
            self._lines(folder, name)
            if not os.access(folder.path, os.R_OK | os.W_OK | os.X_OK):
                raise DeniedError(
                    f"the directory {folder.path} of the map file may not be written by this user",
                    "read and write access, since the file is replaced whole, and a lock lies beside it",
                    "Use become",
                )

    @contextlib.contextmanager
    def locked(self, timeout: float) -> t.Iterator[None]:
        """Keep other switches away from this file, which stays the same one while it is read and written.

        The lock is a file of its own beside it, which nobody else can open, and so hold.
        """
        with self._place() as (folder, name), contextlib.ExitStack() as held:
            with self._writing():
                held.enter_context(folder.locked(f".bluegreen-{name}.lock", fcntl.LOCK_EX, timeout))
            held.enter_context(self._at((folder, name)))
            yield

    @contextlib.contextmanager
    def _at(self, place: tuple[Folder, str]) -> t.Iterator[None]:
        """All that is done within is done there, whatever becomes of the path."""
        before, self._open = self._open, place
        try:
            yield
        finally:
            self._open = before

    @contextlib.contextmanager
    def _place(self) -> t.Iterator[tuple[Folder, str]]:
        """The directory that the file really lies in, and its name there: a link to the file stays one."""
        if self._open:
            yield self._open
            return
        directory, name = os.path.split(self.path)
        with contextlib.ExitStack() as opened:
            with self._reading():
                folder = opened.enter_context(Folder(directory))
                for _link in range(MOST_LINKS):
                    target = folder.link(name)
                    if target is None:
                        break
                    directory, name = os.path.split(os.path.join(folder.path, target))
                    folder = opened.enter_context(Folder(directory))
            yield folder, name

    def _lines(self, folder: Folder, name: str) -> list[str]:
        with self._reading():
            content = folder.read(name, anybodys=True)
        if content is None:
            raise self._missing()
        return io.StringIO(content.decode(errors="surrogateescape"), newline="\n").readlines()

    def _missing(self) -> MissingError:
        return MissingError(
            f"there is no map file {self.path}",
            "the file that HAProxy's map() names",
            "Set map_file if it lies elsewhere, or persist to false if this host has none",
        )

    @contextlib.contextmanager
    def _reading(self) -> t.Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise self._missing() from error
        except OSError as error:
            raise DeniedError(
                f"the map file {self.path} cannot be read: {error.strerror}", todo="Use become"
            ) from error

    @contextlib.contextmanager
    def _writing(self) -> t.Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DeniedError(
                f"the map file {self.path} cannot be written: {error.strerror}",
                "a directory that this user may write to, with room in it",
                "A switch that is not on disk would be lost at the next reload, so nothing was changed",
            ) from error


def _entry(line: str) -> tuple[str, str]:
    name, value = [*line.split(None, 1), "", ""][:2]
    return ("", "") if name.startswith("#") else (name, value.strip())
