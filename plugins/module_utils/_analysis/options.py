# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a watch. Private to this collection."""

from __future__ import annotations

import typing as t

from .._health.options import DOOR_SPEC

WATCH_SPEC: dict[str, t.Any] = {
    "duration": {"type": "float", "required": True},
    "interval": {"type": "float", "default": 1.0},
    "window": {"type": "float", "default": 30.0},
    "max_error_share": {"type": "float"},
    "max_latency_ms": {"type": "float"},
    "min_requests": {"type": "int", "default": 50},
    "pooled": {"type": "bool", "default": False},
    "front": {
        "type": "dict",
        "options": {
            "endpoints": {"type": "list", "elements": "str", "required": True},
            "door": {"type": "dict", "options": DOOR_SPEC},
        },
    },
}
"""The argument spec of a watch, of which the module analysis is one and traffic may have one."""


def secrets_of(watch: t.Mapping[str, t.Any] | None) -> set[str]:
    """What must not be repeated of the URLs of the front door, which are refused where they hold credentials."""
    if not watch or not watch["front"]:
        return set()
    from .._health.probe import credentials  # noqa: PLC0415 -- compiled only where a front door is given

    return credentials(watch["front"]["endpoints"])
