# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every role and playbook, whatever it does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
ROLES = sorted(path.parent.parent for path in ROOT.glob("roles/*/meta/main.yml"))
STAGES = [role for role in ROLES if role.name in {"pre_deploy", "switch", "post_deploy", "rollback"}]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
PROVIDERS = {"gateway_api", "haproxy", "istio", "kubernetes"}


def load(path: Path):
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_default_is_a_documented_input_and_every_input_has_a_default(role):
    inputs = set(load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"])
    assert set(load(role / "defaults" / "main.yml")) == inputs
    assert all(name.startswith(f"{role.name}_") for name in inputs)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_role_has_a_page(role):
    assert (role / "README.md").read_text().startswith(f"# {role.name}\n")


@pytest.mark.parametrize("role", STAGES, ids=lambda role: role.name)
def test_no_stage_knows_a_provider(role):
    text = "".join(path.read_text() for path in role.rglob("*.yml"))
    assert not [provider for provider in PROVIDERS if provider in text.lower()]


def test_the_action_group_holds_every_module():
    assert load(ROOT / "meta" / "runtime.yml")["action_groups"]["all"] == MODULES


def test_errors_are_ignored_only_where_the_result_is_judged_next():
    """The collect step: registered, and named in the condition or the fact that follows."""
    for path in ROOT.glob("roles/*/tasks/*.yml"):
        tasks = list(_flat(load(path) or []))
        for task, following in zip(tasks, [*tasks[1:], {}]):
            if task.get("ignore_errors"):
                assert task["register"].startswith("__"), path
                judged = yaml.safe_dump(following) + (path.parent.parent / "vars" / "main.yml").read_text()
                assert task["register"] in judged, (path, task["name"])


def test_a_rehearsal_is_not_shown_as_a_move():
    for path in ROOT.glob("roles/*/tasks/*.yml"):
        for task in _flat(load(path) or []):
            if task.get("check_mode"):
                assert task["changed_when"] is False, (path, task["name"])


def test_playbooks_can_be_called_by_name():
    assert all(re.fullmatch(r"[a-z_]+\.yml", path.name) for path in (ROOT / "playbooks").iterdir())


PLAYBOOKS = [path for path in sorted(ROOT.glob("playbooks/*.yml")) if path.name != "inventory.yml"]
FLEET = "{{ groups | bluegreen.deploy.fleet(hostvars | default(none), bluegreen_load_balancers | default('')) }}"


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_every_playbook_runs_on_the_load_balancers_wherever_they_are_named(path):
    first, *plays = load(path)
    assert first["ansible.builtin.import_playbook"] == "inventory.yml"
    assert {play["hosts"] for play in plays} == {FLEET}


OWN = {"__pre_deploy_headers", "__record_frozen", "__record_seen", "__switch_asked_at", "__switch_instant"}
"""Facts that are always made anew before they are read."""


def test_a_playbook_begins_with_nothing_that_an_earlier_one_of_the_run_has_left():
    start = load(ROOT / "roles" / "record" / "tasks" / "start.yml")[0]["ansible.builtin.set_fact"]
    left = set()
    for path in ROOT.glob("roles/*/tasks/*.yml"):
        for task in _flat(load(path) or [] if path.parts[-3] != "haproxy" else []):
            left |= {task["register"]} if "register" in task else set()
            left |= set(task.get("ansible.builtin.set_fact", ()))
    assert left - OWN - set(start) == set()


def test_no_stage_asks_whether_a_fact_of_the_run_is_there():
    """It is, since an earlier playbook of the run; what it holds tells."""
    start = load(ROOT / "roles" / "record" / "tasks" / "start.yml")[0]["ansible.builtin.set_fact"]
    asked = re.compile(rf"\b({'|'.join(start)}) is (not )?defined")
    assert not [str(path) for path in ROOT.glob("roles/*/*/*.yml") if asked.search(path.read_text())]


def _flat(tasks):
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from _flat(task.get(part, []))
