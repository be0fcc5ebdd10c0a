# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""clock_info in a playbook over local connections; a host whose clock is off is one with another ``date``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOISE_MS = 5
"""The controller's own clock may be slewed while it looks."""

DATES = {
    "ahead": 't=$(/bin/date +%s%N); echo "bluegreen[$((t + 250000000))]"',
    "behind": 't=$(/bin/date +%s%N); echo "bluegreen[$((t - 250000000))]"',
    "plain": "/bin/date '+bluegreen[%sN]'",
    "broken": "exit 1",
}

NOISY_SUDO = """#!/bin/sh
# As sudo on a host whose name does not resolve, with a terminal, which has one stream for both.
echo "sudo: unable to resolve host lb1: Name or service not known"
while [ "$1" != /bin/sh ]; do shift; done
"$@"
echo logout
"""


def play(home: Path, task: dict[str, Any], *arguments: str) -> dict[str, Any]:
    """Run the task on all hosts, those of DATES, ``right``, ``noisy`` and ``away``; its results."""
    for name, script in DATES.items():
        (home / name).mkdir()
        (home / name / "date").write_text(f"#!/bin/sh\n{script}\n")
        (home / name / "date").chmod(0o755)
    hosts: dict[str, dict[str, Any]] = {name: {} for name in (*DATES, "right")}
    hosts["broken"]["ansible_python_interpreter"] = str(home / "broken" / "date")
    hosts["away"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    (home / "sudo").write_text(NOISY_SUDO)
    (home / "sudo").chmod(0o755)
    # another user than ours, or no become is made
    hosts["noisy"] = {
        "ansible_become": True,
        "ansible_become_user": "nobody",
        "ansible_become_exe": str(home / "sudo"),
    }
    (home / "inventory.json").write_text(
        json.dumps(
            {
                "all": {
                    "hosts": hosts,
                    "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
                }
            }
        )
    )
    tell = "{{ dict(groups.all | zip(groups.all | map('extract', hostvars, 'clock'))) | to_json }}"
    plays = [
        {
            "hosts": "all",
            "gather_facts": False,
            "environment": {"PATH": str(home / "{{ inventory_hostname }}") + ":{{ lookup('env', 'PATH') }}"},
            "tasks": [{"register": "clock", "ignore_errors": True, "ignore_unreachable": True, **task}],
        },
        {
            "hosts": "right",
            "gather_facts": False,
            "tasks": [
                {
                    "ansible.builtin.copy": {"dest": str(home / "told.json"), "content": tell, "mode": "0600"},
                    "check_mode": False,
                }
            ],
        },
    ]
    (home / "play.yml").write_text(json.dumps(plays))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "playbook", "-i", str(home / "inventory.json")),
            *(str(home / "play.yml"), *arguments),
        ],
        env={**os.environ, "ANSIBLE_HOST_PATTERN_MISMATCH": "error"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    told: dict[str, Any] = json.loads((home / "told.json").read_text())
    return told


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_each_host_has_the_offset_of_its_clock(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    told = play(tmp_path, {"bluegreen.deploy.clock_info": {"samples": 7}}, *arguments)
    for host, offset in {"right": 0, "ahead": 250, "behind": -250, "plain": 0, "noisy": 0}.items():
        clock = told[host]
        assert (clock["changed"], len(clock["samples"])) == (False, 7)
        assert abs(clock["offset_ms"] - offset) <= clock["uncertainty_ms"] + NOISE_MS, (host, clock)
        assert clock["uncertainty_ms"] * 2 <= min(one["round_trip_ms"] for one in clock["samples"]) + 0.002
    assert (told["broken"]["failed"], told["broken"]["failure"]) == (True, {"code": "unsupported"})
    assert told["away"]["unreachable"] is True
    assert "offset_ms" not in told["away"]
