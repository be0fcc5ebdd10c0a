# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: task_clock
type: stdout
short_description: The clocks at the start of each task, as JSON lines
description:
  - Prints a line when a task starts and when the run ends, with the time and the CPU time that the run has taken so
    far, its workers and modules included. What a task costs is the difference of two lines.
  - Prints a line for each failure.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
"""

import json
import multiprocessing
import os
import time
import typing as t

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "task_clock"

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool = False) -> None:
        self._tick(task.get_name())

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        self._tick(None)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        found = getattr(result, "result", None) or result._result  # noqa: SLF001 -- before ansible-core 2.19
        self._print(failed=found.get("msg", "no reason given"))

    v2_runner_item_on_failed = v2_runner_on_failed

    def _tick(self, task: str | None) -> None:
        for worker in multiprocessing.active_children():
            worker.join(5)  # its CPU time is counted once it has ended
        self._print(task=task, wall=time.monotonic(), cpu=sum(os.times()[:4]))

    def _print(self, **line: t.Any) -> None:
        print(json.dumps(line), flush=True)
