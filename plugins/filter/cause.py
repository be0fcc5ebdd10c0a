# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: cause
short_description: Why a block failed, whichever host it failed on
version_added: 0.1.0
description:
  - In a C(rescue) each host knows only its own failed task. This returns what the first host that has one says,
    the same for every host.
  - Of a loop it returns what the failed items say. Of a task with C(no_log) it returns the name of the task only.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
positional: hostvars
options:
  _input:
    description: The names of the hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of the hosts, by host.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Say why, from every host the same
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts_all | bluegreen.deploy.cause(hostvars) }}"
"""

RETURN = r"""
_value:
  description: The reason.
  type: str
  sample: green has 2 members and none is ready; expected at least one that the load balancer would send a request to
"""

import typing as t
from collections.abc import Mapping

from .failures import names_of, registered

UNKNOWN = "a task failed"


def cause(hosts: t.Any, hostvars: t.Any) -> str:
    """What the first host with a failed task says of it."""
    for host in sorted(set(names_of(hosts, "hosts"))):
        result = registered(hostvars, host, "ansible_failed_result")
        if result:
            return _told(result, registered(hostvars, host, "ansible_failed_task") or {})
    return UNKNOWN


def _told(result: t.Mapping[str, t.Any], task: t.Mapping[str, t.Any]) -> str:
    if result.get("_ansible_no_log") or task.get("no_log"):
        return f"the task '{task.get('name') or 'without a name'}' failed; what it says is not shown, as no_log is set"
    items = [item for item in result.get("results") or () if isinstance(item, Mapping) and item.get("failed")]
    said = [str(one["msg"]).strip() for one in items or [result] if one.get("msg")]
    return "; ".join(dict.fromkeys(said)) or str(result.get("msg") or UNKNOWN)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"cause": cause}
