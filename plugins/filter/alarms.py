# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: alarms
short_description: What is wrong with an app's traffic now, in sentences
version_added: 0.1.0
description:
  - Says what a monitor must hear of. That is that load balancers do not agree on the live colour, that nobody serves,
    that a colour has traffic and none of its members is ready, and that a load balancer or the record could not be
    read, or is missing in the inventory.
  - Drift, watchdogs and releases that are open are not among it, see P(bluegreen.deploy.status#filter).
  - Where a provider does not know its members, nothing is said of them.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
positional: seen, unseen
options:
  _input:
    description: What the module M(bluegreen.deploy.release) has read, also if it failed.
    type: dict
    required: true
  seen:
    description: The results of M(bluegreen.deploy.traffic_info), as P(bluegreen.deploy.results#filter) gives them.
    type: dict
    required: true
  unseen:
    description: The load balancers that could not be read, as P(bluegreen.deploy.failures#filter) gives them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: The traffic is where somebody serves it
  ansible.builtin.assert:
    that: alarms | length == 0
    fail_msg: "{{ alarms | join('. ') }}"
  vars:
    alarms: "{{ record | bluegreen.deploy.alarms(seen, unseen) }}"
    seen: "{{ ansible_play_hosts_all | bluegreen.deploy.results(hostvars, 'now', ['routes']) }}"
    unseen: "{{ ansible_play_hosts_all | bluegreen.deploy.failures(hostvars, 'now') }}"
"""

RETURN = r"""
_value:
  description: The sentences. Empty when all is well.
  type: list
  elements: str
  sample:
    - "the load balancers do not agree on the live colour: blue on lb1 and lb2, green on lb3"
    - "lb3: green has 100 % of the traffic, and none of its 2 members is ready (green1 is down)"
"""

import typing as t

from .status import Json, unread, where


def alarms(record: Json, seen: t.Mapping[str, Json], unseen: t.Sequence[Json]) -> list[str]:
    """A sentence each; none when all is well."""
    return [*_disagreement(seen), *_outages(seen), *unread(record, unseen)]


def _disagreement(seen: t.Mapping[str, Json]) -> t.Iterator[str]:
    places: dict[str, list[str]] = {}
    for place, route in _routes(seen):
        if route["live"]:
            places.setdefault(route["live"], []).append(place)
    if len(places) > 1:
        told = ", ".join(f"{colour} on {' and '.join(where_it_is)}" for colour, where_it_is in sorted(places.items()))
        yield f"the load balancers do not agree on the live colour: {told}"


def _outages(seen: t.Mapping[str, Json]) -> t.Iterator[str]:
    for place, route in _routes(seen):
        if not any(route["split"].values()):
            yield f"{place}: nobody serves"
        for colour, share in route["split"].items():
            known = (route.get("activity") or {}).get(colour)
            if share and known and not known["ready"]:
                why = f" ({'; '.join(known['unready'])})" if known["unready"] else ""
                many = f"none of its {known['members']} members is ready"
                yield f"{place}: {colour} has {share:g} % of the traffic, and {many}{why}"


def _routes(seen: t.Mapping[str, Json]) -> list[tuple[str, Json]]:
    return [(where(host, route), route) for host in sorted(seen) for route in seen[host].get("routes") or ()]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"alarms": alarms}
