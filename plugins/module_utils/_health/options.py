# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an endpoint is reached, as an option of a module. Private to this collection."""

from __future__ import annotations

import typing as t

DOOR_SPEC: dict[str, t.Any] = {
    "host": {"type": "str"},
    "sni": {"type": "str"},
    "address": {"type": "str"},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool"},
    "headers": {"type": "dict"},
    "secret_headers": {"type": "dict", "no_log": True},
}
"""The argument spec of the option door, which the modules that ask have alike."""
