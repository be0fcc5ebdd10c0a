# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that the server holds, besides moto's own state."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from moto.moto_api._internal.models import moto_api_backend

from . import autoscaling, classic, elbv2, route53
from .data_plane import DataPlane
from .faults import Faults
from .monitor import Monitor
from .routing import Listener, listener_of
from .state import LOCK, SETTINGS
from .target import Health, Target

MOST_CALLS = 100_000

MENDED = (autoscaling, classic, elbv2, route53)
"""Each records, when it is imported, what of moto it mends."""


@dataclass
class World:
    places: dict[str, int] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    calls: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MOST_CALLS))

    def __post_init__(self) -> None:
        self.plane = DataPlane(self.places)
        self.monitor = Monitor(elbv2.groups_in_use, elbv2.sweep, self.places)

    def start(self) -> None:
        self.plane.start()
        self.monitor.start()

    def stop(self) -> None:
        self.faults.clear()
        self.monitor.stop()
        self.plane.stop()

    def refresh(self) -> None:
        """After a change of the API: what is in use, and where requests go."""
        with LOCK:
            elbv2.sweep()
            self.plane.update(list(_listeners()))

    def reset(self) -> None:
        """As just started."""
        with LOCK:
            self.faults.clear()
            SETTINGS.reset()
            self.places.clear()
            moto_api_backend.reset()
            elbv2.forget_users()
            self.refresh()
            self.calls.clear()

    def force_health(self, told: dict[str, Any]) -> None:
        """``{"group", "id", "port", "state", "reason", "description"}``; without a state the checks decide again."""
        with LOCK:
            found = [target for target in _targets(told["group"]) if target.id == told["id"]]
            if told.get("port") is not None:
                found = [target for target in found if target.port == int(told["port"])]
            if not found:
                raise ValueError(f"no such target: {told}")
            health = Health(told["state"], told.get("reason"), told.get("description")) if told.get("state") else None
            for target in found:
                target.forced = health


def _targets(group_arn: str) -> list[Target]:
    return [target for group in elbv2.groups() if group.arn == group_arn for target in elbv2.members(group).values()]


def _listeners() -> list[Listener]:
    """Of all load balancers, but for those that take datagrams."""
    members = {group.arn: list(elbv2.members(group).values()) for group in elbv2.groups()}
    return [
        listener_of(listener, backend.describe_rules(listener.arn, None), lambda arn: members.get(arn, []))
        for backend in elbv2.backends()
        for balancer in backend.load_balancers.values()
        for listener in balancer.listeners.values()
        if listener.protocol in ("HTTP", "HTTPS", "TCP", "TLS")
    ]
