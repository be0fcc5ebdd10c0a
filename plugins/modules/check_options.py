#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: check_options
short_description: See that the options of a release can be right, all of them at once
version_added: 0.1.0
description:
  - Looks at the variables C(bluegreen_*) of the host that a release converts, and fails with a sentence for each that
    cannot be meant.
  - Looks for the task files that they name, as C(ansible.builtin.include_tasks) in a role will, and reads them. A
    relative path begins at the playbook that was run, and no task file of a role of this collection is taken for one.
  - A release does it first of all, so that an option of a late stage is refused before an early one changes anything.
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - ansible.builtin.action_common_attributes.conn
  - ansible.builtin.action_common_attributes.flow
attributes:
  action:
    support: full
  async:
    support: none
  become:
    support: none
  bypass_host_loop:
    support: none
  check_mode:
    support: full
  connection:
    support: none
  delegation:
    support: none
  diff_mode:
    support: none
  platform:
    platforms: posix
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
options: {}
"""

EXAMPLES = r"""
- name: See that the options can be right
  bluegreen.deploy.check_options:
"""

RETURN = r"""
options:
  description: The variables that were looked at.
  returned: success
  type: list
  elements: str
  sample: [bluegreen_canary_steps, bluegreen_version]
failure:
  description: Why it failed, for a playbook to decide on.
  returned: on failure
  type: dict
  contains:
    code:
      description: V(invalid).
      type: str
  sample:
    code: invalid
"""
