# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible ships and runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  module_defaults:
    group/bluegreen.deploy.all:
      app: shop
      outcome: released
      started_at: 2026-03-01T10:00:00Z
      dest: "{{ playbook_dir }}/made/here"
      load_balancers:
        lb1:
          checklist:
            - {stage: switch, check: All on green, passed: true, evidence: {blue: 0, said: "{{ said }}"}}
            - {stage: post_deploy, check: Blue is kept, passed: "{{ none }}"}
          timeline: [{at: 2026-03-01T10:00:01.5Z, event: Sent, split: {blue: 0, green: "{{ 100 }}"}}]
          figures: {requests: "{{ 5 }}", p99_ms: 1.5}
  vars:
    said: !unsafe "{{ not a template }}"
  tasks:
    - bluegreen.deploy.report:
      check_mode: true
      diff: true
      register: dry
    - ansible.builtin.stat:
        path: "{{ playbook_dir }}/made"
      register: made
    - bluegreen.deploy.report:
      register: first
    - bluegreen.deploy.report:
      register: again
    - bluegreen.deploy.report:
        reason: Rewritten
      diff: true
      register: rewritten
    - bluegreen.deploy.report:
        load_balancers: {lb1: {checks: []}}
      register: wrong
      ignore_errors: true
    - ansible.builtin.copy:
        dest: "{{ playbook_dir }}/results.json"
        mode: "0600"
        content: "{{ {'dry': dry, 'made': made, 'first': first, 'again': again, 'rewritten': rewritten,
                      'wrong': wrong} | to_json }}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "play.yml").write_text(PLAYBOOK, encoding="utf-8")
    playbook = Path(sys.executable).with_name("ansible-playbook")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    inventory = [
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        "ansible_python_interpreter={{ansible_playbook_python}}",
    ]
    done = subprocess.run(
        [playbook, *inventory, "play.yml"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def test_check_mode_writes_nothing_and_predicts(results):
    assert not results["made"]["stat"]["exists"]
    shown = {"json", "markdown", "text", "changed"}
    assert {key: results["dry"][key] for key in shown} == {key: results["first"][key] for key in shown}
    assert results["dry"]["diff"]["before"] == ""
    assert results["dry"]["diff"]["after"] == results["dry"]["text"]


def test_the_same_input_changes_nothing(results):
    assert results["first"]["changed"]
    assert not results["again"]["changed"]


def test_a_new_input_changes_the_files(results, folder):
    rewritten = results["rewritten"]
    assert rewritten["changed"]
    assert rewritten["diff"]["before"] == results["first"]["text"]
    assert Path(rewritten["markdown"]).read_text(encoding="utf-8") == rewritten["text"]
    assert sorted(path.name for path in (folder / "made/here").iterdir()) == [
        "shop-20260301T100000Z.json",
        "shop-20260301T100000Z.md",
    ]


def test_values_come_through_the_templates(results):
    document = json.loads(Path(results["rewritten"]["json"]).read_text(encoding="utf-8"))
    checked, kept = document["load_balancers"]["lb1"]["checklist"]
    assert checked["evidence"] == {"blue": 0, "said": "{{ not a template }}"}
    assert kept["passed"] is None
    assert document["load_balancers"]["lb1"]["timeline"][0]["split"] == {"blue": 0, "green": 100}
    assert document["took_s"] == 1.5
    assert "invocation" not in document


def test_what_cannot_be_right_is_refused_with_its_code(results):
    wrong = results["wrong"]
    assert wrong["failure"] == {"code": "invalid"}
    assert wrong["msg"] == ("lb1 has 'checks'; expected only checklist, timeline, figures. Mend or remove it")
