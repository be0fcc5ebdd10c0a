# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arming, standing down and keeping watch; with real processes, see tests/integration/targets/revert."""

from __future__ import annotations

import io
import subprocess
import sys
import types
import typing as t
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from plugins.module_utils._errors import BlueGreenError, ConflictError, DeniedError, InvalidError
from plugins.module_utils._traffic import revert as revert_module
from plugins.module_utils._traffic import watchdog as watchdog_module
from plugins.module_utils._traffic.guard import guarded_switch, watchdog_of
from plugins.module_utils._traffic.revert import OVER, Revert, RevertFile, iso
from plugins.module_utils._traffic.route import Route
from plugins.module_utils._traffic.split import Split
from plugins.module_utils._traffic.switch import Order, switch
from plugins.module_utils._traffic.watchdog import (
    GLANCE,
    HostWatchdog,
    keep_watch,
    pack,
    start_process,
    start_timer,
    timer_command,
)
from plugins.module_utils._wait import Clock

from .fakes import BLUE, COLOURS, GREEN, FakeRouter, green

SHAPE = {"provider": "fake"}


class Host:
    """A host with fake routes, where a watchdog that is started is only noted."""

    def __init__(self, state_dir: Path, monkeypatch: pytest.MonkeyPatch, *splits: Split) -> None:
        self.file = RevertFile(str(state_dir), "shop")
        self.routers = [FakeRouter(split, f"r{number}") for number, split in enumerate(splits)]
        self.routes = [Route(router.name, router) for router in self.routers]
        self.started: list[tuple[int, float]] = []
        by_name = {route.name: route for route in self.routes}
        monkeypatch.setattr(
            watchdog_module, "start_process", lambda _file, serial, seconds: self.started.append((serial, seconds))
        )
        monkeypatch.setattr(watchdog_module, "has_systemd", lambda: False)
        for module in (revert_module, watchdog_module):
            monkeypatch.setattr(module, "routes_of", lambda revert: [by_name[home.name] for home in revert.routes])

    def watchdog(self, token: int | None = 1, back_to: Split | None = None, **params: t.Any) -> HostWatchdog:
        given: dict[str, t.Any] = {
            "routes": [{"name": route.name, **SHAPE} for route in self.routes],
            "colours": list(COLOURS),
            "state_dir": self.file.state_dir,
            "app": "shop",
            "token": token,
            "revert_after": 300.0,
            "commit_at": None,
            "watch": None,
        }
        watchdog = watchdog_of({**given, **params}, self.routes, back_to)
        assert watchdog
        return watchdog

    def move(self, wanted: Split, **more: t.Any) -> HostWatchdog:
        watchdog = self.watchdog(**more)
        switch(self.routes, Order(wanted), watchdog=watchdog)
        return watchdog

    def armed(self) -> Revert:
        found = self.file.read()
        assert found
        return found

    def homes(self) -> dict[str, tuple[Split, set[Split]]]:
        return {home.name: (home.home, set(home.ours)) for home in self.armed().routes}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., Host]:
    return lambda *splits: Host(tmp_path, monkeypatch, *splits)


# --- A split that was lost ---------------------------------------------------------------------------------


def test_a_step_that_finds_its_split_by_chance_is_refused_and_stays_guarded(make: t.Callable[..., Host]) -> None:
    """A load balancer that lost its state gives even shares, which a step may want."""
    host = make(BLUE)
    host.move(green(10))
    host.routers[0].split = green(50)
    with pytest.raises(ConflictError) as caught:
        guarded_switch(host.routes, Order(green(50), expect=green(10)), watchdog=host.watchdog())
    assert "is blue 50 %, green 50 % already, which this release did not make" in caught.value.found
    assert (host.armed().state, host.homes()["r0"]) == ("armed", (BLUE, {green(10)}))


def test_a_step_that_is_tried_again_finds_what_its_first_try_has_made(make: t.Callable[..., Host]) -> None:
    host = make(BLUE)
    host.move(green(10))
    host.move(green(50))
    (outcome,), _verdict = guarded_switch(host.routes, Order(green(50), expect=green(10)), watchdog=host.watchdog())
    assert (outcome.changed, host.armed().state) == (False, "armed")


def test_where_nobody_served_no_way_back_is_armed(make: t.Callable[..., Host]) -> None:
    host = make(BLUE)
    host.routers[0].split = None
    host.move(GREEN)
    assert (host.routers[0].split, host.file.read()) == (GREEN, None)


# --- Arming -----------------------------------------------------------------------------------------------


def test_only_what_will_change_is_armed(make: t.Callable[..., Host]) -> None:
    host = make(BLUE, GREEN, green(10))
    watchdog = host.move(GREEN)
    assert host.homes() == {"r0": (BLUE, {GREEN}), "r2": (green(10), {GREEN})}
    assert (host.started, host.armed().state, host.armed().token) == ([(1, 300.0)], "armed", 1)
    assert watchdog.as_result() == {"state": "armed", "fires_at": host.armed().fires_at, "by": "process"}


def test_where_nothing_changes_nothing_is_armed(make: t.Callable[..., Host]) -> None:
    host = make(GREEN)
    assert host.move(GREEN).as_result() is None
    assert (host.started, host.file.read()) == ([], None)


def test_with_back_to_all_are_armed_whether_they_change_or_not(make: t.Callable[..., Host]) -> None:
    host = make(green(10), GREEN, BLUE)
    host.move(GREEN, back_to=BLUE)
    assert host.homes() == {"r0": (BLUE, {green(10), GREEN}), "r1": (BLUE, {GREEN}), "r2": (BLUE, {GREEN})}


def test_over_the_steps_of_a_canary_home_stays_where_the_release_began(make: t.Callable[..., Host]) -> None:
    host = make(BLUE, BLUE)
    for share in (10, 50, 100):
        host.move(green(share))
    assert host.homes() == dict.fromkeys(("r0", "r1"), (BLUE, {green(10), green(50), GREEN}))
    assert host.started == [(1, 300.0), (2, 300.0), (3, 300.0)]


def test_a_step_that_is_run_again_gives_more_time(make: t.Callable[..., Host]) -> None:
    host = make(BLUE)
    host.move(GREEN)
    host.move(GREEN, revert_after=600.0)
    assert (host.homes(), host.started[1]) == ({"r0": (BLUE, {GREEN})}, (2, 600.0))


def test_what_somebody_else_moved_between_two_steps_is_the_new_home(make: t.Callable[..., Host]) -> None:
    host = make(BLUE)
    host.move(green(10))
    host.routers[0].split = green(30)
    host.move(green(50))
    assert host.homes() == {"r0": (green(30), {green(50)})}


def test_an_older_release_is_replaced(make: t.Callable[..., Host]) -> None:
    host = make(BLUE)
    host.move(green(10), token=1)
    host.move(GREEN, token=2)
    assert (host.homes(), host.armed().token, host.armed().serial) == ({"r0": (green(10), {GREEN})}, 2, 2)


@pytest.mark.parametrize(
    ("there", "token", "refused"),
    [
        (("armed", 2), 1, True),
        (("armed", 2), None, True),
        (("armed", None), 1, False),
        (("confirmed", 2), 1, False),
        (("confirmed", 1), 1, False),
        *(((state, 1), 1, True) for state in OVER),
        *(((state, None), None, False) for state in OVER),
        *(((state, 1), 2, False) for state in OVER),
    ],
)
def test_who_was_taken_over_or_came_too_late_changes_nothing(
    make: t.Callable[..., Host], there: tuple[str, int | None], token: int | None, refused: bool
) -> None:
    host = make(BLUE)
    host.move(green(10), token=there[1])
    if there[0] != "armed":
        host.file.write(host.armed().ends(there[0]))
    if refused:
        with pytest.raises(ConflictError):
            host.move(GREEN, token=token)
    else:
        host.move(GREEN, token=token)
    assert (host.routers[0].split, len(host.started)) == ((green(10), 1) if refused else (GREEN, 2))


@pytest.mark.parametrize(
    ("params", "seconds"),
    [
        ({}, 300.0),
        ({"watch": {"duration": 60.0}}, 360.0),
        ({"commit_at": 1050.0}, 350.0),
        ({"commit_at": 900.0}, 300.0),
        ({"watch": {"duration": 60.0}, "commit_at": 1050.0, "revert_after": 0.5}, 110.5),
    ],
)
def test_it_is_silent_for_so_long_after_the_call(
    make: t.Callable[..., Host], monkeypatch: pytest.MonkeyPatch, params: dict[str, t.Any], seconds: float
) -> None:
    monkeypatch.setattr(watchdog_module.time, "time", lambda: 1000.0)
    monkeypatch.setattr(watchdog_module, "boot_clock", lambda: 50.0)
    host = make(BLUE)
    host.move(GREEN, **params)
    assert (host.started, host.armed().duration, host.armed().deadline) == ([(1, seconds)], seconds, 50.0 + seconds)
    assert host.armed().fires_at == iso(1000.0 + seconds)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_silence_that_cannot_be_is_invalid(make: t.Callable[..., Host], seconds: float) -> None:
    with pytest.raises(InvalidError):
        make(BLUE).watchdog(revert_after=seconds)


def test_who_asks_for_none_gets_none() -> None:
    assert watchdog_of({"revert_after": None, "token": None, "app": None}, [], None) is None
    assert watchdog_of({"revert_after": None, "token": None, "app": "shop"}, [], None) is None


def test_a_watchdog_that_cannot_be_started_leaves_the_one_before(
    make: t.Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make(BLUE)
    host.move(green(10))
    before = host.armed()

    def refuse(*_words: object) -> None:
        raise BlueGreenError("no memory")

    monkeypatch.setattr(watchdog_module, "start_process", refuse)
    with pytest.raises(BlueGreenError, match="no memory"):
        host.move(GREEN)
    assert (host.armed(), host.routers[0].split) == (before, green(10))


# --- Committing under it, and standing down ---------------------------------------------------------------


@pytest.mark.parametrize("meanwhile", [lambda r: replace(r, serial=9), lambda r: r.ends("fired")])
def test_a_change_that_comes_after_it_has_fired_is_refused(
    make: t.Callable[..., Host], meanwhile: t.Callable[[Revert], Revert]
) -> None:
    host = make(BLUE)
    watchdog = host.watchdog()
    arm = watchdog.arm

    def arm_and_fire(planned: t.Any, expect: t.Any) -> None:
        arm(planned, expect)
        host.file.write(meanwhile(host.armed()))

    watchdog.arm = arm_and_fire  # type: ignore[method-assign]
    with pytest.raises(ConflictError):
        switch(host.routes, Order(GREEN), watchdog=watchdog)
    assert (host.routers[0].split, host.routers[0].log) == (BLUE, [])


@pytest.mark.parametrize(
    ("broken", "state"),
    [
        ({1: {"apply": [DeniedError("no rights")]}}, "undone"),
        ({1: {"apply": [DeniedError("no rights")]}, 0: {"apply": [None, DeniedError("no rights")]}}, "armed"),
    ],
)
def test_it_stands_down_when_all_is_back_and_stays_when_it_is_not(
    make: t.Callable[..., Host], broken: dict[int, dict[str, t.Any]], state: str
) -> None:
    host = make(BLUE, BLUE)
    for number, raises in broken.items():
        host.routers[number].raises.update(raises)
    with pytest.raises(BlueGreenError) as caught:
        guarded_switch(host.routes, Order(GREEN), watchdog=host.watchdog())
    assert (caught.value.details["watchdog"]["state"], host.armed().state) == (state, state)


def test_a_step_that_goes_back_to_the_step_before_is_not_home(make: t.Callable[..., Host]) -> None:
    host = make(BLUE)
    host.move(green(10))
    host.routers[0].raises["verify"] = [DeniedError("no rights")]
    with pytest.raises(BlueGreenError) as caught:
        guarded_switch(host.routes, Order(green(50)), watchdog=host.watchdog())
    assert (host.routers[0].split, caught.value.details["watchdog"]["state"]) == (green(10), "armed")
    assert host.homes()["r0"][0] == BLUE


def test_a_load_balancer_that_cannot_be_asked_may_be_away_from_home(make: t.Callable[..., Host]) -> None:
    host = make(BLUE)
    watchdog = host.move(GREEN)
    host.routers[0].raises["read"] = [DeniedError("no rights")]
    assert (watchdog.stand_down() or {})["state"] == "armed"


def test_what_goes_wrong_while_it_stands_down_hides_nothing(make: t.Callable[..., Host]) -> None:
    host = make(BLUE)
    watchdog = host.move(GREEN)
    Path(host.file.path).write_text("rubbish")
    told = watchdog.stand_down()
    assert told
    assert (told["state"], "does not parse" in told["message"]) == ("armed", True)


@pytest.mark.parametrize(
    ("token", "now", "state"),
    [(1, BLUE, "undone"), (1, GREEN, "armed"), (1, green(30), "armed"), (2, BLUE, "undone"), (2, GREEN, "undone")],
)
def test_a_later_call_of_the_release_that_leads_home_disarms_it(
    make: t.Callable[..., Host], token: int, now: Split, state: str
) -> None:
    """As a rollback does: it arms nothing itself. Anywhere else it stays armed; one that has taken over disarms it."""
    host = make(BLUE)
    host.move(GREEN, token=1)
    watchdog = host.watchdog(token=token, revert_after=None)
    guarded_switch(host.routes, Order(now), watchdog=watchdog)
    assert (host.armed().state, len(host.started)) == (state, 1)
    assert (watchdog.as_result() or {"state": "armed"})["state"] == state


def test_who_arms_nothing_and_never_did_writes_nothing(make: t.Callable[..., Host]) -> None:
    host = make(BLUE)
    watchdog = host.watchdog(revert_after=None)
    guarded_switch(host.routes, Order(GREEN), watchdog=watchdog)
    assert (watchdog.as_result(), list(Path(host.file.state_dir).iterdir())) == (None, [])


def test_check_mode_arms_nothing(make: t.Callable[..., Host]) -> None:
    host = make(BLUE)
    guarded_switch(host.routes, Order(GREEN), dry_run=True, watchdog=host.watchdog())
    assert list(Path(host.file.state_dir).iterdir()) == []


# --- Keeping watch ----------------------------------------------------------------------------------------


class Night:
    """A clock that counts from 0, and does something at a second of it."""

    def __init__(self, at: float = -1.0, what: t.Callable[[], object] = lambda: None) -> None:
        self.now, self.at, self.what = 0.0, at, what
        self.slices: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slices.append(seconds)
        self.now += seconds
        if self.at >= 0 and self.now >= self.at:
            self.at = -1.0
            self.what()

    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep)


def test_it_waits_for_the_deadline_and_fires(make: t.Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog_module, "boot_clock", lambda: 0.0)
    host, night = make(BLUE), Night()
    host.move(GREEN, token=None, revert_after=3.25)
    done = keep_watch(host.file, 1, night.clock())
    assert done
    assert (done.state, host.routers[0].split, night.slices) == ("fired", BLUE, [1.0, 1.0, 1.0, 0.25])
    assert not Path(host.file.program).exists()


@pytest.mark.parametrize(
    ("meanwhile", "program_stays"),
    [
        (lambda host: host.file.end(host.armed(), "confirmed"), False),
        (lambda host: host.file.write(replace(host.armed(), serial=2)), True),
        (lambda host: Path(host.file.path).unlink(), True),
    ],
)
def test_it_ends_by_itself_when_it_is_not_needed(
    make: t.Callable[..., Host],
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: t.Callable[[Host], object],
    program_stays: bool,
) -> None:
    monkeypatch.setattr(watchdog_module, "boot_clock", lambda: 0.0)
    host = make(BLUE)
    host.move(GREEN, token=None)
    night = Night(2.5, lambda: meanwhile(host))
    assert keep_watch(host.file, 1, night.clock()) is None
    assert (night.now, host.routers[0].split) == (2.5 // GLANCE + 1, GREEN)
    assert Path(host.file.program).exists() == program_stays


# --- Its program ------------------------------------------------------------------------------------------


def test_it_is_packed_without_ansible() -> None:
    import plugins.module_utils._module  # noqa: F401, PLC0415 -- it is loaded in every module

    with zipfile.ZipFile(io.BytesIO(pack())) as archive:
        sources = {name: archive.read(name).decode() for name in archive.namelist()}
    assert {"__main__.py", "bluegreen/_traffic/watchdog.py", "bluegreen/_errors.py"} <= {*sources}
    assert "bluegreen/_module.py" not in sources
    assert not [name for name, source in sources.items() if "import ansible" in source or "from ansible" in source]


def test_a_source_that_cannot_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    root = watchdog_module.__name__.rsplit(".", 2)[0]
    monkeypatch.setitem(sys.modules, f"{root}.odd", types.ModuleType(f"{root}.odd"))
    with pytest.raises(BlueGreenError, match="cannot be read"):
        pack()


def test_the_command_line_of_the_timer() -> None:
    """No systemd runs where the tests do: this is what would be run."""
    assert timer_command(RevertFile("/var/lib/bluegreen", "shop"), 3, 300.5) == [
        "systemd-run",
        "--quiet",
        "--collect",
        "--unit=bluegreen-revert-shop-3",
        "--on-active=300.500s",
        "--timer-property=AccuracySec=100ms",
        "--description=Sends the traffic of shop back unless its release confirms",
        "--",
        sys.executable,
        "-I",
        "/var/lib/bluegreen/shop.revert.pyz",
        "/var/lib/bluegreen",
        "shop",
        "3",
    ]


def systemd(monkeypatch: pytest.MonkeyPatch, status: int) -> list[list[str]]:
    """Notes what is run in the place of systemd's tools."""
    run: list[list[str]] = []

    def note(words: list[str], **_how: object) -> subprocess.CompletedProcess[str]:
        run.append(words)
        return subprocess.CompletedProcess(words, status, "", "Failed to connect to bus")

    monkeypatch.setattr(subprocess, "run", note)
    return run


def test_with_systemd_a_timer_is_started_and_a_confirmation_stops_it(
    make: t.Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = systemd(monkeypatch, 0)
    host = make(BLUE)
    monkeypatch.setattr(watchdog_module, "has_systemd", lambda: True)
    assert (host.move(GREEN).as_result() or {})["by"] == "systemd"
    revert_module.confirm(host.file.state_dir, "shop", 1)
    assert run == [
        timer_command(host.file, 1, 300.0),
        ["systemctl", "stop", "bluegreen-revert-shop-1.timer"],
    ]
    assert not Path(host.file.program).exists()


def test_with_systemd_no_timer_of_an_earlier_step_is_left(
    make: t.Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = systemd(monkeypatch, 0)
    host = make(BLUE)
    monkeypatch.setattr(watchdog_module, "has_systemd", lambda: True)
    host.move(green(50))
    host.move(GREEN)
    assert run == [
        timer_command(host.file, 1, 300.0),
        timer_command(host.file, 2, 300.0),
        ["systemctl", "stop", "bluegreen-revert-shop-1.timer"],
    ]


def test_a_timer_that_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    systemd(monkeypatch, 1)
    with pytest.raises(BlueGreenError, match="systemd-run says 'Failed to connect to bus'"):
        start_timer(RevertFile(str(tmp_path), "shop"), 1, 300.0)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("raise SystemExit('oops')", "oops"),
        ("", "it says ''"),
        ("print('something else')", "something else"),
        ("import time; time.sleep(600)", "it says ''"),
    ],
)
def test_a_process_that_does_not_say_that_it_is_armed_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, says: str
) -> None:
    monkeypatch.setattr(watchdog_module, "START_TIMEOUT", 0.3 if "sleep" in program else 20.0)
    file = RevertFile(str(tmp_path), "shop")
    Path(file.program).write_text(program)
    with pytest.raises(BlueGreenError) as caught:
        start_process(file, 1, 300.0)
    assert says in caught.value.found
