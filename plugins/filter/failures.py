# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: failures
short_description: Tell the hosts on which a registered task failed, and why
version_added: 0.1.0
description:
  - Looks on each host at the result that a task registered, and returns an entry for each host on which there is
    none, or it is failed or unreachable. Where it succeeded or was skipped, there is nothing to tell.
  - A host that was lost before the task is found too, since it has no result.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
positional: hostvars, name
options:
  _input:
    description: The hosts that had to answer.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of the hosts, by host.
    type: dict
    required: true
  name:
    description: The name of the variable that the task registered.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Move the traffic
  bluegreen.deploy.traffic:
    routes: "{{ bluegreen_routes }}"
    to: green
  register: moved
  ignore_errors: true

- name: It went well everywhere
  vars:
    bad: "{{ ansible_play_hosts_all | bluegreen.deploy.failures(hostvars, 'moved') }}"
  ansible.builtin.assert:
    that: bad | length == 0
    fail_msg: "{{ bad | map(attribute='told') | join('; ') }}"
"""

RETURN = r"""
_value:
  description: An entry for each host that did not do it, sorted by host.
  type: list
  elements: dict
  contains:
    host:
      description: The host.
      type: str
    code:
      description:
        - V(missing_result), V(unreachable), or the result's C(failure.code).
        - V(failed) if the result has no such code.
      type: str
    lost:
      description: Who is in doubt, the host itself, or those of its routes that the task names as C(lost).
      type: list
      elements: str
    msg:
      description: What the task said, as it is. Almost always a string.
      type: raw
    told:
      description: The host and what its task said, for a message.
      type: str
  sample:
    - host: lb2
      lost: [lb2]
      code: conflict
      msg: "route lb2: the split is blue 50 %, green 50 %"
      told: "lb2: route lb2: the split is blue 50 %, green 50 %"
"""

import typing as t
from collections.abc import Iterable, Mapping

from ansible.errors import AnsibleFilterError


def failures(hosts: t.Any, hostvars: t.Any, name: str) -> list[dict[str, t.Any]]:
    """An entry for each host whose registered result is missing, failed or unreachable."""
    found = {host: _reason(registered(hostvars, host, name)) for host in sorted(set(names_of(hosts, "hosts")))}
    return [
        {"host": host, "lost": [host], **reason, "told": f"{host}: {reason['msg']}"}
        for host, reason in found.items()
        if reason
    ]


def registered(hostvars: t.Any, host: str, name: str) -> t.Mapping[str, t.Any] | None:
    """The result that the host registered under the name. None: there is none, or it is an earlier playbook's."""
    if not isinstance(hostvars, Mapping):
        raise AnsibleFilterError("hostvars is no dictionary; expected hostvars itself")
    variables = hostvars.get(host)
    result = variables.get(name) if isinstance(variables, Mapping) else None
    return result if isinstance(result, Mapping) and result else None


def names_of(given: t.Any, what: str) -> list[str]:
    """The list of names, or an error that says what is no list."""
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise AnsibleFilterError(f"{what} is no list; expected a list of names")
    return list(given)


def _reason(result: t.Mapping[str, t.Any] | None) -> dict[str, t.Any] | None:
    if result is None:
        return {"code": "missing_result", "msg": "no answer"}
    if not (result.get("unreachable") or result.get("failed")):
        return None
    lost = {"lost": list(result["lost"])} if result.get("lost") else {}
    return {"code": _code(result), "msg": result.get("msg") or "no message", **lost}


def _code(result: t.Mapping[str, t.Any]) -> str:
    if result.get("unreachable"):
        return "unreachable"
    failure = result.get("failure")
    code = failure.get("code") if isinstance(failure, Mapping) else None
    return code if isinstance(code, str) and code else "failed"


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"failures": failures}
