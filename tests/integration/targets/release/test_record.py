# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a release whose job did not end it: refused, resumed, recovered."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from demo.rig import ROOT
from plugins.module_utils._traffic.fence import Fence
from plugins.module_utils._traffic.known_fleet import KnownFleet

from .conftest import Books

BLUE, GREEN, SOME, CANARY = ({"lb1": lb1, "lb2": lb2} for lb1, lb2 in [(0, 0), (100, 100), (100, 0), (25, 25)])

NOTE = """
- name: Note it
  ansible.builtin.lineinfile: {{path: {log}, line: "{what}", create: true, mode: "0644", insertafter: EOF}}
  run_once: true
  delegate_to: lb1
"""
HANG = """
- name: Say that we are there
  ansible.builtin.copy: {{dest: {there}, content: "", mode: "0644"}}
  when: {when}
- name: Hang, until somebody kills the job
  ansible.builtin.wait_for: {{path: {there}.never, timeout: 120}}
  when: {when}
"""


@pytest.fixture
def clean(books: Books) -> Books:
    books.forget()
    return books


def test_a_killed_release_is_resumed_at_the_step_that_had_not_finished(clean: Books) -> None:
    log, there = clean.rig.directory / "log.txt", clean.rig.directory / "there"
    deploy, after = clean.rig.directory / "deploy.yml", clean.rig.directory / "after_step.yml"
    deploy.write_text(NOTE.format(log=log, what="deployed") + (ROOT / "demo" / "deploy.yml").read_text()[4:])
    after.write_text(
        NOTE.format(log=log, what="{{ switch_share }} % again: {{ hang is not defined }}")
        + HANG.format(there=there, when="hang is defined and switch_share | int == 100")
    )
    hooks = {"bluegreen_deploy": [str(deploy)], "bluegreen_after_step": [str(after)]}
    release: dict[str, Any] = {"bluegreen_version": "1.1", "bluegreen_release": "shop-1.1", **hooks}

    clean.kill_at(there, "release", hang=True, **release)
    assert clean.green() == GREEN
    assert clean.report()["outcome"] == "open", "a cancelled job leaves a report too"

    refused = clean.rig.play("release", bluegreen_version="1.2", **hooks)
    assert refused.returncode == 2, refused.stdout
    assert "Resume it with bluegreen_release=shop-1.1" in refused.stdout
    other = clean.rig.play("release", **{**release, "bluegreen_version": "1.2"})
    assert other.returncode == 2, other.stdout
    assert "is of version 1.1, and 1.2 is asked for" in other.stdout
    held = clean.rig.play("recover")
    assert held.returncode == 2, held.stdout
    assert "set bluegreen_take_over" in held.stdout
    status = clean.rig.play("status").stdout
    for line in ("release shop-1.1 is open for", "at stage switch", "from blue (1.0) to green (1.1)", "holds for"):
        assert line in status
    assert clean.green() == GREEN

    resumed = clean.rig.play("release", **release)
    assert resumed.returncode == 0, resumed.stdout
    assert clean.green() == GREEN
    found = clean.record()["release"]
    assert found["state"] == "released"
    assert [session["why"] for session in found["sessions"]] == ["began", "resumed"]
    assert {step["step"]: (step["status"], step["attempts"]) for step in found["steps"]} == {
        "pre_deploy": ("done", 1),
        "switch 50": ("done", 1),
        "switch 100": ("done", 2),
        "watch": ("done", 1),
    }
    assert log.read_text().splitlines() == ["deployed", "50 % again: False", "100 % again: False", "100 % again: True"]

    over = clean.rig.play("release", **release)
    assert over.returncode == 0, over.stdout
    assert clean.report()["outcome"] == "unchanged"


@dataclass(frozen=True)
class Case:
    """What recover finds, and what becomes of it."""

    what: str
    routes: dict[str, float]
    ends_on: dict[str, float]
    state: str = "rolled_back"
    asked: dict[str, Any] = field(default_factory=dict)
    steps: tuple[str, ...] = ("switch 50",)
    parked: bool = True
    ttl: float = 900.0
    fails: bool = True


CASES = [
    Case("some routes are moved", SOME, BLUE),
    Case("some routes are moved, forward", SOME, GREEN, "released", {"bluegreen_recover_to": "forward"}, fails=False),
    Case("a canary is left, its job was killed, and the lock ran out", CANARY, BLUE, parked=False, ttl=0.001),
    Case("the record is behind", GREEN, BLUE, steps=()),
    Case(
        "the record is ahead, and no failure is wanted",
        BLUE,
        BLUE,
        asked={"bluegreen_recover_fails": False},
        steps=("switch 50", "switch 100"),
        fails=False,
    ),
    Case("the lock is taken over", SOME, BLUE, asked={"bluegreen_take_over": "its job is dead"}, parked=False),
    Case("a colour is asked for", CANARY, GREEN, "released", {"bluegreen_recover_to": "green"}, fails=False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_recover_ends_with_every_route_on_one_colour(clean: Books, case: Case) -> None:
    token = clean.begin(ttl=case.ttl)
    for step in case.steps:
        clean.step(token, stage="switch", step=step, passed=True)
    clean.step(token, stage="switch", next="switch 75", park=case.parked)
    clean.move(**case.routes)

    done = clean.rig.play("recover", **case.asked)
    assert done.returncode == (2 if case.fails else 0), done.stdout
    assert clean.green() == case.ends_on
    record = clean.record()
    assert (record["release"]["state"], record["lock"]) == (case.state, None)
    assert (record["release"]["confirm_until"] > record["release"]["finished_at"]) == (case.state == "released")
    assert record["release"]["steps"][-1]["step"] == "recover"
    taken = [takeover["reason"] for takeover in record["takeovers"]]
    assert taken == [] if case.parked else len(taken) == 1


def test_an_inventory_that_lacks_load_balancers_is_refused_unless_they_are_called_gone(
    clean: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean.finish(clean.begin(load_balancers=["lb1", "lb2"]), "released")
    part = json.loads(clean.rig.inventory.read_text())
    del part["all"]["children"]["load_balancers"]["hosts"]["lb2"]
    monkeypatch.setattr(clean.rig, "inventory", clean.rig.directory / "a_part.json")
    clean.rig.inventory.write_text(json.dumps(part))
    for playbook in ("release", "rollback", "recover"):
        done = clean.rig.play(playbook, bluegreen_version="1.1", bluegreen_recover_to="green")
        assert (done.returncode, clean.green()) == (2, BLUE), (playbook, done.stdout)
        assert "The inventory lacks lb2" in done.stdout, playbook
        assert "bluegreen_gone=lb2" in done.stdout, playbook
    status = clean.rig.play("status")
    assert status.returncode == 2, status.stdout
    assert "lb2: not in the inventory" in status.stdout
    assert clean.rig.play("status", bluegreen_gone="lb2").returncode == 0


def test_a_slice_without_the_host_of_the_record_is_refused(clean: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of the fleet knows where its record is."""
    token = clean.begin(load_balancers=["lb1", "lb2"])
    clean.finish(token, "released")
    Fence(str(clean.rig.home("lb2") / "state"), "shop", token, KnownFleet(token, "lb1", ("lb1", "lb2"))).raise_up()
    part = json.loads(clean.rig.inventory.read_text())
    del part["all"]["children"]["load_balancers"]["hosts"]["lb1"]
    part["all"]["vars"]["bluegreen_store"]["path"] = str(clean.rig.directory / "record of lb2")
    monkeypatch.setattr(clean.rig, "inventory", clean.rig.directory / "a_slice.json")
    clean.rig.inventory.write_text(json.dumps(part))
    for playbook in ("release", "recover"):
        done = clean.rig.play(playbook, bluegreen_version="1.1", bluegreen_recover_to="green")
        assert (done.returncode, clean.green()) == (2, BLUE), (playbook, done.stdout)
        said = "lb2 knows of a release that the record on lb2 does not know: its record is on lb1, and not on lb2"
        assert said in done.stdout, (playbook, done.stdout)
        assert "bluegreen_gone=lb1" in done.stdout, playbook
    assert not (clean.rig.directory / "record of lb2").exists(), "and no second record is begun"


def test_a_plan_changes_nothing(clean: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a job that was killed, too: its lock is in the way of what is done, and not of what would be."""
    clean.step(clean.begin(), stage="switch", next="switch 100")
    clean.move(**SOME)
    before = clean.record_file.read_bytes()
    planned = clean.rig.play("recover", "--check")
    assert planned.returncode == 0, planned.stdout
    for line in ("the plan: all traffic to blue", "to move: lb1", "then the release is closed as rolled back"):
        assert f'"{line}"' in planned.stdout
    assert "first: Release shop-1.1 of alice is at work" in planned.stdout
    assert "set bluegreen_take_over to the reason" in planned.stdout

    inventory = json.loads(clean.rig.inventory.read_text())
    away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    inventory["all"]["children"]["load_balancers"]["hosts"]["lb2"] |= away
    monkeypatch.setattr(clean.rig, "inventory", clean.rig.directory / "away.json")
    clean.rig.inventory.write_text(json.dumps(inventory))
    planned = clean.rig.play("recover", "--check")
    for line in ("to move: lb1", "cannot be read, and moved if it then answers: lb2"):
        assert f'"{line}"' in planned.stdout, planned.stdout
    assert (clean.green(), clean.record_file.read_bytes()) == (SOME, before)


def test_what_nobody_can_know_is_asked_for(clean: Books) -> None:
    """Without a record it only reports; it takes a colour."""

    def recover(code: int, said: str, ends_on: dict[str, float], **asked: Any) -> None:
        done = clean.rig.play("recover", **asked)
        assert done.returncode == code, done.stdout
        assert said in done.stdout
        assert clean.green() == ends_on

    recover(0, "the plan: nothing to do", BLUE, bluegreen_recover_to="blue")
    assert not clean.record_file.exists(), "nothing was done, and nothing is written down"
    clean.move(**SOME)
    recover(2, "the traffic is on blue and green; expected all of it on one colour", SOME)
    recover(2, "bluegreen_recover_to is gren; expected back, forward, blue or green", SOME, bluegreen_recover_to="gren")
    recover(0, "to move: lb2", GREEN, bluegreen_recover_to="green")
    assert clean.record()["release"]["state"] == "recovered"

    clean.record_file.write_text('{"schema": 1, "app": "sho')
    recover(2, "the record cannot be read", GREEN)
    rubbish = json.dumps({"schema": 1, "app": "shop", "token": 10**30, "history": ["x"]})  # as somebody else wrote it
    clean.record_file.write_text(rubbish)
    recover(0, "the plan: all traffic to blue", BLUE, bluegreen_recover_to="blue", bluegreen_take_over="why")
    assert Path(clean.record_file).read_text() == rubbish


def test_who_cannot_be_reached_is_named_and_recovered_later(clean: Books) -> None:
    clean.step(clean.begin(), stage="switch", next="switch 100", park=True)
    clean.move(**SOME)
    socket = clean.rig.home("lb2") / "admin.sock"
    socket.rename(socket.with_name("away.sock"))
    try:
        done = clean.rig.play("recover", bluegreen_recover_to="forward")
    finally:
        socket.with_name("away.sock").rename(socket)
    assert done.returncode == 2, done.stdout
    assert "In doubt: lb2; expected all traffic on green" in done.stdout
    assert clean.record()["release"]["in_doubt"] == ["lb2"]
    status = clean.rig.play("status")
    assert '"in doubt since then: lb2"' in status.stdout
    assert status.returncode == 2, status.stdout
    assert "do not agree on the live colour: blue on lb2, green on lb1" in " ".join(status.stdout.split())
    assert clean.rig.play("status", bluegreen_status_fails=False).returncode == 0
    again = clean.rig.play("recover", bluegreen_recover_to="forward")
    assert again.returncode == 0, again.stdout
    assert clean.green() == GREEN
    assert clean.record()["release"]["state"] == "released"


def test_a_load_balancer_that_is_built_anew_begins_with_the_colour_that_is_live(clean: Books) -> None:
    clean.finish(clean.begin(), "released")
    clean.move(**GREEN)
    clean.build_anew("lb2")
    refused = clean.rig.play("haproxy", haproxy_live="blue")
    assert (refused.returncode, clean.rig.home("lb2").joinpath("bluegreen.map").exists()) == (2, False)
    assert "lb2 has no entry yet; by lb1 green is live, and haproxy_live is blue" in refused.stdout

    done = clean.rig.play("haproxy")
    assert (done.returncode, clean.green()) == (0, GREEN), done.stdout
    for name in clean.rig.names:
        clean.build_anew(name)
    done = clean.rig.play("haproxy")
    assert (done.returncode, clean.green()) == (0, GREEN), "as the record says" + done.stdout
