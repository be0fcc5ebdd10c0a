# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy under systemd. Private to this collection."""

from __future__ import annotations

import re

from .._errors import BlueGreenError, MissingError
from .._wait import until
from .process import Master, Run
from .runtime_api import RuntimeApi


class Service:
    """The unit; a new worker is known by the master's socket, else by the stats socket: systemd only signals."""

    def __init__(self, run: Run, unit: str, socket: str, master: Master, timeout: float) -> None:
        self._run = run
        self._unit = unit
        self._socket = socket
        self._master = master
        self._timeout = timeout

    def worker(self) -> int | None:
        """The process id of the worker at the stats socket; None when none answers there."""
        try:
            (info,) = RuntimeApi(self._socket, self._timeout).ask("show info")
        except BlueGreenError:
            return None
        found = re.search(r"^Pid: (\d+)", info, re.MULTILINE)
        return int(found.group(1)) if found else None

    def running(self) -> bool:
        return self._systemctl("is-active", "--quiet")[0] == 0

    def reload(self) -> None:
        """Start a new worker on the same listeners; the old one ends when its connections do."""
        processes, old = self._master.processes(), self.worker()
        code, output, errors = self._systemctl("reload")
        if code:
            raise BlueGreenError(
                f"systemd could not reload {self._unit}: {(errors or output).strip()[-300:]}",
                todo=f"See systemctl status {self._unit}",
            )
        if processes.worker:
            return self._master.wait_for_what_follows(processes)
        _worker, new = until(
            self.worker, lambda worker: worker not in (None, old), timeout=self._timeout, interval=0.05
        )
        if not new:
            raise BlueGreenError(
                f"no new HAProxy worker came up at {self._socket} within {self._timeout:g} s",
                todo=f"See journalctl -u {self._unit}",
            )
        return None

    def _systemctl(self, *words: str) -> tuple[int, str, str]:
        try:
            return self._run(["systemctl", *words, self._unit])
        except OSError as error:
            raise MissingError(
                f"systemctl cannot be run: {error.strerror}", "systemd", "Set control to direct where there is none"
            ) from error
