# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that a test arms: what befalls the n-th call of a kind.

``fault`` is the name of an error (``Throttling``, ``PriorRequestNotComplete``, ``ExpiredToken``, ``500``), an error of
one's own as ``{"code", "status", "message"}``, or what befalls the connection: ``html`` (a gateway's page instead of an
answer), ``hang`` (no answer), ``reset`` (closed before anything is done), ``after`` (done, and closed before that is
told).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from .call import Call

ERRORS = {
    "Throttling": (400, "Throttling", "Rate exceeded"),
    # docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html
    "PriorRequestNotComplete": (
        400,
        "PriorRequestNotComplete",
        "The request was rejected because Route 53 was still processing a prior request.",
    ),
    "ExpiredToken": (403, "ExpiredToken", "The security token included in the request is expired"),
    "AccessDenied": (403, "AccessDenied", "User: arn:aws:iam::123456789012:user/test is not authorized to do this"),
    "500": (500, "InternalFailure", "The request processing has failed because of an unknown error."),
}
CONNECTION = ("html", "hang", "reset", "after")
LONGEST_HANG = 300.0  # seconds


@dataclass(frozen=True)
class Failure:
    """What is to happen to a call. ``kind`` is one of ``CONNECTION``, or ``error``."""

    kind: str
    status: int = 400
    code: str = ""
    message: str = ""

    @classmethod
    def of(cls, fault: str | dict[str, Any]) -> Failure:
        if isinstance(fault, dict):
            code = str(fault["code"])
            return cls("error", int(fault.get("status", 400)), code, str(fault.get("message", code)))
        if fault in CONNECTION:
            return cls(fault)
        if fault not in ERRORS:
            raise ValueError(f"no such fault: {fault}; there are {', '.join((*ERRORS, *CONNECTION))}, or a dict")
        return cls("error", *ERRORS[fault])


@dataclass
class Armed:
    failure: Failure
    service: str | None
    action: str | None
    nth: int
    times: int | None
    """None: from the n-th call on, for ever."""
    parameters: dict[str, Any]
    seen: int = 0

    @classmethod
    def of(cls, told: dict[str, Any]) -> Armed:
        known = {"service", "action", "nth", "times", "fault", "parameters"}
        if strange := sorted(set(told) - known):
            raise ValueError(f"a fault has no {', '.join(strange)}; it has {', '.join(sorted(known))}")
        nth, times = int(told.get("nth", 1)), told.get("times", 1)
        if nth < 1 or (times is not None and int(times) < 1):
            raise ValueError("nth and times are at least 1; times may be null, for ever")
        where = told.get("parameters") or {}
        return cls(Failure.of(told["fault"]), told.get("service"), told.get("action"), nth, times, where)

    def takes(self, call: Call) -> bool:
        """Counts the calls it is for, and says whether this is one to fail."""
        if self.service not in (None, call.service) or self.action not in (None, call.action):
            return False
        if any(call.parameters.get(name) != value for name, value in self.parameters.items()):
            return False
        self.seen += 1
        return self.nth <= self.seen and (self.times is None or self.seen < self.nth + self.times)


@dataclass
class Faults:
    armed: list[Armed] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _released: threading.Event = field(default_factory=threading.Event)

    def arm(self, told: dict[str, Any]) -> None:
        fault = Armed.of(told)
        with self._lock:
            self.armed.append(fault)

    def of(self, call: Call) -> Failure | None:
        """Every armed fault counts the call; the first that wants it has it."""
        with self._lock:
            wanted = [fault.failure for fault in self.armed if fault.takes(call)]
        return wanted[0] if wanted else None

    def hang(self) -> None:
        """Until the faults are cleared; the connection is closed then."""
        self._released.wait(LONGEST_HANG)

    def clear(self) -> None:
        with self._lock:
            self.armed.clear()
            self._released.set()
            self._released = threading.Event()
