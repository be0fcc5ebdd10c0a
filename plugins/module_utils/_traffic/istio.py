# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The istio provider: its name and its options. Private to this collection."""

from __future__ import annotations

import typing as t

from .._kubernetes.options import CONNECTION_SPEC
from .router import Provider, Router


def _build(colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> Router:
    from .istio_router import Istio

    return Istio(colours, options)


PROVIDER = Provider(
    name="istio",
    spec={
        "type": "dict",
        "options": {
            **CONNECTION_SPEC,
            "namespace": {"type": "str"},
            "virtual_service": {"type": "str", "required": True},
            "http_route": {"type": "str"},
            "test_http_route": {"type": "str"},
            "subsets": {"type": "dict"},
            "hosts": {"type": "dict"},
            "api_version": {"type": "str", "default": "v1beta1"},
        },
    },
    build=_build,
)
