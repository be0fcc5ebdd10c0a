#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: drain
short_description: Wait until a colour has no work in flight
version_added: 0.1.0
description:
  - Asks the load balancer itself how much is in flight on a colour, until it is nothing. Can ask DNS resolvers, too.
  - Moves no traffic and closes no connection.
extends_documentation_fragment:
  - bluegreen.deploy.routes
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
  colour:
    description: The colour to wait for.
    type: str
    required: true
  long_lived:
    description:
      - Whether connections that no answer will end, such as WebSockets, count as work.
      - V(leave) lets them go on, and returns how many are left.
    type: str
    choices: [wait, leave]
    default: wait
  allowed:
    description: How much may be left on each route.
    type: int
    default: 0
  quiet:
    description:
      - Seconds for which, besides, no new request may have reached the colour on any route, by the load balancer's
        own counter. They begin with the first look, so it takes at least that long.
      - A counter that began anew, as when HAProxy is reloaded, begins them anew too.
      - With more than V(0), besides, no DNS resolver that the route names in C(resolvers) may give clients the colour's
        address any more, or fail to answer.
      - It must be shorter than O(timeout). With V(0) new requests do not matter.
    type: float
    default: 0.0
  timeout:
    description: Seconds to wait at most.
    type: float
    default: 60.0
  interval:
    description: Seconds between two looks.
    type: float
    default: 0.25
"""

EXAMPLES = r"""
- name: Wait until blue has answered everything
  bluegreen.deploy.drain:
    routes: "{{ bluegreen_routes }}"
    colour: blue
    timeout: 120

- name: Wait until blue has answered everything and nobody has sent it anything for half a minute
  bluegreen.deploy.drain:
    routes: "{{ bluegreen_routes }}"
    colour: blue
    quiet: 30
    timeout: 120
"""

RETURN = r"""
left:
  description: What is left in flight on each route.
  returned: success, and on failure with code C(timeout)
  type: list
  elements: dict
  contains:
    route:
      description: The route's name.
      type: str
    requests:
      description: Requests open or queued.
      type: int
    long_lived:
      description: Connections that no answer will end.
      type: int
    new_requests:
      description: Requests that reached the colour since the first look.
      type: int
  sample:
    - {route: lb1, requests: 0, long_lived: 4, new_requests: 0}
not_counted:
  description: The routes whose provider counts no connections, so that nothing could be waited for.
  returned: success
  type: list
  elements: str
  sample: []
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import InvalidError
from ..module_utils._module import run_module
from ..module_utils._traffic.drain import drain
from ..module_utils._traffic.registry import ROUTES_SPEC, build_routes
from ..module_utils._traffic.route import counting
from ..module_utils._traffic.split import known

ARGUMENT_SPEC = {
    **ROUTES_SPEC,
    "colour": {"type": "str", "required": True},
    "long_lived": {"type": "str", "choices": ["wait", "leave"], "default": "wait"},
    "allowed": {"type": "int", "default": 0},
    "quiet": {"type": "float", "default": 0.0},
    "timeout": {"type": "float", "default": 60.0},
    "interval": {"type": "float", "default": 0.25},
}


def wait(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    colours, routes = build_routes(params)
    if not (0 <= params["timeout"] < float("inf") and 0 < params["interval"] < float("inf")):
        raise InvalidError("a time to wait is not positive", "timeout and interval above 0 seconds")
    if params["allowed"] < 0:
        raise InvalidError(f"allowed is {params['allowed']}", "0 or more")
    if params["quiet"] and not 0 <= params["quiet"] < params["timeout"]:
        raise InvalidError(
            f"quiet is {params['quiet']:g}", f"0 or more, and less than the timeout of {params['timeout']:g} s"
        )
    left = drain(
        routes,
        known(colours, params["colour"]),
        wait_for_long_lived=params["long_lived"] == "wait",
        allowed=params["allowed"],
        quiet=params["quiet"],
        timeout=params["timeout"],
        interval=params["interval"],
    )
    return {
        "changed": False,
        "left": [one.as_result() for one in left],
        "not_counted": [route.name for route in routes if route not in counting(routes)],
    }


def main() -> None:
    run_module(wait, argument_spec=ARGUMENT_SPEC)


if __name__ == "__main__":
    main()
