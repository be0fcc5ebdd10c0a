# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each stage runs with exactly the Role that docs/kubernetes.md gives for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from demo.rig import ROOT, wait_until
from tests.cluster.api import ApiError, location

RBAC = "rbac.authorization.k8s.io"
USER = "viewer"
STAGES = (
    ("bluegreen-pre-deploy", "pre_deploy"),
    ("bluegreen-switch", "switch"),
    ("bluegreen-switch", "post_deploy"),
    ("bluegreen-status", "status"),
    ("bluegreen-retire", "retire"),
)


def roles() -> dict[str, dict[str, Any]]:
    text = (ROOT / "docs" / "kubernetes.md").read_text().split("## Rights")[1]
    documents = yaml.safe_load_all(text.split("```yaml")[1].split("```")[0])
    return {role["metadata"]["name"]: role for role in documents if role}


def bind(example: Any, role: dict[str, Any]) -> None:
    """The user has this Role in the namespace, and no other."""
    metadata = {"namespace": example.namespace, "name": USER}
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": USER},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": USER}],
    }
    example.cluster.apply({**role, "metadata": metadata}, binding)
    user = example.cluster.user(USER)
    service = location(example.objects["Service", "my-app"])
    patches = any("services" in rule["resources"] and "patch" in rule["verbs"] for rule in role["rules"])
    wait_until(lambda: allowed(lambda: user.get(service)), 30, "the Role counts")
    wait_until(lambda: allowed(lambda: user.patch(f"{service}?dryRun=All", {})) == patches, 30, "the whole of it")


def allowed(call: Callable[[], object]) -> bool:
    try:
        call()
    except ApiError as error:
        if error.status != 403:
            raise
        return False
    return True


def test_each_stage_needs_its_role_and_no_more(example: Any) -> None:
    for role, stage in STAGES:
        bind(example, roles()[role])
        done = example.play(stage, user=USER, bluegreen_version="1.1")
        assert done.returncode == 0, (stage, done.stdout + done.stderr)
    assert (example.live(), example.replicas("blue")) == ("green", 0)


def test_the_way_back_needs_the_role_of_the_switch(example: Any) -> None:
    assert example.play("pre_deploy", bluegreen_version="1.1").returncode == 0
    bind(example, roles()["bluegreen-switch"])
    assert example.play("switch", user=USER, bluegreen_version="1.1").returncode == 0
    back = example.play("rollback", user=USER, bluegreen_version="1.1")
    assert "All traffic is back on blue" in back.stdout, back.stdout
    assert example.live() == "blue"
