# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way home that a host takes by itself when nobody confirms a change. Private to this collection.

What is armed stands in C(<state_dir>/<app>.revert.json). ``watchdog`` says when; here is what is then done.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import subprocess
import time
import typing as t
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone

from .._errors import BlueGreenError, ConflictError, DriftError, NotVerifiedError
from .._files import HeldError, remove_ours, replace_ours
from .._json import parse_json
from .._wait import SYSTEM_CLOCK, Clock, until
from .fence import PATIENCE, Fence, StaleTokenError, held, locked, read_text, stem, using
from .registry import build_routes
from .route import Route, side_by_side
from .split import Split, describe
from .undo import by_hand, go_back

PERSISTENCE = 30.0
"""Seconds to try again while a load balancer cannot be reached."""
SAYS_SO = 10.0
"""Seconds that a watchdog waits for a lock before it says so, and goes on waiting."""
OVERDUE = 90.0
"""Seconds after the deadline at which a watchdog that has not fired is not there any more."""

OVER = ("firing", "fired", "refused", "failed")
"""The states in which a confirmation comes too late."""


@dataclass(frozen=True)
class Home:
    """One route, as its options describe it, and where it is to go."""

    options: dict[str, t.Any]
    home: Split
    live: str | None
    """The colour that was live at home, where both took traffic."""
    ours: tuple[Split, ...]
    """The splits that this release has put in force, or is about to: nothing else is moved."""
    done: str = ""
    """What was found and done in the end."""

    @property
    def name(self) -> str:
        return str(self.options["name"])


@dataclass(frozen=True)
class Revert:
    """What is armed for an app on this host."""

    app: str
    serial: int
    token: int | None
    state: str
    """C(armed); C(confirmed), C(undone): nothing to do any more; C(firing), C(fired), C(refused), C(failed)."""
    by: str
    """C(systemd) or C(process)."""
    duration: float
    deadline: float
    """When it fires, by ``boot_clock``."""
    armed_at: str
    fires_at: str
    """ISO 8601 in UTC, by the host's clock."""
    colours: tuple[str, str]
    routes: tuple[Home, ...]
    ended_at: str | None = None
    message: str = ""

    def fires(self) -> Revert:
        return replace(self, state="firing", ended_at=iso(time.time()))

    def ends(self, state: str, message: str = "") -> Revert:
        """It is over, and what was needed to reach the routes, keys to an account among it, is forgotten."""
        routes = tuple(replace(route, options={"name": route.name}) for route in self.routes)
        return replace(self, state=state, routes=routes, ended_at=iso(time.time()), message=message)

    def as_status(self) -> dict[str, t.Any]:
        """Plain data: state, token, by, armed_at, fires_at, fires_in (seconds, null once over), message, routes."""
        fires_in = datetime.fromisoformat(self.fires_at).timestamp() - time.time() if self.state == "armed" else None
        message = self.message
        if fires_in is not None and fires_in < -OVERDUE:
            message = "It should have fired and has not: its process is gone, as after a reboot of the host"
        return {
            **{name: getattr(self, name) for name in ("app", "serial", "token", "state", "by")},
            **{name: getattr(self, name) for name in ("armed_at", "fires_at", "ended_at")},
            "fires_in": fires_in,
            "message": message,
            "routes": [
                {"name": route.name, "home": route.home.percents(), "done": route.done} for route in self.routes
            ],
        }

    def as_text(self) -> str:
        routes = [
            {**asdict(r), "home": r.home.percents(), "ours": [split.percents() for split in r.ours]}
            for r in self.routes
        ]
        return json.dumps({**asdict(self), "routes": routes}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def parse(cls, text: str) -> Revert:
        given = parse_json(text)
        colours = (str(given["colours"][0]), str(given["colours"][1]))

        def home(route: dict[str, t.Any]) -> Home:
            ours = tuple(Split.parse(colours, split) for split in route["ours"])
            return Home(**{**route, "home": Split.parse(colours, route["home"]), "ours": ours})

        return cls(**{**given, "colours": colours, "routes": tuple(map(home, given["routes"]))})


class RevertFile:
    """Where it stands what is armed: read by anybody, written under its lock, replaced whole."""

    def __init__(self, state_dir: str, app: str) -> None:
        self.state_dir, self.app = state_dir, app
        self.path = f"{stem(state_dir, app)}.revert.json"
        self.program = f"{stem(state_dir, app)}.revert.pyz"
        self._waits = f"{stem(state_dir, app)}.revert.waits"

    def read(self) -> Revert | None:
        text = read_text(self.path)
        try:
            return None if text is None else Revert.parse(text)
        except (ValueError, LookupError, TypeError, AttributeError, BlueGreenError) as error:
            raise DriftError(
                f"{self.path} does not parse: {type(error).__name__}: {error}",
                "what a watchdog of this collection writes",
                "Look where the traffic is, and remove the file when no release of the app is under way",
            ) from error

    def write(self, revert: Revert) -> Revert:
        with using(self.path):
            replace_ours(self.path, revert.as_text().encode())
        return revert

    def waits(self) -> str:
        """What its watchdog waits for."""
        return read_text(self._waits) or ""

    def say_waits(self, what: str) -> None:
        """In a file of its own: what is armed is written by whoever has the lock alone.

        Where it cannot be said, as on a full disk, it is not: that must not keep anybody from going home.
        """
        with contextlib.suppress(BlueGreenError), using(self._waits):
            replace_ours(self._waits, what.encode())

    def waits_no_more(self) -> None:
        with using(self._waits):
            remove_ours(self._waits)

    def locked(self, how: int = fcntl.LOCK_EX, patience: float = PATIENCE) -> contextlib.AbstractContextManager[None]:
        return locked(f"{stem(self.state_dir, self.app)}.revert.lock", how, patience)

    def remove_program(self) -> None:
        with using(self.program):
            remove_ours(self.program)

    def end(self, revert: Revert, state: str) -> Revert:
        """It need not fire any more. A process sees that by itself; a timer is stopped."""
        ended = self.write(revert.ends(state))
        if revert.by == "systemd" and stop_timer(revert.app, revert.serial):
            self.remove_program()
        return ended


def confirm(state_dir: str, app: str, token: int | None) -> dict[str, t.Any]:
    """The change is good: disarm the watchdog of the app on this host.

    Returns C(armed) (always false), C(was) (its state before, or C(none)) and, if there was one, its status.
    Without a token that of any release is disarmed. Raises ``conflict`` where it has fired, or where a later
    release has armed it.
    """
    file = RevertFile(state_dir, app)
    if file.read() is None:
        return {"armed": False, "was": "none"}
    with file.locked():
        revert = file.read()
        if revert is None or (token is not None and (revert.token or 0) < token):
            return {"armed": False, "was": "none"}
        if token is not None and (revert.token or 0) > token:
            raise StaleTokenError(
                f"the watchdog of {app} is {revert.state} with token {revert.token}",
                f"{token}, as this release has",
                "Somebody has taken the release over: see the playbook bluegreen.deploy.status",
            )
        if revert.state in OVER:
            raise ConflictError(
                f"the confirmation of {app} came too late: the watchdog has {revert.state} at {revert.ended_at}",
                f"a confirmation before {revert.fires_at}",
                f"{revert.message}. See the playbook bluegreen.deploy.status, then run bluegreen.deploy.recover",
                watchdog=revert.as_status(),
            )
        was = revert.state
        if was == "armed":
            revert = file.end(revert, "confirmed")
    return {"armed": False, "was": was, **{k: v for k, v in revert.as_status().items() if k != "app"}}


def status(state_dir: str, app: str) -> dict[str, t.Any] | None:
    """What is armed for the app on this host, as ``Revert.as_status`` has it. None: nothing ever was."""
    file = RevertFile(state_dir, app)
    revert = file.read()
    if revert is None:
        return None
    waits = file.waits() if revert.state in ("armed", "firing") else ""
    return {**revert.as_status(), **({"message": waits} if waits else {})}


def fire(file: RevertFile, serial: int, clock: Clock = SYSTEM_CLOCK) -> Revert | None:
    """Send every route home, if this serial is still the one armed; returns what came of it. None: it is not."""
    with patiently(file, fcntl.LOCK_EX):
        revert = file.read()
        if revert is None or (revert.serial, revert.state) != (serial, "armed"):
            return None
        with contextlib.suppress(BlueGreenError):  # on a full disk the traffic goes home all the same
            file.write(revert.fires())
        done = file.write(_send_home(revert, file, clock))
        file.waits_no_more()
        return done


@contextlib.contextmanager
def patiently(file: RevertFile, how: int) -> t.Iterator[None]:
    """Hold its lock, however long somebody else does: a watchdog that gives up leaves the traffic where it is."""
    with contextlib.ExitStack() as held_here:
        while True:
            try:
                held_here.enter_context(file.locked(how, SAYS_SO))
                break
            except HeldError as error:
                file.say_waits(_waiting(error))
        file.waits_no_more()
        yield


def _send_home(revert: Revert, file: RevertFile, clock: Clock) -> Revert:
    try:
        fence = Fence(file.state_dir, revert.app, revert.token) if revert.token is not None else None
        routes = routes_of(revert)
    except Exception as error:  # noqa: BLE001 -- whatever it is, it must stand where somebody looks
        return revert.ends("failed", str(error) if isinstance(error, BlueGreenError) else repr(error))
    homes = {home.name: home for home in revert.routes}
    since = datetime.fromisoformat(revert.armed_at).timestamp()

    def send(route: Route) -> str:
        return _send_one(route, homes[route.name], since, fence, clock=clock, say_waits=file.say_waits)

    answers = side_by_side(send, routes)
    states = {_state(answer) for answer in answers}
    done = tuple(replace(home, done=_told(answer)) for home, answer in zip(revert.routes, answers))
    worst = next(state for state in ("failed", "refused", "fired") if state in states)
    return replace(revert, routes=done).ends(worst, "; ".join(f"{home.name}: {home.done}" for home in done))


def _send_one(
    route: Route, home: Home, since: float, fence: Fence | None, *, clock: Clock, say_waits: t.Callable[[str], None]
) -> str:
    moved = False

    def attempt() -> BlueGreenError | None:
        nonlocal moved
        try:
            with held(fence):
                moved = go_back(route.router, home.home, home.ours, home.live, since=since) or moved
            if route.router.verify(home.home) is False:
                raise NotVerifiedError(f"the split is {describe(route.router.read())}", f"{home.home}")
        except ConflictError:
            raise
        except BlueGreenError as error:
            return error
        return None

    def stops(seen: BlueGreenError | None) -> bool:
        return seen is None or isinstance(seen, HeldError)

    error, _done = until(attempt, stops, timeout=PERSISTENCE, interval=0.5, clock=clock)
    while isinstance(error, HeldError):  # who gives up leaves the traffic to whoever has the lock
        say_waits(_waiting(error))
        error, _done = until(attempt, stops, timeout=PERSISTENCE, interval=0.5, clock=clock)
    if error:
        error.todo = f"By hand: {by_hand(route, home.home)}"
        raise error
    return f"put back to {home.home}" if moved else f"was at home, {home.home}"


def _waiting(error: HeldError) -> str:
    return f"The watchdog goes on trying, since {error.found}. {error.todo}"


def _state(answer: str | BlueGreenError) -> str:
    if isinstance(answer, str):
        return "fired"
    return "refused" if isinstance(answer, ConflictError) else "failed"


def _told(answer: str | BlueGreenError) -> str:
    return answer if isinstance(answer, str) else f"{_state(answer)}: {answer.message}"


def routes_of(revert: Revert) -> list[Route]:
    return build_routes({"colours": revert.colours, "routes": [home.options for home in revert.routes]})[1]


def timer(app: str, serial: int) -> str:
    """The name of the systemd unit."""
    return f"bluegreen-revert-{app}-{serial}"


def stop_timer(app: str, serial: int) -> bool:
    """Whether it is stopped; one that is not finds nothing to do when its time has come."""
    try:
        words = ["systemctl", "stop", f"{timer(app, serial)}.timer"]
        return subprocess.run(words, capture_output=True, check=False, timeout=PATIENCE).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, timezone.utc).isoformat(timespec="microseconds")
