# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both ways of the HAProxy provider share: a socket, and a member for each server. Private to this collection."""

from __future__ import annotations

import abc
import re
import shlex
import sys
import time
import typing as t
from collections import Counter

from .._errors import InvalidError
from .._haproxy.pool import Look, Pool
from .._haproxy.runtime_api import RuntimeApi, need_admin, parse_address, parse_version, word
from .router import Router


class HAProxyRouter(Router):
    """A frontend of one HAProxy, which sends requests to the backends of the colours."""

    def __init__(self, colours: tuple[str, str], options: t.Mapping[str, t.Any], backends: t.Mapping[str, str]) -> None:
        self._colours = colours
        self._socket: str = options["socket"] or ""
        self._timeout: float = options["timeout"]
        if not 0 < self._timeout < float("inf"):
            raise InvalidError(f"timeout is {self._timeout:g}", "a number of seconds above 0")
        self._api = RuntimeApi(self._socket, self._timeout)
        unnamed = [colour for colour in colours if not isinstance(backends.get(colour), str)]
        if unnamed or len(backends) > len(colours):
            raise InvalidError(
                f"backends names {', '.join(map(str, backends))}", f"a backend for {' and '.join(colours)}"
            )
        if options["backends"] and len(set(backends.values())) < len(colours):
            raise InvalidError(f"backends names {backends[colours[0]]} for both colours", "one for each colour")
        self._backends = {colour: word(backends[colour], "backend name") for colour in colours}
        self._pool = Pool(self._api, self._backends.values(), self._colour_of)

    def long_lived(self) -> dict[str, int] | None:
        counts = Counter(self._colour_of(*where) for where in self._pool.long_lived())
        return {colour: counts[colour] for colour in self._colours}

    def changed_by_itself(self, since: float) -> str | None:
        (info,) = self._api.ask("show info")
        started = _started(info)
        if started + 1 <= since or not self._is_as_configured():  # it tells whole seconds
            return None
        return (
            f"HAProxy started anew at {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(started))} UTC, "
            "and what was set before at run time is gone"
        )

    @abc.abstractmethod
    def _is_as_configured(self) -> bool:
        """Whether nothing of what is in force was set at run time, as far as can be seen."""

    def _check_rights(self) -> None:
        info, level = self._api.ask("show info", "show cli level")
        parse_version(info)
        need_admin(level, self._socket)

    def _colour_of(self, backend: str, server: str) -> str | None:
        return next((colour for colour in self._colours if self._backends[colour] == backend), None)

    def _look(self) -> Look:
        return self._pool.look()


def _started(info: str) -> float:
    """When the process started, in seconds since the epoch."""
    found = dict(re.findall(r"^(Start_time_sec|Uptime_sec): (\d+)", info, re.MULTILINE))
    if "Start_time_sec" in found:
        return float(found["Start_time_sec"])
    return time.time() - float(found.get("Uptime_sec", "inf"))


def by_hand(socket: str, commands: t.Sequence[str]) -> str:
    """Whoever ran this has this Python; socat is on few hosts, and its addresses have a syntax of their own."""
    address = parse_address(socket)
    unix = isinstance(address, str)
    program = (
        "import socket,sys;"
        + ("s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);" if unix else "")
        + ("" if unix else "s=socket.create_connection(sys.argv[1].rsplit(chr(58),1));")
        + "s.sendall(chr(10).join([*sys.argv[2:],chr(10)]).encode());print(s.makefile().read())"
    )
    where = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
    return shlex.join([sys.executable, "-c", program, where, *commands])
