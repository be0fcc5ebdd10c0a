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

from .._errors import BlueGreenError, MissingError, RefusedError, TimeLimitError, UnreachableError
from .._wait import until
from . import command_line
from .command_line import CommandLine
from .runtime_api import RuntimeApi


class Run(t.Protocol):
    """Runs a command, with more in its environment."""

    def __call__(
        self, command: list[str], environment: t.Mapping[str, str] | None = None, /
    ) -> tuple[int, str, str]: ...


POLL = 2.0
"""Seconds for one look: a session that a master took just before it started itself anew is never answered."""

ANSWER = 5.0
"""Seconds for what HAProxy says of a reload, in its own words, where it says anything."""

_MASTER = re.compile(r"^\d+\s+master\s", re.MULTILINE)
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


class Master:
    """The master behind its own socket."""

    def __init__(self, socket: str, timeout: float) -> None:
        self._socket = socket
        self._timeout = timeout

    def __str__(self) -> str:
        return f"the master at {self._socket}"

    def worker(self) -> int | None:
        """The process id of the newest worker; None when no master listens."""
        return (self.processes() or Processes()).worker

    def processes(self) -> Processes | None:
        """None: nobody listens at its socket. Raises C(timeout) where somebody does, and says nothing."""
        try:
            said = self._ask("show proc", POLL)
        except (MissingError, UnreachableError):
            return None
        if not _MASTER.search(said):
            raise TimeLimitError(
                f"what listens at {self._socket} does not say what it is",
                "HAProxy's master",
                "See whether HAProxy hangs, or is just being reloaded, and whether that is its master's socket",
            )
        return Processes.parse(said)

    def running(self) -> bool:
        """Raises C(timeout) where it cannot be told: no answer is not the same as nobody there.

        While a master of HAProxy up to 3.0 loads its configuration, nobody listens at its socket.
        """
        seen, _known = until(self._look, lambda seen: isinstance(seen, bool), timeout=self._timeout, interval=0.05)
        if isinstance(seen, TimeLimitError):
            raise seen
        return seen

    def command_line(self) -> CommandLine | None:
        """How it was started, as far as that can be seen."""
        return next(iter(command_line.of_master(self._socket)), None)

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
        if old is None:
            raise UnreachableError(f"no HAProxy master answers at {self._socket}", "one to reload", "Start it first")
        try:
            answer = self._ask("reload", ANSWER)
        except TimeLimitError:
            answer = ""  # 2.6 says nothing where it fails, and leaves the session open: what follows tells
        if "Success=0" in answer:
            raise _refused(answer)
        self.wait_for_what_follows(old)

    def wait_for_what_follows(self, old: Processes) -> None:
        """Until another worker serves; raises C(refused) at once when the master says that there will be none."""
        now, ended = until(self._follower(old), bool, timeout=self._timeout, interval=0.05)
        if not now or not ended:
            raise TimeLimitError(
                f"no new HAProxy worker came up within {self._timeout:g} s",
                todo=f"See HAProxy's own log, and 'show proc' at {self._socket}",
            )
        if now.failed > old.failed:
            raise _refused("")

    def _follower(self, old: Processes) -> t.Callable[[], Processes | None]:
        """What has come of a reload, good or bad; None while nothing has."""

        def look() -> Processes | None:
            try:
                now = self.processes()
                if now and (now.failed > old.failed or (now.worker not in (None, old.worker) and self._serves(now))):
                    return now
            except (MissingError, UnreachableError, TimeLimitError):
                pass  # a session that was lost in the reload; there is a next one
            return None

        return look

    def _serves(self, now: Processes) -> bool:
        """From 3.1 on, a worker is in the master's list while it still loads, and may yet refuse."""
        return f"\nPid: {now.worker}\n" in self._ask(f"@!{now.worker} show info", POLL)

    def _look(self) -> bool | TimeLimitError:
        try:
            if self.processes():
                return True
        except TimeLimitError as error:
            return error
        started = command_line.of_master(self._socket)
        if not started:
            return False
        return TimeLimitError(
            f"process {started[0].pid} was started with the master socket {self._socket}, and does not listen there",
            "HAProxy's master",
            "See whether it hangs, or still loads its configuration",
        )

    def _ask(self, command: str, timeout: float) -> str:
        return RuntimeApi(self._socket, min(self._timeout, timeout)).ask_once(command)


def _refused(answer: str) -> RefusedError:
    said = f": {answer.strip()[-300:]}" if answer else ""
    return RefusedError(
        f"HAProxy refused the new configuration and goes on with the old one{said}",
        todo="See its log; haproxy -c finds what can be found without a start",
    )
