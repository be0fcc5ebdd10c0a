# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host does by itself when nobody confirms a change; for real, see tests/integration/targets/revert."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from plugins.module_utils._errors import BlueGreenError, ConflictError, DriftError, UnreachableError
from plugins.module_utils._traffic import revert as revert_module
from plugins.module_utils._traffic.fence import Fence, StaleTokenError
from plugins.module_utils._traffic.revert import (
    OVER,
    PERSISTENCE,
    Home,
    Revert,
    RevertFile,
    confirm,
    fire,
    iso,
    status,
)
from plugins.module_utils._traffic.route import Route
from plugins.module_utils._traffic.split import Split
from plugins.module_utils._wait import Clock

from .fakes import BLUE, COLOURS, GREEN, FakeRouter, green

FAR = 4_000_000_000.0


def armed(*homes: Home, **changes: t.Any) -> Revert:
    revert = Revert(
        app="shop",
        serial=3,
        token=7,
        state="armed",
        by="process",
        duration=300.0,
        deadline=1000.0,
        armed_at=iso(FAR - 300),
        fires_at=iso(FAR),
        colours=COLOURS,
        routes=homes or (home(),),
    )
    return replace(revert, **changes)


def home(name: str = "r0", to: Split = BLUE, ours: tuple[Split, ...] = (GREEN,), live: str | None = None) -> Home:
    return Home({"name": name, "provider": "fake"}, to, live, ours)


@pytest.fixture
def file(tmp_path: Path) -> RevertFile:
    return RevertFile(str(tmp_path), "shop")


class Rig:
    """Fake routes in the place of those that the file describes."""

    def __init__(self, file: RevertFile, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file, self.now = file, 0.0
        self.routers: dict[str, FakeRouter] = {}
        monkeypatch.setattr(revert_module, "routes_of", self._routes_of)

    def _routes_of(self, revert: Revert) -> list[Route]:
        return [Route(home.name, self.routers[home.name]) for home in revert.routes]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def fire(self, revert: Revert, *now: Split | None) -> Revert:
        for each, split in zip(revert.routes, now):
            self.routers.setdefault(each.name, FakeRouter(name=each.name)).split = split
        self.file.write(revert)
        done = fire(self.file, revert.serial, Clock(lambda: self.now, self.sleep))
        assert done is not None
        assert self.file.read() == done
        return done


@pytest.fixture
def rig(file: RevertFile, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(file, monkeypatch)


# --- The file ---------------------------------------------------------------------------------------------


def test_what_is_written_is_read_and_nobody_else_may(file: RevertFile) -> None:
    written = armed(home(live="green"), home("r1", green(12.34), (green(50), GREEN)), token=None)
    assert file.read() is None
    assert file.write(written) == file.read() == written
    assert Path(file.path).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "null",
        lambda text: "[]",
        lambda text: text[:-3],
        lambda text: text.replace('"serial"', '"number"'),
        lambda text: text.replace('"blue": 100', '"blue": 101'),
        lambda text: text.replace('"home": {', '"house": {'),
    ],
)
def test_a_file_that_does_not_parse_is_an_error_that_says_what_to_do(
    file: RevertFile, damage: t.Callable[[str], str]
) -> None:
    damaged = damage(armed().as_text())
    Path(file.path).write_text(damaged)
    for call in (file.read, lambda: confirm(file.state_dir, "shop", 7), lambda: status(file.state_dir, "shop")):
        with pytest.raises(DriftError) as caught:
            call()
        assert "remove the file when no release of the app is under way" in caught.value.todo
    assert Path(file.path).read_text() == damaged


KEYS = {"access_key": "AKIA", "secret_key": "c2VjcmV0", "session_token": "dG9rZW4"}


@pytest.mark.parametrize("end", ["confirmed", "undone", "fired", "refused"])
def test_the_keys_to_an_account_are_kept_while_it_is_armed_and_no_longer(rig: Rig, end: str) -> None:
    keyed = Home({"name": "r0", "provider": "alb", "alb": {"rule_arn": "arn", **KEYS}}, BLUE, None, (GREEN,))
    rig.file.write(armed(keyed, token=None))
    found = rig.file.read()
    assert found
    assert found.routes[0].options == keyed.options
    if end == "confirmed":
        confirm(rig.file.state_dir, "shop", None)
    elif end == "undone":
        rig.file.end(found, "undone")
    else:
        rig.fire(found, GREEN if end == "fired" else green(30))
    text = Path(rig.file.path).read_text()
    assert f'"state": "{end}"' in text
    assert not [key for key in KEYS.values() if key in text]
    told = status(rig.file.state_dir, "shop")
    assert told
    assert told["routes"][0]["name"] == "r0"


# --- Confirming -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "theirs", "ours", "outcome"),
    [
        ("armed", 7, 7, "armed"),
        ("armed", None, None, "armed"),
        ("armed", 7, None, "armed"),
        ("armed", 6, 7, "none"),
        ("armed", None, 7, "none"),
        ("armed", 8, 7, StaleTokenError),
        ("confirmed", 7, 7, "confirmed"),
        ("undone", 7, 7, "undone"),
        ("fired", 6, 7, "none"),
        *((state, 7, 7, ConflictError) for state in OVER),
        *((state, 7, None, ConflictError) for state in OVER),
    ],
)
def test_a_confirmation_disarms_or_says_why_it_cannot(
    file: RevertFile, state: str, theirs: int | None, ours: int | None, outcome: t.Any
) -> None:
    there = file.write(armed(token=theirs) if state == "armed" else armed(token=theirs).ends(state, "r0: put back"))
    if isinstance(outcome, str):
        told = confirm(file.state_dir, "shop", ours)
        assert (told["armed"], told["was"]) == (False, outcome)
    else:
        with pytest.raises(ConflictError) as caught:
            confirm(file.state_dir, "shop", ours)
        assert caught.value.__class__ is outcome
        assert (outcome is StaleTokenError) or "r0: put back" in caught.value.message
    found = file.read()
    assert found
    assert found.state == ("confirmed" if outcome == "armed" else there.state)
    assert outcome == "armed" or found == there


def test_where_nothing_ever_was_armed_a_confirmation_writes_nothing(tmp_path: Path) -> None:
    assert confirm(str(tmp_path / "none"), "shop", 1) == {"armed": False, "was": "none"}
    assert status(str(tmp_path / "none"), "shop") is None
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("stops", [True, False])
def test_a_timer_is_stopped_and_its_program_removed_with_it(
    file: RevertFile, monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    """A timer that does not stop finds its program, which then sees that there is nothing to do."""
    stopped: list[t.Any] = []
    monkeypatch.setattr(revert_module, "stop_timer", lambda *what: stopped.append(what) or stops)
    Path(file.program).write_text("")
    file.write(armed(by="systemd"))
    assert confirm(file.state_dir, "shop", 7)["state"] == "confirmed"
    assert (stopped, Path(file.program).exists()) == ([("shop", 3)], not stops)


def test_the_status_tells_how_long_it_is_silent(file: RevertFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write(armed())
    monkeypatch.setattr(revert_module.time, "time", lambda: FAR - 12.5)
    told = status(file.state_dir, "shop")
    assert told
    assert (told["state"], told["fires_in"], told["message"]) == ("armed", 12.5, "")
    assert told["routes"] == [{"name": "r0", "home": {"blue": 100, "green": 0}, "done": ""}]
    monkeypatch.setattr(revert_module.time, "time", lambda: FAR + 3600)
    told = status(file.state_dir, "shop")
    assert told
    assert "its process is gone" in told["message"]
    file.end(armed(), "confirmed")
    told = status(file.state_dir, "shop")
    assert told
    assert (told["state"], told["fires_in"], told["message"]) == ("confirmed", None, "")


# --- Firing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "state", "then", "done"),
    [
        (GREEN, "fired", BLUE, f"put back to {BLUE}"),
        (green(10), "fired", BLUE, f"put back to {BLUE}"),
        (BLUE, "fired", BLUE, f"was at home, {BLUE}"),
        (None, "fired", BLUE, f"put back to {BLUE}"),
        (green(30), "refused", green(30), "refused: route r0: the split is blue 70 %, green 30 %; expected"),
    ],
)
def test_only_what_this_release_has_put_in_force_is_put_back(
    rig: Rig, now: Split | None, state: str, then: Split, done: str
) -> None:
    told = rig.fire(armed(home(ours=(green(10), GREEN)), token=None), now)
    assert (told.state, rig.routers["r0"].split) == (state, then)
    assert told.routes[0].done.startswith(done)
    assert told.message.startswith(f"r0: {done}")


def test_a_split_that_the_load_balancer_has_lost_goes_home(rig: Rig) -> None:
    rig.routers["r0"] = FakeRouter()
    rig.routers["r0"].by_itself = "it started anew"
    told = rig.fire(armed(home(ours=(green(10),)), token=None), green(50))
    assert (told.state, rig.routers["r0"].split) == ("fired", BLUE)


def test_each_route_goes_its_own_way_and_the_worst_is_told(rig: Rig) -> None:
    rig.routers["r1"] = FakeRouter(name="r1")
    rig.routers["r1"].raises["apply"] = [UnreachableError("nobody answers")] * 1000
    told = rig.fire(armed(home(), home("r1"), home("r2"), token=None), GREEN, GREEN, green(30))
    assert (told.state, [rig.routers[n].split for n in ("r0", "r1", "r2")]) == ("failed", [BLUE, GREEN, green(30)])
    assert [route.done.partition(":")[0] for route in told.routes] == [f"put back to {BLUE}", "failed", "refused"]
    assert f"By hand: route r1: move r1 to {BLUE}" in told.routes[1].done
    assert rig.now == pytest.approx(PERSISTENCE, abs=0.1)


def test_a_load_balancer_that_is_away_is_tried_again(rig: Rig) -> None:
    rig.routers["r0"] = FakeRouter()
    rig.routers["r0"].raises["read"] = [UnreachableError("nobody answers")] * 3
    told = rig.fire(armed(token=None), GREEN)
    assert (told.state, rig.routers["r0"].split, rig.now) == ("fired", BLUE, 1.5)


def test_what_is_put_back_and_not_in_force_at_once_is_looked_at_again(rig: Rig) -> None:
    rig.routers["r0"] = FakeRouter()
    rig.routers["r0"].verdicts = [False, True]
    told = rig.fire(armed(token=None), GREEN)
    assert (told.state, told.routes[0].done) == ("fired", f"put back to {BLUE}")


def test_home_with_places_that_contradict_each_other_is_mended(rig: Rig) -> None:
    """As when the module was killed after it wrote the file and before it set the entry."""
    rig.routers["r0"] = FakeRouter()
    rig.routers["r0"].drifts = ("the file says green",)
    told = rig.fire(armed(token=None), BLUE)
    assert (told.state, rig.routers["r0"].drifts) == ("fired", ())


@pytest.mark.parametrize(("fence", "state"), [(7, "fired"), (8, "refused"), (6, "failed"), (None, "failed")])
def test_who_has_taken_over_is_not_disturbed(rig: Rig, fence: int | None, state: str) -> None:
    if fence:
        Fence(rig.file.state_dir, "shop", fence).raise_up()
    told = rig.fire(armed(), GREEN)
    assert (told.state, rig.routers["r0"].split) == (state, BLUE if state == "fired" else GREEN)
    assert state != "refused" or "taken the release over" in told.message


def test_a_fence_that_cannot_be_believed_stops_it(rig: Rig) -> None:
    (Path(rig.file.state_dir) / "shop.fence").write_text("rubbish")
    assert (rig.fire(armed(), GREEN).state, rig.routers["r0"].split) == ("failed", GREEN)


@pytest.mark.parametrize("there", [None, armed(serial=4), armed(serial=2), armed().ends("confirmed")])
def test_another_serial_or_state_is_not_fired(file: RevertFile, there: Revert | None) -> None:
    if there:
        file.write(there)
    assert fire(file, 3) is None
    assert file.read() == there


def test_it_stands_in_the_file_that_it_fires_while_it_does(rig: Rig) -> None:
    rig.routers["r0"] = FakeRouter()
    seen: list[str] = []

    def look() -> None:
        found = rig.file.read()
        seen.append(found.state if found else "none")

    rig.routers["r0"].at_apply = look
    rig.fire(armed(token=None), GREEN)
    assert seen == ["firing"]


def test_options_that_no_longer_parse_are_told(file: RevertFile) -> None:
    file.write(armed(token=None))
    done = fire(file, 3)
    assert done
    assert done.state == "failed"


def test_errors_have_one_line(rig: Rig) -> None:
    rig.routers["r0"] = FakeRouter()
    rig.routers["r0"].raises["read"] = [BlueGreenError("two\nlines")] * 1000
    assert "\n" not in rig.fire(armed(token=None), GREEN).message
