# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role haproxy, and that a switch outlives whatever happens to HAProxy's process."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from demo.rig import end, wait_until
from tests.integration.balancer import BLUE, GREEN, Balancer, Client, Load, green


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


def test_a_configuration_that_is_invalid_is_not_put_in_place(balancer: Balancer) -> None:
    config = (balancer.home / "haproxy.cfg").read_text()
    worker = pids(balancer)
    done = balancer.rig.play("haproxy", haproxy_health_path="/health\n    no such keyword")
    assert done.returncode != 0
    assert "failed to validate" in done.stdout
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
