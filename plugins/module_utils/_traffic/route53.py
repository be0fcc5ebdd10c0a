# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The route53 provider: its name and its options. Private to this collection."""

from __future__ import annotations

import typing as t

from .._aws.connection import AWS_SPEC
from .router import Provider, Router

WEIGHTED_TYPES = (
    *("A", "AAAA", "CAA", "CNAME", "HTTPS", "MX", "NAPTR", "PTR", "SPF", "SRV", "SSHFP", "SVCB", "TLSA", "TXT"),
)


def _build(colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> Router:
    from .route53_router import Route53

    return Route53(colours, options)


ROUTE53_SPEC: dict[str, t.Any] = {
    "type": "dict",
    "options": {
        **AWS_SPEC,
        "zone_id": {"type": "str"},
        "zone": {"type": "str"},
        "private_zone": {"type": "bool"},
        "record": {"type": "str", "required": True},
        "type": {"type": "str", "choices": list(WEIGHTED_TYPES), "default": "A"},
        "set_identifiers": {"type": "dict"},
        "wait": {"type": "bool", "default": True},
        "wait_timeout": {"type": "float", "default": 120.0},
        "resolvers": {"type": "list", "elements": "str", "default": []},
    },
}

PROVIDER = Provider(name="route53", spec=ROUTE53_SPEC, build=_build)
