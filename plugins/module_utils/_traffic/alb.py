# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alb provider: its name and its options. Private to this collection."""

from __future__ import annotations

import typing as t

from .._aws.connection import AWS_SPEC
from .router import Provider, Router


def _build(colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> Router:
    from .alb_router import Alb

    return Alb(colours, options)


PROVIDER = Provider(
    name="alb",
    spec={
        "type": "dict",
        "options": {
            **AWS_SPEC,
            "listener_arn": {"type": "str"},
            "rule_arn": {"type": "str"},
            "load_balancer": {"type": "str"},
            "port": {"type": "int"},
            "rule_priority": {"type": "int"},
            "rule_tags": {"type": "dict"},
            "target_groups": {"type": "dict", "required": True},
            "test_listener_arn": {"type": "str"},
            "test_port": {"type": "int"},
            "healthy_per_zone": {"type": "int"},
        },
    },
    build=_build,
)
