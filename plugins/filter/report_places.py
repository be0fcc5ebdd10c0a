# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: report_places
short_description: Where a deployment report may go on the controller
version_added: 0.1.0
description:
  - Returns the directories in the order in which they are tried, the one that was asked for, or else C(reports) beside
    the inventory and C(reports) in the current directory.
  - Never a place in an installed collection, where an upgrade deletes it, nor one in a directory that is read as an
    inventory, where a report would be taken for a part of it.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
positional: inventory_dir, sources
options:
  _input:
    description: The directory that was asked for. A relative one begins at the current directory.
    type: str
    required: true
  inventory_dir:
    description: The magic variable of that name.
    type: str
  sources:
    description: The magic variable C(ansible_inventory_sources).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show where a report goes
  ansible.builtin.debug:
    msg: "{{ '' | bluegreen.deploy.report_places(inventory_dir, ansible_inventory_sources) | first }}"
"""

RETURN = r"""
_value:
  description: The directories, absolute. None, if there is no place for it.
  type: list
  elements: str
  sample: [/home/alice/shop/reports]
"""

import os.path
import typing as t
from pathlib import Path

FOLDER = "reports"
INSTALLED = "ansible_collections"


def report_places(asked: str, inventory_dir: str | None = None, sources: t.Sequence[str] = ()) -> list[str]:
    """Absolute directories, the best first."""
    if asked:
        return [str(Path.cwd() / Path(asked).expanduser())]
    read = [_absolute(source) for source in sources or () if Path(source).is_dir()]
    starts = [_outside(_absolute(place), read) for place in (inventory_dir, ".") if place]
    return list(dict.fromkeys(str(start / FOLDER) for start in starts if INSTALLED not in start.parts))


def _absolute(place: str) -> Path:
    """With no dots in it; links stay what they are, as in what the user reads."""
    return Path(os.path.normpath(Path.cwd() / place))


def _outside(place: Path, read: t.Sequence[Path]) -> Path:
    """The nearest directory above that no inventory is read from."""
    return next((each for each in (place, *place.parents) if not {each, *each.parents} & {*read}), place)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"report_places": report_places}
