#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_map_info
short_description: Show an app's entry in HAProxy's map, if there is one
version_added: 0.1.0
description:
  - Reads the entry from the map file and from the HAProxy that runs. That there is none, no file, or no HAProxy, is an
    answer like any other, as on a load balancer that is about to be set up.
  - Changes nothing.
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    platforms: posix
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
options:
  app:
    description: The app.
    type: str
    required: true
  map:
    description: The map file.
    type: path
    default: /etc/haproxy/bluegreen.map
  socket:
    description: HAProxy's stats socket.
    type: str
    default: /run/haproxy/admin.sock
  timeout:
    description: Seconds to wait for an answer of HAProxy.
    type: float
    default: 60.0
"""

EXAMPLES = r"""
- name: See what this load balancer would start with, and what it does
  bluegreen.deploy.haproxy_map_info:
    app: shop
  register: now
"""

RETURN = r"""
written:
  description: The entry in the map file. Null where there is none.
  returned: success
  type: str
  sample: "blue:green:0"
running:
  description: The entry of the HAProxy that runs. Null where there is none, or none runs.
  returned: success
  type: str
  sample: "blue:green:0"
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._haproxy import config_inputs as check
from ..module_utils._haproxy.map_entry import running, written
from ..module_utils._module import run_module

ARGUMENT_SPEC: dict[str, t.Any] = {
    "app": {"type": "str", "required": True},
    "map": {"type": "path", "default": "/etc/haproxy/bluegreen.map"},
    "socket": {"type": "str", "default": "/run/haproxy/admin.sock"},
    "timeout": {"type": "float", "default": 60.0},
}


def entry(module: AnsibleModule) -> dict[str, t.Any]:
    p = module.params
    app, path = check.name(p["app"], "app"), check.path(p["map"], "map")
    return {
        "changed": False,
        "written": written(path, app),
        "running": running(p["socket"], path, app, p["timeout"]),
    }


def main() -> None:
    run_module(entry, argument_spec=ARGUMENT_SPEC)


if __name__ == "__main__":
    main()
