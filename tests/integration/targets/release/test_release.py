# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole releases, by the playbooks, on real parts and under live load."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from demo.rig import TEST_TOKEN, wait_until
from plugins.module_utils._haproxy.pool import Pool
from plugins.module_utils._haproxy.runtime_api import RuntimeApi
from plugins.module_utils._traffic.fence import known_fleet


def assert_clean(seen: list[Any]) -> None:
    head, _records = seen
    assert (head["failed"], head["races"], head["websockets"]["lost"]) == (0, 0, 0), head["failures"]


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_a_good_release_moves_all_traffic_and_fails_no_request(stage: Any) -> None:
    with stage.load() as seen:
        # as a survey gives them: text, and fields that were left empty
        asked = {"canary_steps": "[10, 50]", "revert_after": "", "together": "false", "watch": "1"}
        survey = {f"bluegreen_{name}": text for name, text in asked.items()}
        done = stage.rig.play("release", bluegreen_version="1.1", **survey)
    assert done.returncode == 0, done.stdout
    assert stage.map_entry() == "shop green:blue:0"
    assert stage.report()["outcome"] == "released"
    checks = stage.passed()
    assert checks.pop("The smoke tests pass against it") is None
    assert set(checks.values()) == {True}, checks
    assert_clean(seen)
    assert {r.version for r in seen[1][-50:]} == {"1.1"}
    kept = known_fleet(str(stage.rig.home("lb1") / "state"), "shop")
    assert kept, "the load balancer knows whose it is"
    assert (kept.record_host, kept.load_balancers) == ("lb1", ("lb1",))

    again = stage.rig.play("release", bluegreen_version="1.1")
    assert again.returncode == 0, again.stdout
    assert stage.map_entry() == "shop green:blue:0"
    assert stage.report()["outcome"] == "unchanged"


def test_a_release_that_breaks_under_live_traffic_is_put_back_and_the_job_fails(stage: Any) -> None:
    with stage.load() as seen:
        done = stage.rig.play("release", bluegreen_version="1.2", demo_fail_share=0.3)
    assert done.returncode == 2, done.stdout
    assert "All traffic is back on blue" in done.stdout
    assert stage.map_entry() == "shop blue:green:0"
    report = stage.report()
    assert report["outcome"] == "rolled_back"
    assert "errors" in report["reason"]
    assert [e["split"] for e in report["load_balancers"]["lb1"]["timeline"]] == [
        {"blue": 50, "green": 50},
        {"blue": 100, "green": 0},
    ]
    assert_clean(seen)
    assert seen[0]["release_errors"] > 0


def test_a_release_that_breaks_only_after_the_full_switch_is_put_back(stage: Any) -> None:
    with stage.load() as seen:
        done = stage.rig.play(
            "release", bluegreen_version="1.2", demo_fail_share=0.3, bluegreen_canary_steps=[], bluegreen_watch=5
        )
    assert done.returncode == 2, done.stdout
    assert stage.map_entry() == "shop blue:green:0"
    assert stage.report()["outcome"] == "rolled_back"
    assert_clean(seen)


def test_when_nobody_can_look_the_traffic_is_held_where_it_is(stage: Any) -> None:
    home = stage.rig.home("lb1")
    watched = RuntimeApi(str(home / "admin.sock"), 5.0)

    def served_by_green() -> int:
        return int(Pool(watched, ["shop_green"], lambda *_: None).look().backends["shop_green"]["stot"])

    enough = served_by_green() + 100
    with stage.load() as seen:
        command = stage.rig.command("release", bluegreen_version="1.1", bluegreen_hold=4)
        release = subprocess.Popen(command, env=stage.rig.environment(), stdout=subprocess.PIPE, text=True)
        wait_until(lambda: served_by_green() > enough or release.poll() is not None, 120, "green serves a part")
        (home / "admin.sock").rename(home / "away.sock")
        told = release.communicate(timeout=120)[0]
        (home / "away.sock").rename(home / "admin.sock")
    assert release.returncode == 2, told
    assert "The traffic is held at 50 % on green" in told
    assert stage.map_entry() == "shop blue:green:5000"
    assert stage.report()["outcome"] == "failed"
    assert_clean(seen)

    for _again in range(2):  # the second one finds it there, and does not go on to the bad version
        back = stage.rig.play("rollback", bluegreen_version="1.1")
        assert "All traffic is back on blue" in back.stdout
        assert stage.map_entry() == "shop blue:green:0"


def test_one_load_balancer_lost_half_way_sends_the_others_back_and_is_named(fleet: Any) -> None:
    kill = write(
        fleet.rig.directory / "kill.yml",
        """
- name: Kill HAProxy and its workers
  ansible.builtin.command: pkill -KILL -F {{ haproxy_pid_file }}
  when: inventory_hostname == 'lb2' and switch_share | int == 50
- name: Its worker ends with it
  ansible.builtin.wait_for:
    host: 127.0.0.1
    port: "{{ bluegreen_front | urlsplit('port') }}"
    state: stopped
  when: inventory_hostname == 'lb2' and switch_share | int == 50
""",
    )
    with fleet.load() as seen:
        done = fleet.rig.play("release", bluegreen_version="1.1", bluegreen_after_step=[kill])
    assert done.returncode == 2, done.stdout
    assert "In doubt: lb2" in done.stdout
    assert [fleet.map_entry(name) for name in ("lb1", "lb3")] == ["shop blue:green:0"] * 2
    assert fleet.report()["outcome"] == "failed"
    assert_clean(seen)


def test_a_fleet_switches_as_one_and_goes_back_as_one(fleet: Any) -> None:
    assert fleet.rig.play("release", bluegreen_version="1.1").returncode == 0
    assert {fleet.map_entry(name) for name in fleet.rig.names} == {"shop green:blue:0"}
    back = fleet.rig.play("rollback", bluegreen_rollback_fails=False)
    assert back.returncode == 0, back.stdout
    assert {fleet.map_entry(name) for name in fleet.rig.names} == {"shop blue:green:0"}


def test_a_part_of_the_load_balancers_is_refused(fleet: Any) -> None:
    done = fleet.rig.play("switch", "--limit", "localhost,lb1", bluegreen_version="1.0", bluegreen_to="green")
    assert done.returncode == 2
    assert "lb2, lb3 is left out" in done.stdout
    assert {fleet.map_entry(name) for name in fleet.rig.names} == {"shop blue:green:0"}


def test_what_is_not_fit_to_serve_gets_no_traffic(stage: Any) -> None:
    cases = [
        ("wrong version", {"bluegreen_version": "9.9", "bluegreen_deploy": []}, "version 1.0"),
        ("missing dependency", {"bluegreen_version": "1.1", "bluegreen_required_checks": ["moon"]}, "moon"),
        ("failing smoke command", {"bluegreen_version": "1.1", "bluegreen_smoke_commands": ["false"]}, "non-zero"),
    ]
    for _what, variables, said in cases:
        done = stage.rig.play("release", **{"bluegreen_health_timeout": 3, **variables})
        assert done.returncode == 2, done.stdout
        assert said in done.stdout
        assert stage.report()["outcome"] == "refused"
        assert stage.map_entry() == "shop blue:green:0"


def test_too_little_capacity_is_refused(stage: Any) -> None:
    """All members are healthy, and one of them is in maintenance, as for a repair."""
    api = RuntimeApi(str(stage.rig.home("lb1") / "admin.sock"), 5.0)
    server = f"shop_green/{stage.rig.of('green')[0].name}"
    assert not any(api.ask(f"set server {server} state maint"))
    try:
        done = stage.rig.play(
            "release",
            bluegreen_version="1.0",
            bluegreen_to="green",
            bluegreen_deploy=[],
            bluegreen_health_timeout=4,
        )
    finally:
        assert not any(api.ask(f"set server {server} state ready"))
    assert done.returncode == 2, done.stdout
    said = " ".join(done.stdout.split())
    assert (
        f"sees 1 of 2 members of green ready ({stage.rig.of('green')[0].name} is in maintenance); expected at least"
        in said
    )
    assert stage.map_entry() == "shop blue:green:0"


def test_members_that_haproxy_does_not_check_are_not_said_to_be_seen_ready(stage: Any) -> None:
    api = RuntimeApi(str(stage.rig.home("lb1") / "admin.sock"), 5.0)
    servers = [f"shop_green/{server.name}" for server in stage.rig.of("green")]
    assert not any(api.ask(*(f"disable health {server}" for server in servers)))
    try:
        done = stage.rig.play("release", bluegreen_version="1.1", bluegreen_smoke_commands=["false"])
    finally:
        assert not any(api.ask(*(f"enable health {server}" for server in servers)))
    assert done.returncode == 2, done.stdout
    checklist = stage.report()["load_balancers"]["lb1"]["checklist"]
    (capacity,) = [check for check in checklist if "capacity" in check["check"]]
    assert (capacity["passed"], capacity["verdict"]) == (None, "blind")
    assert "2 of 2 members of green ready, 2 of them without a health check" in capacity["evidence"]["summary"]


def test_smoke_tests_reach_the_idle_colour_through_the_front_door(stage: Any) -> None:
    seen = stage.rig.directory / "seen.txt"
    script = stage.rig.directory / "smoke.sh"
    script.write_text(f'#!/bin/sh\nset -e\ncurl -sf -H @"$BLUEGREEN_HEADERS" "$BLUEGREEN_FRONT/version" > {seen}\n')
    script.chmod(0o755)
    tasks = write(
        stage.rig.directory / "smoke.yml",
        """
- name: The front door answers with the idle colour
  ansible.builtin.uri:
    url: "{{ bluegreen_front }}/version"
    headers: "{{ bluegreen_test_headers }}"
    return_content: true
  register: answer
  failed_when: answer.x_colour != 'green'
  no_log: true
""",
    )
    done = stage.rig.play(
        "pre_deploy",
        "-vvv",
        bluegreen_version="1.1",
        bluegreen_smoke_commands=[str(script)],
        bluegreen_smoke_tests=[tasks],
    )
    assert done.returncode == 0, done.stdout
    assert "1.1" in seen.read_text()
    assert stage.passed()["The smoke tests pass against it"] is True
    assert TEST_TOKEN not in done.stdout + done.stderr


def test_check_mode_changes_nothing_and_says_what_would_be(stage: Any) -> None:
    stage.rig.deploy("green", "1.1")
    done = stage.rig.play("release", "--check", "--diff", bluegreen_version="1.1", bluegreen_deploy=[])
    assert done.returncode == 0, done.stdout
    assert '"green": 100' in done.stdout
    assert stage.map_entry() == "shop blue:green:0"
    assert not (stage.rig.directory / "reports").exists()
    assert "Check mode writes no report" in done.stdout


def test_each_stage_is_a_job_of_its_own(stage: Any) -> None:
    for playbook, entry in [
        ("pre_deploy", "shop blue:green:0"),
        ("switch", "shop green:blue:0"),
        ("switch", "shop green:blue:0"),
        ("post_deploy", "shop green:blue:0"),
        ("status", "shop green:blue:0"),
    ]:
        done = stage.rig.play(playbook, bluegreen_version="1.1")
        assert done.returncode == 0, (playbook, done.stdout)
        assert stage.map_entry() == entry, playbook
    back = stage.rig.play("rollback", bluegreen_version="1.1")
    assert back.returncode == 2, back.stdout
    assert "End as failed" in back.stdout
    assert stage.map_entry() == "shop blue:green:0"


def test_hooks_run_where_they_are_named(stage: Any) -> None:
    log = stage.rig.directory / "hooks.txt"
    names = ["after_pre_deploy", "before_switch", "after_step", "after_switch", "after_post_deploy"]
    hooks = {
        f"bluegreen_{name}": [
            write(
                stage.rig.directory / f"{name}.yml",
                f"""
- name: Note it
  ansible.builtin.lineinfile:
    path: {log}
    create: true
    mode: "0644"
    insertafter: EOF
    line: "{name} {{{{ switch_share | default('') }}}}"
""",
            )
        ]
        for name in names
    }
    done = stage.rig.play("release", bluegreen_version="1.1", bluegreen_canary_steps=[25], **hooks)
    assert done.returncode == 0, done.stdout
    assert [line.strip() for line in log.read_text().splitlines()] == [
        "after_pre_deploy",
        "before_switch",
        "after_step 25",
        "after_step 100",
        "after_switch",
        "after_post_deploy",
    ]


def test_a_failing_hook_after_the_switch_sends_the_traffic_back(stage: Any) -> None:
    hook = write(
        stage.rig.directory / "fail.yml",
        "- name: The business metrics look wrong\n  ansible.builtin.fail:\n    msg: carts are empty\n",
    )
    done = stage.rig.play("release", bluegreen_version="1.1", bluegreen_after_switch=[hook])
    assert done.returncode == 2, done.stdout
    assert stage.report()["reason"] == "carts are empty"
    assert stage.map_entry() == "shop blue:green:0"


def test_an_inventory_without_load_balancers_is_an_error(stage: Any) -> None:
    done = stage.rig.play("release", bluegreen_version="1.1", bluegreen_load_balancers="edge")
    assert done.returncode != 0
    assert "no host in the group edge" in done.stdout
