# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects that most tests begin with."""

from __future__ import annotations

from typing import Any

from .api import Object

PORT = 8080
PROBE = {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1}
CALM = {"preStop": {"exec": {"command": ["sleep", "1"]}}}
"""Longer than the news of a pod's end takes to every proxy."""


def deployment(
    namespace: str,
    colour: str,
    image: str = "demo-app:1.0",
    replicas: int = 1,
    environment: dict[str, str] | None = None,
    **spec: Any,
) -> Object:
    """One colour of the app ``shop``."""
    labels = {"app": "shop", "version": colour}
    container: Object = {
        "name": "app",
        "image": image,
        "env": [{"name": name, "value": value} for name, value in (environment or {}).items()],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": PROBE,
        "lifecycle": CALM,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": f"shop-{colour}", "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            **spec,
        },
    }


def service(namespace: str, colour: str, name: str = "shop") -> Object:
    """It serves one colour."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "selector": {"app": "shop", "version": colour},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }
