# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may happen to a record: begin, step, finish, take over, freeze. Pure: time is given. Private to this collection.

Each function returns the record after it, or raises and nothing has happened. ``now`` is in epoch seconds.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field, replace

from .._errors import BrokenRecordError, ConflictError, FrozenError, InvalidError, LockedError
from .._json import TOO_HIGH, is_deeper
from .fleet import with_fleet
from .record import OPEN, Freeze, Json, Lock, Record, Release, Step, document, epoch, moment

ENDINGS = ("released", "rolled_back", "refused", "unchanged", "failed", "retired", "recovered")
MOVED = ("released", "rolled_back")
ABORTED = "aborted"
RECOVERED = "recovered"
"""Of what was put right while no release was open: an entry of its own, and no release."""

WAYS_HOME = ("rollback", "recover")
"""Stages that a freeze does not stop: it must never keep users on a bad version."""

KEPT = 20
"""Earlier releases, and takeovers, that a record keeps."""

LARGEST = 16 * 1024
"""Bytes of one result, or of one piece of evidence, as JSON."""
DEEPEST = 40
"""Its levels: what an app has answered may stand in it."""


@dataclass(frozen=True)
class Request:
    """What somebody wants who begins a release, or goes on with one."""

    id: str
    """Of the new release."""
    owner: str
    named: bool = False
    """The id was asked for, not made: it may be that of the open release."""
    reason: str | None = None
    ttl: float = 900.0
    version: str | None = None
    stage: str | None = None
    from_: Json = field(default_factory=dict)
    to_: Json = field(default_factory=dict)
    routes: Json = field(default_factory=dict)
    join: bool = False
    take_over: str | None = None
    """Why the open release is taken from whoever has it."""
    load_balancers: list[str] | None = None
    gone: list[str] = field(default_factory=list)
    """Load balancers of earlier releases that there are no more."""


@dataclass(frozen=True)
class Entry:
    """What the holder writes down: the step that is over, and the one that comes next."""

    stage: str | None = None
    step: str | None = None
    passed: bool | None = None
    result: Json | None = None
    evidence: Json | None = None
    next: str | None = None
    intended: Json | None = None
    in_doubt: list[str] | None = None
    park: bool = False


@dataclass(frozen=True)
class Ending:
    """How a release ends."""

    state: str
    why: str | None = None
    routes: Json | None = None
    confirmation_period: float | None = None
    """Seconds in which the old colour is kept."""


def begin(record: Record, request: Request, now: float) -> Record:
    """A new release, or the open one taken up by a new session; either way with a new token.

    Raises ``locked`` if another one is open, ``frozen`` if no new one may begin, ``conflict`` if the one
    that was asked for by its id is closed, and ``incomplete`` if load balancers of earlier ones are missing.
    """
    if not 0 < request.ttl < float("inf"):
        raise InvalidError(f"ttl is {request.ttl:g}", "seconds above 0")
    record = with_fleet(record, request.load_balancers, request.gone)
    return _taken_up(record, request, now) if record.open else _begun(record, request, now)


def step(record: Record, token: int, entry: Entry, now: float) -> Record:
    """Close a step, open the next, or both; renews the lock. Raises ``conflict`` unless the token holds it."""
    release, lock = _held(record, token)
    lock = replace(_renewed(lock, now), parked=entry.park)
    return replace(record, lock=lock, release=_journaled(release, token, entry, now))


def finish(record: Record, token: int, entry: Entry, ending: Ending, now: float) -> Record:
    """Close the step and the release, and free the lock. Raises ``conflict`` unless the token holds it."""
    release, _lock = _held(record, token)
    if ending.state not in ENDINGS:
        raise InvalidError(f"state is {ending.state!r}", f"one of {', '.join(ENDINGS)}")
    period = ending.confirmation_period
    if period is not None and not 0 <= period < float("inf"):
        raise InvalidError(f"confirmation_period is {period:g}", "seconds, 0 or more")
    closed = replace(
        _journaled(release, token, entry, now),
        state=ending.state,
        why=ending.why,
        finished_at=moment(now),
        routes_at_end=ending.routes,
        confirm_until=None if period is None else _time(now + period, "confirmation_period"),
    )
    return replace(record, lock=None, release=closed)


def abort(record: Record, token: int, reason: str, now: float) -> Record:
    """Close the release as it stands, and free the lock. Raises ``conflict`` unless the token holds it."""
    release, _lock = _held(record, token)
    return replace(record, lock=None, release=replace(release, state=ABORTED, why=reason, finished_at=moment(now)))


def freeze(record: Record, owner: str, reason: str, until: str, now: float) -> Record:
    """No new release begins before ``until``, ISO 8601. Raises ``invalid`` if that is no time to come."""
    try:
        end = epoch(until)
    except (ValueError, OverflowError) as error:
        raise InvalidError(f"until is {until!r}", "an ISO 8601 time such as 2026-12-27T06:00:00Z") from error
    if end <= now:
        raise InvalidError(f"until is {until}, which is over", f"a time after {moment(now)}")
    there = frozen(record, now)
    if there and (there.owner, there.reason, epoch(there.until)) == (owner, reason, end):
        return record
    return replace(record, freeze=Freeze(owner, reason, moment(now), moment(end)))


def thaw(record: Record, owner: str, reason: str | None, now: float) -> Record:
    """Lift the freeze, if one is in force."""
    there = frozen(record, now)
    if there is None:
        return record
    return replace(record, freeze=replace(there, thawed={"owner": owner, "reason": reason, "at": moment(now)}))


def frozen(record: Record, now: float) -> Freeze | None:
    """The freeze that is in force."""
    there = record.freeze
    return there if there and there.thawed is None and now < epoch(there.until) else None


def _begun(record: Record, request: Request, now: float) -> Record:
    if request.named and request.id in _closed_ids(record):
        raise ConflictError(
            f"the release {request.id} is over",
            "an open one, or an id of its own",
            "To begin a new release leave its id out",
        )
    ice = frozen(record, now)
    if ice and request.stage not in WAYS_HOME:
        raise FrozenError(
            f"releases of {record.app} are frozen by {ice.owner} until {ice.until}: {ice.reason}",
            "no freeze",
            "Wait for its end, or thaw it with the playbook bluegreen.deploy.freeze and bluegreen_thaw=true",
            freeze=document(ice),
        )
    token = _next_token(record, now)
    release = Release(
        id=request.id,
        state=OPEN,
        owner=request.owner,
        started_at=moment(now),
        reason=request.reason,
        version=request.version,
        from_=request.from_,
        to_=request.to_,
        routes=request.routes,
        stage=request.stage,
        sessions=[_session(request, token, "began", now)],
    )
    earlier = record.history
    if record.release:
        earlier = [*earlier, {key: value for key, value in document(record.release).items() if key != "steps"}]
    return replace(
        record, token=token, release=release, lock=_lock(release, request, token, now), history=earlier[-KEPT:]
    )


def _taken_up(record: Record, request: Request, now: float) -> Record:
    release, lock = t.cast(Release, record.open), t.cast(Lock, record.lock)
    token = _next_token(record, now)
    takeovers = record.takeovers
    if request.take_over:
        why = f"took over: {request.take_over}"
        takeover = {
            "release": release.id,
            "owner": request.owner,
            "from": lock.owner,
            "reason": request.take_over,
            "token": token,
            "at": moment(now),
        }
        takeovers = [*takeovers, takeover][-KEPT:]
    elif request.named and request.id == release.id:
        if not _same_version(release, request):
            raise ConflictError(
                f"the release {release.id} is of version {release.version}, and {request.version} is asked for",
                "the same version",
                "Leave the version as it was, or end the release with the playbook bluegreen.deploy.recover first",
            )
        why = "resumed"
    elif request.join and lock.parked and not request.named and _same_version(release, request):
        why = "joined"
    else:
        raise _locked(release, lock, now)
    release = replace(
        release,
        stage=request.stage or release.stage,
        sessions=[*release.sessions, _session(request, token, why, now)],
    )
    return replace(record, token=token, release=release, lock=_lock(release, request, token, now), takeovers=takeovers)


def _next_token(record: Record, now: float) -> int:
    """Higher than any before, also where a record was lost, restored from a copy, or moved to another store."""
    token = max(record.token + 1, int(now))
    if token >= TOO_HIGH:
        raise BrokenRecordError(
            f"the last token of {record.app}'s record is {record.token}, after which there is none",
            "one that follows the clock",
            "See who has written it, and set it to the seconds since 1970",
        )
    return token


def _closed_ids(record: Record) -> list[t.Any]:
    return [release.get("id") for release in record.history] + ([record.release.id] if record.release else [])


def _same_version(release: Release, request: Request) -> bool:
    return not (release.version and request.version) or release.version == request.version


def _session(request: Request, token: int, why: str, now: float) -> Json:
    return {"owner": request.owner, "token": token, "at": moment(now), "why": why}


def _lock(release: Release, request: Request, token: int, now: float) -> Lock:
    at = moment(now)
    end = _time(now + request.ttl, "ttl")
    return Lock(release.id, request.owner, token, request.ttl, at, at, end, reason=request.reason)


def _renewed(lock: Lock, now: float) -> Lock:
    return replace(lock, renewed_at=moment(now), expires_at=_time(now + lock.ttl, "ttl"))


def _time(instant: float, what: str) -> str:
    try:
        return moment(instant)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidError(f"{what} leads out of the calendar", "seconds that do not") from error


def _locked(release: Release, lock: Lock, now: float) -> LockedError:
    verb = "holds" if now < epoch(lock.expires_at) else "held"
    holds = "is parked" if lock.parked else f"{verb} until {lock.expires_at}"
    stage = f", at stage {release.stage}" if release.stage else ""
    return LockedError(
        f"the release {release.id} of {lock.owner} is open since {release.started_at}{stage}, and its lock {holds}",
        "no other release open",
        f"Resume it with bluegreen_release={release.id}, or end it with the playbook bluegreen.deploy.recover",
        lock=document(lock),
    )


def _held(record: Record, token: int) -> tuple[Release, Lock]:
    release, lock = record.release, record.lock
    if release is None:
        raise ConflictError(f"token {token} holds no lock: there is no release", "an open one", "Begin one")
    if lock is None:
        raise ConflictError(
            f"token {token} holds no lock: the release {release.id} is {release.state} since {release.finished_at}",
            "an open release",
            "Somebody has closed it: see the playbook bluegreen.deploy.status",
        )
    if lock.token != token:
        last = release.sessions[-1] if release.sessions else {}
        raise ConflictError(
            f"token {token} holds no lock: {lock.owner} has the release {release.id} since {lock.taken_at} "
            f"({last.get('why')})",
            f"token {lock.token}",
            "Stop here, since another job goes on with it: see the playbook bluegreen.deploy.status",
            lock=document(lock),
        )
    return release, lock


def _journaled(release: Release, token: int, entry: Entry, now: float) -> Release:
    stage = entry.stage or release.stage
    steps = release.steps
    if entry.step:
        steps = _closed(steps, Step(stage, entry.step, "intended", moment(now), token), entry)
    if entry.next:
        steps = _intended(steps, Step(stage, entry.next, "intended", moment(now), token, _bounded(entry.intended)))
    in_doubt = release.in_doubt if entry.in_doubt is None else entry.in_doubt
    return replace(release, stage=stage, steps=steps, in_doubt=in_doubt)


def _intended(steps: tuple[Step, ...], new: Step) -> tuple[Step, ...]:
    """With the new step open; one of the same name that was not done is opened again."""
    place = _last(steps, lambda each: (each.stage, each.step) == (new.stage, new.step))
    if place is None or steps[place].status == "done":
        return (*steps, new)
    before = steps[place]
    return _put(steps, place, replace(new, attempts=before.attempts + 1, more=before.more))


def _closed(steps: tuple[Step, ...], new: Step, entry: Entry) -> tuple[Step, ...]:
    """With the open step of that name closed, in whatever stage it was opened; or else the new one."""
    place = _last(steps, lambda each: each.step == new.step and each.status == "intended")
    if place is None:
        steps = _intended(steps, new)
        place = t.cast(int, _last(steps, lambda each: (each.stage, each.step) == (new.stage, new.step)))
    closed = replace(
        steps[place],
        status="failed" if entry.passed is False else "done",
        passed=entry.passed,
        result=_bounded(entry.result),
        evidence=_bounded(entry.evidence),
        done_at=new.intended_at,
        token=new.token,
    )
    return _put(steps, place, closed)


def _last(steps: tuple[Step, ...], wanted: t.Callable[[Step], bool]) -> int | None:
    return next((place for place in reversed(range(len(steps))) if wanted(steps[place])), None)


def _put(steps: tuple[Step, ...], place: int, new: Step) -> tuple[Step, ...]:
    return (*steps[:place], new, *steps[place + 1 :])


def _bounded(found: Json | None) -> Json | None:
    """What is too large for a record, or too deep, is left out, and that is said."""
    if is_deeper(found, DEEPEST):
        return {"cut": True, "deeper": DEEPEST}
    size = len(json.dumps(found))
    return found if size <= LARGEST else {"cut": True, "bytes": size}


def standing(record: Record, now: float) -> Json:
    """How things stand at ``now``: what a module returns about a record."""
    lock = record.lock
    ice = frozen(record, now)
    confirm_until = _confirm_until(record)
    return {
        "record": None if record == Record(record.app) else document(record),
        "release": _last_release(record),
        "lock": document(lock) if lock else None,
        "freeze": document(ice) if ice else None,
        "open": record.open is not None,
        "now": now,
        "age": now - epoch(record.open.started_at) if record.open else None,
        "lock_left": _left(lock.expires_at, now) if lock else None,
        "confirmation_left": _left(confirm_until, now) if confirm_until else None,
    }


def _last_release(record: Record) -> Json | None:
    """The open one, or the last; one of the history has no steps."""
    all_of_them = [*record.history, *([document(record.release)] if record.release else [])]
    return next((each for each in reversed(all_of_them) if each["state"] != RECOVERED), None)


def _confirm_until(record: Record) -> str | None:
    """The end of the period that runs since the last release that has moved the traffic for good."""
    ended = [*record.history, *([document(record.release)] if record.release else [])]
    moved = [release for release in ended if release.get("state") in MOVED]
    return moved[-1].get("confirm_until") if moved else None


def _left(end: str, now: float) -> float:
    return max(0.0, epoch(end) - now)


def outline(record: Record) -> Json:
    """The record in short, for a diff."""
    left_out = ("steps", "sessions", "routes", "routes_at_end")
    release = document(record.release) if record.release else {}
    return {
        "release": {key: value for key, value in release.items() if key not in left_out},
        "lock": document(record.lock) if record.lock else None,
        "freeze": document(record.freeze) if record.freeze else None,
    }
