# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all load balancers have counted for a colour, pooled and judged once. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass, field

from .._analysis.watch import Count, Limits, past, too_few
from .._errors import InvalidError

SLICE = 15.0
"""Seconds that several load balancers count before their counts are pooled and judged."""

MOST_SLICES = 240
"""Of one watch, which is an hour; a longer one has longer slices, since a playbook holds all of them from its start."""

POLICIES = ("go_on", "hold", "extend")


@dataclass(frozen=True)
class Rules:
    """How long to watch, when a colour is bad, and what to do when nobody can tell."""

    limits: Limits
    duration: float
    on_inconclusive: str = "go_on"
    extend_for: float = 0.0

    def __post_init__(self) -> None:
        if self.on_inconclusive not in POLICIES:
            raise InvalidError(f"on_inconclusive is {self.on_inconclusive!r}", ", ".join(POLICIES))
        for name in ("duration", "extend_for"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InvalidError(f"{name} is {getattr(self, name):g}", "0 seconds or more")

    def next_slice(self, load_balancers: int, watched_for: float) -> float:
        """Seconds to watch now: one load balancer judges for itself all along, several are pooled in between."""
        left, longest = self.duration - watched_for, max(SLICE, self.duration / MOST_SLICES)
        if left <= 0:
            return min(longest, left + self.extend_for)
        return left if load_balancers == 1 else min(longest, left)

    def slices_after(self, load_balancers: int, watched_for: float) -> int:
        """How many more there are at most."""
        many, whole = 0, self.duration + (self.extend_for if self.on_inconclusive == "extend" else 0.0)
        while watched_for < whole:
            watched_for += self.next_slice(load_balancers, watched_for)
            many += 1
        return many


@dataclass(frozen=True)
class Seen:
    """What one load balancer has to say after a watch."""

    verdict: str
    reason: str
    requests: int = 0
    errors: int = 0
    latency_ms: float | None = None
    looked: bool = True
    """False: there was nothing to look at."""
    counted: bool = True
    """False: its provider counts nothing, so that no time will show that the colour is good."""

    @classmethod
    def of(cls, watched: t.Mapping[str, t.Any]) -> Seen:
        return cls(
            str(watched["verdict"]),
            str(watched.get("reason") or ""),
            int(watched.get("requests") or 0),
            int(watched.get("errors") or 0),
            watched.get("latency_ms"),
            bool(watched.get("samples") or watched.get("blind_looks")),
            bool(watched.get("counted", True)),
        )


@dataclass(frozen=True)
class Judgement:
    """The same for every load balancer: the verdict, why, and whether to go on, watch on, hold or go back."""

    verdict: str = ""
    """Empty where nothing was watched."""
    reason: str = ""
    decision: str = "go_on"
    next: float = 0.0
    """Seconds of the watch that comes next."""
    slices: int = 0
    """How many more watches may come."""
    watched_for: float = 0.0
    requests: int = 0
    errors: int = 0
    latency_ms: float | None = None
    blind_on: tuple[str, ...] = ()
    load_balancers: dict[str, Seen] = field(default_factory=dict)

    @property
    def counted(self) -> Count:
        return Count(self.requests, self.errors, self.latency_ms or 0.0)

    @property
    def passed(self) -> bool | None:
        """For a checklist; None is neither."""
        return {"pass": True, "fail": False}.get(self.verdict)

    def as_dict(self) -> dict[str, t.Any]:
        share = round(100 * self.errors / self.requests, 3) if self.requests else None
        return {**asdict(self), "blind_on": list(self.blind_on), "passed": self.passed, "error_share": share}


def begin(rules: Rules, load_balancers: int) -> Judgement:
    """Before the first watch: how long it lasts. 0: one look."""
    first = rules.next_slice(load_balancers, 0.0) if rules.duration else 0.0
    return Judgement(decision="watch", next=first, slices=rules.slices_after(load_balancers, first) + 1)


def judge(seen: t.Mapping[str, Seen], rules: Rules, before: Judgement) -> Judgement:
    """All that was counted since ``begin``, and what follows from it."""
    if not seen:
        return Judgement()
    recent = _pool([Count(one.requests, one.errors, one.latency_ms or 0.0) for one in seen.values()])
    whole = _pool([before.counted, recent])
    watched_for = before.watched_for + before.next
    verdict, reason = _verdict(seen, rules, recent, whole, watched_for)
    decision = _decision(verdict, rules, watched_for, seen)
    return Judgement(
        verdict=verdict,
        reason=reason,
        decision=decision,
        next=rules.next_slice(len(seen), watched_for) if decision == "watch" else 0.0,
        slices=rules.slices_after(len(seen), watched_for) if decision == "watch" else 0,
        watched_for=watched_for,
        requests=whole.requests,
        errors=whole.errors,
        latency_ms=round(whole.latency_ms or 0.0, 1) if whole.requests else None,
        blind_on=tuple(host for host, one in seen.items() if one.verdict == "blind"),
        load_balancers=dict(seen),
    )


def _pool(counts: t.Sequence[Count]) -> Count:
    """The sum; latency is the mean over requests."""
    requests = sum(one.requests for one in counts)
    waited = sum((one.latency_ms or 0.0) * one.requests for one in counts)
    return Count(requests, sum(one.errors for one in counts), waited / max(1, requests))


def _verdict(
    seen: t.Mapping[str, Seen], rules: Rules, recent: Count, whole: Count, watched_for: float
) -> tuple[str, str]:
    failed = _told(seen, "fail")
    bad = past(recent, rules.limits) or past(whole, rules.limits)
    if failed or bad:
        return "fail", failed or f"{bad}{_where(seen)}"
    blind = _told(seen, "blind")
    if blind:
        return "blind", blind
    if not any(one.counted for one in seen.values()):
        return "inconclusive", next(iter(seen.values())).reason
    if whole.requests < rules.limits.min_requests:
        return "inconclusive", f"{too_few(whole, rules.limits, watched_for)}{_where(seen)}"
    return "pass", f"{whole.errors} of {whole.requests} answers were errors{_where(seen)}"


def _told(seen: t.Mapping[str, Seen], verdict: str) -> str:
    return "; ".join(f"{host}: {one.reason}" for host, one in seen.items() if one.verdict == verdict)


def _where(seen: t.Mapping[str, Seen]) -> str:
    uncounted = [host for host, one in seen.items() if not one.counted]
    if uncounted:
        return f" (without {', '.join(uncounted)}, where nothing is counted)"
    return f" (over {len(seen)} load balancers)" if len(seen) > 1 else ""


def _decision(verdict: str, rules: Rules, watched_for: float, seen: t.Mapping[str, Seen]) -> str:
    if verdict in ("fail", "blind"):
        return "back" if verdict == "fail" else "hold"
    if watched_for < rules.duration and any(one.looked for one in seen.values()):
        return "watch"
    if verdict == "pass" or rules.on_inconclusive == "go_on":
        return "go_on"
    longer = rules.on_inconclusive == "extend" and any(one.counted for one in seen.values())
    return "watch" if longer and watched_for < rules.duration + rules.extend_for else "hold"
