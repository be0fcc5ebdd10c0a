# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kubernetes provider: its name and its options. Private to this collection."""

from __future__ import annotations

import typing as t

from .._kubernetes.options import CONNECTION_SPEC
from .router import Provider, Router


def _build(colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> Router:
    from .kubernetes_router import KubernetesService

    return KubernetesService(colours, options)


PROVIDER = Provider(
    name="kubernetes",
    spec={
        "type": "dict",
        "options": {
            **CONNECTION_SPEC,
            "namespace": {"type": "str"},
            "service": {"type": "str", "required": True},
            "preview_service": {"type": "str"},
            "selector_key": {"type": "str", "default": "version", "no_log": False},
            "selector_values": {"type": "dict"},
            "selectors": {"type": "dict"},
            "overlap": {"type": "float", "default": 0.0},
        },
    },
    build=_build,
)
