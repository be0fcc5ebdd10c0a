# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet
short_description: The group of load balancers that a playbook runs on
version_added: 0.1.0
description:
  - Returns what O(given) names, or what C(bluegreen_load_balancers) says in the inventory or its C(group_vars),
    wherever it stands there, or else V(load_balancers). A C(hosts) line alone sees only the variables of all hosts.
  - Refuses a group without hosts, and an inventory that names several. Of an empty inventory, as in a syntax check,
    it returns the name.
  - Refuses C(--tags), C(--skip-tags) of everything and C(--start-at-task), with which a part of a release would be
    left out. It is evaluated before the first task of a play, whatever was selected.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
positional: hostvars, given
options:
  _input:
    description: The magic variable C(groups).
    type: dict
    required: true
  hostvars:
    description: The magic variable of that name, where there is one.
    type: raw
  given:
    description: What was named for all hosts, such as with C(-e).
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Do something on the load balancers
  hosts: "{{ groups | bluegreen.deploy.fleet(hostvars | default(none), bluegreen_load_balancers | default('')) }}"
  gather_facts: false
  tasks: []
"""

RETURN = r"""
_value:
  description: The name of the group.
  type: str
  sample: load_balancers
"""

import typing as t
from collections.abc import Mapping

from ansible import context
from ansible.errors import AnsibleFilterError

VARIABLE = "bluegreen_load_balancers"
DEFAULT = "load_balancers"
ONLY_READ = ("syntax", "listhosts", "listtasks", "listtags")
"""Options of a run that does nothing. Before the first play of a run hosts have no variables yet."""

Groups = t.Mapping[str, t.Sequence[str]]


def fleet(groups: t.Any, hostvars: t.Any = None, given: str = "") -> str:
    """The group's name, or an error that says why there is none."""
    cli = context.CLIARGS
    _refuse_a_part(cli)
    if not isinstance(groups, Mapping):
        raise AnsibleFilterError("groups is no dictionary; expected the magic variable itself")
    name = given or (_named(groups, hostvars) if hostvars else "") or DEFAULT
    if groups.get(name) or not groups.get("all") or any(cli.get(only) for only in ONLY_READ):
        return name
    raise AnsibleFilterError(
        f"The inventory has no host in the group {name}; expected the load balancers. Add it, or name yours with "
        f"{VARIABLE}, in the inventory or with -e."
        + ("" if given or hostvars else " With --limit only -e can name it.")
    )


def _refuse_a_part(cli: t.Mapping[str, t.Any]) -> None:
    """Whatever is left out of a release is missed later, half way."""
    chosen, left_out = set(cli.get("tags") or ["all"]), set(cli.get("skip_tags") or [])
    asked = (
        f"--start-at-task={cli['start_at_task']}"
        if cli.get("start_at_task")
        else f"--tags={','.join(sorted(chosen))}"
        if not chosen & {"all", "untagged"}
        else f"--skip-tags={','.join(sorted(left_out))}"
        if left_out & {"all", "untagged", "always"}
        else ""
    )
    if asked:
        raise AnsibleFilterError(
            f"A part of the tasks is selected with {asked}; expected all of them, since a release that lacks some is "
            "neither checked nor written down. Run it without; a release that was left half done goes on with "
            "bluegreen_release, see the playbook bluegreen.deploy.status."
        )


def _named(groups: Groups, hostvars: t.Mapping[str, t.Any]) -> str:
    """What the inventory says, where the load balancers see it themselves, as the roles on them will."""
    said = {host: str(hostvars[host].get(VARIABLE) or "") for host in groups.get("all") or ()}
    names = sorted({name for name in said.values() if name})
    if not names:
        return ""
    if len(names) > 1:
        raise AnsibleFilterError(
            f"The inventory has {VARIABLE} as {' and '.join(names)}; expected one for a run. Choose it with "
            f"-e {VARIABLE}={names[0]}."
        )
    blind = [host for host in groups.get(names[0]) or () if not said[host]]
    if blind:
        raise AnsibleFilterError(
            f"{VARIABLE} is {names[0]} for {', '.join(host for host in said if said[host])}, and not set for "
            f"{', '.join(blind)}, which that group has; expected all of its hosts to see it. Set it for the group "
            f"{names[0]}, for all hosts, or with -e."
        )
    return names[0]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"fleet": fleet}
