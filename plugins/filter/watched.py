# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: watched
short_description: Judge what all load balancers have counted, once and for all of them
version_added: 0.1.0
description:
  - Pools what each load balancer has counted in a watch of M(bluegreen.deploy.traffic), and returns one verdict and
    what follows from it, the same for every load balancer.
  - Without a result it returns how long the first watch lasts. Several load balancers count for at most 15 seconds
    before they are judged together, or longer in a watch of more than an hour; a single one judges all along.
  - That nobody could look, or that there were too few requests to tell, is never a pass.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
positional: hostvars, name, rules, before
options:
  _input:
    description: The names of the load balancers.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of the hosts, by host.
    type: dict
    required: true
  name:
    description: The variable that the results are registered in. Empty before the first watch.
    type: str
    required: true
  rules:
    description:
      - The limits C(max_error_share), C(max_latency_ms) and C(min_requests) as in M(bluegreen.deploy.traffic),
        C(duration), the seconds to watch altogether, C(on_inconclusive), which is V(go_on), V(hold) or V(extend), and
        C(extend_for), the seconds by which V(extend) watches longer at most.
    type: dict
    required: true
  before:
    description: What the filter has returned before.
    type: dict
"""

EXAMPLES = r"""
- name: How long to watch
  ansible.builtin.set_fact:
    judged: "{{ ansible_play_hosts_all | bluegreen.deploy.watched(hostvars, '', rules) }}"

- name: What they have seen together
  ansible.builtin.set_fact:
    judged: "{{ ansible_play_hosts_all | bluegreen.deploy.watched(hostvars, 'moved', rules, judged) }}"
"""

RETURN = r"""
_value:
  description: The verdict, and what follows.
  type: dict
  contains:
    verdict:
      description: V(pass), V(fail), V(inconclusive), V(blind), or empty where nothing was watched.
      type: str
    passed:
      description: For a checklist. Null where the verdict is neither V(pass) nor V(fail).
      type: bool
    reason:
      description: Why, in one sentence.
      type: str
    decision:
      description: V(go_on), V(watch), V(hold) or V(back).
      type: str
    next:
      description: Seconds that the next watch lasts. 0 if there is none.
      type: float
    slices:
      description: How many more watches there may be.
      type: int
    watched_for:
      description: Seconds that were watched so far.
      type: float
    requests:
      description: Requests over all load balancers.
      type: int
    errors:
      description: Errors over all load balancers.
      type: int
    error_share:
      description: Their share in percent. Null without a request.
      type: float
    latency_ms:
      description: Mean response time over all load balancers. Null without a request.
      type: float
    blind_on:
      description: The load balancers that could not look.
      type: list
      elements: str
    load_balancers:
      description: What each has seen last, by its name.
      type: dict
  sample:
    verdict: inconclusive
    passed: null
    reason: 12 requests in 30 s, and fewer than 50 prove nothing (over 3 load balancers)
    decision: go_on
"""

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ..module_utils._analysis.watch import Limits
from ..module_utils._errors import BlueGreenError
from ..module_utils._fleet.watched import Judgement, Rules, Seen, begin, judge
from .failures import names_of, registered

Json = t.Mapping[str, t.Any]


def watched(hosts: t.Any, hostvars: t.Any, name: str, rules: Json, before: t.Any = None) -> dict[str, t.Any]:
    """The judgement after the watch whose results are registered; before there is one, how long it lasts."""
    names = sorted(set(names_of(hosts, "hosts")))
    try:
        found = _rules(rules)
        if not name:
            return begin(found, len(names)).as_dict()
        seen = {host: _seen(registered(hostvars, host, name)) for host in names}
        return judge({host: one for host, one in seen.items() if one}, found, _before(before)).as_dict()
    except (BlueGreenError, ValueError, TypeError) as error:
        raise AnsibleFilterError(f"the watch cannot be judged: {error}") from error


def _seen(result: Json | None) -> Seen | None:
    watch = (result or {}).get("watched")
    return Seen.of(watch) if isinstance(watch, Mapping) and watch.get("verdict") else None


def _before(given: t.Any) -> Judgement:
    if not isinstance(given, Mapping):
        raise TypeError("what was judged before is missing; expected the fact that was set before the watch")
    return Judgement(
        next=float(given["next"]),
        watched_for=float(given["watched_for"]),
        requests=int(given["requests"]),
        errors=int(given["errors"]),
        latency_ms=_number(given["latency_ms"]),
    )


def _rules(given: Json) -> Rules:
    limits = Limits(_number(given["max_error_share"]), _number(given["max_latency_ms"]), int(given["min_requests"]))
    return Rules(limits, float(given["duration"]), str(given["on_inconclusive"]), float(given["extend_for"]))


def _number(value: t.Any) -> float | None:
    """Jinja renders null as an empty text before ansible-core 2.19."""
    return None if value in (None, "") else float(value)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"watched": watched}
