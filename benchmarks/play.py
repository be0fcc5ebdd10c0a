# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of ansible-playbook, and what each of its tasks cost."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from demo.rig import environment

from .bench import BrokenError, Cost, Samples, end

Task = dict[str, Any]


class TooLongError(Exception):
    """The time was over. The task that was cut short is among the samples."""

    def __init__(self, seconds: float, samples: Samples) -> None:
        super().__init__(f"not done in {seconds:g} s")
        self.samples = samples


def play(directory: Path, tasks: Sequence[Task], seconds: float) -> Samples:
    """Run the tasks on this host, and give their costs by their names."""
    playbook, output = directory / "playbook.yml", directory / "playbook.out"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    with output.open("w") as file:
        ansible = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                *("-i", "localhost,", "-c", "local", "-e", json.dumps({"ansible_python_interpreter": sys.executable})),
                str(playbook),
            ],
            env=environment(
                ANSIBLE_CALLBACK_PLUGINS=str(Path(__file__).parent / "callback"),
                ANSIBLE_STDOUT_CALLBACK="task_clock",
                ANSIBLE_HOME=str(directory / "ansible"),
                ANSIBLE_REMOTE_TMP=str(directory / "ansible" / "tmp"),
            ),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = ansible.wait(seconds)
    except subprocess.TimeoutExpired:
        now = {"task": None, "wall": time.monotonic(), "cpu": math.nan}
        raise TooLongError(seconds, _costs([*_lines(output), now])) from None
    finally:
        end(ansible)
    if code:
        failures = [line["failed"] for line in _lines(output) if "failed" in line]
        raise BrokenError("\n".join(failures) or output.read_text())
    return _costs(_lines(output))


def _lines(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.read_text().splitlines() if line.startswith("{")]


def _costs(lines: Iterable[dict[str, Any]]) -> Samples:
    samples: defaultdict[str, list[Cost]] = defaultdict(list)
    for start, after in pairwise(line for line in lines if "task" in line):
        samples[start["task"]].append(Cost(after["wall"] - start["wall"], after["cpu"] - start["cpu"]))
    return samples
