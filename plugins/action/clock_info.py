# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's clock against the controller's; documented in the module of the same name.

An action plugin, because a module takes 0.3 to 0.5 s to pack and start, an unknown part of it before it could
look at the clock; a bare command goes there and back in milliseconds.
"""

from __future__ import annotations

import re
import shlex
import time
import typing as t
from dataclasses import dataclass

from ansible import constants as C  # noqa: N812 (as everywhere in Ansible)
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ..module_utils._errors import BlueGreenError, InvalidError, UnsupportedError

ARGUMENT_SPEC: dict[str, t.Any] = {"samples": {"type": "int", "default": 5}}
MOST_SAMPLES = 50

DATE = "date '+bluegreen[%s%N]'"
PYTHON = """{python} -c 'import time; print("bluegreen[%d]" % time.time_ns())'"""
ANSWER = re.compile(r"bluegreen\[([0-9]{19})\]", re.ASCII)
"""The answer stands between marks: sudo, a login banner or a shell's profile may say more before it and after it."""

NOT_FOUND = (126, 127)
"""Statuses of a shell that cannot run the command."""


@dataclass(frozen=True)
class Sample:
    """One look at the host's clock, in nanoseconds."""

    offset: int
    """The host's clock minus the controller's in the middle of the round trip."""
    round_trip: int

    def as_result(self) -> dict[str, t.Any]:
        return {"offset_ms": _ms(self.offset), "round_trip_ms": _ms(self.round_trip)}


def take(ask: t.Callable[[], int]) -> Sample:
    """Ask the host for its time once.

    The host looked at its clock somewhere within the round trip, so the offset is off by half of it at most,
    however much longer one way took than the other (F. Cristian, Probabilistic clock synchronization,
    Distributed Computing 3, 1989). The round trip begins before the controller looks at its own clock, so that a
    controller that is held up in between makes the bound wider, and not wrong.
    """
    began, sent = time.monotonic_ns(), time.time_ns()
    told = ask()
    round_trip = time.monotonic_ns() - began
    return Sample(told - sent - round_trip // 2, round_trip)


class ActionModule(ActionBase):  # type: ignore[misc]
    """Takes some samples and goes by the one with the shortest round trip."""

    TRANSFERS_FILES = False

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = {**super().run(tmp, task_vars), "changed": False}
        try:
            return {**result, **self._measure(self._samples(), task_vars or {})}
        except BlueGreenError as error:
            return {**result, "failed": True, "msg": error.message, "failure": {"code": error.code}}

    def _samples(self) -> int:
        checked = ArgumentSpecValidator(ARGUMENT_SPEC).validate(self._task.args)
        if checked.error_messages:
            raise InvalidError(f"the options do not fit: {'; '.join(checked.error_messages)}")
        samples: int = checked.validated_parameters["samples"]
        if not 1 <= samples <= MOST_SAMPLES:
            raise InvalidError(f"samples is {samples}", f"1 to {MOST_SAMPLES}")
        return samples

    def _measure(self, many: int, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        ask = self._clock(task_vars)
        samples = [take(ask) for _unused in range(many)]
        best = min(samples, key=lambda sample: sample.round_trip)
        return {
            "offset_ms": _ms(best.offset),
            "uncertainty_ms": _ms(best.round_trip / 2),
            "samples": [sample.as_result() for sample in samples],
        }

    def _clock(self, task_vars: dict[str, t.Any]) -> t.Callable[[], int]:
        """The first command that tells nanoseconds on this host. Asking it opens the connection too."""
        environment = self._compute_environment_string()
        python = PYTHON.format(python=shlex.quote(self._interpreter(task_vars)))
        try:
            self._ask(DATE, environment)
        except UnsupportedError:
            self._ask(python, environment)
            return lambda: self._ask(python, environment)
        return lambda: self._ask(DATE, environment)

    def _ask(self, command: str, environment: str) -> int:
        answer = self._low_level_execute_command(f"{environment} {command}".strip())
        told = ANSWER.search(answer["stdout"])
        if told is None:
            raise _no_time(command, answer)
        return int(told[1])

    def _interpreter(self, task_vars: dict[str, t.Any]) -> str:
        """The Python that modules would run with, as far as it is known without looking for it."""
        host = self._task.delegate_to
        known = task_vars["ansible_delegated_vars"][host] if host else task_vars
        python = self._templar.template(C.config.get_config_value("INTERPRETER_PYTHON", variables=known))
        if python and not python.startswith("auto"):
            return str(python)
        return str(known.get("ansible_facts", {}).get("discovered_interpreter_python") or "python3")


def _no_time(command: str, answer: t.Mapping[str, t.Any]) -> UnsupportedError:
    told = answer["stdout"].strip()
    status = answer["rc"]
    said = (told or answer["stderr"].strip() or f"nothing, with status {status}")[:80]
    todo = (
        "Give the host GNU date, or set ansible_python_interpreter to its Python 3.7 or newer"
        if status in NOT_FOUND
        else "Run the command on the host as the user of the task, with its become, and see what comes instead"
    )
    return UnsupportedError(
        f"the host answers {said!r} to {command!r}", "the nanoseconds since 1970, 19 digits between the brackets", todo
    )


def _ms(nanoseconds: float) -> float:
    return round(nanoseconds / 1e6, 3)
