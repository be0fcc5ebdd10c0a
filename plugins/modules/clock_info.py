#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: clock_info
short_description: Measure a host's clock against the controller's
version_added: 0.1.0
description:
  - Asks the host for its time with a bare command, several times, and goes by the shortest round trip
    (F. Cristian, Probabilistic clock synchronization, Distributed Computing 3, 1989).
  - The host looked at its clock somewhere within the round trip, so the true offset is within
    RV(uncertainty_ms) of RV(offset_ms).
notes:
  - It runs C(date) and, where that tells no nanoseconds, the host's Python, which takes longer and so leaves
    more uncertainty.
  - The answer stands between marks. What a sudo, a banner or a shell's profile says before it or after it does no harm.
  - Nobody needs privileges to read the clock. With C(become) the round trip is longer.
  - A connection that stays open, such as C(ssh) with C(ControlPersist), has the shortest round trip.
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
    support: full
  bypass_host_loop:
    support: none
  check_mode:
    support: full
  connection:
    support: full
  delegation:
    support: full
  diff_mode:
    support: none
  platform:
    platforms: posix
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
options:
  samples:
    description: How often to ask, from 1 to 50 times.
    type: int
    default: 5
"""

EXAMPLES = r"""
- name: Measure the clocks of the load balancers
  bluegreen.deploy.clock_info:
  register: clock

- name: The clocks agree within a tenth of a second
  ansible.builtin.assert:
    that: clock.offset_ms | abs + clock.uncertainty_ms < 100
    fail_msg: "{{ inventory_hostname }} is {{ clock.offset_ms }} ms off. Look after its time service."
"""

RETURN = r"""
offset_ms:
  description: The host's clock minus the controller's, in milliseconds. Positive if the host is ahead.
  returned: success
  type: float
  sample: -1.204
uncertainty_ms:
  description: Half of the shortest round trip, in milliseconds.
  returned: success
  type: float
  sample: 1.871
samples:
  description: What was measured each time, in order.
  returned: success
  type: list
  elements: dict
  contains:
    offset_ms:
      description: The offset by this sample, in milliseconds.
      type: float
    round_trip_ms:
      description: How long the host took to answer, in milliseconds.
      type: float
  sample:
    - {offset_ms: -1.204, round_trip_ms: 3.742}
failure:
  description: Why it failed, for a playbook to decide on.
  returned: on failure
  type: dict
  contains:
    code:
      description: V(invalid), or V(unsupported) if the host tells no nanoseconds.
      type: str
  sample:
    code: unsupported
"""
