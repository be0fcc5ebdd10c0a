# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All options of a release at once; documented in the module of the same name.

An action plugin, because it looks at variables and task files, which are on the controller, and asks
nothing of the host.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ..module_utils._options.table import HOOKS, OPTIONS, PREFIX, converted, wrong

ROLES = Path(__file__).resolve().parents[2] / "roles"


class ActionModule(ActionBase):  # type: ignore[misc]
    """Converts each option that the host has a variable for, and looks for the task files that they name."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset()

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = {**super().run(tmp, task_vars), "changed": False}
        names = [f"{PREFIX}{name}" for name in OPTIONS if f"{PREFIX}{name}" in (task_vars or {})]
        given = {name: self._templar.template((task_vars or {})[name]) for name in names}
        told = wrong(given) or [sentence for name in HOOKS for sentence in self._lost(name, given)]
        if not told:
            return {**result, "options": sorted(names)}
        return {**result, "failed": True, "msg": ". ".join(told), "failure": {"code": "invalid"}}

    def _lost(self, name: str, given: t.Mapping[str, t.Any]) -> list[str]:
        """A sentence for each task file that could not be included when its time comes."""
        told = []
        for file in converted(name, given.get(f"{PREFIX}{name}"), []):
            trouble = self._trouble(file, HOOKS[name])
            if trouble:
                told.append(f"{PREFIX}{name} names {file}, {trouble}")
        return told

    def _trouble(self, file: str, role: str) -> str:
        home = ROLES / role
        found = Path(self._loader.path_dwim_relative(str(home), "tasks", file, is_role=True))  # as include_tasks does
        expected = (
            "expected a file of tasks on the controller, by its absolute path or by one that begins at "
            f"{self._loader.get_basedir()}"
        )
        if home in found.parents:
            return f"which is a file of the role {role} itself; {expected}"
        if not found.is_file():
            return f"which is not there; {expected}"
        try:
            tasks = self._loader.load_from_file(str(found), cache="none")
        except (AnsibleError, OSError) as error:
            return f"which cannot be read ({_first_line(error)}); {expected}"
        return "" if isinstance(tasks or [], list) else f"which holds no list of tasks; {expected}"


def _first_line(error: Exception) -> str:
    return str(getattr(error, "message", error)).strip().partition("\n")[0]
