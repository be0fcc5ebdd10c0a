# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway_api provider: its name and its options. Private to this collection."""

from __future__ import annotations

import typing as t

from .._kubernetes.options import CONNECTION_SPEC
from .router import Provider, Router


def _build(colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> Router:
    from .gateway_api_router import GatewayApi

    return GatewayApi(colours, options)


PROVIDER = Provider(
    name="gateway_api",
    spec={
        "type": "dict",
        "options": {
            **CONNECTION_SPEC,
            "namespace": {"type": "str"},
            "kind": {"type": "str", "choices": ["HTTPRoute", "GRPCRoute"], "default": "HTTPRoute"},
            "http_route": {"type": "str", "required": True},
            "rule": {"type": "int"},
            "test_rule": {"type": "int"},
            "backends": {"type": "dict", "required": True},
            "api_version": {"type": "str", "default": "v1"},
        },
    },
    build=_build,
)
