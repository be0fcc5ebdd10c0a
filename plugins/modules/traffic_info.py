#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_info
short_description: Show which colour serves, and how much each one is doing
version_added: 0.1.0
description:
  - Reads the split, the members, the connections and the counters of each route. Changes nothing.
  - Contradictions between the load balancer's own places are reported as drift, not guessed away.
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
  app:
    description: Show what the host that the module runs on keeps of this app, too, which is RV(watchdog) and RV(fleet).
    type: str
  state_dir:
    description: Where its state is kept.
    type: path
    default: /var/lib/bluegreen
"""

EXAMPLES = r"""
- name: See where the traffic is
  bluegreen.deploy.traffic_info:
    routes:
      - name: lb1
        provider: haproxy
        haproxy:
          socket: /run/haproxy/admin.sock
          map: /etc/haproxy/bluegreen.map
          key: shop
  register: now

- name: Say it
  ansible.builtin.debug:
    msg: "{{ now.routes[0].live }} serves {{ now.routes[0].split }}"
"""

RETURN = r"""
routes:
  description: What each route holds now.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The route's name.
      type: str
    split:
      description: The share of each colour, in percent; 0 for both where nobody serves.
      type: dict
    live:
      description:
        - The colour that serves; while a canary is out, the one the release started from.
        - Null for even shares, and where nobody serves.
      type: str
    drift:
      description: Contradictions that were found, a sentence each.
      type: list
      elements: str
    activity:
      description:
        - For each colour its members, those that are ready and why others are not, the requests and connections
          in flight, the requests, the answers and those of them with status 5xx since the load balancer started, the
          mean response time of the latest requests in milliseconds, and the long-lived connections such as WebSockets.
        - The answers are those that the load balancer gave itself in the colour's stead, too; where it knows no
          answers, as in TCP mode, the errors are connections that failed.
        - Of the ready ones C(unchecked) is how many there are whose health nothing checks, so that the load balancer
          takes them for up, dead or alive.
        - What the provider does not count is null.
      type: dict
  sample:
    - name: lb1
      split: {blue: 90, green: 10}
      live: blue
      drift: []
      activity:
        blue:
          members: 2
          ready: 2
          unready: []
          unchecked: 0
          in_flight: 7
          requests: 81234
          errors: 0
          latency_ms: 3.0
          answers: 81227
          long_lived: 4
        green:
          members: 2
          ready: 2
          unready: []
          unchecked: 0
          in_flight: 1
          requests: 902
          errors: 0
          latency_ms: 3.0
          answers: 901
          long_lived: 0
live:
  description: The colour that serves on every route; null where they do not agree.
  returned: success
  type: str
  sample: blue
watchdog:
  description:
    - The watchdog that M(bluegreen.deploy.traffic) has armed on this host with C(revert_after), as it stands now.
    - Null if there is none.
  returned: success, with O(app)
  type: dict
  sample: {state: armed, fires_at: "2026-11-23T03:05:00.000000+00:00", fires_in: 287.4, by: systemd, message: ""}
fleet:
  description:
    - What the release that moved this host last gave M(bluegreen.deploy.traffic) as C(fleet), and its C(token).
    - Null if no release has told it.
  returned: success, with O(app)
  type: dict
  sample: {token: 1795406400, record_host: lb1, load_balancers: [lb1, lb2]}
"""

import typing as t
from dataclasses import asdict, fields

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._module import run_module
from ..module_utils._traffic.fence import known_fleet
from ..module_utils._traffic.registry import ROUTES_SPEC, build_routes
from ..module_utils._traffic.revert import status
from ..module_utils._traffic.route import Route, of_all
from ..module_utils._traffic.router import Counted, Router
from ..module_utils._traffic.split import shares

ARGUMENT_SPEC = {
    **ROUTES_SPEC,
    "app": {"type": "str"},
    "state_dir": {"type": "path", "default": "/var/lib/bluegreen"},
}


COUNTERS = [field.name for field in fields(Counted)]


def activity(router: Router) -> dict[str, t.Any] | None:
    seen, long_lived = router.observe(), router.long_lived()
    if seen is None:
        return None
    return {
        colour: {
            "members": one.members,
            "ready": one.ready,
            "unready": list(one.unready),
            "unchecked": one.unchecked,
            **(asdict(one.counted) if one.counted else dict.fromkeys(COUNTERS)),
            "long_lived": long_lived[colour] if long_lived else None,
        }
        for colour, one in seen.items()
    }


def describe(route: Route, colours: tuple[str, str]) -> dict[str, t.Any]:
    return {
        "name": route.name,
        "split": shares(route.router.read(), colours),
        "live": route.router.live(),
        "drift": list(route.router.drift()),
        "activity": activity(route.router),
    }


def traffic_info(module: AnsibleModule) -> dict[str, t.Any]:
    colours, routes = build_routes(module.params)
    seen = of_all(lambda route: describe(route, colours), routes)
    live = {route["live"] for route in seen}
    app, state_dir = module.params["app"], module.params["state_dir"]
    fleet = known_fleet(state_dir, app) if app else None
    return {
        "changed": False,
        "routes": seen,
        "live": live.pop() if len(live) == 1 else None,
        "watchdog": status(state_dir, app) if app else None,
        "fleet": fleet.as_dict() if fleet else None,
    }


def main() -> None:
    run_module(traffic_info, argument_spec=ARGUMENT_SPEC)


if __name__ == "__main__":
    main()
