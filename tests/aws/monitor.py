# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health checks: real GETs to targets on loopback, and the end of their draining.

A target that is not on loopback, such as an instance of moto's, passes its checks unless a test forces its state or
gives it a place on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .state import LOCK, SETTINGS
from .target import FAILED, TIMEOUT, Health, Target, mismatch

LOG = logging.getLogger(__name__)
TICK = 0.02  # seconds
SHORTEST_INTERVAL = 0.1  # seconds; a check has its price on a small machine
END = 5.0  # seconds


@dataclass(frozen=True)
class Check:
    """How a target group asks its targets."""

    protocol: str
    port: int | None
    """None: the one the target serves on."""
    path: str
    codes: str
    interval: float
    timeout: float
    healthy_after: int
    unhealthy_after: int

    @classmethod
    def of(cls, group: Any) -> Check:
        port = str(group.health_check_port or "traffic-port")
        return cls(
            protocol=str(group.health_check_protocol or "HTTP").upper(),
            port=int(port) if port.isdigit() else None,
            path=group.health_check_path or "/",
            codes=(getattr(group, "matcher", None) or {}).get("HttpCode") or "200",
            interval=max(SHORTEST_INTERVAL, float(group.health_check_interval_seconds or 30) * SETTINGS.health_scale),
            timeout=max(
                SETTINGS.shortest_timeout, float(group.health_check_timeout_seconds or 5) * SETTINGS.health_scale
            ),
            healthy_after=int(group.healthy_threshold_count or 5),
            unhealthy_after=int(group.unhealthy_threshold_count or 2),
        )

    def takes(self, status: int) -> bool:
        """Of ``200``, ``200,204`` or ``200-399``."""
        for part in self.codes.split(","):
            first, _unused, last = part.strip().partition("-")
            if int(first) <= status <= int(last or first):
                return True
        return False

    async def ask(self, host: str, port: int) -> Health | None:
        """None: passed; else why not."""
        try:
            async with asyncio.timeout(self.timeout):
                return await self._ask(host, self.port or port)
        except TimeoutError:
            return TIMEOUT
        except (OSError, ValueError):
            return FAILED

    async def _ask(self, host: str, port: int) -> Health | None:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            if self.protocol not in ("HTTP", "HTTPS"):
                return None
            lines = (f"GET {self.path} HTTP/1.1", f"Host: {host}:{port}", "User-Agent: ELB-HealthChecker/2.0")
            writer.write("\r\n".join((*lines, "Connection: close", "", "")).encode("ascii"))
            answer = (await reader.readline()).split(maxsplit=2)
            if len(answer) < 2 or not answer[1].isdigit():
                return FAILED
            return None if self.takes(int(answer[1])) else mismatch(int(answer[1]))
        finally:
            writer.close()


@dataclass
class Monitor:
    """Runs in a thread of its own. ``groups`` gives those in use with their targets, ``sweep`` ends what drained."""

    groups: Callable[[], Iterator[tuple[Any, list[Target]]]]
    sweep: Callable[[], None]
    places: dict[str, int]
    _stopped: threading.Event = field(default_factory=threading.Event)
    _checks: set[asyncio.Task[None]] = field(default_factory=set)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True, name="health checks")
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread:
            self._thread.join(END)

    async def _run(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(Exception):  # as little as this may end the checks of a whole run
                self._begin_what_is_due()
            await asyncio.sleep(TICK)
        for task in self._checks:
            task.cancel()

    def _begin_what_is_due(self) -> None:
        now = time.monotonic()
        try:
            with LOCK:
                self.sweep()
                for group, targets in self.groups():
                    check = Check.of(group)
                    for target in targets:
                        if target.registered and not target.checking and target.due <= now:
                            self._begin(check, target, now)
        except Exception:
            LOG.exception("health checks")
            raise

    def _begin(self, check: Check, target: Target, now: float) -> None:
        target.checking, target.due = True, now + check.interval
        task = asyncio.get_running_loop().create_task(self._check(check, target))
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    async def _check(self, check: Check, target: Target) -> None:
        try:
            address = target.address(self.places)
            failure = await check.ask(*address) if address else None
            with LOCK:
                target.judge(failure, check.healthy_after, check.unhealthy_after)
        finally:
            target.checking = False
