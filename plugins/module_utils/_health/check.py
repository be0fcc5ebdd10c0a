# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking many endpoints side by side, in rounds, until each has its streak. Private to this collection."""

from __future__ import annotations

import math
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from .._errors import InvalidError, NotReadyError
from .._wait import Clock, until
from . import tcp
from .door import Door, merged, parse_door
from .http_probe import Http, parse_headers, tls_context
from .probe import (
    Answer,
    Expectation,
    Probe,
    Result,
    Target,
    judge,
    parse_condition,
    parse_target,
    shown,
)

LONGEST = 86400.0
"""A day, in seconds: what takes longer is not waited for in one call."""

_NAMED = 3  # so many endpoints are named in a message; all of them are in its details

Params = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Plan:
    """What to ask whom, how often, and for how long."""

    targets: tuple[Target, ...]
    expectation: Expectation = field(default_factory=Expectation)
    headers: t.Mapping[str, str] = field(default_factory=dict, repr=False)
    door: Door = field(default_factory=Door)
    successes: int = 1
    timeout: float = 30.0
    request_timeout: float = 2.0
    interval: float = 0.5
    concurrency: int = 32
    validate_certs: bool = True
    ca_path: str | None = None


def health_check(params: Params) -> dict[str, t.Any]:
    """Wait until all endpoints are healthy; raises if they are not in the time given."""
    plan = parse(params)
    secure = any(target.scheme == "https" for target in plan.targets)
    http = Http(plan.headers, tls_context(plan.validate_certs, plan.ca_path) if secure else None, plan.door)

    def probe(target: Target, limit: float) -> Answer:
        return tcp.probe(*plan.door.place(target), limit) if target.scheme == "tcp" else http(target, limit)

    clock = Clock()
    started = clock.now()
    try:
        results = run(plan, probe, clock)
    finally:
        http.close()
    return report(plan, results, _ms(clock.now() - started))


def run(plan: Plan, probe: Probe, clock: Clock) -> tuple[Result, ...]:
    """Ask round after round, until each endpoint has its streak or the time is over."""
    rounds = _Rounds(plan, probe, clock)
    with ThreadPoolExecutor(min(plan.concurrency, len(plan.targets))) as pool:
        results, _ready = until(
            lambda: rounds.ask_all(pool),
            lambda seen: all(result.healthy for result in seen),
            timeout=plan.timeout,
            interval=plan.interval,
            clock=clock,
        )
    return results


class _Rounds:
    """The results so far. No probe starts after the deadline, and none lasts beyond it."""

    def __init__(self, plan: Plan, probe: Probe, clock: Clock) -> None:
        self._plan = plan
        self._probe = probe
        self._clock = clock
        self._deadline = clock.now() + plan.timeout
        self._results = {target: Result(target.url, plan.successes) for target in plan.targets}

    def ask_all(self, pool: ThreadPoolExecutor) -> tuple[Result, ...]:
        """One round, over those that have no streak yet."""
        pending = [target for target, result in self._results.items() if not result.healthy]
        self._results.update(zip(pending, pool.map(self._ask, pending)))
        return tuple(self._results.values())

    def _ask(self, target: Target) -> Result:
        before, started = self._results[target], self._clock.now()
        left = self._deadline - started
        if left <= 0:
            return before
        answer = self._probe(target, min(self._plan.request_timeout, left))
        if answer.late and left < self._plan.request_timeout and before.answers:
            return before  # it was not given its whole time, so this says less than the answer before
        verdict = judge(answer, self._plan.expectation)
        return before.after(answer, verdict, _ms(self._clock.now() - started))


def report(plan: Plan, results: t.Sequence[Result], took_ms: int) -> dict[str, t.Any]:
    """The results as a playbook sees them; an error if not all are healthy."""
    bad = [result for result in results if not result.healthy]
    found = {
        "endpoints": [result.as_dict() for result in results],
        "healthy": len(results) - len(bad),
        "took_ms": took_ms,
    }
    if bad:
        raise _not_ready(plan, bad, found)
    return {"changed": False, **found}


def _not_ready(plan: Plan, bad: t.Sequence[Result], found: dict[str, t.Any]) -> NotReadyError:
    named = [f"{shown(result.endpoint)} ({result.reason})" for result in bad[:_NAMED]]
    if len(bad) > _NAMED:
        named.append(f"and {len(bad) - _NAMED} more")
    if str(plan.door):
        named.append(str(plan.door))
    never = sum(not result.answers for result in bad)
    todo = "Look at what these endpoints log; if they only need longer to start, raise timeout."
    if never:
        todo = f"{never} of them were never asked: raise timeout or concurrency."
    return NotReadyError(
        f"{len(bad)} of {len(plan.targets)} endpoints are not healthy after {plan.timeout:g} s: " + ", ".join(named),
        _expected(plan),
        todo,
        **found,
    )


def _expected(plan: Plan) -> str:
    schemes = {target.scheme for target in plan.targets}
    words = [str(plan.expectation)] if schemes - {"tcp"} else []
    if "tcp" in schemes:
        words.append("a connection on each TCP port")
    if plan.successes > 1:
        words.append(f"{plan.successes} times in a row")
    return ", ".join(words)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def parse(params: Params) -> Plan:
    """The options as values; raises before anything is asked of anybody."""
    params = merged(params)
    targets = _targets(params.get("endpoints"))
    plain, secret = (parse_headers(params.get(option) or {}) for option in ("headers", "secret_headers"))
    plan = Plan(
        targets=targets,
        expectation=_expectation(params, targets, secret),
        headers=parse_headers({**plain, **secret}),
        door=parse_door(params),
        successes=_count(params, "successes", 1, 1000),
        timeout=_seconds(params, "timeout", 30.0),
        request_timeout=_seconds(params, "request_timeout", 2.0),
        interval=_seconds(params, "interval", 0.5),
        concurrency=_count(params, "concurrency", 32, 512),
        validate_certs=params.get("validate_certs") is not False,
        ca_path=_text(params, "ca_path"),
    )
    if (plan.successes - 1) * plan.interval >= plan.timeout:
        raise InvalidError(
            f"{plan.successes} answers, one every {plan.interval:g} s, do not fit into {plan.timeout:g} s",
            todo="Raise timeout, or lower successes or interval.",
        )
    return plan


def _targets(endpoints: object) -> tuple[Target, ...]:
    if not isinstance(endpoints, (list, tuple)) or not endpoints:
        raise InvalidError("endpoints is empty, or not a list", "at least one URL")
    places: dict[Target, int] = {}
    for number, url in enumerate(endpoints, 1):
        target = parse_target(url, number)
        if target in places:
            raise InvalidError(
                f"endpoint {number} ({shown(target.url)}) is the same as endpoint {places[target]}",
                todo="Leave one of them out of endpoints.",
            )
        places[target] = number
    return tuple(places)


def _expectation(params: Params, targets: t.Sequence[Target], secret: t.Mapping[str, str]) -> Expectation:
    condition, version = _text(params, "expect"), _text(params, "version")
    required = _texts(params, "required_checks")
    deep = {"expect": condition, "version": version, "required_checks": required}
    for target in targets:
        if target.scheme == "tcp" and any(deep.values()):
            names = ", ".join(name for name, value in deep.items() if value)
            raise InvalidError(
                f"{names} cannot be asked of {shown(target.url)}, which has no body",
                todo="Check TCP endpoints in a call of their own.",
            )
    return Expectation(
        status=_statuses(params.get("status")),
        condition=parse_condition(condition) if condition else None,
        required_checks=required,
        version=version,
        version_key=_text(params, "version_key") or "version",
        secrets=_secrets(secret),
    )


def _secrets(headers: t.Mapping[str, str]) -> tuple[str, ...]:
    """Their values, and their words that are long enough to be a token: an answer may echo them."""
    words = {word for value in headers.values() for word in (value, *value.split()) if len(word) >= 8}
    return tuple(sorted(words, key=len, reverse=True))


def _statuses(value: object) -> tuple[int, ...]:
    value = [200] if value is None else value
    expected = "whole numbers from 100 to 599, at least one"
    if not isinstance(value, (list, tuple)) or not value:
        raise InvalidError("status is empty, or not a list", expected)
    if not all(_is_whole(status) and 100 <= status <= 599 for status in value):
        raise InvalidError("status holds what is no HTTP status", expected)
    return tuple(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _text(params: Params, name: str) -> str | None:
    value = params.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise InvalidError(f"{name} is empty, or not a text", todo=f"Leave {name} out if it is not wanted.")
    return value


def _texts(params: Params, name: str) -> tuple[str, ...]:
    value = params.get(name)
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or not all(isinstance(text, str) and text for text in value):
        raise InvalidError(f"{name} is not a list of names", "texts that are not empty")
    return tuple(value)


def _seconds(params: Params, name: str, default: float) -> float:
    value = params.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidError(f"{name} is not a number", "seconds")
    if not math.isfinite(value) or not 0 < value <= LONGEST:
        raise InvalidError(f"{name} is out of range", f"more than 0 and at most {LONGEST:g} seconds")
    return float(value)


def _count(params: Params, name: str, default: int, most: int) -> int:
    value = params.get(name)
    if value is None:
        value = default
    if not _is_whole(value) or not 1 <= value <= most:
        raise InvalidError(f"{name} is out of range", f"a whole number from 1 to {most}")
    return int(value)
