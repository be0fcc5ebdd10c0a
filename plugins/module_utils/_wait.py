# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for a condition, bounded in time. Private to this collection."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

T = t.TypeVar("T")


@dataclass(frozen=True)
class Clock:
    """Time as the domain code sees it; tests bring their own."""

    now: t.Callable[[], float] = time.monotonic
    sleep: t.Callable[[float], None] = time.sleep


SYSTEM_CLOCK = Clock()


def until(
    look: t.Callable[[], T],
    done: t.Callable[[T], bool],
    *,
    timeout: float,
    interval: float,
    clock: Clock = SYSTEM_CLOCK,
) -> tuple[T, bool]:
    """Look until ``done`` says so or ``timeout`` seconds are over; at least one look.

    Returns the last thing seen, and whether it was the one waited for.
    """
    deadline = clock.now() + timeout
    while True:
        seen = look()
        if done(seen):
            return seen, True
        left = deadline - clock.now()
        if left <= 0:
            return seen, False
        clock.sleep(min(interval, left))
