# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The front door, asked as a client asks it while a colour is watched. Private to this collection."""

from __future__ import annotations

import typing as t
from collections import deque
from dataclasses import dataclass, field

from .._health.check import parse
from .._health.http_probe import Http, tls_context
from .._health.probe import Answer, Probe, Target, shown
from .._wait import SYSTEM_CLOCK, Clock

ASKS = 3
"""So often is each path asked at each look, each time over a new connection: with a canary few of them reach it."""

MIN_ERRORS = 3
"""Fewer errors than this may be a blink of the network."""

REQUEST_TIMEOUT = 2.0
"""Seconds for one answer."""

SERVER_ERRORS = range(500, 600)
"""Statuses that load balancers count as errors, too."""


@dataclass
class Front:
    """The requests of our own, and what came of them. An error is an answer with status 5xx, or none."""

    targets: t.Sequence[Target]
    ask: Probe
    max_error_share: float
    """In percent; it takes three errors as well."""
    window: float
    """Seconds, back from each look, over which they are judged."""
    clock: Clock = SYSTEM_CLOCK
    requests: int = 0
    errors: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    """What failed already before the colour had any traffic, and how."""
    _recent: deque[tuple[float, str]] = field(default_factory=deque)

    def look_before(self) -> None:
        """Leave out what fails without the colour: while it shares the traffic nobody can tell whose fault it is."""
        for target in self.targets:
            faults = [_fault(target, self.ask(target, REQUEST_TIMEOUT)) for _time in range(ASKS)]
            if 2 * sum(map(bool, faults)) > ASKS:
                self.left_out[target.url] = next(filter(None, faults))
        self.targets = [target for target in self.targets if target.url not in self.left_out]

    def look(self) -> None:
        """Ask for each path some times; where no answer comes in time, the rest waits for the next look."""
        for target in self.targets:
            for _time in range(ASKS):
                answer = self.ask(target, REQUEST_TIMEOUT)
                self._add(_fault(target, answer))
                if answer.late:
                    break

    def _add(self, fault: str) -> None:
        now = self.clock.now()
        self.requests, self.errors = self.requests + 1, self.errors + bool(fault)
        self._recent.append((now, fault))
        while now - self._recent[0][0] > self.window:
            self._recent.popleft()

    def bad(self) -> str | None:
        """Why clients are not served, if they are not."""
        faults = [fault for _at, fault in self._recent if fault]
        asked = len(self._recent)
        if len(faults) < MIN_ERRORS or 100 * len(faults) <= self.max_error_share * asked:
            return None
        return (
            f"{len(faults)} of {asked} requests of ours at the front door failed, the last one with {faults[-1]}; "
            f"at most {self.max_error_share:g} % may"
        )

    def told(self) -> str:
        """What was seen, in words for a report."""
        seen = f"{self.errors} of {self.requests} requests of ours at the front door failed"
        if not self.requests:
            seen = "nothing was asked at the front door"
        already = [f"{fault} before" for fault in self.left_out.values()]
        return f"{seen}; not asked: {', '.join(already)}" if already else seen


def front_of(params: t.Mapping[str, t.Any]) -> Front | None:
    """The front door of a watch with these parameters, which are checked; nothing is asked yet."""
    given = params.get("front")
    if not given:
        return None
    plan = parse({"endpoints": given["endpoints"], "door": given.get("door")})
    context = tls_context(plan.validate_certs, plan.ca_path)

    def ask(target: Target, limit: float) -> Answer:
        http = Http(plan.headers, context, plan.door)  # one for each request: a kept connection keeps its member
        try:
            return http(target, limit)
        finally:
            http.close()

    return Front(plan.targets, ask, params["max_error_share"] or 0.0, params["window"])


def _fault(target: Target, answer: Answer) -> str:
    if answer.problem:
        return f"{shown(target.url)}: {answer.problem}"
    return f"{shown(target.url)}: status {answer.status}" if answer.status in SERVER_ERRORS else ""
