# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Through Ansible's own templates; which values are right is in the tests of _options."""

from __future__ import annotations

import typing as t
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("ansible.plugins.action")

from ansible.errors import AnsibleFilterError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from plugins.action.check_options import ActionModule
from plugins.filter.option import FilterModule

option = FilterModule().filters()["option"]


def check(beside: Path | None = None, **variables: t.Any) -> dict[str, t.Any]:
    loader = DataLoader()
    loader.set_basedir(str(beside or "."))
    task = SimpleNamespace(
        action="bluegreen.deploy.check_options",
        args={},
        async_val=0,
        check_mode=False,
        environment=None,
        delegate_to=None,
    )
    play = SimpleNamespace(executable="/bin/sh", remote_user=None)
    connection = SimpleNamespace(transport="fake", become=None, _shell=SimpleNamespace(tmpdir=None))
    templar = Templar(loader=loader, variables=variables)
    result: dict[str, t.Any] = ActionModule(task, connection, play, loader, templar, None).run(task_vars=variables)
    return result


def test_what_is_set_and_right_is_named() -> None:
    found = check(bluegreen_hold="5", bluegreen_version="1.1", bluegreen_app="shop", other="x")
    assert (found["options"], found["changed"]) == (["bluegreen_hold", "bluegreen_version"], False)


def test_all_that_is_wrong_is_one_message() -> None:
    found = check(bluegreen_hold="soon", bluegreen_lead="-1")
    assert (found["failed"], found["failure"]) == (True, {"code": "invalid"})
    assert "bluegreen_hold is soon; expected" in found["msg"]
    assert "bluegreen_lead is -1; expected" in found["msg"]


def test_the_filter_of_the_roles_says_the_same() -> None:
    assert option("50", "canary_steps", [10, 50]) == [50]
    assert option("", "canary_steps", [10, 50]) == [10, 50]
    with pytest.raises(AnsibleFilterError, match=r"bluegreen_hold is soon; expected seconds"):
        option("soon", "hold", 30)


def test_task_files_are_found_where_ansible_will_find_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the playbook, in a folder of it, in the home directory; in no folder of ours."""
    (tmp_path / "hooks").mkdir()
    for name in ("deploy.yml", "hooks/notify.yml", "empty.yml"):
        (tmp_path / name).write_text("" if name == "empty.yml" else "- ansible.builtin.debug: {msg: '{{ x }}'}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    absolute = str(tmp_path / "deploy.yml")
    good = check(
        beside=tmp_path,
        bluegreen_deploy="deploy.yml,empty.yml",
        bluegreen_after_switch=["hooks/notify.yml", "~/deploy.yml", absolute],
    )
    assert good.get("msg") is None


@pytest.mark.parametrize(
    ("named", "trouble"),
    [
        ("gone.yml", "which is not there; expected a file of tasks on the controller, by its absolute path or by one"),
        ("/no/such/file.yml", "which is not there"),
        ("hooks", "which is not there"),
        ("smoke.yml", "which is a file of the role pre_deploy itself"),
        ("../defaults/main.yml", "which is a file of the role pre_deploy itself"),
        ("broken.yml", "which cannot be read ("),
        ("mapping.yml", "which holds no list of tasks"),
    ],
)
def test_a_task_file_that_cannot_be_included_is_named(tmp_path: Path, named: str, trouble: str) -> None:
    (tmp_path / "hooks").mkdir()
    (tmp_path / "broken.yml").write_text("- name: [\n")
    (tmp_path / "mapping.yml").write_text("name: no list\n")
    found = check(beside=tmp_path, bluegreen_smoke_tests=named)
    assert (found["failed"], found["failure"]) == (True, {"code": "invalid"})
    assert found["msg"].startswith(f"bluegreen_smoke_tests names {named}, {trouble}")
    assert found["msg"].endswith(f"by one that begins at {tmp_path}")
    assert "\n" not in found["msg"]
