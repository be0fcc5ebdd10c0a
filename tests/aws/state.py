# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all parts of the server share: the lock, and the settings that tests turn."""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass

LOCK = threading.RLock()
"""Held around every call of moto, which knows no threads, and around every look at what it holds."""


@dataclass
class Settings:
    """AWS's times in seconds are multiplied by the scales, so that tests need not wait for them."""

    health_scale: float = 0.01
    shortest_timeout: float = 2.0
    """Seconds a health check waits at least: a busy machine must not look like a broken app."""
    drain_scale: float = 0.01
    sync_scale: float = 0.01
    page_size: int = 50
    """Of an answer to a call that names no size; small, so that who forgets the other pages is found out."""
    rules_per_load_balancer: int = 100
    """docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html"""
    latency_ms: float = 0.0
    """Added to each call."""

    def update(self, wanted: dict[str, float]) -> None:
        known = {name: type(default) for name, default in dataclasses.asdict(Settings()).items()}
        if strange := sorted(set(wanted) - set(known)):
            raise ValueError(f"no such setting: {', '.join(strange)}; there are {', '.join(known)}")
        for name, value in wanted.items():
            setattr(self, name, known[name](value))

    def reset(self) -> None:
        self.update(dataclasses.asdict(Settings()))


SETTINGS = Settings()
