# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter with plain dictionaries, and both filters with Ansible's own in a playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

pytest.importorskip("ansible.errors")

from ansible.errors import AnsibleFilterError

from plugins.filter.failures import FilterModule, failures

MISSING = ("missing_result", "no answer")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        # fine
        ({"done": {"changed": True}}, None),
        ({"done": {"changed": False, "failed": False, "msg": "well done"}}, None),
        ({"done": {"skipped": True, "skip_reason": "Conditional result was False"}}, None),
        ({"done": {"failed": None, "unreachable": False}}, None),
        ({"done": {"failed": False, "failure": {"code": "conflict"}}}, None),
        # missing
        (None, MISSING),
        ({}, MISSING),
        ({"other": {"failed": False}}, MISSING),
        ({"done": {}}, MISSING),  # as a playbook begins, after an earlier one of the run
        # failed
        ({"done": {"failed": True, "msg": "no", "failure": {"code": "conflict"}}}, ("conflict", "no")),
        ({"done": {"failed": True, "msg": "no"}}, ("failed", "no")),
        ({"done": {"failed": True, "skipped": True, "msg": "no"}}, ("failed", "no")),
        # unreachable
        ({"done": {"unreachable": True, "msg": "gone"}}, ("unreachable", "gone")),
        (
            {"done": {"unreachable": True, "failed": True, "msg": "gone", "failure": {"code": "conflict"}}},
            ("unreachable", "gone"),
        ),
        # odd
        ({"done": None}, MISSING),
        ({"done": "failed"}, MISSING),
        ({"done": [{"failed": True}]}, MISSING),
        ("variables", MISSING),
        ({"done": {"failed": True}}, ("failed", "no message")),
        ({"done": {"failed": True, "msg": None}}, ("failed", "no message")),
        ({"done": {"failed": True, "msg": ""}}, ("failed", "no message")),
        ({"done": {"failed": True, "msg": ["one", "two"]}}, ("failed", ["one", "two"])),
        ({"done": {"unreachable": True}}, ("unreachable", "no message")),
        ({"done": {"failed": True, "msg": "no", "failure": None}}, ("failed", "no")),
        ({"done": {"failed": True, "msg": "no", "failure": "conflict"}}, ("failed", "no")),
        ({"done": {"failed": True, "msg": "no", "failure": {}}}, ("failed", "no")),
        ({"done": {"failed": True, "msg": "no", "failure": {"code": ""}}}, ("failed", "no")),
        ({"done": {"failed": True, "msg": "no", "failure": {"code": 7}}}, ("failed", "no")),
    ],
)
def test_a_host_is_told_unless_its_result_is_fine(variables: t.Any, expected: tuple[str, t.Any] | None) -> None:
    hostvars = {"lb1": variables} if variables is not None else {}
    entries = failures(["lb1"], hostvars, "done")
    assert [(entry["code"], entry["msg"]) for entry in entries] == ([expected] if expected else [])


def test_an_entry_says_who_and_why() -> None:
    (entry,) = failures(["lb1"], {"lb1": {"done": {"failed": True, "msg": "no"}}}, "done")
    assert entry == {"host": "lb1", "lost": ["lb1"], "code": "failed", "msg": "no", "told": "lb1: no"}


def test_a_result_may_name_its_own_lost_ones() -> None:
    result = {"failed": True, "msg": "no", "failure": {"code": "partial"}, "lost": ["east", "west"]}
    (entry,) = failures(["lb1"], {"lb1": {"done": result}}, "done")
    assert (entry["lost"], entry["code"]) == (["east", "west"], "partial")


def test_hosts_are_sorted_and_told_once() -> None:
    hosts = (name for name in ["lb3", "lb1", "lb2", "lb3"])
    assert [one["host"] for one in failures(hosts, {"lb2": {"done": {"changed": False}}}, "done")] == ["lb1", "lb3"]


@pytest.mark.parametrize(
    ("hosts", "hostvars", "message"),
    [
        ("lb1", {}, "hosts is no list; expected a list of names"),
        ({"lb1": {}}, {}, "hosts is no list; expected a list of names"),
        (None, {}, "hosts is no list; expected a list of names"),
        (["lb1"], "hostvars", "hostvars is no dictionary; expected hostvars itself"),
        (["lb1"], None, "hostvars is no dictionary; expected hostvars itself"),
    ],
)
def test_what_cannot_be_right_is_refused(hosts: t.Any, hostvars: t.Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        failures(hosts, hostvars, "done")


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"failures": failures}


LIBRARY = """
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"failure": {"type": "raw"}, "fail": {"type": "bool"}})
if module.params["fail"]:
    module.fail_json(msg="{{ not }} a template", failure=module.params["failure"], value=1)
module.exit_json(value={"deep": [1, "{{ nor }} this"]})
"""

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - odd_module: {fail: "{{ mode == 'fail' }}", failure: "{{ failure | default(omit) }}"}
      register: done
      ignore_errors: true
      when: mode != 'skip'
- hosts: odd
  gather_facts: false
  tasks:
    - set_fact: {done: [1]}
- hosts: ok
  gather_facts: false
  vars:
    all_hosts: "{{ (groups['all'] + ['unknown']) | map('lower') }}"
    bad: "{{ all_hosts | bluegreen.deploy.failures(hostvars, 'done') }}"
  tasks:
    - set_fact:
        bad: "{{ bad }}"
        got: "{{ all_hosts | bluegreen.deploy.results(hostvars, 'done', ['value', 'never']) }}"
    - assert:
        that: bad | map(attribute='host') | join(',') == 'away,bad,coded,odd,unknown'
    - copy:
        dest: "{{ out }}"
        mode: "0600"
        content: "{{ {'bad': bad, 'got': got} | to_json }}"
"""


def test_both_filters_in_a_playbook(tmp_path: Path) -> None:
    """With hostvars as Ansible has it: lazy, tagged or unsafe, and with a host that was lost."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {
        "ok": {**local, "mode": "ok"},
        "skipped": {**local, "mode": "skip"},
        "bad": {**local, "mode": "fail"},
        "coded": {**local, "mode": "fail", "failure": {"code": "conflict"}},
        "odd": {**local, "mode": "ok"},
        "away": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1, "mode": "ok"},
    }
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "odd_module.py").write_text(LIBRARY)
    (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    (tmp_path / "play.yml").write_text(PLAY)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "playbook", "-i", str(tmp_path / "inventory.json")),
            *("-e", f"out={tmp_path / 'told.json'}", str(tmp_path / "play.yml")),
        ],
        env={**os.environ, "ANSIBLE_HOST_PATTERN_MISMATCH": "error", "ANSIBLE_LIBRARY": str(tmp_path / "library")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    output = done.stdout + done.stderr
    assert done.returncode in (0, 4), output  # 4: a host was unreachable, as meant
    assert "Traceback" not in output
    assert "DEPRECATION" not in output, output
    told = json.loads((tmp_path / "told.json").read_text())
    away, *others = told["bad"]
    assert (away["host"], away["code"], "127.0.0.1" in away["msg"]) == ("away", "unreachable", True)
    assert [(entry["host"], entry["lost"], entry["code"], entry["msg"]) for entry in others] == [
        ("bad", ["bad"], "failed", "{{ not }} a template"),
        ("coded", ["coded"], "conflict", "{{ not }} a template"),
        ("odd", ["odd"], *MISSING),
        ("unknown", ["unknown"], *MISSING),
    ]
    assert told["got"] == {
        "bad": {"value": 1},
        "coded": {"value": 1},
        "ok": {"value": {"deep": [1, "{{ nor }} this"]}},
        "skipped": {},
    }
