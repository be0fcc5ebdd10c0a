# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: seconds_until
short_description: How long it is until a moment
version_added: 0.1.0
description:
  - The seconds from now, by the clock of the controller, until a moment such as P(bluegreen.deploy.old_until#filter)
    tells.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
options:
  _input:
    description: ISO 8601 with the offset from UTC, or empty.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Say how long the old environment must be kept
  ansible.builtin.debug:
    msg: "{{ moved | bluegreen.deploy.old_until | bluegreen.deploy.seconds_until }} s"
"""

RETURN = r"""
_value:
  description: Seconds. 0 where it is over, or no moment is given.
  type: float
  sample: 59.4
"""

import typing as t
from datetime import datetime, timezone

from ansible.errors import AnsibleFilterError


def seconds_until(moment: str) -> float:
    if not moment:
        return 0.0
    try:
        left = datetime.fromisoformat(moment) - datetime.now(timezone.utc)
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"{moment!r} is no moment with an offset from UTC: {error}") from error
    return max(0.0, left.total_seconds())


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"seconds_until": seconds_until}
