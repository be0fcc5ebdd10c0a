# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kubernetes_workers provider: its name and its options. Private to this collection."""

from __future__ import annotations

import typing as t

from .._kubernetes.options import CONNECTION_SPEC
from .router import Provider, Router


def _build(colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> Router:
    from .kubernetes_workers_router import KubernetesWorkers

    return KubernetesWorkers(colours, options)


PROVIDER = Provider(
    name="kubernetes_workers",
    spec={
        "type": "dict",
        "options": {
            **CONNECTION_SPEC,
            "namespace": {"type": "str"},
            "deployments": {"type": "dict", "required": True},
            "replicas": {"type": "int"},
            "wait_timeout": {"type": "float", "default": 120.0},
        },
    },
    build=_build,
)
