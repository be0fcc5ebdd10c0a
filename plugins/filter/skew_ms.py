# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: skew_ms
short_description: The time from the first to the last commit of a fleet
version_added: 0.1.0
description:
  - Looks through the results that the module M(bluegreen.deploy.traffic) has given on several hosts, and returns the
    milliseconds from the first to the last change that a load balancer acknowledged.
  - Each host's time is corrected by the offset of its clock, where M(bluegreen.deploy.clock_info) has measured it.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
positional: hostvars, name, clock
options:
  _input:
    description: The names of the hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, the magic variable of that name.
    type: raw
    required: true
  name:
    description: The variable that the results of M(bluegreen.deploy.traffic) are registered in.
    type: str
    required: true
  clock:
    description: The variable that the results of M(bluegreen.deploy.clock_info) are registered in, if there is one.
    type: str
"""

EXAMPLES = r"""
- name: Say how far apart the load balancers have moved
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts_all | bluegreen.deploy.skew_ms(hostvars, 'moved', 'clock') }} ms"
"""

RETURN = r"""
_value:
  description: Milliseconds; null where fewer than two changes were acknowledged.
  type: float
  sample: 3.214
"""

import typing as t
from datetime import datetime

from .failures import registered


def skew_ms(hosts: t.Sequence[str], hostvars: t.Mapping[str, t.Any], name: str, clock: str = "") -> float | None:
    """Milliseconds from the first to the last acknowledged change. None: fewer than two."""
    moments = [
        datetime.fromisoformat(route["committed_at"]).timestamp() * 1000 - _offset_ms(hostvars, host, clock)
        for host in hosts
        for route in _result(hostvars, host, name).get("routes") or ()
        if route.get("committed_at")
    ]
    return round(max(moments) - min(moments), 3) if len(moments) > 1 else None


def _offset_ms(hostvars: t.Mapping[str, t.Any], host: str, clock: str) -> float:
    return float(_result(hostvars, host, clock).get("offset_ms") or 0.0)


def _result(hostvars: t.Mapping[str, t.Any], host: str, name: str) -> t.Mapping[str, t.Any]:
    return registered(hostvars, host, name) or {}


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"skew_ms": skew_ms}
