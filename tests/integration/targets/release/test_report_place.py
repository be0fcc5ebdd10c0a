# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a release puts its report, and what becomes of one that has no place for it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from demo.rig import ROOT

SUDO = """#!/bin/sh
while [ "$1" != /bin/sh ]; do shift; done
exec "$@"
"""


def last_line(told: str) -> str:
    """What the playbook says last, above Ansible's own counts."""
    return [line for line in told.partition("PLAY RECAP")[0].splitlines() if '"msg": ' in line][-1]


def test_a_report_that_cannot_be_written_stops_only_a_release_that_has_something_to_do(stage: Any) -> None:
    (stage.rig.directory / "file").write_text("")
    nowhere = str(stage.rig.directory / "file" / "reports")
    nothing = stage.rig.play("release", bluegreen_version="1.0", bluegreen_report_dir=nowhere)
    assert nothing.returncode == 0, nothing.stdout
    assert "The report is nowhere" in last_line(nothing.stdout)

    refused = stage.rig.play("release", bluegreen_version="1.1", bluegreen_report_dir=nowhere)
    assert refused.returncode == 2, refused.stdout
    assert "The report is nowhere" in refused.stdout
    assert "Set bluegreen_report_dir" in refused.stdout
    assert "Put the new version" not in refused.stdout, "before anything was changed"
    assert not (stage.rig.directory / "record").exists()


def test_the_report_is_the_users_and_the_last_line_says_where(stage: Any) -> None:
    beside = stage.rig.directory / "reports" / "report.md"
    done = stage.rig.play("release", bluegreen_version="1.0", bluegreen_report_dir="")
    assert done.returncode == 0, done.stdout
    assert f"The report: {beside}" in last_line(done.stdout)
    assert beside.exists()

    awx = stage.rig.play("release", bluegreen_version="1.0", bluegreen_report_dir="", awx_job_id=7)
    kept = Path(stage.rig.directory, "record", "reports", "report.md")
    assert f"The report: {kept} on lb1" in last_line(awx.stdout), awx.stdout
    assert kept.exists()
    assert not (ROOT / "playbooks" / "reports").exists()


def test_what_runs_on_the_controller_runs_as_the_user_whatever_the_inventory_says(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with ansible_become in group_vars/all.yml, which beats the keyword, and a controller that has no sudo."""
    inventory = json.loads(stage.rig.inventory.read_text())
    somebody = "root" if os.geteuid() else "nobody"  # another user than ours, or no become is made
    become = {"ansible_become": True, "ansible_become_user": somebody, "ansible_become_exe": "/nowhere/sudo"}
    inventory["all"]["vars"] |= become
    sudo = stage.rig.directory / "sudo"
    sudo.write_text(SUDO)
    sudo.chmod(0o755)
    inventory["all"]["children"]["load_balancers"]["hosts"]["lb1"]["ansible_become_exe"] = str(sudo)
    monkeypatch.setattr(stage.rig, "inventory", stage.rig.directory / "become.json")
    stage.rig.inventory.write_text(json.dumps(inventory))
    asked = {"bluegreen_report_dir": "", "bluegreen_smoke_commands": ["sh -c 'test -s $BLUEGREEN_HEADERS'"]}
    done = stage.rig.play("pre_deploy", bluegreen_version="1.1", **asked)
    assert done.returncode == 0, done.stdout
    assert "sudo" not in done.stdout
    assert f"The report: {stage.rig.directory / 'reports' / 'report.md'}" in last_line(done.stdout)


def test_a_report_that_is_lost_in_the_middle_ends_no_release(stage: Any) -> None:
    reports, hook = stage.rig.directory / "reports", stage.rig.directory / "lose.yml"
    hook.write_text(f"- name: Lose it\n  ansible.builtin.command: sh -c 'rm -r {reports} && touch {reports}'\n")
    try:
        done = stage.rig.play("release", bluegreen_version="1.1", bluegreen_before_switch=[str(hook)])
    finally:
        reports.unlink()
    assert done.returncode == 0, done.stdout
    assert stage.map_entry() == "shop green:blue:0"
    assert json.loads((stage.rig.directory / "record" / "shop.json").read_text())["release"]["state"] == "released"
    last = last_line(done.stdout)
    assert f"The report is nowhere: {reports}" in last, last
    assert "Set bluegreen_report_dir to a directory of yours" in last
