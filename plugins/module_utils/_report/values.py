# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of one release, as values: what a playbook gave, checked. Private to this collection."""

from __future__ import annotations

import json
import math
import re
import typing as t
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from .._errors import BlueGreenError, InvalidError
from .._traffic.split import Split, colour_pair

FORMAT = 1
"""Of the JSON document; it grows when a reader of the old one would be misled."""

OUTCOMES = ("open", "released", "rolled_back", "refused", "failed", "unchanged")
VERDICTS = ("pass", "fail", "inconclusive", "blind")
STAGES = ("pre_deploy", "switch", "post_deploy", "rollback")

_DEEPEST = 64
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?(?: ?(Z|[+-]\d\d:?\d\d))?)?", re.ASCII)
_EMPTY = (None, "")
"""Jinja renders null as an empty text before ansible-core 2.19."""


@dataclass(frozen=True)
class Moment:
    """A time as it was given, and the instant in UTC that it means."""

    given: str
    instant: datetime


@dataclass(frozen=True)
class Check:
    """One line of the checklist; ``passed`` is None where it was not run, or where nobody could tell."""

    stage: str
    check: str
    passed: bool | None
    evidence: t.Any
    verdict: str = "not_run"

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "stage": self.stage,
            "check": self.check,
            "passed": self.passed,
            "verdict": self.verdict,
            "evidence": self.evidence,
        }


@dataclass(frozen=True)
class Event:
    at: Moment
    event: str
    split: Split | None
    took_ms: float | None = None

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "at": self.at.given,
            "event": self.event,
            "split": self.split.percents() if self.split else None,
            "took_ms": self.took_ms,
        }


@dataclass(frozen=True)
class LoadBalancer:
    """What one load balancer has to say: checks by stage, events by time, figures as given."""

    name: str
    checklist: tuple[Check, ...]
    timeline: tuple[Event, ...]
    figures: dict[str, t.Any]

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "checklist": [check.as_dict() for check in self.checklist],
            "timeline": [event.as_dict() for event in self.timeline],
            "figures": self.figures,
        }


@dataclass(frozen=True)
class Report:
    app: str
    outcome: str
    version: str | None
    reason: str | None
    from_colour: str | None
    to_colour: str | None
    started_at: Moment | None
    finished_at: Moment | None
    load_balancers: tuple[LoadBalancer, ...]

    @property
    def took(self) -> timedelta | None:
        if self.started_at is None or self.finished_at is None:
            return None
        return self.finished_at.instant - self.started_at.instant

    @property
    def unproven(self) -> list[str]:
        """Checks that nobody could tell the outcome of, by any load balancer, in the order of the checklist."""
        checks = [check for one in self.load_balancers for check in one.checklist]
        return list(dict.fromkeys(check.check for check in checks if check.verdict in ("inconclusive", "blind")))

    @property
    def default_name(self) -> str:
        """A name for its files, without path separators."""
        start = f"{self.started_at.instant:%Y%m%dT%H%M%SZ}" if self.started_at else ""
        words = [_file_word(word) for word in (self.app, self.version or "", start)]
        return "-".join(filter(None, words)) or "release"

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "format": FORMAT,
            "app": self.app,
            "version": self.version,
            "outcome": self.outcome,
            "unproven": self.unproven,
            "reason": self.reason,
            "from_colour": self.from_colour,
            "to_colour": self.to_colour,
            "started_at": self.started_at.given if self.started_at else None,
            "finished_at": self.finished_at.given if self.finished_at else None,
            "took_s": None if self.took is None else self.took.total_seconds(),
            "load_balancers": {found.name: found.as_dict() for found in self.load_balancers},
        }


def as_json(report: Report) -> str:
    return json.dumps(report.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def parse_report(options: t.Mapping[str, t.Any]) -> Report:
    """The report that the options of the module describe."""
    if options["outcome"] not in OUTCOMES:
        raise InvalidError(f"outcome is {_shown(options['outcome'])}", _one_of(OUTCOMES))
    given = _dictionary(options["load_balancers"], "load_balancers")
    found = [_load_balancer(name, given[name]) for name in given]
    # lb2 stands before lb10
    found.sort(key=lambda one: re.sub(r"[0-9]+", lambda number: number[0].zfill(12), one.name))
    started, finished = _moment_or_none(options, "started_at"), _moment_or_none(options, "finished_at")
    if started and finished and finished.instant < started.instant:
        raise InvalidError(
            f"finished_at is {finished.given}, before started_at, {started.given}",
            "a later time",
            "Leave finished_at out to take the latest time of the timelines",
        )
    times = [event.at for one in found for event in one.timeline] + [started] * (started is not None)
    return Report(
        app=_words(options["app"], "app"),
        outcome=options["outcome"],
        version=_words_or_none(options, "version"),
        reason=_words_or_none(options, "reason"),
        from_colour=_words_or_none(options, "from_colour"),
        to_colour=_words_or_none(options, "to_colour"),
        started_at=started,
        finished_at=finished or max(filter(None, times), key=lambda time: time.instant, default=None),
        load_balancers=tuple(found),
    )


def _load_balancer(name: t.Any, given: t.Any) -> LoadBalancer:
    name = _words(name, "the name of a load balancer")
    given = _dictionary(given, name, ("checklist", "timeline", "figures"))
    checks = [_check(one, where) for where, one in _entries(given, name, "checklist")]
    events = [_event(one, where) for where, one in _entries(given, name, "timeline")]
    return LoadBalancer(
        name,
        tuple(sorted(checks, key=lambda check: STAGES.index(check.stage))),
        tuple(sorted(events, key=lambda event: event.at.instant)),
        dict(_figures(given.get("figures"), name)),
    )


def _entries(given: t.Mapping[str, t.Any], name: str, key: str) -> t.Iterator[tuple[str, t.Any]]:
    entries = [] if given.get(key) in _EMPTY else given[key]
    if not isinstance(entries, (list, tuple)):
        raise InvalidError(f"{name}: {key} is {_shown(entries)}", "a list", f"Mend {key} of {name}")
    for number, entry in enumerate(entries, 1):
        yield f"{name}: {key} entry {number}", entry


def _check(given: t.Any, where: str) -> Check:
    keys = ("stage", "check", "passed", "verdict", "evidence")
    given = _dictionary(given, where, keys, ("stage", "check", "passed"))
    if given["stage"] not in STAGES:
        raise InvalidError(f"{where}: stage is {_shown(given['stage'])}", _one_of(STAGES))
    passed = given["passed"]
    if passed not in _EMPTY and not isinstance(passed, bool):
        raise InvalidError(f"{where}: passed is {_shown(passed)}", "true, false, or null for a check not run")
    return Check(
        str(given["stage"]),
        _words(given["check"], f"{where}: check"),
        None if passed in _EMPTY else passed,
        _plain(given.get("evidence"), f"{where}: evidence"),
        _verdict(None if passed in _EMPTY else passed, given.get("verdict"), where),
    )


def _verdict(passed: bool | None, given: t.Any, where: str) -> str:
    """What was not seen is neither a pass nor a fail, whatever else is given."""
    if given not in (*_EMPTY, *VERDICTS):
        raise InvalidError(f"{where}: verdict is {_shown(given)}", _one_of(VERDICTS))
    if passed is not None:
        found = "pass" if passed else "fail"
        if given not in (*_EMPTY, found):
            raise InvalidError(
                f"{where}: passed is {_shown(passed)} and verdict is {_shown(given)}", "the same of both"
            )
        return found
    if given in ("pass", "fail"):
        raise InvalidError(f"{where}: passed is null and verdict is {_shown(given)}", "the same of both")
    return _text(given) if given not in _EMPTY else "not_run"


def _event(given: t.Any, where: str) -> Event:
    given = _dictionary(given, where, ("at", "event", "split", "took_ms"), ("at", "event"))
    took = given.get("took_ms")
    if took not in _EMPTY and not _is_number(took):
        raise InvalidError(f"{where}: took_ms is {_shown(took)}", "a number of milliseconds")
    return Event(
        _moment(given["at"], f"{where}: at"),
        _words(given["event"], f"{where}: event"),
        None if given.get("split") in _EMPTY else _split(given["split"], f"{where}: split"),
        None if took in _EMPTY else took,
    )


def _split(given: t.Any, where: str) -> Split:
    shares = _dictionary(given, where)
    try:
        return Split.parse(colour_pair([_words(colour, "a colour") for colour in shares]), shares)
    except BlueGreenError as error:
        raise error.of(where) from error


def _figures(given: t.Any, name: str) -> t.Iterator[tuple[str, t.Any]]:
    figures = {} if given in _EMPTY else _dictionary(given, f"{name}: figures")
    for figure, value in figures.items():
        figure_name = _words(figure, f"{name}: the name of a figure")
        where = f"{name}: figure {_shown(figure)}"
        if isinstance(value, bool) or not (value is None or isinstance(value, (int, float, str))):
            raise InvalidError(f"{where} is {_shown(value)}", "a number, a text, or null for one not measured")
        yield figure_name, _plain(value, where)


def _is_number(value: t.Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _dictionary(
    given: t.Any, where: str, keys: tuple[str, ...] = (), required: tuple[str, ...] = ()
) -> t.Mapping[str, t.Any]:
    if not isinstance(given, t.Mapping):
        raise InvalidError(f"{where} is {_shown(given)}", "a dictionary")
    for key in given:
        if keys and key not in keys:
            raise InvalidError(f"{where} has {_shown(key)}", f"only {', '.join(keys)}", "Mend or remove it")
    for key in required:
        if key not in given:
            raise InvalidError(f"{where} has no {key}", ", ".join(required), f"Add {key}")
    return given


def _moment_or_none(options: t.Mapping[str, t.Any], name: str) -> Moment | None:
    return None if options.get(name) in _EMPTY else _moment(options[name], name)


def _moment(given: t.Any, where: str) -> Moment:
    """ISO 8601, read alike on every Python: its own reader is stricter before 3.11."""
    match = _TIME.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        raise _no_time(given, where)
    day, clock, fraction, zone = match.groups()
    offset = zone if zone and zone != "Z" else "+00:00"
    if ":" not in offset:
        offset = f"{offset[:3]}:{offset[3:]}"
    micros = f"{fraction or '':0<6.6}"
    try:
        instant = datetime.fromisoformat(f"{day}T{clock or '00:00'}{offset}").astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        raise _no_time(given, where) from error
    return Moment(_text(given), instant.replace(microsecond=int(micros)))


def _no_time(given: t.Any, where: str) -> InvalidError:
    return InvalidError(f"{where} is {_shown(given)}", "an ISO 8601 time such as 2026-03-01T10:00:00Z")


def _words_or_none(options: t.Mapping[str, t.Any], name: str) -> str | None:
    return None if options.get(name) in _EMPTY else _words(options[name], name)


def _words(given: t.Any, where: str) -> str:
    if not isinstance(given, str) or not given.strip():
        raise InvalidError(f"{where} is {_shown(given)}", "a text that is not empty")
    return _text(given)


def _plain(value: t.Any, where: str, depth: int = 0) -> t.Any:
    """The same as plain JSON can hold it, without what Ansible adds to a registered result."""
    if depth > _DEEPEST:
        raise InvalidError(f"{where} is nested deeper than {_DEEPEST} levels", todo="Give only what bears on the check")
    if isinstance(value, t.Mapping):
        if set(value) == {"__ansible_unsafe"}:
            return _plain(value["__ansible_unsafe"], where, depth + 1)
        kept = ((_text(str(key)), one) for key, one in value.items())
        return {key: _plain(one, where, depth + 1) for key, one in kept if not _is_ansibles(key)}
    if isinstance(value, (list, tuple)):
        return [_plain(one, where, depth + 1) for one in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return _text(str(value))


def _is_ansibles(key: str) -> bool:
    """The arguments of a module may hold secrets, and say nothing of what was found."""
    return key == "invocation" or key.startswith("_ansible_")


def _text(value: str) -> str:
    """A plain string that can be written as UTF-8, whatever Ansible wrapped it in."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _file_word(word: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+]+", "-", word)[:80].strip("-.")


def _one_of(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _shown(value: t.Any) -> str:
    try:
        text = repr(value) if not isinstance(value, str) else repr(_text(value[:80]))
    except (RecursionError, ValueError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
