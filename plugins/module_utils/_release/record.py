# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of an app's releases, as values and as one JSON document. Private to this collection.

What may happen to it is in ``ledger.py``; where it is kept, in ``store.py``.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime, timezone

from .._errors import BrokenRecordError, InvalidError, UnsupportedError
from .._json import TOO_HIGH

SCHEMA = 1
"""Of the document. A newer one is refused; keys that are not known here are kept."""

OPEN = "open"

V = t.TypeVar("V")
Json = dict[str, t.Any]
Time = str
"""ISO 8601 in UTC."""
Side = Json
Session = Json
Takeover = Json
Thaw = Json
Routes = Json
Past = Json
"""As the five above, one of which more is known: see ``_SHAPES``."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True)
class Lock:
    """Who may write to the open release: whoever has the token."""

    release: str
    owner: str
    token: int
    ttl: float
    """Seconds that each write of the holder renews it for."""
    taken_at: Time
    renewed_at: Time
    expires_at: Time
    reason: str | None = None
    parked: bool = False
    """Left to whoever goes on with the release."""
    more: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Freeze:
    """No new release may begin before ``until``."""

    owner: str
    reason: str
    at: Time
    until: Time
    thawed: Thaw | None = None
    """{owner, reason, at}, if somebody has lifted it before its end."""
    more: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One step of a release: written down before it is made, and closed after it."""

    stage: str | None
    step: str
    status: str
    """intended, done or failed."""
    intended_at: Time
    token: int
    intended: Json | None = None
    passed: bool | None = None
    result: Json | None = None
    evidence: Json | None = None
    done_at: Time | None = None
    attempts: int = 1
    more: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Release:
    """One attempt to make a version live."""

    id: str
    state: str
    """open; then released, rolled_back, refused, unchanged, failed, retired, recovered or aborted."""
    owner: str
    started_at: Time
    reason: str | None = None
    version: str | None = None
    from_: Side = field(default_factory=dict)
    """{colour, version}, as ``to_``."""
    to_: Side = field(default_factory=dict)
    routes: Routes = field(default_factory=dict)
    """As found at the beginning: load balancer -> list of {name, split, live}."""
    stage: str | None = None
    in_doubt: list[str] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    """{owner, token, at, why} of each who has worked on it."""
    steps: tuple[Step, ...] = ()
    finished_at: Time | None = None
    why: str | None = None
    """Why it ended as it did."""
    routes_at_end: Routes | None = None
    confirm_until: Time | None = None
    more: Json = field(default_factory=dict)

    @property
    def open(self) -> bool:
        return self.state == OPEN


@dataclass(frozen=True)
class Record:
    """All that is known of an app's releases."""

    app: str
    schema: int = SCHEMA
    token: int = 0
    """The last fencing token given out."""
    lock: Lock | None = None
    freeze: Freeze | None = None
    release: Release | None = None
    """The open one, or else the last."""
    history: list[Past] = field(default_factory=list)
    """The ones before it without their steps, the oldest first."""
    fleet: list[str] = field(default_factory=list)
    """The load balancers that the last release ran with."""
    takeovers: list[Takeover] = field(default_factory=list)
    """{release, owner, from, reason, token, at}, the oldest first."""
    writes: list[str] = field(default_factory=list)
    """Marks of the latest writes: by its own, a writer knows whether it was written."""
    more: Json = field(default_factory=dict)

    @property
    def open(self) -> Release | None:
        return self.release if self.release and self.release.open else None


def checked_app(app: str) -> str:
    """The name of an app that is safe as a file's and as an object's."""
    if not _NAME.fullmatch(app) or app.endswith((".fence", ".revert")):
        raise InvalidError(
            f"app is {app[:60]!r}",
            "letters, digits and _ . - only, 200 at most, no dot in front, and no .fence or .revert at the end",
        )
    return app


def moment(now: float) -> Time:
    return datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="microseconds")


def epoch(text: Time) -> float:
    """Seconds. A time without a zone is taken for UTC. Raises ``ValueError``."""
    text = re.sub("[zZ]$", "+00:00", text.strip())
    text = re.sub(r"\.(\d{1,6})\d*", lambda digits: f".{digits[1]:0<6}", text)  # older Pythons want all six
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()


def document(value: t.Any) -> Json:
    """A value of this file as JSON has it."""
    known = {_key(each.name): _plain(getattr(value, each.name)) for each in fields(value) if each.name != "more"}
    return {**known, **value.more}


def parse_record(app: str, found: t.Any) -> Record:
    """The record in a document.

    Raises ``broken`` if it is none of this app, and ``unsupported`` if a newer collection has written it.
    """
    schema = found.get("schema") if isinstance(found, dict) else None
    if not _is_a("int", schema):
        raise BrokenRecordError("it is no record of releases")
    if schema != SCHEMA:
        raise UnsupportedError(
            f"the record has schema {schema}",
            f"{SCHEMA}, which this collection writes",
            "Upgrade the collection bluegreen.deploy here to the version that has written it",
        )
    record = _parse(Record, found, "record")
    if record.app != app:
        raise BrokenRecordError(f"it is the record of {record.app!r}", f"that of {app!r}")
    if bool(record.open) != bool(record.lock):
        raise BrokenRecordError("its release and its lock contradict each other", "a lock while a release is open")
    return record


_VALUES: dict[str, t.Any] = {"Lock": Lock, "Freeze": Freeze, "Release": Release, "Step": Step}
_SHAPES: dict[str, dict[str, str]] = {
    "Side": {"colour": "Word", "version": "Word"},
    "Session": {"owner": "str", "token": "int", "at": "Time", "why": "str"},
    "Takeover": {"release": "str", "owner": "str", "from": "str", "reason": "str", "token": "int", "at": "Time"},
    "Thaw": {"owner": "str", "reason": "str | None", "at": "Time"},
    "Host": {"routes": "list[Found] | None"},
    "Found": {"name": "Word", "split": "Shares | None", "live": "Word"},
}
"""The known keys of dictionaries that stay ones; each may be left out, and others may be there."""
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "Word": (str, int, float, type(None)),
    "Time": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "Json": (dict,),
}


def _parse(kind: type[V], found: t.Any, where: str) -> V:
    if not isinstance(found, dict):
        raise BrokenRecordError(f"its {where} is {_shown(found)}", "a dictionary")
    known = {_key(each.name): each for each in fields(kind) if each.name != "more"}  # type: ignore[arg-type]
    missing = [key for key, each in known.items() if key not in found and not _optional(each)]
    if missing:
        raise BrokenRecordError(f"its {where} has no {missing[0]}")
    given = {
        each.name: _part(str(each.type), found[key], f"{where}.{key}") for key, each in known.items() if key in found
    }
    given["more"] = {key: value for key, value in found.items() if key not in known}
    return kind(**given)


def _part(kind: str, found: t.Any, where: str) -> t.Any:
    """One part, by the name of its type, which is text on every Python."""
    kind, _mark, nothing = kind.partition(" | ")
    if nothing and found is None:
        return None
    if kind in _VALUES:
        return _parse(_VALUES[kind], found, where)
    if kind in ("Past", "Routes", "Shares", *_SHAPES):
        return _shaped(kind, found, where)
    many = re.fullmatch(r"(?:list|tuple)\[(\w+)(?:, \.\.\.)?\]", kind)
    if many and isinstance(found, list):
        parts = [_part(many[1], one, f"{where}[{number}]") for number, one in enumerate(found)]
        return tuple(parts) if kind.startswith("tuple") else parts
    if many or not _is_a(kind, found):
        raise BrokenRecordError(f"its {where} is {_shown(found)}")
    return found


def _shaped(kind: str, found: t.Any, where: str) -> Json:
    """The dictionary itself, when what is known of it holds."""
    if not isinstance(found, dict):
        raise BrokenRecordError(f"its {where} is {_shown(found)}", "a dictionary")
    if kind == "Past":
        _parse(Release, found, where)
        return found
    inner = {
        "Routes": {host: "list[Found]" if isinstance(part, list) else "Host" for host, part in found.items()},
        "Shares": dict.fromkeys(found, "float"),
    }
    for key, part in inner.get(kind, _SHAPES.get(kind, {})).items():
        if key in found:
            _part(part, found[key], f"{where}.{key[:60]}")
    return found


def _is_a(kind: str, found: t.Any) -> bool:
    if isinstance(found, bool) and kind != "bool":
        return False
    if kind == "Time" and isinstance(found, str):
        try:
            epoch(found)
        except (ValueError, OverflowError):
            return False
    if isinstance(found, (int, float)) and not -TOO_HIGH < found < TOO_HIGH:
        return False
    return isinstance(found, _KINDS[kind])


def _optional(each: t.Any) -> bool:
    return each.default is not MISSING or each.default_factory is not MISSING


def _key(name: str) -> str:
    return name.rstrip("_")


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return document(value) if value.__class__.__name__ in _VALUES else value


def _shown(found: t.Any) -> str:
    return repr(found)[:60]
