# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's master process, for hosts without systemd. Private to this collection.

Source: HAProxy Management Guide, sections 3 (master-worker mode) and 9.4 "Master CLI".
"""

from __future__ import annotations

import re
import typing as t

from .._errors import BlueGreenError, MissingError, UnreachableError
from .._wait import until
from .runtime_api import RuntimeApi

Run = t.Callable[[list[str]], tuple[int, str, str]]

_WORKER = re.compile(r"^(\d+)\s+worker\s+0\s", re.MULTILINE)


class Master:
    """The master behind its own socket."""

    def __init__(self, socket: str, timeout: float) -> None:
        self._socket = socket
        self._timeout = timeout

    def worker(self) -> int | None:
        """The process id of the newest worker; None when no master answers."""
        try:
            (processes,) = self._api().ask("show proc")
        except BlueGreenError:
            return None
        found = _WORKER.search(processes)
        return int(found.group(1)) if found else None

    def running(self) -> bool:
        return self.worker() is not None

    def start(self, run: Run, command: list[str]) -> None:
        """Start HAProxy; it goes to the background by itself."""
        try:
            code, output, errors = run(command)
        except OSError as error:
            raise MissingError(
                f"{command[0]} cannot be run: {error.strerror}", "HAProxy", "Name it in binary"
            ) from error
        if code:
            raise BlueGreenError(
                f"HAProxy did not start: {(errors or output).strip()[-300:]}",
                todo="See the whole of it with haproxy -c and the configuration",
            )
        self._wait_for_worker_other_than(None)

    def reload(self) -> None:
        """Start a new worker on the same listeners; the old one ends when its connections do."""
        old = self.worker()
        if old is None:
            raise UnreachableError(f"no HAProxy master answers at {self._socket}", "one to reload", "Start it first")
        answer = self._api().last_words("reload")
        if "Success=0" in answer:
            raise BlueGreenError(
                f"HAProxy refused the new configuration and goes on with the old one: {answer.strip()[-300:]}",
                todo="Check it with haproxy -c",
            )
        self._wait_for_worker_other_than(old)

    def _api(self) -> RuntimeApi:
        return RuntimeApi(self._socket, self._timeout, prompt=b"master> ")

    def _wait_for_worker_other_than(self, old: int | None) -> None:
        _worker, new = until(
            self.worker, lambda worker: worker not in (None, old), timeout=self._timeout, interval=0.05
        )
        if not new:
            raise BlueGreenError(
                f"no new HAProxy worker came up within {self._timeout:g} s", todo="See HAProxy's own log"
            )
