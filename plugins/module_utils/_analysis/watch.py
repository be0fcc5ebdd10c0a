# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watching what the load balancer counts for a colour, until a verdict. Private to this collection."""

from __future__ import annotations

import typing as t
from collections import deque
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone

from .._errors import BlueGreenError, InvalidError
from .._wait import SYSTEM_CLOCK, Clock

KEPT_SAMPLES = 600

TOTAL = 10
"""So many answers, all of them errors, are a total failure, however few requests that are."""

UNREADY = 2
"""So many looks in a row that find no member ready, or fewer than half, are no blink of a health check any more."""


@dataclass(frozen=True)
class Limits:
    """Past which a colour is bad. Shares in percent, times in milliseconds; None is not judged."""

    max_error_share: float | None
    max_latency_ms: float | None
    min_requests: int
    """Fewer requests than this prove nothing, in either direction."""

    def __post_init__(self) -> None:
        if self.max_error_share is not None and not 0 <= self.max_error_share <= 100:
            raise InvalidError(f"max_error_share is {self.max_error_share:g}", "a percentage from 0 to 100")
        if self.max_latency_ms is not None and not self.max_latency_ms >= 0:
            raise InvalidError(f"max_latency_ms is {self.max_latency_ms:g}", "0 ms or more")
        if self.min_requests < 1:
            raise InvalidError(f"min_requests is {self.min_requests}", "1 or more")


@dataclass(frozen=True)
class Count:
    """What a colour was sent and answered since the load balancer started."""

    requests: int
    errors: int
    latency_ms: float | None
    """None: it cannot be told how long answers take."""
    ready: int | None = None
    """Members that would be given a request now. None: nobody told."""
    members: int | None = None
    """All of them."""

    def follows(self, before: Count) -> bool:
        """Was it counted on, without a reset in between?"""
        return self.requests >= before.requests and self.errors >= before.errors


@dataclass(frozen=True)
class Sample:
    """One look at one colour, counted from the look before."""

    at: str
    requests: int
    errors: int
    latency_ms: float | None


@dataclass(frozen=True)
class Verdict:
    """pass, fail, inconclusive (looked, cannot tell yet) or blind (could not look)."""

    verdict: str
    reason: str
    requests: int = 0
    errors: int = 0
    latency_ms: float | None = None
    blind_looks: int = 0
    samples: tuple[Sample, ...] = ()
    pooled: bool = False
    """It is left to the fleet to judge."""
    counted: bool = True
    """False: the provider counts no requests, so that only the members were looked at, if they are known."""

    def as_result(self) -> dict[str, t.Any]:
        share = round(100 * self.errors / self.requests, 3) if self.requests else None
        return {**asdict(self), "error_share": share, "samples": [asdict(sample) for sample in self.samples]}


class _Members:
    """Whether they become fewer, not as somebody takes them away, but as they cease to be ready."""

    def __init__(self) -> None:
        self.unready = 0
        """Looks in a row that found none ready."""
        self._few = 0
        self._most, self._now = 0, Count(0, 0, None)

    def add(self, count: Count) -> None:
        self._most, self._now = max(self._most, count.ready or 0), count
        self.unready = self.unready + 1 if count.ready == 0 else 0
        self._few = self._few + 1 if self.lost() and 2 * (count.ready or 0) < self._most else 0

    def lost(self) -> str:
        """In words. Empty: they are as many as they were."""
        ready, members = self._now.ready, self._now.members
        if ready is None or members is None or ready >= min(self._most, members):
            return ""
        return f"{ready} of {members} members are ready, and {self._most} were before"

    def bad(self) -> str | None:
        """Why the colour cannot go on serving."""
        if self.unready >= UNREADY:
            return "none of its members is ready"
        return self.lost() if self._few >= UNREADY else None


class _Window:
    """The looks of the last ``seconds``, as counts since the first of them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._counts: deque[tuple[float, Count]] = deque()

    def add(self, now: float, count: Count) -> Count:
        """What was counted within the window; a counter that went back was reset, and begins anew."""
        if self._counts and not count.follows(self._counts[-1][1]):
            self._counts.clear()
        self._counts.append((now, count))
        while len(self._counts) > 2 and now - self._counts[1][0] >= self._seconds:
            self._counts.popleft()
        return _since(self._counts[0][1], count)


@dataclass(frozen=True)
class Beside:
    """What else is looked at, each time after the counts."""

    over: t.Callable[[], str | None] = lambda: None
    """Why there is nothing left to watch, if so."""
    bad: t.Callable[[], str | None] = lambda: None
    """Why the colour is bad, if so."""
    uncounted: t.Callable[[], str] | None = None
    """Where nobody counts requests: what was looked at instead, in words."""


def check_times(duration: float, interval: float, window: float) -> None:
    if not (0 <= duration < float("inf") and 0 < interval < float("inf") and 0 < window < float("inf")):
        raise InvalidError("a time to watch is not positive", "duration, interval and window above 0 seconds")


def watch(
    look: t.Callable[[], Count],
    limits: Limits,
    *,
    duration: float,
    interval: float,
    window: float,
    pooled: bool = False,
    beside: Beside = Beside(),
    clock: Clock = SYSTEM_CLOCK,
) -> Verdict:
    """Look every ``interval`` seconds for ``duration`` seconds; ends early when a limit is passed, or when what is
    looked at ``beside`` the counts says so.

    Limits are judged over the last ``window`` seconds, so that trouble that starts late is seen as soon as
    trouble that is there from the beginning. Of counts that are to be ``pooled`` with those of other load
    balancers only a total failure is judged here.
    """
    check_times(duration, interval, window)
    seen, totals = _Window(window), _Window(float("inf"))
    samples: list[Sample] = []
    members, blind, reason, last = _Members(), 0, "", None
    whole = Count(0, 0, 0.0)
    deadline = clock.now() + duration
    while True:
        try:
            count, why = look(), beside.over()
        except BlueGreenError as error:
            blind, reason, count, why = blind + 1, error.message, None, None
        if why:
            return _verdict("inconclusive", why, whole, blind, samples)
        if count is not None:
            recent, whole = seen.add(clock.now(), count), totals.add(clock.now(), count)
            step = _since(last, count) if last and count.follows(last) else Count(0, 0, count.latency_ms)
            samples.append(Sample(_now(), step.requests, step.errors, _rounded(count.latency_ms)))
            last = count
            members.add(count)
            bad = members.bad() or _total(recent, limits) or (None if pooled else past(recent, limits))
            bad = bad or beside.bad()
            if bad:
                return _verdict("fail", bad, whole, blind, samples)
        left = deadline - clock.now()
        if left <= 0 and (count is None or not members.unready):
            break
        clock.sleep(min(interval, left) if left > 0 else interval)  # none was ready at the end: look once more
    if blind and (members.unready or blind >= len(samples)):
        lost = f"{blind} of {blind + len(samples)} looks failed; the last: {reason}"
        return _verdict("blind", lost, whole, blind, samples)
    bad = members.bad() or _total(whole, limits)
    verdict, told = ("fail", bad) if bad else _in_the_end(whole, limits, duration, pooled, beside)
    if verdict == "pass" or (not bad and beside.uncounted):
        verdict, told = _less_what_was_lost(verdict, told, members.lost())
    return replace(_verdict(verdict, told, whole, blind, samples), pooled=pooled and verdict == "inconclusive")


def _less_what_was_lost(verdict: str, told: str, lost: str) -> tuple[str, str]:
    return ("inconclusive", f"{told}, but {lost}") if lost else (verdict, told)


def _in_the_end(whole: Count, limits: Limits, duration: float, pooled: bool, beside: Beside) -> tuple[str, str]:
    """The verdict over the whole time, and why, when nothing bad was seen."""
    if beside.uncounted:
        return "inconclusive", beside.uncounted()
    told = f"{whole.errors} of {whole.requests} answers were errors"
    if limits.max_latency_ms is not None and whole.latency_ms is None:
        return "blind", "the load balancer does not tell how long answers take, and max_latency_ms is set"
    if pooled:
        return "inconclusive", f"{told}, for the fleet to judge"
    if whole.requests < limits.min_requests:
        return "inconclusive", too_few(whole, limits, duration)
    return "pass", told


def too_few(whole: Count, limits: Limits, seconds: float) -> str:
    return f"{whole.requests} requests in {seconds:g} s, and fewer than {limits.min_requests} prove nothing"


def _since(first: Count, count: Count) -> Count:
    return replace(count, requests=count.requests - first.requests, errors=count.errors - first.errors)


def _total(recent: Count, limits: Limits) -> str | None:
    """Why the colour serves nobody at all."""
    judged = limits.max_error_share is not None and limits.max_error_share < 100
    if judged and recent.requests >= TOTAL and recent.errors >= recent.requests:
        return f"all of {recent.requests} answers were errors"
    return None


def past(recent: Count, limits: Limits) -> str | None:
    """Which limit the window is past, if it holds enough requests to tell."""
    if recent.requests < limits.min_requests:
        return None
    share = 100 * recent.errors / recent.requests
    if limits.max_error_share is not None and share > limits.max_error_share:
        return (
            f"{recent.errors} of {recent.requests} answers ({share:.1f} %) were errors, "
            f"and at most {limits.max_error_share:g} % may be"
        )
    if limits.max_latency_ms is not None and (recent.latency_ms or 0.0) > limits.max_latency_ms:
        return f"answers take {recent.latency_ms or 0.0:.0f} ms, and at most {limits.max_latency_ms:g} ms is allowed"
    return None


def _verdict(verdict: str, reason: str, whole: Count, blind: int, samples: list[Sample]) -> Verdict:
    return Verdict(
        verdict=verdict,
        reason=reason,
        requests=whole.requests,
        errors=whole.errors,
        latency_ms=_rounded(whole.latency_ms) if samples else None,
        blind_looks=blind,
        samples=tuple(samples[-KEPT_SAMPLES:]),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
