# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the load saw, measured: pure functions over its records.

Instants are epoch seconds, durations milliseconds. A request belongs to the instant it *started*, for its
end says more about how long it took than about where it was sent. A request that was still in flight when
the next move was commanded (``until``) proves nothing: that move may have routed it. The records need no
order.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

FAST = frozenset({"get", "post", "short"})  # the others take seconds by design: no percentile of theirs


class Record(NamedTuple):
    """One request. A tuple, because there are hundreds of thousands of them."""

    start: float  # epoch seconds
    latency_ms: float  # to the last byte of the answer, or to the failure
    kind: str  # get, post, short, slow, stream, ws (the upgrade)
    colour: str  # "" when no app answered
    version: str
    status: int  # 0 when there was no answer
    outcome: str  # ok, release_error, failed, race

    @property
    def end(self) -> float:
        return self.start + self.latency_ms / 1000


@dataclass(frozen=True)
class Summary:
    requests: int
    ok: int
    release_errors: int
    failed: int
    races: int
    seconds: float  # first start to last start
    rate: float  # requests a second
    p50_ms: float | None  # of the fast kinds; None without any
    p99_ms: float | None
    kinds: Mapping[str, int]
    versions: Mapping[str, Mapping[str, int]]  # colour, version: requests


class Answer(NamedTuple):
    colour: str
    version: str
    outcome: str


@dataclass(frozen=True)
class Bucket:
    start: float  # epoch seconds
    counts: Mapping[Answer, int]


def parse(lines: Iterable[str]) -> tuple[dict[str, Any], list[Record]]:
    """The file ``demo.load`` writes: a line of summary, then one line a record."""
    head, *rows = (json.loads(line) for line in lines)
    return head, [Record(*row) for row in rows]


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile: a value that was really seen; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def fast_latencies(records: Iterable[Record]) -> list[float]:
    """Milliseconds of the answered requests that are not slow by design."""
    return [record.latency_ms for record in records if record.kind in FAST and record.status]


def versions(records: Iterable[Record]) -> dict[str, dict[str, int]]:
    """Answered requests for each colour and version."""
    counts: dict[str, dict[str, int]] = {}
    answered = Counter((r.colour, r.version) for r in records if r.colour)
    for (colour, version), count in sorted(answered.items()):
        counts.setdefault(colour, {})[version] = count
    return counts


def summary(records: Sequence[Record]) -> Summary:
    """Counts, requests a second, and milliseconds of the fast kinds."""
    outcomes = Counter(record.outcome for record in records)
    starts = [record.start for record in records]
    seconds = max(starts) - min(starts) if starts else 0.0
    fast = fast_latencies(records)
    return Summary(
        requests=len(records),
        ok=outcomes["ok"],
        release_errors=outcomes["release_error"],
        failed=outcomes["failed"],
        races=outcomes["race"],
        seconds=round(seconds, 3),
        rate=round(len(records) / seconds, 1) if seconds else 0.0,
        p50_ms=percentile(fast, 50),
        p99_ms=percentile(fast, 99),
        kinds=dict(sorted(Counter(record.kind for record in records).items())),
        versions=versions(records),
    )


def stale(records: Iterable[Record], colour_left: str, confirmed_at: float, until: float) -> list[Record]:
    """Requests started after the switch was confirmed, yet answered by the colour left before ``until``.

    Both instants in epoch seconds, exclusive; ``until`` is when the next switch was commanded.
    """
    return [r for r in records if r.colour == colour_left and confirmed_at < r.start and r.end < until]


def last_on(records: Iterable[Record], colour: str, commanded_at: float, until: float) -> float:
    """Milliseconds from the command to the start of the last request that ``colour`` answered; 0.0 if none.

    ``commanded_at`` and ``until`` (the next command) in epoch seconds.
    """
    starts = [r.start for r in stale(records, colour, commanded_at, until)]
    return (max(starts) - commanded_at) * 1000 if starts else 0.0


def mixed_window_ms(records: Iterable[Record], left: str, to: str, since: float, until: float) -> float:
    """Milliseconds during which requests were started on both colours, around one switch.

    From the first start on the new colour to the last start on the old one; 0.0 when the old one ended
    first. ``since`` and ``until`` (epoch seconds) enclose this switch and no other. ``since`` lies some time
    before the command, for a request begun shortly before it may well be routed after it.
    """
    within = [r for r in records if since <= r.start and r.end < until]
    new = [r.start for r in within if r.colour == to]
    old = [r.start for r in within if r.colour == left]
    return max(0.0, (max(old) - min(new)) * 1000) if new and old else 0.0


def colours_over_time(records: Iterable[Record], bucket_seconds: float) -> list[Bucket]:
    """Who answered the requests started in each ``bucket_seconds``; silent buckets are there, and empty."""
    counts: dict[int, Counter[Answer]] = {}
    for r in records:
        bucket = counts.setdefault(math.floor(r.start / bucket_seconds), Counter())
        bucket[Answer(r.colour, r.version, r.outcome)] += 1
    if not counts:
        return []
    numbers = range(min(counts), max(counts) + 1)
    return [Bucket(number * bucket_seconds, counts.get(number, {})) for number in numbers]


def first_bad_to_all_back_ms(
    records: Iterable[Record], bad_version: str, back_at: float, until: float = math.inf
) -> float | None:
    """Milliseconds from the first error a user got to the start of the last request the bad version answered.

    ``back_at`` is when the way back was confirmed, ``until`` when the bad version may come again (epoch
    seconds). None when the bad version had answered no error by ``back_at``; 0.0 when the error was answered
    after the last request on the bad version had begun.
    """
    bad = [r for r in records if r.version == bad_version and r.end < until]
    errors = [r.end for r in bad if r.outcome == "release_error" and r.end <= back_at]
    if not errors:
        return None
    return max(0.0, (max(r.start for r in bad) - min(errors)) * 1000)
