# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are replaced whole. Private to this collection."""

from __future__ import annotations

import os
import tempfile


def replace_file(path: str, content: bytes, mode: int = 0o644) -> None:
    """A reader sees the old file or the new one, also after a power cut.

    Mode and owner of a file that is there are kept; ``mode`` is for a new one. Raises ``OSError``, and then
    the old file is untouched.
    """
    directory = os.path.dirname(path)
    there = _status(path)
    handle, temporary = tempfile.mkstemp(prefix=".bluegreen-", dir=directory)
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
