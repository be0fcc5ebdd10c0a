# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registered target: what its health checks have shown so far, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

LOOPBACK = "127."


@dataclass(frozen=True)
class Health:
    """docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html"""

    state: str
    reason: str | None = None
    description: str | None = None

    def told(self) -> dict[str, str | None]:
        return {"State": self.state, "Reason": self.reason, "Description": self.description}


HEALTHY = Health("healthy")
REGISTERING = Health("initial", "Elb.RegistrationInProgress", "Target registration is in progress")
CHECKING = Health("initial", "Elb.InitialHealthChecking", "Initial health checks in progress")
DRAINING = Health("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")
NOT_REGISTERED = Health("unused", "Target.NotRegistered", "Target is not registered to the target group")
NOT_IN_USE = Health(
    "unused", "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"
)
UNCHECKED = Health("unavailable", "Target.HealthCheckDisabled", "Health checks are not enabled for this target")
"""docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html: off by default for functions."""
TIMEOUT = Health("unhealthy", "Target.Timeout", "Request timed out")
FAILED = Health("unhealthy", "Target.FailedHealthChecks", "Health checks failed")


def mismatch(status: int) -> Health:
    return Health("unhealthy", "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{status}]")


class Target:
    """One (id, port) of a target group. The data plane reads it while the health checks write it."""

    def __init__(self, identity: str, port: int, zone: str | None) -> None:
        self.id, self.port, self.zone = identity, port, zone
        self.forced: Health | None = None
        self.checking = False
        self.ends: float | None = None
        """When its draining is over, by the monotonic clock."""
        self.begin()

    def begin(self) -> None:
        """As registered just now: nothing is known of it."""
        self.ends = None
        self.shown = REGISTERING
        self.good = self.bad = 0
        self.due = 0.0

    def judge(self, failure: Health | None, healthy_after: int, unhealthy_after: int) -> None:
        """One health check was passed, or failed like that."""
        self.good, self.bad = (self.good + 1, 0) if failure is None else (0, self.bad + 1)
        if self.shown is REGISTERING:
            self.shown = CHECKING
        if failure is None and self.good >= healthy_after:
            self.shown = HEALTHY
        elif failure and (self.bad >= unhealthy_after or self.shown.state == "unhealthy"):
            self.shown = failure

    def drain(self, seconds: float) -> None:
        """Asked for a second time it goes on as it is."""
        if self.ends is None:
            self.ends = time.monotonic() + seconds

    @property
    def draining(self) -> bool:
        return self.ends is not None

    @property
    def health(self) -> Health:
        """As long as its group is in use."""
        return self.forced or (DRAINING if self.draining else self.shown)

    @property
    def serves(self) -> bool:
        return self.health.state == "healthy"

    @property
    def registered(self) -> bool:
        return not self.draining

    def address(self, places: Mapping[str, int]) -> tuple[str, int] | None:
        """Where it is on loopback; None: it is not there. Nothing else is ever asked."""
        if self.id in places:
            return "127.0.0.1", places[self.id]
        return (self.id, self.port) if self.id.startswith(LOOPBACK) else None
