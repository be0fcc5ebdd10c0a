# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: results
short_description: Collect what a registered task returned on each host
version_added: 0.1.0
description:
  - Looks on each host at the result that a task registered, and returns the given keys of it, by host.
  - A failed result counts as well. A host that has no result, or was unreachable, is left out.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
positional: hostvars, name, keys
options:
  _input:
    description: The hosts to look at.
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
  keys:
    description: The keys wanted. One that a result does not have is left out there.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Measure the clocks
  bluegreen.deploy.clock_info:
  register: clock

- name: Show how far they are off
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts_all | bluegreen.deploy.results(hostvars, 'clock', ['offset_ms']) }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: A dictionary for each host that has a result, with those of the keys that the result has.
  type: dict
  sample:
    lb1: {offset_ms: -1.204}
    lb2: {offset_ms: 0.377}
"""

import typing as t

from .failures import names_of, registered


def results(hosts: t.Any, hostvars: t.Any, name: str, keys: t.Any) -> dict[str, dict[str, t.Any]]:
    """The given keys of each registered result that is there, by host in sorted order."""
    wanted = names_of(keys, "keys")
    found = {host: registered(hostvars, host, name) for host in sorted(set(names_of(hosts, "hosts")))}
    return {
        host: {key: result[key] for key in wanted if key in result}
        for host, result in found.items()
        if result is not None and not result.get("unreachable")
    }


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"results": results}
