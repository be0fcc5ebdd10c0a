# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The master is a fake here; the real one is in tests/integration/targets/haproxy."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from plugins.module_utils._errors import (
    BlueGreenError,
    DeniedError,
    MissingError,
    RefusedError,
    TimeLimitError,
    UnreachableError,
)
from plugins.module_utils._haproxy.process import Master, Processes
from plugins.module_utils._haproxy.runtime_api import RuntimeApi
from plugins.module_utils._haproxy.service import Service

from .fakes import FakeSocket, Processlist, Talk

LONG, SOON = 20.0, 0.3


class FakeMaster:
    """Has workers, and the next one after a reload if it likes the configuration, which takes it some looks to read."""

    def __init__(self, reload: bytes = b"Success=1\n", worker: int = 11, next_worker: int = 12, loads: int = 0) -> None:
        self.reload, self.worker, self.next_worker, self.loads = reload, worker, next_worker, loads

    def __call__(self, talk: Talk) -> None:
        line = talk.line()
        if line == "reload":
            self.worker = self.next_worker
            talk.say(self.reload)
        elif line.startswith("@!"):
            self.loads -= 1
            loading = f"Can't find the target PID matching the prefix '{line.split()[0]}'\n"
            talk.say((loading if self.loads >= 0 else f"Name: HAProxy\nPid: {self.worker}\nUptime: 0d\n").encode())
        else:
            rows = f"1 master 0 1\n# workers\n{self.worker} worker 0 0\n# old workers\n7 worker 3 9\n"
            talk.say(b"#<PID> <type> <reloads> <uptime>\n" + rows.encode())


def test_the_newest_worker_is_found(tmp_path: Path) -> None:
    with FakeSocket(FakeMaster(), f"{tmp_path}/master.sock") as server:
        assert Master(server.address, LONG).worker() == 11


def test_without_a_master_there_is_no_worker(tmp_path: Path) -> None:
    assert Master(f"{tmp_path}/master.sock", LONG).worker() is None


@pytest.mark.parametrize("words", [b"Success=1\n", b""])
def test_a_reload_ends_when_there_is_another_worker(tmp_path: Path, words: bytes) -> None:
    master = FakeMaster(words)
    with FakeSocket(master, f"{tmp_path}/master.sock") as server:
        Master(server.address, LONG).reload()
    assert server.lines[:2] == ["show proc", "reload"]


@pytest.mark.parametrize(
    ("master", "found"),
    [
        (
            FakeMaster(b"Success=0\n--\n[ALERT] unknown keyword\n", next_worker=11),
            "HAProxy refused the new configuration",
        ),
        (FakeMaster(b"Success=1\n", next_worker=11), "no new HAProxy worker came up within 0.3 s"),
    ],
)
def test_a_reload_that_brings_no_new_worker_fails(tmp_path: Path, master: FakeMaster, found: str) -> None:
    with FakeSocket(master, f"{tmp_path}/master.sock") as server, pytest.raises(BlueGreenError) as caught:
        Master(server.address, SOON).reload()
    assert caught.value.found.startswith(found)


def test_what_does_not_run_is_not_reloaded(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError):
        Master(f"{tmp_path}/master.sock", LONG).reload()


def test_a_master_that_hangs_runs_out_of_time(tmp_path: Path) -> None:
    class Hanging(FakeMaster):
        def __call__(self, talk: Talk) -> None:
            if talk.number == 1:
                super().__call__(talk)
            talk.hang()

    with FakeSocket(Hanging(), f"{tmp_path}/master.sock") as server, pytest.raises(TimeLimitError):
        Master(server.address, SOON).reload()


def test_haproxy_that_does_not_start_says_why(tmp_path: Path) -> None:
    master = Master(f"{tmp_path}/master.sock", SOON)
    with pytest.raises(BlueGreenError, match="HAProxy did not start: no such file"):
        master.start(lambda _command: (1, "", "no such file\n"), ["haproxy"])
    with pytest.raises(MissingError, match="/nobody/haproxy cannot be run: No such file or directory"):
        master.start(lambda command: subprocess.run(command, check=False), ["/nobody/haproxy"])  # type: ignore[arg-type,return-value]
    with pytest.raises(BlueGreenError, match=r"no new HAProxy worker came up within 0.3 s"):
        master.start(lambda _command: (0, "", ""), ["haproxy"])


OLD = "#<PID> <type> <reloads>\n1 master 3 [failed: 0] 0d\n# workers\n11 worker 0 0d\n# old workers\n7 worker 3 9\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OLD, Processes(11, 0)),
        (OLD.replace("11 worker 0", "12 worker 0"), Processes(12, 0)),
        (OLD.replace("failed: 0", "failed: 1").replace("11 worker 0", "11 worker 1"), Processes(11, 1)),
        ("", Processes()),
    ],
)
def test_the_newest_worker_is_the_one_with_the_fewest_reloads(text: str, expected: Processes) -> None:
    assert Processes.parse(text) == expected


def test_a_worker_that_is_listed_and_does_not_serve_yet_is_waited_for(tmp_path: Path) -> None:
    """From 3.1 on the new worker reads its configuration, server states included, while it is in the list."""
    master = FakeMaster(loads=3)
    with FakeSocket(master, f"{tmp_path}/master.sock") as server:
        Master(server.address, LONG).reload()
    assert server.lines.count("@!12 show info") == 4


def silent(talk: Talk) -> None:
    talk.line()


@pytest.mark.parametrize("talk", [silent, Talk.hang])
def test_no_answer_is_not_taken_for_nobody_there(tmp_path: Path, talk: Callable[[Talk], None]) -> None:
    with FakeSocket(talk, f"{tmp_path}/master.sock") as server:
        for look in (Master(server.address, SOON).running, Master(server.address, SOON).worker):
            with pytest.raises(TimeLimitError):
                look()


def test_a_socket_that_we_may_not_open_is_not_taken_for_nobody_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_once(_api: RuntimeApi, _command: str) -> str:
        raise DeniedError("the socket may not be opened by this user")

    monkeypatch.setattr(RuntimeApi, "ask_once", ask_once)
    with pytest.raises(DeniedError):
        Master(f"{tmp_path}/master.sock", SOON).running()


def test_nobody_listens_and_nothing_was_started_with_that_socket(tmp_path: Path) -> None:
    assert not Master(f"{tmp_path}/master.sock", LONG).running()


def test_a_master_that_still_loads_does_not_listen_and_is_waited_for(tmp_path: Path, processes: Processlist) -> None:
    """As up to 3.0, while somebody else's reload reads thousands of certificates."""
    socket = f"{tmp_path}/master.sock"
    processes.start(4711, "/usr/sbin/haproxy", "-Ws", "-f", "/etc/haproxy/haproxy.cfg", "-S", f"{socket},mode,600")
    with pytest.raises(TimeLimitError, match="process 4711 was started with the master socket"):
        Master(socket, SOON).running()
    with FakeSocket(FakeMaster(), socket):
        assert Master(socket, LONG).running()


class Systemd:
    """A unit, and HAProxy's processes after it was told to reload them; without any, no master's socket tells."""

    def __init__(
        self, code: int = 0, reload: str = "", after: Processes | None = None, state: str = "active", **shows: str
    ) -> None:
        self.code, self.words, self.after = code, reload, after
        self.now: Processes | None = Processes(11) if after else None
        self.state, self.shows, self.reloads = state, shows, 0

    def __call__(self, command: list[str], _environment: Mapping[str, str] | None = None, /) -> tuple[int, str, str]:
        _systemctl, verb, *words, _unit = command
        if verb == "is-active":
            return 0, f"{self.state}\n", ""
        if verb == "show":
            what = words[0].partition("=")[2]
            return 0, self.shows.get(what, "") if self.reloads else "", ""
        self.reloads += 1
        self.now = self.after
        return self.code, "", self.words

    def service(self, directory: Path, **more: bool) -> Service:
        master = Master(f"{directory}/none", SOON)
        master.processes = lambda: self.now  # type: ignore[method-assign]
        master._serves = lambda now: True  # type: ignore[method-assign]
        return Service(self, "haproxy", f"{directory}/none", master, SOON, **more)


def test_a_reload_under_systemd_ends_with_a_new_worker(tmp_path: Path) -> None:
    Systemd(after=Processes(12)).service(tmp_path).reload()


@pytest.mark.parametrize(
    ("state", "runs"), [("active", True), ("reloading", True), ("inactive", False), ("failed", False)]
)
def test_a_unit_that_runs(tmp_path: Path, state: str, runs: bool) -> None:
    assert Systemd(state=state).service(tmp_path).running() is runs


@pytest.mark.parametrize("state", ["activating", "deactivating", ""])
def test_a_unit_of_which_it_cannot_be_told_is_not_taken_for_one_that_does_not_run(tmp_path: Path, state: str) -> None:
    with pytest.raises(TimeLimitError, match="systemd says of haproxy"):
        Systemd(state=state).service(tmp_path).running()


@pytest.mark.parametrize(
    ("systemd", "kind", "message"),
    [
        (Systemd(1, "Job failed"), RefusedError, "systemd could not reload haproxy: Job failed. See systemctl status"),
        (Systemd(1, "x", ReloadResult="timeout"), TimeLimitError, "systemd gave up waiting for the reload of haproxy"),
        (Systemd(after=Processes(11, 1)), RefusedError, "HAProxy refused the new configuration and goes on with the"),
        (Systemd(after=Processes(11)), TimeLimitError, "no new HAProxy worker came up within 0.3 s"),
        (Systemd(StatusText="Reload failed!"), RefusedError, "HAProxy refused the new configuration and goes on with"),
        (Systemd(StatusText="Ready."), TimeLimitError, "no new HAProxy worker came up at"),
    ],
)
def test_a_reload_under_systemd_is_refused_or_has_not_ended(
    tmp_path: Path, systemd: Systemd, kind: type[BlueGreenError], message: str
) -> None:
    with pytest.raises(BlueGreenError) as caught:
        systemd.service(tmp_path).reload()
    assert (type(caught.value), caught.value.message.startswith(message)) == (kind, True), caught.value.message


def test_without_a_masters_socket_the_stats_socket_tells(tmp_path: Path) -> None:
    pids = iter([b"Pid: 11\n", b"Pid: 11\n", b"Pid: 12\n"])

    def talk(talk: Talk) -> None:
        assert talk.line() == "prompt"
        talk.say(b"\n> ")
        assert talk.line() == "show info"
        talk.say(next(pids) + b"\n> ")
        talk.hang()

    with FakeSocket(talk, f"{tmp_path}/stats.sock") as server:
        Service(Systemd(), "haproxy", server.address, Master(f"{tmp_path}/none", LONG), LONG).reload()
    assert list(pids) == []


def test_with_the_last_app_the_stats_socket_goes_and_that_is_the_end_of_the_reload(tmp_path: Path) -> None:
    path = Path(tmp_path, "stats.sock")

    def talk(talk: Talk) -> None:
        assert talk.line() == "prompt"
        talk.say(b"\n> ")
        assert talk.line() == "show info"
        path.unlink()
        talk.say(b"Pid: 11\n\n> ")

    with FakeSocket(talk, str(path)):
        Service(Systemd(), "haproxy", str(path), Master(f"{tmp_path}/none", LONG), LONG, may_go=True).reload()
