# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as people run it: over SSH, as a user without rights, with `become`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from demo.rig import wait_until

from .site import NOISY, WITH_PASSWORD, Site

BLUE, GREEN = "blue:green:0", "green:blue:0"
FIRED = "fired by systemd"
LONG = 900.0
HALF_WAY = str(Path(__file__).parent / "halt.yml")


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def losses(seen: dict[str, Any]) -> dict[str, Any]:
    """What the clients of each load balancer did not get."""
    assert all(head["ok"] for head, _records in seen.values())
    return {
        name: head["failures"]
        for name, (head, _records) in seen.items()
        if head["failed"] or head["websockets"]["lost"]
    }


def entries(hosts: Site) -> set[str]:
    return {hosts.entry(name) for name in hosts.load_balancers}


def timers(hosts: Site) -> list[str]:
    return [unit for name in hosts.load_balancers for unit in hosts.timers(name)]


def test_the_hosts_are_as_unfriendly_as_they_are_said_to_be(hosts: Site) -> None:
    """Nothing below shows anything otherwise."""
    as_user = ["runuser", "-u", "deploy", "--", "sudo", "-n", "true"]
    said = {name: hosts.machines[name].run(*as_user, check=False) for name in hosts.machines}
    assert [name for name, done in said.items() if "unable to resolve host" in done.stderr] == [NOISY]
    assert sorted(name for name, done in said.items() if done.returncode) == sorted(WITH_PASSWORD)


def test_the_role_haproxy_changes_nothing_the_second_time(hosts: Site) -> None:
    told = succeeded(hosts.play("haproxy", pipelining=False))
    assert [line for line in told.splitlines() if line.startswith("changed:")] == []
    assert {
        name: hosts.machines[name].run("systemctl", "is-enabled", "haproxy").stdout.strip()
        for name in hosts.load_balancers
    } == dict.fromkeys(hosts.load_balancers, "enabled")


def test_without_a_masters_socket_the_role_still_sees_what_becomes_of_a_reload(hosts: Site) -> None:
    """C(EXTRAOPTS) in C(/etc/default/haproxy) takes the place of the one that names the socket."""
    lb1, options = hosts.machines["lb1"], "/etc/default/haproxy"
    lb1.run("sh", "-c", f"cp -p {options} /root/options && echo EXTRAOPTS= >> {options} && systemctl restart haproxy")
    try:
        wait_until(lambda: hosts.answers("lb1") == {("blue", "1.0")}, LONG, "lb1 serves")
        assert "-S" not in lb1.run("sh", "-c", "tr '\\0' '\\n' < /proc/$(cat /run/haproxy.pid)/cmdline").stdout.split()
        with hosts.load("lb1") as seen:
            for interval in ("900ms", "1s"):
                told = succeeded(hosts.play("haproxy", "--limit", "lb1", haproxy_check_interval=interval))
                assert "changed: [lb1]" in told
        assert losses(seen) == {}
    finally:
        lb1.run("sh", "-c", f"mv /root/options {options} && systemctl restart haproxy")


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "no_pipelining"])
def test_a_release_and_its_rollback_cost_no_request(hosts: Site, pipelining: bool) -> None:
    with hosts.load() as seen:
        wish = {"bluegreen_version": "1.1", "bluegreen_revert_after": 300}
        succeeded(hosts.play("release", pipelining=pipelining, **wish))
        assert entries(hosts) == {GREEN}
        assert timers(hosts) == []
        back = hosts.play("rollback", pipelining=pipelining)
    assert back.returncode != 0  # on purpose
    assert losses(seen) == {}
    assert entries(hosts) == {BLUE}
    for name, (_head, records) in seen.items():
        assert {record.version for record in records if record.colour == "green"} == {"1.1"}, name
        assert hosts.answers(name) == {("blue", "1.0")}
    assert timers(hosts) == []


def test_a_load_balancer_that_was_rebooted_serves_what_it_served_and_the_old_colour_can_be_retired(hosts: Site) -> None:
    succeeded(hosts.play("release", bluegreen_version="1.1"))
    with hosts.load("lb2", "lb3") as seen:
        hosts.machines["lb1"].reboot()
        wait_until(lambda: hosts.answers("lb1") == {("green", "1.1")}, LONG, "lb1 serves green")
        succeeded(hosts.play("status"))
        succeeded(hosts.play("retire"))
    assert losses(seen) == {}
    states = {m.name: m.run("systemctl", "is-active", "shop", check=False).stdout.strip() for m in hosts.of("blue")}
    assert states == dict.fromkeys(states, "inactive")
    assert hosts.answers("lb1") == {("green", "1.1")}


def test_a_load_balancer_that_ssh_has_lost_goes_home_by_itself_and_recover_ends_the_release(
    hosts: Site,
) -> None:
    """The first half of the release is on all three when the sshd of one is gone."""
    halt = hosts.home / "halt"
    wish = {"bluegreen_version": "1.1", "bluegreen_revert_after": 30, "bluegreen_after_step": [HALF_WAY]}
    with hosts.load() as seen:
        with hosts.job("release", halt_file=str(halt), **wish) as job:
            wait_until(lambda: halt.exists() or job.poll() is not None, LONG, "the release is half way")
            assert job.poll() is None, hosts.said()
            cut_ssh(hosts, "lb3")
            halt.unlink()
            assert job.wait(LONG) != 0
        assert "lb3" in hosts.said()
        wait_until(lambda: hosts.watchdog("lb3") == FIRED, LONG, "the watchdog of lb3 fires")
        assert entries(hosts) == {BLUE}
        hosts.machines["lb3"].run("systemctl", "start", "ssh")
        recovered = hosts.play("recover", bluegreen_take_over="its job has failed", bluegreen_recover_fails=False)
        succeeded(recovered)
    assert losses(seen) == {}
    assert entries(hosts) == {BLUE}
    assert timers(hosts) == []


def test_the_watchdogs_of_a_job_that_was_killed_fire_by_themselves(hosts: Site) -> None:
    halt = hosts.home / "halt"
    wish = {"bluegreen_version": "1.1", "bluegreen_revert_after": 20, "bluegreen_after_step": [HALF_WAY]}
    with hosts.load() as seen:
        with hosts.job("release", halt_file=str(halt), **wish) as job:
            wait_until(lambda: halt.exists() or job.poll() is not None, LONG, "the release is half way")
            assert job.poll() is None, hosts.said()
        fired = dict.fromkeys(hosts.load_balancers, FIRED)
        wait_until(lambda: {name: hosts.watchdog(name) for name in fired} == fired, LONG, "all watchdogs fire")
        assert entries(hosts) == {BLUE}
        halt.unlink()
        recovered = hosts.play("recover", bluegreen_take_over="its job was killed", bluegreen_recover_fails=False)
        succeeded(recovered)
    assert losses(seen) == {}
    for name in hosts.load_balancers:
        log = hosts.machines[name].run("journalctl", "--quiet", "--no-pager", "--grep", "nobody confirmed shop in time")
        assert "put back to" in log.stdout
    wait_until(lambda: timers(hosts) == [], LONG, "no unit of a watchdog is left")


def cut_ssh(hosts: Site, name: str) -> None:
    """Nobody gets in any more, and whoever is in is out."""
    machine = hosts.machines[name]
    machine.run("systemctl", "stop", "ssh")
    machine.run("pkill", "-KILL", "sshd", check=False)
