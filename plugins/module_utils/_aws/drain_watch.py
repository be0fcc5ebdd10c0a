# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a drain, and the looks at it until it is done. Private to this collection.

What counts is what AWS shows of the targets, and what the app counts of its own work.
"""

from __future__ import annotations

import random
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from .._errors import ConflictError, TimeLimitError
from .._health.http_probe import Http, tls_context
from .._health.probe import Answer, Condition, Expectation, judge, shown
from .._wait import Clock, until
from .client import Json
from .drain_order import Order
from .drain_places import DRAINING, OUT, Classic, Place, TargetGroup
from .forward import short

ASKED_AT_ONCE = 32
JITTER = 0.25
"""The part of an interval that is left to chance: AWS throttles many that ask at the same moment."""
MOST_NAMED = 5


@dataclass(frozen=True)
class Count:
    url: str
    number: float | None
    """None: it gave none."""
    problem: str = ""

    def as_result(self) -> dict[str, t.Any]:
        return {"url": self.url, "in_flight": self.number, "problem": self.problem}


def count(url: str, answer: Answer, query: Condition) -> Count:
    """The number that the query gives."""
    found: list[t.Any] = []

    def search(document: t.Any) -> bool:
        found.append(query.search(document))
        return _is_number(found[0])

    problem = judge(answer, Expectation(condition=Condition(query.text, search))).reason
    if problem and found:
        problem = f"in_flight.query gives {shown(repr(found[0]))}, which is no number from 0 on"
    return Count(url, None if problem else found[0], problem)


def _is_number(value: t.Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


@dataclass(frozen=True)
class Plan:
    """What was found, and what is to be done."""

    order: Order
    groups: tuple[TargetGroup, ...]
    classic: Classic | None
    warnings: tuple[str, ...] = ()

    @property
    def places(self) -> list[Place]:
        return [*self.groups, *([self.classic] if self.classic else [])]

    @property
    def changes(self) -> bool:
        before, after = self.diff()
        return before != after

    def during(self, group: TargetGroup) -> int | None:
        """The delay that the drain of a group gets; who has nothing to take out keeps the one there is."""
        return group.delay.during(self.order.delay) if group.registered else None

    def diff(self) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
        before: dict[str, t.Any] = {}
        after: dict[str, t.Any] = {}
        for group in self.groups:
            before[group.name] = {"registered": group.registered, "deregistration_delay": group.delay.found}
            after[group.name] = {"registered": [], "deregistration_delay": group.delay.own}
        if self.classic:
            before[self.classic.name] = {"registered": self.classic.registered, **_draining(self.classic.draining)}
            after[self.classic.name] = {"registered": [], **_draining(self.classic.wanted)}
        return before, after


def _draining(attributes: Json) -> dict[str, Json]:
    return {"connection_draining": {"enabled": attributes["Enabled"], "timeout": attributes["Timeout"]}}


@dataclass(frozen=True)
class Seen:
    """One look at everything."""

    states: tuple[t.Mapping[str, str], ...]
    """By target, for each place."""
    counts: tuple[Count, ...] = ()
    quiet: float | None = None
    """Seconds for which all of the app counted nothing. None: it does not, or it was not asked."""

    @property
    def out(self) -> bool:
        return {OUT}.issuperset(state for states in self.states for state in states.values())

    @property
    def leaving(self) -> bool:
        return {DRAINING, OUT}.issuperset(state for states in self.states for state in states.values())

    @property
    def busy(self) -> list[Count]:
        return [each for each in self.counts if each.number]

    def drained(self, quiet: float | None) -> bool:
        """Whether AWS says so and the app does not object, or the app has had nothing for so many seconds."""
        idle = quiet is not None and self.quiet is not None and self.quiet >= quiet
        return (self.leaving and idle) or (self.out and not self.busy)


class Watch:
    """Looks until it is drained, and knows what it has seen."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._plan, self._clock = plan, clock
        self._counting = plan.order.in_flight
        self._http: Http | None = None
        self._started = clock.now()
        self._idle_since: float | None = None
        self._took: list[dict[str, float]] = [{} for _place in plan.places]
        """Seconds until a target was out, by target."""
        self._left: list[set[str]] = [set() for _place in plan.places]
        """Who was seen to leave."""
        self.seen = Seen(tuple(place.before for place in plan.places))

    def wait(self) -> None:
        order, clock = self._plan.order, self._clock
        self._started = clock.now()
        quiet = self._counting.quiet if self._counting else None
        seen, drained = until(
            self._look,
            lambda seen: seen.drained(quiet),
            timeout=order.timeout,
            interval=order.interval * (1 - JITTER * random.random()),  # noqa: S311 -- no secret
            clock=clock,
        )
        if not drained:
            raise self._too_late(seen)

    def close(self) -> None:
        if self._http:
            self._http.close()

    def result(self) -> dict[str, t.Any]:
        """What it has come to, as far as it was seen."""
        plan, states = self._plan, self.seen.states
        told = [self._targets(number) for number in range(len(plan.places))]
        return {
            "target_groups": [
                {
                    "name": short(group.arn),
                    "arn": group.arn,
                    "deregistered": group.registered,
                    "deregistration_delay": {
                        "before": group.delay.found,
                        "during": plan.during(group),
                        "after": group.delay.own,
                    },
                    "targets": targets,
                }
                for group, targets in zip(plan.groups, told)
            ],
            "classic_load_balancer": self._classic(told[-1]) if plan.classic else None,
            "in_flight": [each.as_result() for each in self.seen.counts],
            "left": [
                {"from": place.name, "target": name, "state": state}
                for place, found in zip(plan.places, states)
                for name, state in found.items()
                if state != OUT
            ],
        }

    def _classic(self, targets: list[dict[str, t.Any]]) -> dict[str, t.Any]:
        classic = t.cast(Classic, self._plan.classic)
        before, after = (_draining(each)["connection_draining"] for each in (classic.draining, classic.wanted))
        return {
            "name": self._plan.order.balancer,
            "deregistered": classic.registered,
            "connection_draining": {"before": before, "after": after},
            "targets": targets,
        }

    def _targets(self, number: int) -> list[dict[str, t.Any]]:
        return [
            {"target": name, "state": state, "seconds": self._took[number].get(name)}
            for name, state in self.seen.states[number].items()
        ]

    def _look(self) -> Seen:
        began = self._clock.now()
        states = tuple(place.look() for place in self._plan.places)
        for number, found in enumerate(states):
            self._note(number, found)
        counts = self._ask()
        self.seen = Seen(states, counts)
        self.seen = replace(self.seen, quiet=self._quiet(self.seen, began))
        return self.seen

    def _note(self, number: int, found: t.Mapping[str, str]) -> None:
        """Who leaves, and since when who is out. One that comes back was registered by somebody else."""
        place, left, now = self._plan.places[number], self._left[number], self._clock.now()
        for name, state in found.items():
            if state in (DRAINING, OUT):
                left.add(name)
            elif name in left:
                raise ConflictError(
                    f"{place.name}: {name} is {state} after it had left",
                    "nobody to register it again",
                    "See who does, such as an Auto Scaling group or a deployment",
                )
            if state == OUT:
                self._took[number].setdefault(name, round(now - self._started, 3))

    def _ask(self) -> tuple[Count, ...]:
        """All URLs side by side."""
        counting = self._counting
        if counting is None:
            return ()
        if self._http is None:
            secure = any(target.scheme == "https" for target in counting.urls)
            self._http = Http({}, tls_context(counting.validate_certs, counting.ca_path) if secure else None)
        ask, query, limit = self._http, counting.query, counting.timeout
        with ThreadPoolExecutor(min(ASKED_AT_ONCE, len(counting.urls))) as pool:
            return tuple(pool.map(lambda target: count(target.url, ask(target, limit), query), counting.urls))

    def _quiet(self, seen: Seen, began: float) -> float | None:
        """From the end of the first look that saw nothing to the beginning of this one: that long for sure."""
        if not seen.counts or not seen.leaving or any(each.number != 0 for each in seen.counts):
            self._idle_since = None
            return None
        if self._idle_since is None:
            self._idle_since = self._clock.now()
        return max(0.0, began - self._idle_since)

    def _too_late(self, seen: Seen) -> TimeLimitError:
        order, told = self._plan.order, []
        for place, states in zip(self._plan.places, seen.states):
            late = [f"{name} ({state})" for name, state in states.items() if state != OUT]
            told += [f"{place.name} still has {_listed(late)}"] if late else []
        apps = [f"{shown(each.url)} ({_problem(each)})" for each in seen.counts if each.number or each.problem]
        told += [f"the app is not known to be idle: {_listed(apps)}"] if apps else []
        return TimeLimitError(
            f"after {order.timeout:g} s {'; '.join(told)}",
            "all of them out",
            "Run it again, which goes on waiting, or set timeout above the deregistration delay, or in_flight",
        )


def _problem(counted: Count) -> str:
    return counted.problem or f"{counted.number:g} in flight"


def _listed(names: t.Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
