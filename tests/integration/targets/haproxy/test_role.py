# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role haproxy, and that a switch outlives whatever happens to HAProxy's process."""

from __future__ import annotations

import grp
import os
import pwd
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.rig import end, free_ports, wait_until
from tests.integration.balancer import BLUE, GREEN, Balancer, Client, Load, green
from tests.integration.haproxy_box import OTHERS, Box, status
from tests.unit.plugins.modules.process import run_module


def recap(output: str) -> dict[str, int]:
    line = next(line for line in output.splitlines() if line.startswith("lb1 "))
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line)}


def pids(balancer: Balancer) -> list[str]:
    return re.findall(r"^Pid: (\d+)", balancer.ask("show info")[0], re.MULTILINE)


def colour(balancer: Balancer) -> str:
    with Client(balancer.fronts["map"]) as client:
        return client.ask().colour


def test_the_configuration_is_valid(balancer: Balancer) -> None:
    binary = balancer.rig.role_options["haproxy_binary"]
    done = subprocess.run(
        [binary, "-c", "-f", str(balancer.home / "haproxy.cfg")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout + done.stderr


def test_a_second_run_changes_nothing_wherever_the_traffic_is(balancer: Balancer) -> None:
    balancer.move(green(25))
    before, worker = balancer.everything(), pids(balancer)
    done = balancer.rig.play("haproxy")
    assert done.returncode == 0, done.stdout
    assert recap(done.stdout)["changed"] == 0
    assert (balancer.everything(), pids(balancer)) == (before, worker)


def test_a_changed_configuration_is_reloaded_and_the_traffic_stays(balancer: Balancer) -> None:
    balancer.move(GREEN)
    worker = pids(balancer)
    done = balancer.rig.play("haproxy", haproxy_check_interval="900ms")
    assert (done.returncode, recap(done.stdout)["changed"] > 0) == (0, True), done.stdout
    assert pids(balancer) != worker
    assert (colour(balancer), balancer.entry()) == ("green", "green:blue:0")
    assert recap(balancer.rig.play("haproxy").stdout)["failed"] == 0


def test_an_input_that_would_add_a_directive_is_refused(balancer: Balancer) -> None:
    config = (balancer.home / "haproxy.cfg").read_text()
    worker = pids(balancer)
    done = balancer.rig.play("haproxy", haproxy_health_path="/health\n    lua-load /tmp/evil.lua")
    assert done.returncode != 0
    assert "expected a path that starts with / and has no space" in done.stdout
    assert ((balancer.home / "haproxy.cfg").read_text(), pids(balancer)) == (config, worker)


@pytest.mark.parametrize("split", [GREEN, green(50), BLUE])
def test_after_a_reload_the_traffic_is_where_it_was(balancer: Balancer, split: object) -> None:
    assert isinstance(split, type(GREEN))
    if split != BLUE:
        balancer.move(split)
    entry, worker = balancer.entry(), pids(balancer)
    assert balancer.process("reloaded")["changed"] is True
    assert pids(balancer) != worker
    assert (balancer.entry(), balancer.router("map").read()) == (entry, split)


def test_after_a_restart_the_traffic_is_where_it_was(balancer: Balancer) -> None:
    balancer.move(GREEN)
    end(balancer.home / "haproxy.pid", 10)
    with pytest.raises(OSError):  # noqa: PT011 -- refused, or reset
        colour(balancer)
    assert balancer.process("started")["changed"] is True
    assert balancer.process("started")["changed"] is False
    assert (colour(balancer), balancer.entry()) == ("green", "green:blue:0")


def test_a_session_that_is_kept_over_a_reload_asks_the_new_worker(balancer: Balancer) -> None:
    """Or the old one would be switched, and watched, while the new one serves."""
    router = balancer.router("map")
    assert router.read() == BLUE
    balancer.process("reloaded")
    router.apply(GREEN, router.read())
    assert (router.verify(GREEN), balancer.entry(), colour(balancer)) == (True, "green:blue:0", "green")


def test_reloads_under_live_load_lose_nothing(balancer: Balancer, tmp_path: Path) -> None:
    with Load(balancer.fronts["map"], tmp_path / "load.jsonl") as load:
        load.wait_for(300)
        for _time in range(3):
            assert balancer.process("reloaded")["changed"] is True
            load.wait_for(300)
        wait_until(lambda: load.last["websockets"]["open"] == 20, 20, "all WebSockets are open")
    # An idle connection is closed by a reload, and a POST that was on its way then may not be repeated
    losses = [loss for loss in load.losses if not loss["reason"].startswith("race")]
    assert (losses, load.head["websockets"]["lost"]) == ([], 0)
    assert load.head["requests"] > 1200


# --- The module haproxy_config, on a HAProxy of its own ---------------------------------------------------------


@pytest.fixture
def box(balancer: Balancer, tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path, balancer.rig.role_options["haproxy_binary"]) as it:
        yield it


@pytest.fixture
def members(balancer: Balancer) -> list[dict[str, str]]:
    return [{member.name: member.url for member in balancer.rig.of(colour)} for colour in ("blue", "green")]


def test_a_second_app_on_the_load_balancer_leaves_the_first_one_serving(
    box: Box, members: list[dict[str, str]]
) -> None:
    shop, blog = free_ports(2)
    assert "failed" not in box.configure("shop", shop, members)
    box.start()
    assert "failed" not in box.configure("blog", blog, members)
    wait_until(lambda: (status(shop), status(blog)) == (200, 200), 20, "both apps serve")
    assert box.configure("shop", shop, members)["changed"] is False
    assert "failed" not in box.configure("shop", shop, members, state="absent")
    wait_until(lambda: status(blog) == 200, 20, "the other one serves")
    with pytest.raises(OSError):  # noqa: PT011 -- refused, or reset
        status(shop)


def test_a_configuration_with_other_sites_is_adopted_and_they_serve_on(box: Box, members: list[dict[str, str]]) -> None:
    old, shop = free_ports(2)
    theirs = OTHERS.format(home=box.home, port=old)
    box.config.write_text(theirs)
    box.start()
    result = box.configure("shop", shop, members)
    assert (result["adopted"], Path(result["backup_file"]).read_text()) == (True, theirs)
    wait_until(lambda: (status(old), status(shop)) == (200, 200), 20, "the old site and the app serve")
    box.configure("shop", shop, members, state="absent")
    assert box.config.read_text() == theirs


def test_a_configuration_that_is_refused_at_the_reload_does_not_stay_for_the_next_start(
    box: Box, members: list[dict[str, str]]
) -> None:
    (shop,) = free_ports(1)
    box.configure("shop", shop, members)
    box.start()
    before = box.config.read_text()
    # haproxy -c does not bind, so an address that is not of this host is seen by the new worker only
    result = box.configure("shop", shop, members, bind=[f"127.0.0.1:{shop}", "192.0.2.1:1"])
    assert (result["failed"], "is as it was, for the next start" in result["msg"]) == (True, True), result
    assert (box.config.read_text(), status(shop)) == (before, 200)
    running = run_module("haproxy_process", pid_file=str(box.home / "haproxy.pid"), **box.process_options)
    assert (running["changed"], running["worker"] is None) == (False, False), (
        "it still runs, and no second one is started"
    )
    end(box.home / "haproxy.pid", 10)
    box.start()
    wait_until(lambda: status(shop) == 200, 20, "it serves after a restart")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop its privileges")
def test_the_worker_does_not_run_as_root(box: Box, members: list[dict[str, str]]) -> None:
    (shop,) = free_ports(1)
    nobody = pwd.getpwnam("nobody")
    group = grp.getgrgid(nobody.pw_gid).gr_name
    box.configure(
        "shop",
        shop,
        members,
        user="nobody",
        group=group,
        chroot="/var/empty" if Path("/var/empty").is_dir() else "/var",
    )
    box.start()
    (worker,) = re.findall(r"^Pid: (\d+)", box.ask("show info")[0], re.MULTILINE)
    found = re.search(r"^Uid:\s+(\d+)\s+(\d+)", Path(f"/proc/{worker}/status").read_text(), re.MULTILINE)
    assert found
    assert found.groups() == (str(nobody.pw_uid),) * 2
    assert "failed" not in box.configure("shop", shop, members, user="nobody", group=group, health_path="/version")
    wait_until(lambda: status(shop) == 200, 20, "it serves after a reload")


def test_the_diff_shows_everything_but_the_token(box: Box, members: list[dict[str, str]]) -> None:
    result = box.configure("shop", 1, members, test_token='hunter2"$x', _ansible_diff=True, _ansible_check_mode=True)
    assert ("frontend shop" in result["diff"]["after"], "hunter2" in str(result)) == (True, False)
    assert sorted(path.name for path in box.home.iterdir()) == []
