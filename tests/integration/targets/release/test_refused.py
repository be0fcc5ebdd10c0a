# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a later stage needs and does not have, told in one line before anything is changed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.rig import Rig
from plugins.module_utils._haproxy.runtime_api import RuntimeApi

from .conftest import Stage

NO_CLOCK = """#!/bin/sh
case "$*" in *time_ns*|*bluegreen*) echo 'no clock here'; exit 1;; esac
exec "{program}" "$@"
"""
SECRET = """
- name: Log in
  ansible.builtin.fail: {msg: "wrong password hunter22"}
  no_log: true
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Rig(tmp_path_factory.mktemp("two"), load_balancers=2, members=1) as rig:
        yield Stage(rig)


def program(path: Path, instead_of: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(NO_CLOCK.format(program=instead_of))
    path.chmod(0o755)
    return str(path)


def refused(stage: Stage, said: str, *options: str, **variables: object) -> str:
    """One release that is refused; what the console shows."""
    done = stage.rig.play("release", *options, **{"bluegreen_version": "1.1", **variables})
    assert done.returncode == 2, done.stdout
    assert said in done.stdout
    report = stage.report()
    assert (report["outcome"], said in report["reason"]) == ("refused", True), report["reason"]
    assert {stage.map_entry(name) for name in stage.rig.names} == {"shop blue:green:0"}
    told = subprocess.run(["curl", "-sf", f"{stage.rig.of('green')[0].url}/health"], capture_output=True, check=True)
    assert b'"1.0"' in told.stdout, "nothing was deployed"
    return done.stdout


def test_task_files_that_are_not_there(two: Stage) -> None:
    said = "bluegreen_after_step names tell.yml, which is not there; expected a file of tasks on the controller"
    refused(two, said, bluegreen_after_step="tell.yml")


def test_a_release_of_no_version(two: Stage) -> None:
    done = two.rig.play("release")
    assert done.returncode == 2, done.stdout
    assert "bluegreen_version is not set" in done.stdout
    assert "-e bluegreen_version=" in done.stdout
    assert "undefined" not in done.stdout


def test_too_little_capacity_with_the_reason(two: Stage) -> None:
    api = RuntimeApi(str(two.rig.home("lb2") / "admin.sock"), 5.0)
    member = f"shop_green/{two.rig.of('green')[0].name}"
    assert not any(api.ask(f"set server {member} state maint"))
    quick = {"bluegreen_version": "1.0", "bluegreen_to": "green", "bluegreen_deploy": [], "bluegreen_health_timeout": 2}
    told = refused(two, "lb2 sees 0 of 1 members of green ready (green1 is in maintenance)", **quick)
    assert not any(api.ask(f"set server {member} state ready"))
    assert "bluegreen_capacity_ratio" in told


def test_too_few_forks(two: Stage) -> None:
    refused(two, "Ansible runs with 1 forks; expected 2 or more, one for each load balancer", "--forks", "1")


def test_a_host_that_does_not_tell_the_time(two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_ = two.rig.directory / "bin"
    program(bin_ / "date", "/bin/date")
    monkeypatch.setenv("PATH", f"{bin_}{os.pathsep}{os.environ['PATH']}")
    python = program(bin_ / "python", sys.executable)
    refused(two, "the host answers 'no clock here' to", ansible_python_interpreter=python)


def test_a_state_directory_in_which_no_file_can_be_made(two: Stage) -> None:
    told = refused(two, "/proc/bluegreen cannot be used", bluegreen_state_dir="/proc/bluegreen")
    assert "another state_dir" in told


def test_a_plan_of_which_a_route_cannot_hold_the_first_step(two: Stage) -> None:
    """Two backends without a map, of which one is out of rotation, as people have them."""
    for name in two.rig.names:
        api = RuntimeApi(str(two.rig.home(name) / "admin.sock"), 5.0)
        assert not any(api.ask(f"set server shop_green/{two.rig.of('green')[0].name} state drain"))
    backends = {"blue": "shop_blue", "green": "shop_green"}
    haproxy = {"socket": "{{ haproxy_socket }}", "way": "servers", "backends": backends}
    said = "two backends cannot hold the split blue 50 %, green 50 %; expected 100 % for one colour"
    routes = [{"name": "shop", "provider": "haproxy", "haproxy": haproxy}]
    assert "Set bluegreen_canary_steps to []" in refused(two, said, bluegreen_routes=routes)


def test_what_a_task_with_no_log_says_is_in_no_report(two: Stage) -> None:
    hook = two.rig.directory / "secret.yml"
    hook.write_text(SECRET)
    said = "the task 'Log in' failed; what it says is not shown, as no_log is set"
    refused(two, said, bluegreen_deploy=[str(hook)])
    assert "hunter22" not in (two.rig.directory / "reports" / "report.json").read_text()
    assert "hunter22" not in (two.rig.directory / "record" / "shop.json").read_text()
