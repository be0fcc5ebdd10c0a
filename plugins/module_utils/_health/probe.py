# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of an endpoint, what it answered, and the judging of one answer.

Private to this collection.
"""

from __future__ import annotations

import ipaddress
import json
import re
import typing as t
import urllib.parse
from dataclasses import dataclass, field, replace

from .._errors import InvalidError
from .._requires import require_jmespath

BODY_LIMIT = 1024 * 1024
"""No more of a body is read, in bytes."""

HEALTHY_WORDS = frozenset({"healthy", "ok", "up", "pass"})

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_CREDENTIALS = re.compile(r"(?:[^/?#]*//)?([^/?#]*)@")
_MASK = "********"
_SHOWN = 80


@dataclass(frozen=True)
class Target:
    """One endpoint. Two spellings of the same one are equal."""

    url: str = field(compare=False)
    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS.get(self.scheme) else f"{host}:{self.port}"


@dataclass(frozen=True)
class Answer:
    """What came back within the time given: a status and a body, a bare connection, or a problem."""

    status: int | None = None
    body: bytes = b""
    truncated: bool = False
    problem: str = ""
    late: bool = False


Probe = t.Callable[[Target, float], Answer]
"""Asks the target once, for so many seconds at most."""


@dataclass(frozen=True)
class Condition:
    """A JMESPath."""

    text: str
    search: t.Callable[[t.Any], t.Any] = field(compare=False)


@dataclass(frozen=True)
class Expectation:
    """What makes an answer a good one."""

    status: tuple[int, ...] = (200,)
    condition: Condition | None = None
    required_checks: tuple[str, ...] = ()
    version: str | None = None
    version_key: str = "version"
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def needs_json(self) -> bool:
        return bool(self.condition or self.required_checks or self.version is not None)

    def show(self, text: str) -> str:
        """Words of a server, fit for a message: short, printable, and without a secret it may echo."""
        for secret in self.secrets:
            text = text.replace(secret, _MASK)
        return shown(text)

    def __str__(self) -> str:
        words = ["status " + " or ".join(map(str, self.status))]
        if self.version is not None:
            words.append(f"version {shown(self.version)}")
        if self.required_checks:
            words.append(f"healthy checks {', '.join(map(shown, self.required_checks))}")
        if self.condition:
            words.append(f"expect to hold ({shown(self.condition.text)})")
        return ", ".join(words)


@dataclass(frozen=True)
class Verdict:
    """What one answer is worth; a good one needs no reason."""

    reason: str = ""
    version: str | None = None
    checks: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """Where one endpoint stands after the answers so far."""

    endpoint: str
    successes: int = 1
    status: int | None = None
    version: str | None = None
    reason: str = "never asked: the time was over before its turn"
    took_ms: int = 0
    answers: int = 0
    streak: int = 0
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        return self.streak >= self.successes

    def after(self, answer: Answer, verdict: Verdict, took_ms: int) -> Result:
        """The same endpoint, one answer later: a bad answer ends the streak."""
        streak = 0 if verdict.reason else self.streak + 1
        short = f"{streak} of {self.successes} good answers in a row" if streak < self.successes else ""
        return replace(
            self,
            status=answer.status,
            version=verdict.version,
            reason=verdict.reason or short,
            took_ms=took_ms,
            answers=self.answers + 1,
            streak=streak,
            checks=verdict.checks,
        )

    def as_dict(self) -> dict[str, t.Any]:
        shown_fields = ("endpoint", "status", "version", "reason", "took_ms", "answers", "streak")
        found = {name: getattr(self, name) for name in shown_fields}
        found["healthy"] = self.healthy
        if self.checks:
            found["checks"] = self.checks
        return found


def shown(text: str) -> str:
    """Text from outside, on one line, printable and short."""
    text = "".join(char if char.isprintable() else "?" for char in text[: _SHOWN + 1])
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def parse_target(url: object, number: int) -> Target:
    """The endpoint that stands at this place of the list, counted from 1."""
    if not isinstance(url, str) or not url:
        raise _refused(number, "", "is not a text, or is empty")
    if any(not "!" <= char <= "~" for char in url):
        raise _refused(number, url, "has a space, a control character or one outside ASCII")
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused(number, url, "is not a URL, or its port is out of range") from error
    if "@" in parts.netloc:
        raise _refused(number, url, "holds credentials", "Give them in secret_headers, as Authorization.")
    return _target(number, url, parts, port)


def credentials(urls: t.Iterable[str]) -> set[str]:
    """What must not be repeated of URLs that are going to be refused for it."""
    found = {match.group(1) for match in map(_CREDENTIALS.match, urls) if match}
    return {secret for text in found for secret in (text, text.partition(":")[2]) if secret}


def _target(number: int, url: str, parts: urllib.parse.SplitResult, port: int | None) -> Target:
    if parts.scheme not in (*_PORTS, "tcp"):
        raise _refused(number, url, "has no scheme, or one that cannot be asked")
    host = parts.hostname or ""
    if not is_host(host, "[" in parts.netloc):
        raise _refused(number, url, "has no host, or one that cannot be")
    if port is None:
        port = _PORTS.get(parts.scheme, 0)
    if port == 0:
        raise _refused(number, url, "has no port from 1 to 65535")
    if parts.scheme == "tcp":
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise _refused(number, url, "has a path, and a TCP connection has none")
        return Target(url, "tcp", host, port)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(url, parts.scheme, host, port, path)


def is_host(host: str, bracketed: bool) -> bool:
    """Can it be the name or address of one? In a URL an IPv6 address stands in brackets."""
    if not bracketed:
        return _HOST.fullmatch(host) is not None
    try:
        return "%" not in host and bool(ipaddress.IPv6Address(host))
    except ValueError:
        return False


def _refused(number: int, url: str, problem: str, todo: str = "Mend endpoints.") -> InvalidError:
    name = f" ({shown(url)})" if url and "@" not in url else ""
    expected = "a URL such as http://host:8080/health or tcp://host:5432"
    return InvalidError(f"endpoint {number}{name} {problem}", expected, todo)


def parse_condition(text: str) -> Condition:
    """The JMESPath, refused if it could never be worked out, whatever the answer says."""
    library = require_jmespath()
    faults = (library.exceptions.JMESPathError, ValueError, TypeError, RecursionError)
    try:
        search = library.compile(text).search
        search({})  # a function that does not exist shows only in use
    except library.exceptions.JMESPathTypeError:
        pass  # there is no answer yet, so its values cannot fit
    except faults as error:
        problem = shown(" ".join(str(error).split()))
        raise InvalidError(
            f"expect is not a JMESPath that can be worked out: {problem}",
            todo="Try it with the filter community.general.json_query on a sample answer.",
        ) from error
    return Condition(text, search)


def judge(answer: Answer, wanted: Expectation) -> Verdict:
    """Is it a good answer, and what does it say of itself?"""
    if answer.problem or answer.status is None:
        return Verdict(answer.problem)
    status = "" if answer.status in wanted.status else f"status {answer.status}"
    document, problem = _read_json(answer, wanted.needs_json)
    if problem:
        return Verdict(status or (problem if wanted.needs_json else ""))
    version = _version(document, wanted)
    states = _checks(document, wanted)
    faults = [
        status,
        _judge_version(version, wanted),
        _judge_checks(document, states),
        _judge_condition(document, wanted.condition),
    ]
    checks = {name: state for name, (_good, state) in states.items()}
    return Verdict("; ".join(filter(None, faults)), version, checks)


def _read_json(answer: Answer, needed: bool) -> tuple[t.Any, str]:
    """The body's document, or why there is none."""
    if answer.truncated:
        return None, f"the body is longer than {BODY_LIMIT // 1024} KiB"
    if not answer.body:
        return None, "the body is empty, not JSON"
    if not needed and not answer.body.startswith(b"{"):
        return None, "the body need not be JSON"
    try:
        return json.loads(answer.body), ""
    except (ValueError, RecursionError):
        return None, "the body is not JSON"


def _version(document: t.Any, wanted: Expectation) -> str | None:
    found = document.get(wanted.version_key) if isinstance(document, dict) else None
    if found is None:
        found = document
        for key in wanted.version_key.split("."):
            found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, bool) or not isinstance(found, (str, int, float)):
        return None
    # What was expected is no secret, even where it looks like one.
    return str(found) if str(found) == wanted.version else wanted.show(str(found))


def _judge_version(version: str | None, wanted: Expectation) -> str:
    if wanted.version is None or version == wanted.version:
        return ""
    return f"no version under {shown(wanted.version_key)}" if version is None else f"version {version}"


def _checks(document: t.Any, wanted: Expectation) -> dict[str, tuple[bool, str]]:
    """Each required check: is it healthy, and what does it say?"""
    checks = document.get("checks") if isinstance(document, dict) else None
    if not isinstance(checks, dict):
        checks = {}
    return {name: _state(checks, name, wanted) for name in wanted.required_checks}


def _state(checks: dict[str, t.Any], name: str, wanted: Expectation) -> tuple[bool, str]:
    if name not in checks:
        return False, "missing"
    state = checks[name]
    if isinstance(state, dict):
        state = state.get("status")
    if isinstance(state, bool):
        return state, "healthy" if state else "unhealthy"
    if isinstance(state, str):
        return state.lower() in HEALTHY_WORDS, wanted.show(state)
    return False, "without a status"


def _judge_checks(document: t.Any, states: dict[str, tuple[bool, str]]) -> str:
    if states and not (isinstance(document, dict) and isinstance(document.get("checks"), dict)):
        return "no object checks in the body"
    return ", ".join(f"check {shown(name)} is {state}" for name, (good, state) in states.items() if not good)


def _judge_condition(document: t.Any, condition: Condition | None) -> str:
    if condition is None:
        return ""
    library = require_jmespath()
    try:
        return "" if condition.search(document) else "expect does not hold"
    except (library.exceptions.JMESPathError, ValueError, TypeError, RecursionError):
        return "expect cannot be worked out on this body"
