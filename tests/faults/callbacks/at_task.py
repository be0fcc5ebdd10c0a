# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does something to the run at a given event of a given task, as a test asks in the environment.

BLUEGREEN_AT is JSON: C(event) start or end, C(task) a regular expression for its name or action, C(nth) which of
those events, from 0, and C(do), a shell command with {group} for the process group of ansible-playbook and {parent}
for who started it. Each event that fits is written to the file C(log).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: at_task
type: aggregate
short_description: For the tests of faults
description: Does something to the run at a given event.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "at_task"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._wish = json.loads(os.environ["BLUEGREEN_AT"])
        self._seen = 0
        self._ended = set()

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._event("start", task)

    def v2_runner_on_ok(self, result):
        self._end(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._end(result)

    def v2_runner_on_unreachable(self, result):
        self._end(result)

    def _end(self, result):
        task = getattr(result, "task", None) or result._task
        if task._uuid not in self._ended:
            self._ended.add(task._uuid)
            self._event("end", task)

    def _event(self, event, task):
        told = f"{task.action} {task.get_name()}"
        if self._wish.get("event", event) != event or not re.search(self._wish["task"], told):
            return
        with Path(self._wish["log"]).open("a") as log:
            log.write(f"{event} {told}\n")
        if self._seen == self._wish.get("nth"):
            command = self._wish["do"].format(group=os.getpgid(0), parent=os.getppid())
            # Ansible's own standard output may be closed by now, which not every program takes
            subprocess.run(["sh", "-c", command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._seen += 1
