# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo shows: lines, one that is rewritten while things happen, and the tables at the end."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from .measure import Bucket

PAINT = {"blue": "\033[34m", "green": "\033[32m", "bad": "\033[31m", "bold": "\033[1m", "off": "\033[0m"}
STATUS_EVERY = 5.0
ROWS_OF_TIME = 24

LABELS = {
    "requests": "requests, all kinds",
    "failed": "failures that a switch, a step or a rollback caused",
    "websockets_lost": "WebSockets lost",
    "websockets_reconnected": "WebSockets asked to reconnect by a redeployed instance",
    "stale": "requests on the old colour after a confirmed switch",
    "switches": "moves of the traffic",
    "last_old_ms": "ms from the command to the last request on the old colour",
    "mixed_ms": "ms with both colours answering, after the full switch was commanded",
    "release_errors": "5xx of the bad release itself",
    "rolled_back": "the bad release was put back",
    "bad_to_back_ms": "ms from its first bad answer to all traffic back",
    "p50_ms": "ms that half of the answers take at most",
    "p99_ms": "ms that 99 % of the answers take at most",
}


def share_bar(shares: Mapping[str, float], width: int) -> str:
    """Blue's share in solid, green's in light blocks."""
    total = sum(shares.values())
    if not total:
        return "." * width
    blue = round(width * shares.get("blue", 0) / total)
    return "█" * blue + "░" * (width - blue)


class Screen:
    def __init__(self) -> None:
        self.terminal = sys.stdout.isatty()
        self.coloured = self.terminal and "NO_COLOR" not in os.environ
        self.width = shutil.get_terminal_size().columns
        self._status = ""
        self._told_at = 0.0

    def line(self, text: str) -> None:
        self._wipe()
        print(text, flush=True)
        self._show()

    def title(self, text: str) -> None:
        self.line("\n" + self._paint("bold", text))

    def status(self, text: str) -> None:
        """One line that says how it is now: rewritten in a terminal, told now and then elsewhere."""
        if self.terminal:
            self._wipe()
            self._status = text[: self.width - 1]
            self._show()
        elif text and time.monotonic() - self._told_at > STATUS_EVERY:
            self._told_at = time.monotonic()
            print(f"  {text}", flush=True)

    def table(self, figures: Mapping[str, Any]) -> None:
        self.title("What the clients saw")
        wide = max(len(str(value)) for value in figures.values())
        for name, value in figures.items():
            self.line(f"  {value!s:>{wide}}  {LABELS[name]}"[: self.width])

    def colours(self, buckets: Sequence[Bucket]) -> None:
        """A row for each stretch of time: who answered, and the bad answers."""
        self.title("Colours over time (█ blue, ░ green, ! bad answers of the release)")
        step = max(1, -(-len(buckets) // ROWS_OF_TIME))
        for first in range(0, len(buckets), step):
            self.line(self._row(buckets[first : first + step], buckets[0].start))

    def _row(self, buckets: Sequence[Bucket], start: float) -> str:
        shares: dict[str, int] = {}
        versions: dict[str, int] = {}
        bad = 0
        for bucket in buckets:
            for answer, count in bucket.counts.items():
                shares[answer.colour] = shares.get(answer.colour, 0) + count
                versions[answer.version] = versions.get(answer.version, 0) + count
                bad += count if answer.outcome == "release_error" else 0
        told = ", ".join(f"{version} {count}" for version, count in sorted(versions.items()) if version)
        blocks = share_bar(shares, min(40, max(10, self.width - 40)))
        for name, block in (("blue", "█"), ("green", "░")):
            count = blocks.count(block)
            blocks = blocks.replace(block * count, self._paint(name, block * count)) if count else blocks
        return f"  {buckets[0].start - start:5.0f} s {blocks} {told}" + (self._paint("bad", f"  !{bad}") if bad else "")

    def _paint(self, name: str, text: str) -> str:
        return f"{PAINT[name]}{text}{PAINT['off']}" if self.coloured else text

    def _wipe(self) -> None:
        if self.terminal and self._status:
            print("\r\033[K", end="", flush=True)

    def _show(self) -> None:
        if self.terminal and self._status:
            print(self._status, end="", flush=True)
