# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the reload of a load balancer that the role sets up is slow, refused, cut off, or somebody else's."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from demo.rig import ROOT, free_ports, wait_until
from tests.haproxies import every_haproxy, haproxy_binary
from tests.integration.haproxy_box import OTHERS, Box, status
from tests.integration.haproxy_site import App
from tests.unit.plugins.modules.process import run_module

__all__ = ["haproxy_binary"]

SOON = 2.0


@pytest.fixture
def box(tmp_path: Path, haproxy_binary: str) -> Iterator[Box]:
    with Box(tmp_path, haproxy_binary) as it:
        yield it


@pytest.fixture
def members() -> Iterator[list[dict[str, str]]]:
    apps = [App("blue1"), App("green1")]
    try:
        yield [{app.name: f"http://127.0.0.1:{app.port}"} for app in apps]
    finally:
        for app in apps:
            app.stop()


@pytest.fixture
def systemd(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its unit is HAProxy, whoever started it."""
    monkeypatch.setenv("PATH", f"{box.systemctl()}:{os.environ['PATH']}")


def serves(port: int) -> None:
    wait_until(lambda: status(port) == 200, 30, f"port {port} serves")


def moved(members: list[dict[str, str]], port: int) -> list[dict[str, str]]:
    return [{**members[0], "blue2": f"http://127.0.0.1:{port}"}, members[1]]


# --- Slow -------------------------------------------------------------------------------------------------


@every_haproxy
def test_a_reload_that_has_not_ended_is_not_taken_for_one_that_was_refused(
    box: Box, members: list[dict[str, str]]
) -> None:
    """A server in maintenance stays there, too: the new worker reads of it when it comes to that."""
    shop, other = free_ports(2)
    box.configure("shop", shop, members, extra=box.slow)
    box.start()
    box.ask("set server shop_blue/blue1 state maint")
    with box.held_up():
        late = box.configure("shop", shop, moved(members, other), extra=box.slow, timeout=SOON)
        assert late["failure"]["code"] == "timeout", late
        assert "holds the new configuration, and whether HAProxy runs with it is not known" in late["msg"]
        assert ("blue2" in box.config.read_text(), "blue2" in Path(late["backup_file"]).read_text()) == (True, False)
        assert "blue2" not in box.servers()
    wait_until(lambda: "blue2" in box.servers(), 30, "the new worker serves")
    assert box.servers()["blue1"].split()[1] == "1"
    again = box.configure("shop", shop, moved(members, other), extra=box.slow)
    assert (again["changed"], box.servers()["blue1"].split()[1]) == (True, "1")
    assert box.configure("shop", shop, moved(members, other), extra=box.slow)["changed"] is False
    assert (box.home / "server.state").read_text() == "1\n", "a reload of somebody else's finds nothing that is old"


@pytest.mark.parametrize("haproxy_binary", ["3.2"], indirect=True)
@pytest.mark.usefixtures("systemd")
def test_what_a_slow_worker_refuses_at_last_does_not_stay_for_the_next_start(
    box: Box, members: list[dict[str, str]]
) -> None:
    """From 3.1 on the master lists a worker that has read nothing yet."""
    (shop,) = free_ports(1)
    box.configure("shop", shop, members, extra=box.slow)
    box.start()
    before = box.config.read_text()
    with box.held_up_a_while():
        binds = [f"127.0.0.1:{shop}", "192.0.2.1:1"]
        result = box.configure("shop", shop, members, extra=box.slow, bind=binds, control="systemd")
    assert (result["failure"]["code"], box.config.read_text()) == ("refused", before), result
    serves(shop)
    assert box.configure("shop", shop, members, extra=box.slow)["changed"] is False


@every_haproxy
@pytest.mark.usefixtures("systemd")
def test_a_server_in_maintenance_stays_there_over_a_reload_and_one_that_moved_is_followed(
    box: Box, members: list[dict[str, str]]
) -> None:
    shop, one, other = free_ports(3)
    box.configure("shop", shop, moved(members, one), extra=box.slow)
    box.start()
    box.ask("set server shop_blue/blue1 state maint")
    with box.held_up_a_while():
        done = box.configure("shop", shop, moved(members, other), extra=box.slow, control="systemd")
        assert "failed" not in done, done
    servers = box.servers()
    assert (servers["blue1"].split()[1], servers["blue2"]) == ("1", f"{other} 0")
    assert (box.home / "server.state").read_text() == "1\n", "a reload of somebody else's finds nothing that is old"


def test_while_somebody_else_reloads_it_is_waited_for(box: Box, members: list[dict[str, str]]) -> None:
    """Up to 3.0 nobody listens at the master's socket meanwhile."""
    (shop,) = free_ports(1)
    box.configure("shop", shop, members, extra=box.slow)
    box.start()
    with box.held_up():
        os.kill(box.master, signal.SIGUSR2)
        wait_until((box.home / "loading").exists, 30, "it loads")
        late = box.configure("shop", shop, members, extra=box.slow, health_path="/version", timeout=SOON)
        assert (late["failure"]["code"], "/version" in box.config.read_text()) == ("timeout", False), late
    assert box.configure("shop", shop, members, extra=box.slow, health_path="/version")["changed"] is True


# --- Cut off ----------------------------------------------------------------------------------------------


def test_a_run_that_was_killed_before_the_reload_is_finished_by_the_next_one(
    box: Box, members: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, more = free_ports(2)
    box.configure("shop", shop, members)
    box.start()
    asked, folder = box.home / "asked", box.home / "bin"
    folder.mkdir()
    (folder / "systemctl").write_text(
        f"#!/bin/sh\ncase $1 in is-active) echo active ;; reload) touch {asked}; exec sleep 600 ;; esac\n"
    )
    (folder / "systemctl").chmod(0o755)
    binds = [f"127.0.0.1:{shop}", f"127.0.0.1:{more}"]
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    options = {**box.options("shop", shop, members), "bind": binds, "control": "systemd"}
    with killed(options) as _module:
        wait_until(asked.exists, 30, "the module asks for the reload")
    assert f":{more}" in box.config.read_text()
    with pytest.raises(OSError):  # noqa: PT011 -- refused, or reset
        status(more)
    assert box.configure("shop", shop, members, bind=binds, _ansible_check_mode=True)["changed"] is True
    assert box.configure("shop", shop, members, bind=binds)["changed"] is True
    serves(more)
    assert box.configure("shop", shop, members, bind=binds)["changed"] is False


@contextlib.contextmanager
def killed(options: dict[str, object]) -> Iterator[subprocess.Popen[str]]:
    """The module as a process, which is killed at the end, with what it has started."""
    words = [sys.executable, "-m", "plugins.modules.haproxy_config"]
    module = subprocess.Popen(
        words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        assert module.stdin
        with module.stdin as stdin:
            stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": options}))
        yield module
    finally:
        os.killpg(module.pid, signal.SIGKILL)
        module.wait()


def test_a_master_that_does_not_answer_is_not_taken_for_one_that_does_not_run(
    box: Box, members: list[dict[str, str]]
) -> None:
    (shop,) = free_ports(1)
    box.configure("shop", shop, members)
    box.start()
    before, pid = box.config.read_text(), box.master
    os.kill(pid, signal.SIGSTOP)
    try:
        result = box.configure("shop", shop, members, health_path="/version", timeout=SOON)
        assert (result["failure"]["code"], box.config.read_text()) == ("timeout", before), result
        options = {**box.process_options, "timeout": SOON, "pid_file": str(box.pid_file)}
        started = run_module("haproxy_process", **options)
        assert (started["failure"]["code"], box.master) == ("timeout", pid), "and no second one is started"
    finally:
        os.kill(pid, signal.SIGCONT)
    assert box.configure("shop", shop, members, health_path="/version")["changed"] is True
    serves(shop)


# --- As others have started it ----------------------------------------------------------------------------


class Clients:
    """Ask for a site, each time on a connection of its own, as long as the block takes. A context manager."""

    def __init__(self, port: int) -> None:
        self.port, self.answers, self.done = port, list[object](), threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _client in range(2)]

    def _ask(self) -> None:
        while not self.done.is_set():
            try:
                self.answers.append(status(self.port))
            except OSError as error:
                self.answers.append(error)

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        self.more()
        return self

    def more(self) -> None:
        wanted = len(self.answers) + 50
        wait_until(lambda: len(self.answers) >= wanted, 60, "clients are answered")

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join()

    def failed(self) -> list[object]:
        return [answer for answer in self.answers if answer != 200]


@pytest.mark.parametrize("control", ["systemd", "direct"])
@pytest.mark.usefixtures("systemd")
def test_a_haproxy_without_our_socket_is_adopted_and_nobodys_request_fails(
    box: Box, members: list[dict[str, str]], control: str
) -> None:
    """Under systemd without a master's socket either, as some distributions start it."""
    old, shop = free_ports(2)
    theirs = "".join(line for line in OTHERS.splitlines(keepends=True) if "stats socket" not in line)
    box.config.write_text(theirs.format(port=old))
    before = box.config.read_text()
    box.start_by_hand(*(["-S", f"{box.home}/master.sock"] if control == "direct" else []))
    serves(old)
    with Clients(old) as clients:
        done = box.configure("shop", shop, members, control=control)
        assert (done.get("adopted"), Path(done["backup_file"]).read_text()) == (True, before), done
        serves(shop)
        clients.more()
        gone = box.configure("shop", shop, members, control=control, state="absent")
        assert ("failed" in gone, box.config.read_text()) == (False, before), gone
        clients.more()
    assert clients.failed() == []


def test_a_haproxy_with_more_than_one_file_is_asked_of_all_of_them_where_it_runs(
    box: Box, members: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """C(-f haproxy.cfg -f conf.d), relative paths, its own environment: without them none of it is valid."""
    old, shop = free_ports(2)
    theirs = OTHERS.format(home=box.home, port='"${OLD_PORT}"')
    box.config.write_text(f"{theirs}    use_backend sites if {{ path -f paths.lst }}\n")
    (box.home / "paths.lst").write_text("/sites\n")
    monkeypatch.setenv("OLD_PORT", str(old))
    folder = box.home / "conf.d"
    folder.mkdir()
    (folder / "sites.cfg").write_text("backend sites\n    http-request return status 200\n")
    box.start_by_hand("-S", f"{box.home}/master.sock", "-f", folder.name)
    monkeypatch.delenv("OLD_PORT")
    assert "failed" not in box.configure("shop", shop, members)
    serves(shop)
    (folder / "sites.cfg").write_text(f"listen sites\n    bind 127.0.0.1:{shop}\n")
    taken = box.configure("shop", shop, members, health_path="/version")
    assert taken["failure"]["code"] == "conflict", taken
    assert f"in {folder}/sites.cfg, line 2 binds 127.0.0.1:{shop}" in taken["msg"]


def test_a_haproxy_that_could_not_be_reloaded_is_told_before_anything_is_written(
    box: Box, members: list[dict[str, str]]
) -> None:
    """A second one would be started beside it, and have every other connection."""
    old, shop = free_ports(2)
    box.config.write_text(OTHERS.format(home=box.home, port=old))
    before = box.config.read_text()
    box.start_by_hand()
    result = box.configure("shop", shop, members)
    assert result["failure"]["code"] == "conflict", result
    assert f"process {box.master} is a HAProxy with {box.config}" in result["msg"]
    assert (box.config.read_text(), [*box.home.glob("*.map")]) == (before, [])
