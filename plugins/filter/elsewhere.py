# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: elsewhere
short_description: Tell whether the record and the fleet of the last release are elsewhere
version_added: 0.1.0
description:
  - Compares what each load balancer remembers of the release that moved it last, as C(fleet) of
    M(bluegreen.deploy.traffic_info) has it, with the record that was read and the load balancers of this run.
  - A load balancer counts only if the record has never given out the token that it remembers.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
positional: hostvars, name, read, record_host
options:
  _input:
    description: The load balancers of this run.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of the hosts, by host.
    type: dict
    required: true
  name:
    description: The name of the variable that the task with M(bluegreen.deploy.traffic_info) registered.
    type: str
    required: true
  read:
    description: What the module M(bluegreen.deploy.release) returned, which may be a failure.
    type: dict
    required: true
  record_host:
    description: The host on which the record was looked for.
    type: str
    required: true
  gone:
    description: Load balancers of earlier releases that there are no more.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: This is the inventory of the last release
  ansible.builtin.assert:
    that: told | length == 0
    fail_msg: "{{ told }}"
  vars:
    told: "{{ ansible_play_hosts_all | bluegreen.deploy.elsewhere(hostvars, 'seen', record, 'lb1', gone=[]) }}"
"""

RETURN = r"""
_value:
  description: What is elsewhere, what was expected, and what to do. Empty if nothing is.
  type: str
  sample: ""
"""

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ..module_utils._fleet.elsewhere import Here, elsewhere
from ..module_utils._traffic.known_fleet import KnownFleet
from .failures import names_of, registered


def told(hosts: t.Any, hostvars: t.Any, name: str, read: t.Any, record_host: str, *, gone: t.Any) -> str:
    """The sentence, or an empty text."""
    names = names_of(hosts, "hosts")
    try:
        found = {host: (registered(hostvars, host, name) or {}).get("fleet") for host in names}
        remembered = {host: KnownFleet.of(dict(one)) for host, one in found.items() if one}
    except (ValueError, TypeError) as error:
        raise AnsibleFilterError(f"what a load balancer remembers cannot be read: {error}") from error
    return elsewhere(remembered, Here(str(record_host), _token(read), names, names_of(gone, "gone")))


def _token(read: t.Any) -> int:
    """The latest that the record has given out; none where it cannot be read, or is not there."""
    record = read.get("record") if isinstance(read, Mapping) else None
    return int(record.get("token") or 0) if isinstance(record, Mapping) else 0


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"elsewhere": told}
