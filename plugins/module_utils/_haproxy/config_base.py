# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an app's part stands on where nobody else has written a configuration. Private to this collection."""

from __future__ import annotations

import dataclasses

from . import config_inputs as check


@dataclasses.dataclass(frozen=True)
class Base:
    """The global section and the defaults, as the distributions have them."""

    socket: str
    user: str = ""
    group: str = ""
    chroot: str = ""
    log: str = ""
    hard_stop_after: str = "1h"
    state_file: str = ""

    def __post_init__(self) -> None:
        check.word(self.socket, "socket")
        for name in ("user", "group"):
            if getattr(self, name):
                check.name(getattr(self, name), name)
        for name in ("chroot", "state_file"):
            if getattr(self, name):
                check.path(getattr(self, name), name)
        check.words(self.log, "log")
        check.duration(self.hard_stop_after, "hard_stop_after")

    def whole(self) -> str:
        """Both sections: for a file in which nothing else stands."""
        lines = [
            "global",
            *self._set("log", self.log),
            *self._set("chroot", self.chroot),
            *self._set("user", self.user),
            *self._set("group", self.group),
            self._stats_socket(),
            "    stats timeout 2m",
            f"    hard-stop-after {self.hard_stop_after}",
            *self._set("server-state-file", self.state_file),
            "",
            "defaults",
            "    mode http",
            "    log global",
            "    option httplog",
            "    option dontlognull",
            "    timeout connect 5s",
            "    timeout client 50s",
            "    timeout server 50s",
        ]
        return "\n".join(lines) + "\n"

    def beside(self, *, socket: bool, state_file: bool) -> str:
        """What a configuration of somebody else's lacks: the socket that a switch needs, and a state file."""
        lines = [
            *([self._stats_socket()] if socket else []),
            *(self._set("server-state-file", self.state_file) if state_file else []),
        ]
        return "\n".join(["global", *lines]) + "\n" if lines else ""

    def _stats_socket(self) -> str:
        return f"    stats socket {self.socket} mode 600 level admin expose-fd listeners"

    @staticmethod
    def _set(name: str, value: str) -> list[str]:
        return [f"    {name} {value}"] if value else []
