# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: unfit
short_description: Why a colour cannot take all traffic of a fleet
version_added: 0.1.0
description:
  - Says what keeps all traffic from going to a colour, and what to start. That is that none of its members answers, or
    that a load balancer sees none of them ready.
  - Says nothing where nobody could ask, where the colour has all of the traffic already, and where the colour to leave
    is dead as well.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
positional: seen, answers, others, record
options:
  _input:
    description: The colour to go to.
    type: str
    required: true
  seen:
    description: The results of M(bluegreen.deploy.traffic_info), as P(bluegreen.deploy.results#filter) gives them.
    type: dict
    required: true
  answers:
    description: The results of M(bluegreen.deploy.health_check) for the members of the colour, in the same way.
    type: dict
    required: true
  others:
    description: Those for the members of the other colour.
    type: dict
    required: true
  record:
    description: What the module M(bluegreen.deploy.release) has read, also if it failed.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Blue can take the traffic
  ansible.builtin.assert:
    that: unfit | length == 0
    fail_msg: "{{ unfit }}"
  vars:
    unfit: "{{ 'blue' | bluegreen.deploy.unfit(seen, answers, others, record) }}"
    seen: "{{ ansible_play_hosts_all | bluegreen.deploy.results(hostvars, 'now', ['routes']) }}"
    answers: "{{ ansible_play_hosts_all | bluegreen.deploy.results(hostvars, 'blue', ['endpoints']) }}"
    others: "{{ ansible_play_hosts_all | bluegreen.deploy.results(hostvars, 'green', ['endpoints']) }}"
"""

RETURN = r"""
_value:
  description: What was found, what was expected, and what to do next. Empty if the colour can take it.
  type: str
  sample: >-
    lb1, lb2: no member of blue out of 2 answers (http://192.0.2.21:8080/health: connection refused); expected one
    that can take the traffic. blue was stopped when shop-1.1 retired it: start it, and try again. Nothing was changed
"""

import typing as t

from ..module_utils._fleet.way_back import Json, Sight, why_unfit


def unfit(
    to: str, seen: t.Mapping[str, Json], answers: t.Mapping[str, Json], others: t.Mapping[str, Json], record: Json
) -> str:
    """What keeps all traffic from going to the colour; empty if nothing does."""
    sights = {
        host: Sight(
            one.get("routes") or (),
            answers.get(host, {}).get("endpoints") or (),
            others.get(host, {}).get("endpoints") or (),
        )
        for host, one in seen.items()
    }
    why = why_unfit(to, sights)
    if not why:
        return ""
    return f"{'; '.join(why)}; expected one that can take the traffic. {_retired(to, record)}Nothing was changed"


def _retired(to: str, record: Json) -> str:
    last = record.get("release") or {}
    if last.get("state") == "retired" and (last.get("to") or {}).get("colour") != to:
        return f"{to} was stopped when {last['id']} retired it: start it, and try again. "
    return f"Start {to}, and try again. "


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"unfit": unfit}
