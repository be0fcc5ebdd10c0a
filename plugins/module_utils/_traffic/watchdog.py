# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watchdog that sends the traffic home unless a release confirms in time. Private to this collection.

It is a program of its own, packed from the very sources that are loaded: it needs no Ansible, no connection,
and nothing of the module that armed it.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import select
import shutil
import subprocess
import sys
import syslog
import time
import typing as t
import zipfile
from dataclasses import replace
from pathlib import Path

from .._errors import BlueGreenError, ConflictError, MissingError
from .._files import replace_ours
from .._wait import Clock
from .fence import using
from .revert import OVER, Home, Revert, RevertFile, fire, iso, patiently, routes_of, stop_timer, timer
from .route import Outcome, Route, side_by_side
from .split import Split, describe

ARMED = b"armed\n"
START_TIMEOUT = 30.0
GLANCE = 1.0
"""Seconds between two looks whether it is still needed."""

_MAIN = "import sys\nfrom bluegreen._traffic.watchdog import main\nsys.exit(main(sys.argv[1:]))\n"
_KNOWS_ANSIBLE = re.compile(r"^\s*(from|import) ansible\b", re.MULTILINE)


def boot_clock() -> float:
    """Seconds that no setting of the host's clock moves, and that count while the host is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


BOOT_CLOCK = Clock(now=boot_clock)


class HostWatchdog:
    """The watchdog of one app on this host, as the switch sees it."""

    def __init__(
        self, file: RevertFile, params: t.Mapping[str, t.Any], routes: t.Sequence[Route], back_to: Split | None
    ) -> None:
        self._file, self._routes, self._back_to = file, routes, back_to
        self._options = {str(route["name"]): dict(route) for route in params["routes"]}
        self._colours: list[str] = list(params["colours"])
        self._token: int | None = params["token"]
        self._commit_at: float | None = params["commit_at"]
        self._silence: float | None = params["revert_after"]
        self._watched: float = (params["watch"] or {"duration": 0.0})["duration"]
        self._armed: Revert | None = None

    def arm(self, planned: t.Sequence[Outcome], expect: Split | None) -> None:
        if self._silence is None:
            return
        with self._file.locked():
            old = self._file.read()
            self._refuse(old)
            if expect and old and self._is_ours(old):
                _refuse_chance(old, planned, expect)
            homes = self._homes(old if self._is_ours(old) else None, planned)
            if homes:
                seconds = self._silence + self._watched + self._wait()
                self._armed = self._launch(old, homes, seconds)

    @contextlib.contextmanager
    def holding(self) -> t.Iterator[None]:
        armed = self._armed
        if armed is None:
            yield
            return
        with self._file.locked(fcntl.LOCK_SH):
            now = self._file.read()
            if now is None or (now.serial, now.state) != (armed.serial, "armed"):
                raise ConflictError(
                    f"the watchdog is {now.state if now else 'gone'}: {now.message if now else ''}",
                    f"armed until {armed.fires_at}",
                    "Somebody else has released meanwhile, or this took too long: see bluegreen.deploy.status",
                )
            yield

    def stand_down(self) -> dict[str, t.Any] | None:
        try:
            there = self._file.read()
            if self._armed or self._is_ours(there) or self._is_superseded(there):
                with self._file.locked():
                    self._armed = self._disarm()
        except Exception as error:  # noqa: BLE001 -- what was done before it is what must be told
            return {**(self.as_result() or {}), "message": f"It stays as it is: {error}"}
        return self.as_result()

    def as_result(self) -> dict[str, t.Any] | None:
        armed = self._armed
        return {"state": armed.state, "fires_at": armed.fires_at, "by": armed.by} if armed else None

    def _refuse(self, old: Revert | None) -> None:
        if old is None:
            return
        if (old.token or 0) > (self._token or 0) and old.state == "armed":
            raise ConflictError(
                f"a watchdog with token {old.token} is armed for {old.app}",
                f"none, or one of a release before token {self._token}",
                "Somebody has taken the release over: see the playbook bluegreen.deploy.status",
            )
        if self._token is not None and old.token == self._token and old.state in OVER:
            raise ConflictError(
                f"the watchdog of this release has {old.state} at {old.ended_at}: {old.message}",
                f"a confirmation before {old.fires_at}",
                "See the playbook bluegreen.deploy.status, then run bluegreen.deploy.recover",
            )

    def _homes(self, before: Revert | None, planned: t.Sequence[Outcome]) -> tuple[Home, ...]:
        known = {home.name: home for home in before.routes} if before else {}
        for route, plan in zip(self._routes, planned):
            home = self._home(route, plan, known.get(route.name)) if plan.changed or self._back_to else None
            if home:
                known[route.name] = home
        return tuple(known.values())

    def _home(self, route: Route, plan: Outcome, known: Home | None) -> Home | None:
        options = self._options[route.name]
        if self._back_to:
            ours = {plan.before, plan.after, *(known.ours if known else ())} - {self._back_to, None}
            return Home(options, self._back_to, None, tuple(sorted(t.cast("set[Split]", ours), key=str)))
        after = t.cast(Split, plan.after)  # of a plan it is what is wanted
        if known and plan.before in (None, known.home, *known.ours):
            return replace(known, options=options, ours=tuple(dict.fromkeys((*known.ours, after))))
        if plan.before is None:
            return None  # nobody served: there is no way back to arm
        return Home(options, plan.before, route.router.live(), (after,))

    def _is_ours(self, there: Revert | None) -> bool:
        """Whether it is armed by this release, be it in an earlier call."""
        ours = ("armed", self._token, tuple(self._colours))
        return there is not None and (there.state, there.token, there.colours) == ours

    def _wait(self) -> float:
        return max(0.0, self._commit_at - time.time()) if self._commit_at is not None else 0.0

    def _launch(self, old: Revert | None, homes: tuple[Home, ...], seconds: float) -> Revert:
        serial = old.serial + 1 if old else 1
        by, start = ("systemd", start_timer) if has_systemd() else ("process", start_process)
        try:
            with using(self._file.program):
                replace_ours(self._file.program, pack())
            self._file.waits_no_more()
            start(self._file, serial, seconds)
            armed = self._file.write(self._revert(serial, by, homes, seconds))
        except BaseException:
            if by == "systemd":
                stop_timer(self._file.app, serial)
            if old is None or old.state != "armed":
                self._file.remove_program()
            raise
        if old and (old.by, old.state) == ("systemd", "armed"):
            stop_timer(old.app, old.serial)  # of an earlier step: it would find nothing to do, yet stay until its time
        return armed

    def _revert(self, serial: int, by: str, homes: tuple[Home, ...], seconds: float) -> Revert:
        now = time.time()
        return Revert(
            app=self._file.app,
            serial=serial,
            token=self._token,
            state="armed",
            by=by,
            duration=seconds,
            deadline=boot_clock() + seconds,
            armed_at=iso(now),
            fires_at=iso(now + seconds),
            colours=(self._colours[0], self._colours[1]),
            routes=homes,
        )

    def _is_superseded(self, there: Revert | None) -> bool:
        """Whether a release has armed it that this one has taken over: the fence keeps it from moving anything."""
        return there is not None and there.state == "armed" and (there.token or 0) < (self._token or 0)

    def _disarm(self) -> Revert | None:
        now = self._file.read()
        if now is not None and self._is_superseded(now):
            return self._file.end(now, "undone")
        if now is None or not self._is_ours(now):
            return now
        homes = {home.name: home for home in now.routes}
        seen = side_by_side(lambda route: route.router.read() == homes[route.name].home, routes_of(now))
        if any(at_home is not True for at_home in seen):
            return now
        return self._file.end(now, "undone")


def _refuse_chance(armed: Revert, planned: t.Sequence[Outcome], expect: Split) -> None:
    """What is wanted is there, and this release has neither put it there nor tried to: whoever did may do so again."""
    homes = {home.name: home for home in armed.routes}
    for plan in planned:
        home = homes.get(plan.name)
        if home and not plan.changed and plan.before not in (expect, home.home, *home.ours):
            raise ConflictError(
                f"route {plan.name}: the split is {describe(plan.before)} already, which this release did not make",
                f"{expect}, as it was left",
                "The watchdog stays armed. See whether the load balancer lost its state, or who moved it",
            )


# --- Its program ------------------------------------------------------------------------------------------


def pack() -> bytes:
    """A zip that Python runs: all modules of this collection that are loaded, but those that know Ansible."""
    root = __name__.rsplit(".", 2)[0]
    files = {"__main__.py": _MAIN, "bluegreen/__init__.py": ""}
    for name in sorted(name for name in sys.modules if name.startswith(f"{root}.")):
        place = "/".join(["bluegreen", *name[len(root) + 1 :].split(".")])
        if hasattr(sys.modules[name], "__path__"):
            files[f"{place}/__init__.py"] = ""
        elif not _KNOWS_ANSIBLE.search(source := _source(name)):
            files[f"{place}.py"] = source
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for place, text in files.items():
            archive.writestr(zipfile.ZipInfo(place), text, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _source(name: str) -> str:
    loader: t.Any = getattr(sys.modules[name].__spec__, "loader", None)
    source: str | None = loader.get_source(name) if hasattr(loader, "get_source") else None
    if source is None:
        raise MissingError(f"the source of {name} cannot be read", "it, to pack the watchdog", "Leave revert_after out")
    return source


def has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir() and shutil.which("systemd-run") is not None and os.geteuid() == 0


def program(file: RevertFile, serial: int) -> list[str]:
    return [sys.executable, "-I", file.program, file.state_dir, file.app, str(serial)]


def timer_command(file: RevertFile, serial: int, seconds: float) -> list[str]:
    return [
        *("systemd-run", "--quiet", "--collect", f"--unit={timer(file.app, serial)}"),
        *(f"--on-active={seconds:.3f}s", "--timer-property=AccuracySec=100ms"),
        f"--description=Sends the traffic of {file.app} back unless its release confirms",
        *("--", *program(file, serial)),
    ]


def start_timer(file: RevertFile, serial: int, seconds: float) -> None:
    words = timer_command(file, serial, seconds)
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=START_TIMEOUT)
    if done.returncode:
        raise _not_armed(f"systemd-run says {done.stderr.strip()!r}")


def start_process(file: RevertFile, serial: int, _seconds: float) -> None:
    """Starts it, out of the reach of whoever ends the module, and waits until it says that it is there."""
    process = subprocess.Popen(
        program(file, serial),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        start_new_session=True,
    )
    with t.cast(t.IO[bytes], process.stdout) as pipe:
        said = _listen(pipe.fileno())
    if said != ARMED:
        process.kill()
        process.wait()
        raise _not_armed(f"it says {said.decode(errors='replace')[-200:]!r}")


def _listen(pipe: int) -> bytes:
    """What is said on the pipe until the word that is waited for, its end, or the end of the time."""
    said = b""
    deadline = time.monotonic() + START_TIMEOUT
    while said != ARMED and select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
        more = os.read(pipe, 1 << 16)
        if not more:
            break
        said += more
    return said


def _not_armed(why: str) -> BlueGreenError:
    return BlueGreenError(
        f"the watchdog did not start: {why}",
        "one that is armed before anything is changed",
        "Nothing was changed. Mend it, or leave revert_after out",
    )


def main(words: t.Sequence[str]) -> int:
    """The program: the state directory, the app, and the serial that it was armed with."""
    file, serial = RevertFile(words[0], words[1]), int(words[2])
    os.write(1, ARMED)
    _let_go()
    try:
        done = keep_watch(file, serial)
    except Exception as error:  # noqa: BLE001 -- nobody else would hear of it
        syslog.syslog(syslog.LOG_ERR, f"bluegreen: the watchdog of {file.app} broke: {error!r}")
        return 1
    if done:
        level = syslog.LOG_WARNING if done.state == "fired" else syslog.LOG_ERR
        syslog.syslog(level, f"bluegreen: nobody confirmed {done.app} in time, {done.state}: {done.message}")
    return 0


def keep_watch(file: RevertFile, serial: int, clock: Clock = BOOT_CLOCK) -> Revert | None:
    """Until the deadline, or until it is not needed any more; returns what was done, if anything."""
    with patiently(file, fcntl.LOCK_SH):
        pass  # whoever arms it holds the lock until it stands in the file
    done = None
    while done is None:
        revert = file.read()
        if revert is None or (revert.serial, revert.state) != (serial, "armed"):
            break
        left = revert.deadline - clock.now()
        if left > 0:
            clock.sleep(min(left, GLANCE))
        else:
            done = fire(file, serial)
    _tidy(file, serial)
    return done


def _tidy(file: RevertFile, serial: int) -> None:
    if file.read() is None:
        return
    with patiently(file, fcntl.LOCK_EX):
        revert = file.read()
        if revert and revert.serial == serial and revert.state != "armed":
            file.remove_program()


def _let_go() -> None:
    """Whoever started it waits for the end of its output, such as the SSH connection of a task."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
