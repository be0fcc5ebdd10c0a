# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else writes an object, and would put back what a release changes in it. Private to this collection.

Source: kubernetes.io/docs/reference/using-api/server-side-apply for managed fields; argo-cd.readthedocs.io
(user-guide/resource_tracking, user-guide/sync-options), argoproj.github.io/argo-rollouts,
fluxcd.io/flux/components/kustomize/kustomizations and helm.sh/docs/howto/chart_best_practices for the labels and
annotations by which each of them knows its objects.
"""

from __future__ import annotations

import json
import typing as t

from .client import MANAGER, Json

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
ARGO_CD = "argocd-controller"
"""Its field manager, by which it is known where it marks its objects with a label that others have, too."""
ARGO_ROLLOUTS = "argo-rollouts.argoproj.io/managed-by-rollouts"
FLUX = ("kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/")
FLUX_LEAVES = {
    "kustomize.toolkit.fluxcd.io/ssa": ("IfNotPresent", "Ignore"),
    "kustomize.toolkit.fluxcd.io/reconcile": ("disabled",),
}
SEE = "see docs/gitops.md"

Path = t.Sequence[str]
"""Where a field is, such as C(spec, selector, version)."""


def rivals(found: Json, what: str, path: Path) -> tuple[str, ...]:
    """Who would put the field back, and the setting with which they leave it alone, a sentence each."""
    metadata, field = found["metadata"], ".".join(path[:2])
    marks = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    if ARGO_ROLLOUTS in marks:
        return (_argo_rollouts(marks[ARGO_ROLLOUTS], what, field),)
    if any(mark.startswith("argocd.argoproj.io/") for mark in marks) or _is_written_by(ARGO_CD, metadata):
        return (_argo_cd(what, field),)
    if any(mark.startswith(FLUX) for mark in marks):
        left = any(marks.get(mark) in values for mark, values in FLUX_LEAVES.items())
        return () if left else (_flux(what, field),)
    if "meta.helm.sh/release-name" in marks:
        return (_helm(marks["meta.helm.sh/release-name"], what, field),)
    if _holds(_parsed(marks.get(LAST_APPLIED)), path):
        return (_kubectl(what, field),)
    return tuple(_applier(name, what, field) for name in _appliers(metadata, path))


def _argo_rollouts(rollout: str, what: str, field: str) -> str:
    return (
        f"Argo Rollouts keeps {field} of {what} for Rollout {rollout}, and puts it back at once: name another Service "
        f"here or there: {SEE}"
    )


def _argo_cd(what: str, field: str) -> str:
    return (
        f"Argo CD manages {what}, and puts {field} back when it syncs, unless its Application has ignoreDifferences "
        f"for it and the sync option RespectIgnoreDifferences=true: {SEE}"
    )


def _flux(what: str, field: str) -> str:
    return f"Flux manages {what}, and puts {field} back when it reconciles, unless it ignores that field: {SEE}"


def _helm(release: str, what: str, field: str) -> str:
    return (
        f"Helm release {release} made {what}: the next upgrade that renders {field} puts it back, or ends with a "
        f"conflict, and with --force-conflicts moves the traffic: {SEE}"
    )


def _kubectl(what: str, field: str) -> str:
    return (
        f"kubectl apply made {what} with {field} in its manifest: to apply that again puts it back, and moves the "
        f"traffic: {SEE}"
    )


def _applier(name: str, what: str, field: str) -> str:
    return f"{name} applies {field} of {what}, and puts it back if it is told to force conflicts: {SEE}"


def _is_written_by(manager: str, metadata: Json) -> bool:
    return any(each.get("manager") == manager for each in metadata.get("managedFields") or ())


def _appliers(metadata: Json, path: Path) -> list[str]:
    """Who has made the field his own by server-side apply."""
    fields = [f"f:{part}" for part in path]
    owners = [each for each in metadata.get("managedFields") or () if each.get("operation") == "Apply"]
    names = [each.get("manager", "") for each in owners if _holds(each.get("fieldsV1"), fields)]
    return [name for name in names if name != MANAGER]


def _holds(tree: t.Any, path: Path) -> bool:
    for part in path:
        if not isinstance(tree, dict) or part not in tree:
            return False
        tree = tree[part]
    return True


def _parsed(text: str | None) -> t.Any:
    """What somebody else has written there, and may be anything."""
    try:
        return json.loads(text or "")
    except ValueError:
        return None
