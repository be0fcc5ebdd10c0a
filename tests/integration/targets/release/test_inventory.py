# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a playbook finds its load balancers; that all of them have one hosts line is in the tests of the roles."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from demo.rig import environment

NAME = {"bluegreen_load_balancers": "edge"}


def status(directory: Path, *options: str, edge: dict[str, str], everybody: dict[str, str]) -> tuple[int, str]:
    """The playbook status on two load balancers without routes, which it names as not to be read."""
    inventory = {
        "all": {
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                "bluegreen_app": "shop",
                "bluegreen_routes": [],
                "bluegreen_store": {"path": str(directory / "record")},
                **everybody,
            },
            "children": {
                "edge": {"hosts": {"lb1": {}, "lb2": {}}, "vars": edge},
                "web": {"hosts": {"web1": {}}},
            },
        }
    }
    (directory / "inventory.json").write_text(json.dumps(inventory))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(directory / "inventory.json")]
    done = subprocess.run(
        [*command, "bluegreen.deploy.status", *options],
        env=environment(ANSIBLE_HOST_PATTERN_MISMATCH="warning"),  # as a user has it
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize("where", ["edge", "everybody"])
def test_the_load_balancers_are_found_wherever_the_inventory_names_them(tmp_path: Path, where: str) -> None:
    code, told = status(tmp_path, **{"edge": {}, "everybody": {}, where: NAME})
    assert code == 2, told
    assert "lb1: in doubt, there are no routes" in told
    assert "lb2: in doubt, there are no routes" in told
    assert "web1" not in told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-e", "bluegreen_load_balancers=core"), "no host in the group core; expected the load balancers"),
        (("--limit", "lb1"), "no host in the group load_balancers; expected the load balancers"),
        (("--tags", "traffic"), "A part of the tasks is selected with --tags=traffic; expected all of them"),
        (("--start-at-task", "Read*"), "A part of the tasks is selected with --start-at-task=Read*; expected all of"),
    ],
)
def test_a_playbook_that_would_do_nothing_or_the_half_says_so(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    code, told = status(tmp_path, *options, edge=NAME, everybody={})
    assert code != 0
    assert said in told
    assert "undefined" not in told
