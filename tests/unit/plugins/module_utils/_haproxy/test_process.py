# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The master is a fake here; the real one is in tests/integration/targets/haproxy."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from plugins.module_utils._errors import BlueGreenError, MissingError, TimeLimitError, UnreachableError
from plugins.module_utils._haproxy.process import Master

from .fakes import FakeSocket, Talk

LONG, SOON = 20.0, 0.3


class FakeMaster:
    """Has workers, and the next one after a reload if it likes the configuration."""

    def __init__(self, reload: bytes = b"Success=1\n", worker: int = 11, next_worker: int = 12) -> None:
        self.reload, self.worker, self.next_worker = reload, worker, next_worker

    def __call__(self, talk: Talk) -> None:
        assert talk.line() == "prompt"
        talk.say(b"\nmaster> ")
        if talk.line() == "reload":
            self.worker = self.next_worker
            talk.say(self.reload)
        else:
            rows = f"1 master 0 1\n# workers\n{self.worker} worker 0 0\n# old workers\n7 worker 3 9\n"
            talk.say(b"#<PID> <type> <reloads> <uptime>\n" + rows.encode() + b"\nmaster> ")
            talk.hang()


def test_the_newest_worker_is_found(tmp_path: Path) -> None:
    with FakeSocket(FakeMaster(), f"{tmp_path}/master.sock") as server:
        assert Master(server.address, LONG).worker() == 11


def test_without_a_master_there_is_no_worker(tmp_path: Path) -> None:
    assert Master(f"{tmp_path}/master.sock", LONG).worker() is None


@pytest.mark.parametrize("words", [b"Success=1\n", b"Success=1\n\nmaster> ", b""])
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
