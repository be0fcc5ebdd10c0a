# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was set in HAProxy at run time, over a reload of ours. Private to this collection.

Source: HAProxy Management Guide, "show servers state". The file says something only while we reload: with what was true
weeks ago, a reload of somebody else's would put a server into maintenance again.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from .._errors import MissingError, TimeLimitError, UnreachableError
from .._files import Folder
from .config_text import ConfigText

NOTHING = "1\n"
"""A server state file that tells nothing of any server: its version only."""


def make_state_file(config: ConfigText) -> None:
    """HAProxy warns where a state file that is named is missing. One that others can write is refused."""
    path = config.own_state_file
    if path:
        _write(path, NOTHING, anew=False)


@contextlib.contextmanager
def carried_over(config: ConfigText, states: str) -> t.Iterator[None]:
    """For a reload within. It stays where the reload did not come to an end: a new worker may have it yet to read."""
    path = config.own_state_file
    if not path:
        yield
        return
    _write(path, still_true(states, config))
    try:
        yield
    except (TimeLimitError, UnreachableError):
        raise
    except BaseException:
        _write(path, NOTHING)
        raise
    _write(path, NOTHING)


def still_true(states: str, config: ConfigText) -> str:
    """Without the servers that are elsewhere now: HAProxy would take their port from the state."""
    ports = config.server_ports()
    kept, columns = [NOTHING], list[str]()
    for line in states.splitlines():
        words = line.split()
        if words[:1] == ["#"]:
            columns = words[1:]
            kept.append(f"{line}\n")
        elif len(words) > 1:
            row = dict(zip(columns, words))
            if ports.get((row["be_name"], row["srv_name"])) == row["srv_port"]:
                kept.append(f"{line}\n")
    return "".join(kept)


def _write(path: str, text: str, *, anew: bool = True) -> None:
    directory, name = os.path.split(path)
    try:
        with Folder(directory) as folder:
            if anew or folder.read(name) is None:
                folder.replace(name, text.encode(), mode=0o644)  # as the map: HAProxy may not be root
    except OSError as error:
        raise MissingError(
            f"the server state file {path} cannot be written: {error.strerror}",
            "its directory, which this user may write to",
            "Make it, or name another server_state_file",
        ) from error
