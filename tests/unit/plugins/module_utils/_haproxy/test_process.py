# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The master is a fake here; the real one is in tests/integration/targets/haproxy."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from plugins.module_utils._errors import BlueGreenError, MissingError, TimeLimitError, UnreachableError
from plugins.module_utils._haproxy.process import Master, Processes
from plugins.module_utils._haproxy.service import Service

from .fakes import FakeSocket, Talk

LONG, SOON = 20.0, 0.3


class FakeMaster:
    """Has workers, and the next one after a reload if it likes the configuration."""

    def __init__(self, reload: bytes = b"Success=1\n", worker: int = 11, next_worker: int = 12) -> None:
        self.reload, self.worker, self.next_worker = reload, worker, next_worker

    def __call__(self, talk: Talk) -> None:
        if talk.line() == "reload":
            self.worker = self.next_worker
            talk.say(self.reload)
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
    ("text", "expected", "ended"),
    [
        (OLD, Processes(11, 0), False),
        (OLD.replace("11 worker 0", "12 worker 0"), Processes(12, 0), True),
        (OLD.replace("failed: 0", "failed: 1").replace("11 worker 0", "11 worker 1"), Processes(11, 1), True),
        ("", Processes(), False),
    ],
)
def test_what_follows_a_reload_is_another_worker_or_one_more_failure(
    text: str, expected: Processes, ended: bool
) -> None:
    assert Processes.parse(text) == expected
    assert Processes.parse(text).follows(Processes(11, 0)) is ended


class Systemd:
    """A unit, and HAProxy's processes after it was told to reload them."""

    def __init__(self, code: int = 0, reload: str = "", after: Processes | None = None) -> None:
        self.code, self.words, self.after, self.now = code, reload, after or Processes(12), Processes(11)

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        self.now = self.after if command[1] == "reload" else self.now
        return self.code, "", self.words

    def service(self, directory: Path) -> Service:
        master = Master(f"{directory}/none", SOON)
        master.processes = lambda: self.now  # type: ignore[method-assign]
        return Service(self, "haproxy", f"{directory}/none", master, SOON)


def test_a_reload_under_systemd_ends_with_a_new_worker(tmp_path: Path) -> None:
    service = Systemd().service(tmp_path)
    assert service.running()
    service.reload()


@pytest.mark.parametrize(
    ("systemd", "message"),
    [
        (Systemd(1, "Job failed"), "systemd could not reload haproxy: Job failed. See systemctl status haproxy"),
        (Systemd(after=Processes(11, 1)), "HAProxy refused the new configuration and goes on with the old one"),
        (Systemd(after=Processes(11)), "no new HAProxy worker came up within 0.3 s"),
    ],
)
def test_a_reload_under_systemd_that_brings_no_new_worker_fails(tmp_path: Path, systemd: Systemd, message: str) -> None:
    with pytest.raises(BlueGreenError) as caught:
        systemd.service(tmp_path).reload()
    assert caught.value.message.startswith(message)


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
