# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: first_colour
short_description: The colour that a new load balancer begins with
version_added: 0.1.0
description:
  - Decides by what the load balancers say that have an entry for the app; where none has, by the record of the
    releases; where there is none, by what is wanted; and else takes the first colour.
  - Where these contradict each other, it says so, and names no colour.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
positional: colours, wanted, record
options:
  _input:
    description: The results of M(bluegreen.deploy.haproxy_map_info), as P(bluegreen.deploy.results#filter) gives them.
    type: dict
    required: true
  colours:
    description: The two colours.
    type: list
    elements: str
    required: true
  wanted:
    description: The colour that the user names for a first set-up. Empty means none.
    type: str
    default: ""
  record:
    description: What the module M(bluegreen.deploy.release) has read, also if it failed or was skipped.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Say what a new load balancer would begin with
  ansible.builtin.debug:
    msg: "{{ (found | bluegreen.deploy.first_colour(['blue', 'green'])).colour }}"
  vars:
    found: "{{ ansible_play_hosts_all | bluegreen.deploy.results(hostvars, 'now', ['written', 'running']) }}"
"""

RETURN = r"""
_value:
  description: The decision.
  type: dict
  contains:
    colour:
      description: The colour. Empty where it is not known.
      type: str
    trouble:
      description: Why it is not known. Empty where it is.
      type: str
    asks_record:
      description: Whether the record is needed for it.
      type: bool
  sample: {colour: green, trouble: "", asks_record: false}
"""

import typing as t

from ..module_utils._errors import BlueGreenError, UnreachableError
from ..module_utils._haproxy import first_colour as domain
from ..module_utils._release.live import live_colour

Json = t.Mapping[str, t.Any]


def first_colour(
    found: t.Mapping[str, Json], colours: t.Sequence[str], wanted: str = "", record: Json | None = None
) -> dict[str, t.Any]:
    """The colour, or why it is not known; and whether only the record knows."""
    entries = {host: domain.Entry(one["written"], one["running"]) for host, one in found.items() if "written" in one}
    asks = domain.only_the_record_knows(entries)
    try:
        colour = domain.first_colour(entries, colours, wanted, lambda: _by_record(record or {}))
    except BlueGreenError as error:
        return {"colour": "", "trouble": error.message, "asks_record": asks}
    return {"colour": colour, "trouble": "", "asks_record": asks}


def _by_record(record: Json) -> str | None:
    if record.get("failed") or record.get("unreachable"):
        raise UnreachableError(
            f"the record cannot be read: {record.get('msg') or 'no answer'}",
            "a load balancer or the record to say it",
            "Set haproxy_live to the colour that serves",
        )
    return live_colour(record)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"first_colour": first_colour}
