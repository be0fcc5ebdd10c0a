# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example releases, is put back and retired by the playbooks, under live load through the Service."""

from __future__ import annotations

from typing import Any

import yaml


def test_a_release_its_way_back_and_the_end_of_the_old_colour_drop_nothing(example: Any) -> None:
    with example.load() as seen:
        released = example.play("release", bluegreen_version="1.1")
        assert released.returncode == 0, released.stdout + released.stderr
        assert (example.live(), example.ready("green")) == ("green", 3)
        assert example.record()["release"]["state"] == "released"
        checks = example.passed()

        back = example.play("rollback", bluegreen_rollback_fails=False)
        assert back.returncode == 0, back.stdout + back.stderr
        assert example.live() == "blue"

        again = example.play("release", bluegreen_version="1.1")
        assert again.returncode == 0, again.stdout + again.stderr
        retired = example.play("retire")
        assert retired.returncode == 0, retired.stdout + retired.stderr
        assert (example.live(), example.replicas("blue"), example.replicas("green")) == ("green", 0, 3)
    head, records = seen
    assert (head["failed"], head["races"]) == (0, 0), head["failures"]
    assert {record.version for record in records[-20:]} == {"1.1"}

    nothing_to_count = {
        "Test traffic reaches it through the front door",
        "The smoke tests pass against it",
        "All traffic is directed to the new colour: no new request on the old one",
        "Error share and response times stay within the limits",
        "The old colour has no request in flight",
    }
    assert {check for check, passed in checks.items() if passed is None} == nothing_to_count
    assert {passed for check, passed in checks.items() if check not in nothing_to_count} == {True}


def test_a_version_that_does_not_run_gets_no_traffic(example: Any) -> None:
    told = example.play("release", bluegreen_version="crash")
    assert told.returncode == 2, told.stdout
    assert "CrashLoopBackOff" in told.stdout
    assert example.live() == "blue"
    assert example.record()["release"]["state"] == "refused"


def test_what_was_half_done_is_recovered(example: Any) -> None:
    """The job was lost between the patch and the proof."""
    hook = example.directory / "lost.yml"
    kill = "kill -KILL {{ lookup('ansible.builtin.pipe', 'echo $PPID') }}"
    hook.write_text(yaml.safe_dump([{"name": "The job is lost", "ansible.builtin.command": kill}]))
    assert example.play("release", bluegreen_version="1.1", bluegreen_after_step=[str(hook)]).returncode != 0
    assert (example.live(), example.record()["release"]["state"]) == ("green", "open")
    assert example.record()["lock"]["parked"] is False
    recovered = example.play("recover", bluegreen_take_over="its job was killed")
    assert recovered.returncode == 2, recovered.stdout
    assert example.live() == "blue"
    assert example.record()["release"]["state"] == "rolled_back"
    assert example.record()["lock"] is None


def test_a_plan_shows_the_patch_and_makes_none(example: Any) -> None:
    ready = example.play("pre_deploy", bluegreen_version="1.1")
    assert ready.returncode == 0, ready.stdout
    before = example.versions()
    planned = example.play("switch", "--check", "--diff", bluegreen_version="1.1")
    assert planned.returncode == 0, planned.stdout
    for line in ('"my-app-preview"', '"version": "blue"', '"version": "green"'):
        assert line in planned.stdout
    assert example.versions() == before
