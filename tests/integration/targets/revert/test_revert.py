# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fence, one instant for many routes, and the watchdog: real processes against a real HAProxy."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from demo.rig import ROOT, wait_until
from plugins.module_utils._errors import ConflictError, DeniedError
from plugins.module_utils._traffic import revert
from plugins.module_utils._traffic.fence import Fence
from tests.integration.balancer import BLUE, GREEN, Balancer, asking, green, playbook

APP = "shop"
NEVER_GOOD = {"duration": 10, "interval": 0.1, "min_requests": 5, "max_latency_ms": 5}


class Host:
    """A load balancer's host: its HAProxy, its state directory, and the modules that run there."""

    def __init__(self, balancer: Balancer, state_dir: Path) -> None:
        self.balancer, self.state_dir = balancer, state_dir

    def options(self, **options: Any) -> dict[str, Any]:
        return {"routes": [self.balancer.route()], "app": APP, "state_dir": str(self.state_dir), **options}

    def traffic(self, **options: Any) -> dict[str, Any]:
        return self.balancer.module("traffic", **self.options(**options))

    @contextlib.contextmanager
    def running(self, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """The module ``traffic`` as a process that the test may stop, and that has ended afterwards."""
        process = subprocess.Popen(
            [sys.executable, "-m", "plugins.modules.traffic"],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": self.options(**options)}))
        process.stdin.close()
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def state(self) -> str:
        found = revert.status(str(self.state_dir), APP)
        return found["state"] if found else "none"

    def fires_at(self) -> float:
        found = revert.status(str(self.state_dir), APP)
        assert found
        return datetime.fromisoformat(found["fires_at"]).timestamp()

    def confirm(self, token: int | None) -> dict[str, Any]:
        return revert.confirm(str(self.state_dir), APP, token)

    def watchdogs(self) -> list[int]:
        """The processes that name the state directory."""
        found = []
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if str(self.state_dir).encode() in each.read_bytes().split(b"\0"):
                    found.append(int(each.parent.name))
        return found

    def wait_for_end(self) -> None:
        wait_until(lambda: not self.watchdogs(), 20, "the watchdog has ended")


@pytest.fixture
def host(balancer: Balancer, tmp_path: Path) -> Iterator[Host]:
    host = Host(balancer, tmp_path / "state")
    yield host
    (host.state_dir / "shop.revert.json").unlink(missing_ok=True)  # none is armed any more
    try:
        host.wait_for_end()
    finally:
        for pid in host.watchdogs():
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def slow(balancer: Balancer) -> Iterator[None]:
    """Green's answers take longer than is allowed."""
    balancer.fault("green", latency_ms=50.0)
    try:
        yield
    finally:
        balancer.fault("green", latency_ms=0.0)


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(process.stdout.read())
    return found


# --- The watchdog -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["map", "one", "two"])
def test_a_module_that_is_killed_after_its_commit_leaves_nothing_behind(host: Host, way: str) -> None:
    router, watch = host.balancer.router(way), {"duration": 2}
    with host.running(routes=[host.balancer.route(way)], to="green", token=1, revert_after=2, watch=watch) as process:
        wait_until(lambda: router.read() == GREEN, 20, "the traffic is moved")
        process.kill()
        assert process.wait() == -signal.SIGKILL
    wait_until(lambda: router.read() == BLUE, 20, "the traffic is back")
    back_at = time.time()
    assert -0.05 < back_at - host.fires_at() < 1
    wait_until(lambda: host.state() == "fired", 5, "it is told")
    found = revert.status(str(host.state_dir), APP)
    assert found
    assert found["routes"] == [{"name": "lb1", "home": BLUE.percents(), "done": f"put back to {BLUE}"}]
    host.wait_for_end()
    assert sorted(path.name for path in host.state_dir.iterdir()) == [
        "shop.fence",
        "shop.fence.lock",
        "shop.revert.json",
        "shop.revert.lock",
    ]
    assert {path.stat().st_mode & 0o777 for path in host.state_dir.iterdir()} == {0o600}


def test_the_way_back_restores_which_colour_was_active(host: Host) -> None:
    host.balancer.move(GREEN)
    host.balancer.move(green(90))
    assert host.balancer.entry() == "green:blue:1000"
    host.traffic(to="blue", revert_after=0.3)
    wait_until(lambda: host.state() == "fired", 20, "it fires")
    assert host.balancer.entry() == "green:blue:1000"


def test_what_is_confirmed_stays(host: Host) -> None:
    done = host.traffic(to="green", token=7, revert_after=1.5)
    assert (done["watchdog"]["state"], done["watchdog"]["by"]) == ("armed", "process")
    assert len(host.watchdogs()) == 1
    assert host.confirm(7)["was"] == "armed"
    host.wait_for_end()
    assert time.time() < host.fires_at() + 1
    wait_until(lambda: time.time() > host.fires_at() + 0.5, 20, "the deadline is over")
    assert (host.state(), host.balancer.router("map").read()) == ("confirmed", GREEN)
    assert host.confirm(7)["was"] == "confirmed"
    assert not (host.state_dir / "shop.revert.pyz").exists()


@pytest.mark.parametrize(("token", "code"), [(3, "conflict"), (None, "conflict"), (4, None)])
def test_a_confirmation_that_comes_too_late_says_so(host: Host, token: int | None, code: str | None) -> None:
    host.traffic(to="green", token=3, revert_after=0.2)
    wait_until(lambda: host.state() == "fired", 20, "it fires")
    if code is None:
        assert host.confirm(token)["was"] == "none"
        return
    with pytest.raises(ConflictError) as caught:
        host.confirm(token)
    assert caught.value.code == code
    assert "too late" in caught.value.message
    assert f"lb1: put back to {BLUE}" in caught.value.message


def test_what_somebody_else_moved_meanwhile_is_left_alone(host: Host) -> None:
    host.traffic(to="green", revert_after=1)
    host.balancer.move(green(30))
    wait_until(lambda: host.state() == "refused", 20, "it does not fire")
    assert host.balancer.router("map").read() == green(30)


def test_over_the_steps_of_a_canary_it_goes_home_to_where_the_release_began(host: Host) -> None:
    for percent in (10, 50):
        host.traffic(split={"green": percent}, token=1, revert_after=60)
    last = host.traffic(to="green", token=1, revert_after=1)
    assert last["routes"][0]["before"] == {"blue": 50, "green": 50}
    wait_until(lambda: host.state() == "fired", 20, "it fires")
    assert host.balancer.entry() == "blue:green:0"


def test_a_step_that_is_run_again_gives_more_time(host: Host) -> None:
    host.traffic(to="green", token=1, revert_after=60)
    first = host.fires_at()
    again = host.traffic(to="green", token=1, revert_after=120)
    assert (again["changed"], host.fires_at() > first + 30) == (False, True)


def test_with_back_to_a_route_that_is_not_moved_goes_home_too(host: Host) -> None:
    host.balancer.move(GREEN)
    done = host.traffic(to="green", revert_after=0.3, watch={"duration": 0.3, "back_to": "blue"})
    assert (done["changed"], done["watchdog"]["state"]) == (False, "armed")
    wait_until(lambda: host.state() == "fired", 20, "it fires")
    assert host.balancer.router("map").read() == BLUE


def test_a_release_that_has_taken_over_disarms_it(host: Host) -> None:
    host.traffic(to="green", token=1, revert_after=60)
    assert host.traffic(to="green", token=2)["changed"] is False
    assert host.state() == "undone"
    assert host.balancer.router("map").read() == GREEN


def test_one_that_is_left_armed_does_not_disturb_who_has_taken_over(host: Host) -> None:
    host.traffic(to="green", token=1, revert_after=1)
    Fence(str(host.state_dir), APP, 2).raise_up()
    wait_until(lambda: host.state() == "refused", 20, "it does not fire")
    assert host.balancer.router("map").read() == GREEN


def test_a_rollback_disarms_what_it_makes_needless(host: Host) -> None:
    host.traffic(to="green", token=1, revert_after=60)
    assert host.traffic(to="blue", token=1)["watchdog"]["state"] == "undone"
    host.wait_for_end()


def test_a_load_balancer_that_is_away_at_the_deadline_is_tried_again(host: Host) -> None:
    host.traffic(to="green", revert_after=0.5)
    socket = Path(host.balancer.socket)
    socket.rename(f"{socket}.away")
    try:
        wait_until(lambda: host.state() == "firing", 20, "it fires")
    finally:
        Path(f"{socket}.away").rename(socket)
    wait_until(lambda: host.state() == "fired", 40, "it has fired")
    assert host.balancer.router("map").read() == BLUE


def test_a_switch_that_is_put_back_at_once_leaves_no_watchdog(host: Host) -> None:
    with slow(host.balancer), asking(host.balancer.fronts["map"]):
        refused = host.traffic(to="green", token=1, revert_after=60, watch=NEVER_GOOD)
    assert (refused["failure"], refused["watchdog"]["state"]) == ({"code": "threshold_exceeded"}, "undone"), refused
    assert host.balancer.router("map").read() == BLUE
    host.wait_for_end()


def test_where_it_could_not_be_put_back_the_watchdog_stays_and_does_it(host: Host) -> None:
    watch = {**NEVER_GOOD, "duration": 3}
    with slow(host.balancer), host.running(to="green", revert_after=1, watch=watch) as process:
        wait_until(lambda: host.balancer.entry() == "green:blue:0", 20, "the traffic is moved")
        host.balancer.map.rename(f"{host.balancer.map}.away")
        with asking(host.balancer.fronts["map"]):
            told = result(process)
        Path(f"{host.balancer.map}.away").rename(host.balancer.map)
    assert (told["failure"], told["watchdog"]["state"]) == ({"code": "undo_failed"}, "armed"), told
    assert "put it back by hand: route lb1: sed -i" in told["msg"]
    wait_until(lambda: host.state() == "fired", 60, "it fires")
    assert host.balancer.router("map").read() == BLUE


@pytest.mark.parametrize("hindrance", ["a file in its place", "no room for its program"])
def test_what_cannot_be_armed_is_not_changed(host: Host, hindrance: str) -> None:
    if hindrance == "a file in its place":
        host.state_dir.write_text("")
    else:
        (host.state_dir / "shop.revert.pyz").mkdir(parents=True)
    before = host.balancer.everything()
    refused = host.traffic(to="green", revert_after=60)
    assert refused["failure"] == {"code": "denied"}, refused
    assert host.balancer.everything() == before
    if hindrance == "a file in its place":
        host.state_dir.unlink()


def test_a_watchdog_that_does_not_start_stops_the_switch(host: Host, tmp_path: Path) -> None:
    """Python has no room to start another one."""
    host.traffic(to="blue", revert_after=60)
    before = host.balancer.everything()
    sitecustomize = tmp_path / "sitecustomize.py"
    sitecustomize.write_text("import sys; sys.executable = '/bin/false'\n")
    done = subprocess.run(
        [sys.executable, "-m", "plugins.modules.traffic"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": host.options(to="green", revert_after=60)}),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    refused = json.loads(done.stdout)
    assert "the watchdog did not start" in refused["msg"]
    assert (host.balancer.everything(), host.watchdogs()) == (before, [])


def test_check_mode_arms_nothing_and_raises_no_fence(host: Host) -> None:
    done = host.traffic(to="green", token=5, revert_after=60, commit_at=time.time() + 100, _ansible_check_mode=True)
    assert (done["changed"], done["watchdog"]) == (True, None)
    assert not host.state_dir.exists()


def test_the_program_needs_nothing_but_python(host: Host) -> None:
    """No site packages at all: neither Ansible nor anything else that was installed."""
    host.traffic(to="green", revert_after=60)
    program = host.state_dir / "shop.revert.pyz"
    ask = (
        f"import sys; sys.path.insert(0, {str(program)!r}); import bluegreen._traffic.watchdog as w; print(w.__file__)"
    )
    told = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{ask}; assert not any(n.startswith('ansible') for n in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert str(program) in told.stdout
    host.confirm(None)


def test_through_ansible_it_is_the_same(host: Host, tmp_path: Path) -> None:
    """What is packed comes out of the archive that Ansible made, which is gone when the watchdog fires."""
    task = {"name": "Move", "bluegreen.deploy.traffic": host.options(to="green", token=1, revert_after=2)}
    run = playbook(host.balancer.rig, tmp_path / "play.yml", [task])
    assert run.returncode == 0, run.stdout + run.stderr
    assert host.balancer.router("map").read() == GREEN
    wait_until(lambda: host.state() == "fired", 20, "it fires")
    assert host.balancer.router("map").read() == BLUE


# --- A full disk ------------------------------------------------------------------------------------------


@pytest.fixture
def disk(host: Host) -> Iterator[Path]:
    """The state directory on a small file system of its own; whoever wants it full fills it."""
    host.state_dir.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", str(host.state_dir)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"NOT TESTED: a full disk, because a small one cannot be mounted: {done.stderr.strip()}")
    try:
        yield host.state_dir
    finally:
        host.wait_for_end()
        subprocess.run(["umount", str(host.state_dir)], check=True)


def fill(disk: Path) -> Path:
    """To the last byte."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


def test_a_disk_without_room_for_the_watchdog_is_found_in_check_mode(host: Host, disk: Path) -> None:
    filler = fill(disk)
    for check in (True, False):
        refused = host.traffic(to="green", token=1, revert_after=30, _ansible_check_mode=check)
        assert refused["failure"] == {"code": "denied"}, refused["msg"]
        assert "No space left on device" in refused["msg"]
        assert host.balancer.entry() == "blue:green:0"
    filler.unlink()
    assert host.traffic(to="green", token=1, _ansible_check_mode=True)["changed"]


def test_a_watchdog_goes_home_and_waits_for_its_lock_on_a_full_disk(
    host: Host, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revert, "SAYS_SO", 0.05)
    assert host.traffic(to="green", token=1, revert_after=600)["changed"]
    file = revert.RevertFile(str(disk), APP)
    armed = file.read()
    assert armed
    filler = fill(disk)
    with contextlib.ExitStack() as held:
        held.enter_context(file.locked())
        said = []
        monkeypatch.setattr(
            file, "say_waits", lambda what: (said.append(what), revert.RevertFile.say_waits(file, what))
        )
        with ThreadPoolExecutor(1) as pool:
            fired = pool.submit(revert.fire, file, armed.serial)
            wait_until(lambda: len(said) > 1, 20, "it says that it waits, again and again")
            assert host.balancer.entry() == "green:blue:0"
            held.close()
            with pytest.raises(DeniedError, match="No space left on device"):  # what it has done it cannot write down
                fired.result(20)
    assert host.balancer.entry() == "blue:green:0"
    filler.unlink()
    assert host.confirm(1)["was"] == "armed"


# --- The fence and the instant ----------------------------------------------------------------------------


def test_a_stale_token_changes_nothing(host: Host) -> None:
    assert host.traffic(to="green", token=2)["changed"]
    before = host.balancer.everything()
    for check in (True, False):
        refused = host.traffic(to="blue", token=1, _ansible_check_mode=check)
        assert (refused["failure"], host.balancer.everything()) == ({"code": "conflict"}, before)
        assert "taken the release over" in refused["msg"]
    assert host.traffic(to="blue", token=2)["changed"]


def test_a_module_that_was_frozen_cannot_write_after_it_was_taken_over(host: Host) -> None:
    commit_at = time.time() + 6
    with host.running(to="green", token=1, commit_at=commit_at) as process:
        wait_until(lambda: time.time() > commit_at - 1, 20, "it waits for its instant")
        process.send_signal(signal.SIGSTOP)
        assert host.traffic(split={"green": 0}, token=2)["changed"] is False
        wait_until(lambda: time.time() > commit_at, 20, "its instant is over")
        process.send_signal(signal.SIGCONT)
        told = result(process)
    assert told["failure"] == {"code": "conflict"}, told
    assert host.balancer.entry() == "blue:green:0"


def test_a_stale_token_does_not_put_back_what_is_the_successors(host: Host) -> None:
    with slow(host.balancer), host.running(to="green", token=1, watch=NEVER_GOOD) as process:
        wait_until(lambda: host.balancer.entry() == "green:blue:0", 20, "the traffic is moved")
        process.send_signal(signal.SIGSTOP)
        assert host.traffic(to="green", token=2)["changed"] is False
        with asking(host.balancer.fronts["map"]):
            process.send_signal(signal.SIGCONT)
            told = result(process)
    assert (told["failure"], told["routes"][0]["restored"]) == ({"code": "conflict"}, False), told
    assert "the traffic was left as it is" in told["msg"]
    assert "by hand" not in told["msg"]
    assert host.balancer.entry() == "green:blue:0"


def test_twenty_routes_are_changed_at_one_instant(host: Host) -> None:
    lines = "".join(f"app{n} blue:green:0\n" for n in range(20))
    host.balancer.map.write_text(host.balancer.map.read_text() + lines)
    host.balancer.process("reloaded")
    backends = {"blue": "shop_blue", "green": "shop_green"}
    routes = [host.balancer.route("map", f"r{n}", key=f"app{n}", backends=backends) for n in range(20)]
    commit_at = time.time() + 3
    done = host.traffic(routes=routes, to="green", token=1, commit_at=commit_at)
    assert [route["changed"] for route in done["routes"]] == [True] * 20, done["msg"]
    times = [datetime.fromisoformat(route["committed_at"]).timestamp() for route in done["routes"]]
    assert min(times) >= commit_at
    assert done["skew_ms"] == pytest.approx((max(times) - min(times)) * 1000, abs=0.01)
    assert done["clock"] >= max(times)


def test_who_comes_too_late_to_the_instant_changes_nothing(host: Host) -> None:
    before = host.balancer.everything()
    refused = host.traffic(to="green", commit_at=time.time() - 1, revert_after=60)
    assert refused["failure"] == {"code": "timeout"}
    assert refused["watchdog"]["state"] == "undone"
    assert [route["changed"] for route in refused["routes"]] == [False]
    assert host.balancer.everything() == before


# --- By hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(("way", "wanted"), [("map", BLUE), ("map", green(12.34)), ("one", green(25)), ("two", BLUE)])
def test_the_command_to_run_by_hand_does_what_it_says(balancer: Balancer, way: str, wanted: Any, tcp: bool) -> None:
    balancer.move(GREEN, way)
    router = balancer.router(way)
    if tcp:
        router._socket = balancer.tcp  # type: ignore[attr-defined]
    router.check(wanted)
    done = subprocess.run(["/bin/sh", "-c", router.by_hand(wanted)], capture_output=True, text=True, check=True)
    assert (router.read(), router.drift()) == (wanted, ()), done
    assert done.stderr == ""
