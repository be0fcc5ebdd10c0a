# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that say where a Kubernetes API server is. Private to this collection."""

from __future__ import annotations

import typing as t

CONNECTION_SPEC: dict[str, t.Any] = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "host": {"type": "str"},
    "api_key": {"type": "str", "no_log": True},
    "ca_cert": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "validate_certs": {"type": "bool"},
    "proxy": {"type": "str"},
    "timeout": {"type": "float", "default": 10.0},
}
"""Named as in kubernetes.core; documented in doc_fragments/."""
