# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All options of a release at once; documented in the module of the same name.

An action plugin, because it looks at variables, which are on the controller, and asks nothing of the host.
"""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ..module_utils._options.table import OPTIONS, PREFIX, wrong


class ActionModule(ActionBase):  # type: ignore[misc]
    """Converts each option that the host has a variable for."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset()

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = {**super().run(tmp, task_vars), "changed": False}
        names = [f"{PREFIX}{name}" for name in OPTIONS if f"{PREFIX}{name}" in (task_vars or {})]
        given = {name: self._templar.template((task_vars or {})[name]) for name in names}
        told = wrong(given)
        if not told:
            return {**result, "options": sorted(names)}
        return {**result, "failed": True, "msg": ". ".join(told), "failure": {"code": "invalid"}}
