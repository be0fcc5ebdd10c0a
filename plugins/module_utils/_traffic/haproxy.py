# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HAProxy provider: a map entry per app, or the states and weights of servers. Private to this collection.

Source: HAProxy Management Guide, section 9.3; the figures that chose the map way are in docs/haproxy.md.
"""

from __future__ import annotations

import typing as t

from .router import Provider, Router


def _map(colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> Router:
    from .haproxy_map import HAProxyMap

    return HAProxyMap(colours, options)


def _servers(colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> Router:
    from .haproxy_servers import HAProxyServers

    return HAProxyServers(colours, options)


def _build(colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> Router:
    return {"map": _map, "servers": _servers}[options["way"]](colours, options)


PROVIDER = Provider(
    name="haproxy",
    spec={
        "type": "dict",
        "options": {
            "socket": {"type": "str", "required": True},
            "way": {"type": "str", "choices": ["map", "servers"], "default": "map"},
            "map": {"type": "str"},
            "key": {"type": "str", "no_log": False},
            "map_file": {"type": "path"},
            "persist": {"type": "bool", "default": True},
            "backends": {"type": "dict"},
            "backend": {"type": "str"},
            "servers": {"type": "dict"},
            "lower_with": {"type": "str", "choices": ["drain", "maint"], "default": "drain"},
            "ignore_weight": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 5.0},
        },
        "required_if": [("way", "map", ("map", "key"))],
    },
    build=_build,
)
