# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that every module about routes shares."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  routes:
    description: The routes to work on. A route is one place that decides which colour a request reaches.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: A name of its own, for messages and results.
        type: str
        required: true
      provider:
        description: The kind of route.
        type: str
        required: true
        choices: [haproxy]
      haproxy:
        description:
          - A HAProxy, over its runtime API, on the host that the module runs on.
          - HAProxy must be 2.4 or newer. Its C(stats socket) must have C(level admin) to be written to.
        type: dict
        suboptions:
          socket:
            description: The stats socket, an absolute path or C(host:port).
            type: str
            required: true
          way:
            description:
              - V(map) keeps the whole routing state of an app in one entry of a map, as the role
                P(bluegreen.deploy.haproxy#role) sets it up. One atomic C(set map) is the switch, at any number
                of servers.
              - V(servers) raises and lowers servers by their weights and states, for a configuration that
                somebody else wrote.
            type: str
            choices: [map, servers]
            default: map
          map:
            description: For O(routes[].haproxy.way=map), the map's name in the configuration, which is its path.
            type: str
          key:
            description: For O(routes[].haproxy.way=map), the app's key in the map.
            type: str
          map_file:
            description: The map file on disk, if it is not the path in O(routes[].haproxy.map).
            type: path
          persist:
            description:
              - Whether to write the map file too, before the running HAProxy, so that a reload or restart keeps
                the traffic where it is.
              - V(false) is for a HAProxy whose files this host does not have.
            type: bool
            default: true
          backends:
            description:
              - The backend of each colour.
              - For O(routes[].haproxy.way=map) the default is the key, C(_) and the colour.
              - For O(routes[].haproxy.way=servers), when the configuration takes the backend that has
                servers. It then holds 0 % or 100 % only.
            type: dict
          backend:
            description: For O(routes[].haproxy.way=servers), the one backend with the servers of both colours.
            type: str
          servers:
            description:
              - With O(routes[].haproxy.backend), a regular expression for each colour that matches the whole
                names of its servers.
            type: dict
          lower_with:
            description:
              - How O(routes[].haproxy.way=servers) takes a colour out. A drained server still gets clients that
                stick to it; one in maintenance gets nobody, and no health checks.
            type: str
            choices: [drain, maint]
            default: drain
          timeout:
            description: Seconds to wait for an answer.
            type: float
            default: 5.0
  colours:
    description: The names of the two colours.
    type: list
    elements: str
    default: [blue, green]
"""
