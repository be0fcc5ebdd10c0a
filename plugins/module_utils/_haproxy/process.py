# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's master process, for hosts without systemd. Private to this collection.

Source: HAProxy Management Guide, sections 3 (master-worker mode) and 9.4 "Master CLI".
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .._errors import BlueGreenError, MissingError, TimeLimitError, UnreachableError
from .._wait import until
from .runtime_api import RuntimeApi

Run = t.Callable[[list[str]], tuple[int, str, str]]

POLL = 2.0
"""Seconds for one look: a session that a master took just before it started itself anew is never answered."""

ANSWER = 5.0
"""Seconds for what HAProxy says of a reload, in its own words, where it says anything."""

_WORKER = re.compile(r"^(\d+)\s+worker\s+(\d+)\s", re.MULTILINE)
_FAILED = re.compile(r"\[failed: (\d+)\]")


@dataclasses.dataclass(frozen=True)
class Processes:
    """What the master says of itself and its workers."""

    worker: int | None = None
    """The process id of the newest one, also where it has outlived a reload that failed."""
    failed: int = 0
    """Reloads that brought no new worker; HAProxy 2.4 does not count them."""

    @classmethod
    def parse(cls, text: str) -> Processes:
        workers = [(int(reloads), int(pid)) for pid, reloads in _WORKER.findall(text)]
        failed = _FAILED.search(text)
        return cls(min(workers)[1] if workers else None, int(failed.group(1)) if failed else 0)

    def follows(self, old: Processes) -> bool:
        """A reload of ``old`` has come to its end, good or bad."""
        return self.failed > old.failed or self.worker not in (None, old.worker)


class Master:
    """The master behind its own socket."""

    def __init__(self, socket: str, timeout: float) -> None:
        self._socket = socket
        self._timeout = timeout

    def worker(self) -> int | None:
        """The process id of the newest worker; None when no master answers."""
        return self.processes().worker

    def processes(self) -> Processes:
        """None of them when no master answers."""
        try:
            return Processes.parse(self._ask("show proc", POLL))
        except BlueGreenError:
            return Processes()

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
        self.wait_for_what_follows(Processes())

    def reload(self) -> None:
        """Start a new worker on the same listeners; the old one ends when its connections do."""
        old = self.processes()
        if old.worker is None:
            raise UnreachableError(f"no HAProxy master answers at {self._socket}", "one to reload", "Start it first")
        try:
            answer = self._ask("reload", ANSWER)
        except TimeLimitError:
            answer = ""  # 2.6 says nothing where it fails, and leaves the session open: what follows tells
        if "Success=0" in answer:
            raise _refused(answer)
        self.wait_for_what_follows(old)

    def wait_for_what_follows(self, old: Processes) -> None:
        """Until there is another worker; raises at once when the master says that there will be none."""
        now, ended = until(
            self.processes, lambda processes: processes.follows(old), timeout=self._timeout, interval=0.05
        )
        if now.failed > old.failed:
            raise _refused("")
        if not ended:
            raise TimeLimitError(
                f"no new HAProxy worker came up within {self._timeout:g} s", todo="See HAProxy's own log"
            )

    def _ask(self, command: str, timeout: float) -> str:
        return RuntimeApi(self._socket, min(self._timeout, timeout)).ask_once(command)


def _refused(answer: str) -> BlueGreenError:
    said = f": {answer.strip()[-300:]}" if answer else ""
    return BlueGreenError(
        f"HAProxy refused the new configuration and goes on with the old one{said}",
        todo="See its log; haproxy -c finds what can be found without a start",
    )
