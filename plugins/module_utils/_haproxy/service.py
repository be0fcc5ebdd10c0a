# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy under systemd. Private to this collection."""

from __future__ import annotations

import re

from .._errors import BlueGreenError, MissingError, RefusedError, TimeLimitError, UnreachableError
from .._wait import until
from . import command_line
from .command_line import CommandLine
from .process import POLL, Master, Run
from .runtime_api import RuntimeApi

RUNS = {"active": True, "reloading": True, "inactive": False, "failed": False, "unknown": False}
"""By the unit's state; what is on its way from one to the other is waited for."""

NOT_TAKEN = "Reload failed!"
"""What HAProxy 3.0 and newer tells systemd, and no other status that they tell ends a reload badly."""


class Service:
    """The unit; a new worker is known by the master's socket, else by the stats socket: systemd only signals."""

    def __init__(
        self, run: Run, unit: str, socket: str, master: Master, timeout: float, *, may_go: bool = False
    ) -> None:
        self._run = run
        self._unit = unit
        self._socket = socket
        self._master = master
        self._timeout = timeout
        self._may_go = may_go
        """The stats socket may go with the reload, as it does with the last app."""

    def __str__(self) -> str:
        return f"the unit {self._unit}"

    def running(self) -> bool:
        """Raises C(timeout) where it cannot be told."""
        said, known = until(
            lambda: self._systemctl("is-active"),
            lambda said: said[1].strip() in RUNS,
            timeout=self._timeout,
            interval=0.5,
        )
        if not known:
            raise TimeLimitError(
                f"systemd says of {self._unit}: {(said[1].strip() or said[2].strip())[-300:]!r}",
                f"one of {', '.join(RUNS)}",
                f"See systemctl status {self._unit}",
            )
        return RUNS[said[1].strip()]

    def command_line(self) -> CommandLine | None:
        """How it was started, as far as that can be seen."""
        main = self._shown("MainPID")
        return command_line.of(int(main)) if main.isdigit() and int(main) else None

    def reload(self) -> None:
        """Start a new worker on the same listeners; the old one ends when its connections do."""
        processes = self._master.processes() if self._master.running() else None
        old, status = self._worker(self._timeout), self._shown("StatusText")
        code, output, errors = self._systemctl("reload")
        if code:
            raise self._failed((errors or output).strip()[-300:])
        if processes:
            return self._master.wait_for_what_follows(processes)
        return self._wait_for_another(old, status)

    def _wait_for_another(self, old: int | None, status: str) -> None:
        """Where no master's socket tells. C(status) is what stood there before, perhaps of an earlier reload."""

        def look() -> str:
            try:
                worker = self._worker(POLL)
            except TimeLimitError:
                worker = old  # no answer tells nothing
            if worker != old and (worker or self._may_go):
                return "new"
            return "refused" if self._shown("StatusText") == NOT_TAKEN != status else ""

        what, _ended = until(look, bool, timeout=self._timeout, interval=0.2)
        if what == "refused":
            raise RefusedError(
                "HAProxy refused the new configuration and goes on with the old one",
                todo=f"See journalctl -u {self._unit}",
            )
        if not what:
            raise TimeLimitError(
                f"no new HAProxy worker came up at {self._socket} within {self._timeout:g} s",
                todo=f"See journalctl -u {self._unit}",
            )

    def _failed(self, said: str) -> BlueGreenError:
        todo = f"See systemctl status {self._unit}"
        if self._shown("ReloadResult") == "timeout":
            return TimeLimitError(f"systemd gave up waiting for the reload of {self._unit}: {said}", todo=todo)
        return RefusedError(f"systemd could not reload {self._unit}: {said}", todo=todo)

    def _worker(self, timeout: float) -> int | None:
        """The process id of the worker at the stats socket; None when nobody listens there."""
        try:
            (info,) = RuntimeApi(self._socket, min(self._timeout, timeout)).ask("show info")
        except (MissingError, UnreachableError):
            return None
        found = re.search(r"^Pid: (\d+)", info, re.MULTILINE)
        return int(found.group(1)) if found else None

    def _shown(self, what: str) -> str:
        return self._systemctl("show", f"--property={what}", "--value")[1].strip()

    def _systemctl(self, *words: str) -> tuple[int, str, str]:
        try:
            return self._run(["systemctl", *words, self._unit])
        except OSError as error:
            raise MissingError(
                f"systemctl cannot be run: {error.strerror}", "systemd", "Set control to direct where there is none"
            ) from error
