# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Roles of docs/kubernetes.md, and a user who has one of them and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from demo.rig import ROOT, wait_until

from .api import ApiError
from .cluster import Handle

RBAC = "rbac.authorization.k8s.io"
USER = "viewer"


def roles() -> dict[str, dict[str, Any]]:
    """By name."""
    text = (ROOT / "docs" / "kubernetes.md").read_text().split("## Rights")[1]
    documents = yaml.safe_load_all(text.split("```yaml")[1].split("```")[0])
    return {role["metadata"]["name"]: role for role in documents if role}


def bind(cluster: Handle, namespace: str, role: dict[str, Any], known_by: str) -> Path:
    """The user's kubeconfig, once the Role is in force, as the path of an object that it may get or change shows."""
    metadata = {"namespace": namespace, "name": USER}
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": USER},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": USER}],
    }
    cluster.apply({**role, "metadata": metadata}, binding)
    user, kind = cluster.user(USER), known_by.split("/")[-2]
    verbs = {verb for rule in role["rules"] if kind in rule["resources"] for verb in rule["verbs"]}
    wait_until(lambda: allowed(lambda: user.get(known_by)) == ("get" in verbs), 30, "the Role counts")
    wait_until(
        lambda: allowed(lambda: user.patch(f"{known_by}?dryRun=All", {})) == ("patch" in verbs), 30, "the whole of it"
    )
    return cluster.user_kubeconfig(USER)


def allowed(call: Callable[[], object]) -> bool:
    try:
        call()
    except ApiError as error:
        if error.status != 403:
            raise
        return False
    return True
