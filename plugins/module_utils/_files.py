# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are replaced whole. Private to this collection."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
import time

LEFT_BEHIND = 3600.0
"""Seconds after which a temporary file is that of a process which was killed."""


def replace_file(path: str, content: bytes, mode: int = 0o644) -> None:
    """A reader sees the old file or the new one, also after a power cut.

    Mode and owner of a file that is there are kept; ``mode`` is for a new one. Raises ``OSError``, and then
    the old file is untouched. What a process that was killed has left of an earlier try is removed.
    """
    directory, name = os.path.split(path)
    there = _status(path)
    beginning = f".bluegreen-{name}-"
    _sweep(directory, beginning)
    handle, temporary = tempfile.mkstemp(prefix=beginning, dir=directory)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), there.st_mode & 0o7777 if there else mode)
            if there and (there.st_uid, there.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), there.st_uid, there.st_gid)
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    _sync(directory)


def _sweep(directory: str, beginning: str) -> None:
    for left in glob.glob(glob.escape(os.path.join(directory, beginning)) + "*"):
        with contextlib.suppress(OSError):  # one that cannot be removed does no harm
            if time.time() - os.stat(left).st_mtime > LEFT_BEHIND:
                os.unlink(left)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _sync(directory: str) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
