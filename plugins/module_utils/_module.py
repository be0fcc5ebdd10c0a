# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door between Ansible and the domain: the one place that exits a module. Private to this collection."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ._errors import BlueGreenError, InvalidError

Result = dict[str, t.Any]


class _Module(AnsibleModule):  # type: ignore[misc]
    """Gives the errors of the argument spec a code too."""

    def fail_json(self, msg: str, **details: t.Any) -> None:
        super().fail_json(msg, **{"failure": {"code": InvalidError.code}, **details})


def run_module(
    call: t.Callable[[AnsibleModule], Result],
    *,
    argument_spec: dict[str, t.Any],
    **spec: t.Any,
) -> None:
    """Build the module, make its one call, and exit with the result or with C(failure.code)."""
    module = _Module(argument_spec=argument_spec, supports_check_mode=True, **spec)
    try:
        result = call(module)
    except BlueGreenError as error:
        module.fail_json(msg=error.message, failure={"code": error.code}, **error.details)
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    module.exit_json(**result)
