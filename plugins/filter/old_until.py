# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: old_until
short_description: The last moment at which a client may still reach the old colour
version_added: 0.1.0
description:
  - Looks through results of the module M(bluegreen.deploy.traffic), or whatever holds them, such as the steps of a
    release's record, and returns the latest RV(bluegreen.deploy.traffic#module:routes[].old_until).
positional: key
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
options:
  _input:
    description: The results, in lists and dictionaries however deep.
    type: raw
    required: true
  key:
    description:
      - V(cached_until) for the moment until which a client that asks only then may be led to the old colour, as with
        DNS.
    type: str
    choices: [old_until, cached_until]
    default: old_until
"""

EXAMPLES = r"""
- name: Say how long the old environment must be kept
  ansible.builtin.debug:
    msg: "Somebody may reach it until {{ moved | bluegreen.deploy.old_until }}"
"""

RETURN = r"""
_value:
  description: The moment, ISO 8601 in UTC. Empty where no provider knows one.
  type: str
  sample: "2026-11-23T03:01:00.123456+00:00"
"""

import typing as t
from collections.abc import Mapping, Sequence


def old_until(value: t.Any, key: str = "old_until") -> str:
    """The latest of all; they are all in UTC and in one form, so that the greatest text is the latest moment."""
    return max(_moments(value, key), default="")


def _moments(value: t.Any, key: str) -> t.Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get(key), str):
            yield str(value[key])
        for inner in value.values():
            yield from _moments(inner, key)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        for inner in value:
            yield from _moments(inner, key)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"old_until": old_until}
