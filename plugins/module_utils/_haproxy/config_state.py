# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was set in HAProxy at run time, over a reload of ours. Private to this collection.

Source: HAProxy Management Guide, "show servers state". The file says something only while we reload: with what was true
weeks ago, a reload of somebody else's would put a server into maintenance again.
"""

from __future__ import annotations

import contextlib
import typing as t
from pathlib import Path

from .._errors import MissingError
from .._files import replace_file
from .config_text import ConfigText

NOTHING = "1\n"
"""A server state file that tells nothing of any server: its version only."""


def make_state_file(config: ConfigText) -> None:
    """HAProxy warns where a state file that is named is missing."""
    path = config.own_state_file
    if path and not Path(path).exists():
        _write(path, NOTHING)


@contextlib.contextmanager
def carried_over(config: ConfigText, servers: t.Callable[[], str]) -> t.Iterator[None]:
    path = config.own_state_file
    if path:
        _write(path, still_true(servers(), config))
    try:
        yield
    finally:
        if path:
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


def _write(path: str, text: str) -> None:
    try:
        replace_file(path, text.encode(), 0o600)
    except OSError as error:
        raise MissingError(
            f"the server state file {path} cannot be written: {error.strerror}",
            "its directory, which this user may write to",
            "Make it, or name another server_state_file",
        ) from error
