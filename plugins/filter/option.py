# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: option
short_description: An option of the roles, as what it means
version_added: 0.1.0
description:
  - Converts what a survey, a form or C(-e name=value) gives as text, and refuses what cannot be meant.
  - An empty text, as a survey gives for a field that was left empty, is the default.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
positional: name, default
options:
  _input:
    description: What was given.
    type: raw
    required: true
  name:
    description: The name of the option, without C(bluegreen_).
    type: str
    required: true
  default:
    description: What it is where nothing was given.
    type: raw
    default: ""
"""

EXAMPLES = r"""
- name: Show the shares of a canary release
  ansible.builtin.debug:
    msg: "{{ bluegreen_canary_steps | default('') | bluegreen.deploy.option('canary_steps', [10, 50]) }}"
"""

RETURN = r"""
_value:
  description: What is meant.
  type: raw
  sample: [10, 50]
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._errors import InvalidError
from ..module_utils._options.table import converted


def option(given: t.Any, name: str, default: t.Any = "") -> t.Any:
    """The value in its own type."""
    try:
        return converted(name, given, default)
    except InvalidError as error:
        raise AnsibleFilterError(error.message) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"option": option}
