# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each as the program in question marks its objects; pages in owners.py."""

from __future__ import annotations

import json
import typing as t

import pytest

from plugins.module_utils._kubernetes.owners import LAST_APPLIED, rivals

ROLLOUT = "argo-rollouts.argoproj.io/managed-by-rollouts"
PATH = ("spec", "selector", "version")
SELECTOR = {"f:spec": {"f:selector": {"f:version": {}}}}
APPLIED = {LAST_APPLIED: json.dumps({"spec": {"selector": {"app": "shop", "version": "blue"}}})}


def told(path: t.Sequence[str] = PATH, **metadata: t.Any) -> tuple[str, ...]:
    return rivals({"metadata": metadata}, "Service shop", path)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "shop:/Service:shop/shop"}},
            "Argo CD manages Service shop",
        ),
        ({"labels": {"argocd.argoproj.io/instance": "shop"}}, "RespectIgnoreDifferences=true"),
        (  # with its older tracking, by a label that Helm sets as well
            {"labels": {"app.kubernetes.io/instance": "shop"}, "managedFields": [{"manager": "argocd-controller"}]},
            "Argo CD manages Service shop",
        ),
        ({"annotations": {ROLLOUT: "web"}}, "Argo Rollouts keeps spec.selector of Service shop for Rollout web"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}, "Flux manages Service shop"),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "shop"}}, "Flux manages Service shop"),
        ({"annotations": {"meta.helm.sh/release-name": "web"}}, "Helm release web made Service shop"),
        ({"annotations": APPLIED}, "kubectl apply made Service shop with spec.selector in its manifest"),
        (
            {"managedFields": [{"manager": "ci", "operation": "Apply", "fieldsV1": SELECTOR}]},
            "ci applies spec.selector of Service shop",
        ),
    ],
)
def test_who_puts_the_selector_back_is_named(metadata: dict[str, t.Any], said: str) -> None:
    (one,) = told(**metadata)
    assert said in one
    assert "docs/gitops.md" in one


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": None},
        {
            "labels": {"kustomize.toolkit.fluxcd.io/name": "shop"},
            "annotations": {"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"},
        },
        {"annotations": {LAST_APPLIED: json.dumps({"spec": {"selector": {"app": "shop"}}})}},
        {"annotations": {LAST_APPLIED: "[not json"}},
        {"annotations": {LAST_APPLIED: '"text"'}},
        {"managedFields": [{"manager": "bluegreen.deploy", "operation": "Apply", "fieldsV1": SELECTOR}]},
        {"managedFields": [{"manager": "kubectl-edit", "operation": "Update", "fieldsV1": SELECTOR}]},
        {"managedFields": [{"manager": "ci", "operation": "Apply", "fieldsV1": {"f:spec": {"f:ports": {}}}}]},
    ],
)
def test_whoever_leaves_it_alone_is_not(metadata: dict[str, t.Any]) -> None:
    assert told(**metadata) == ()


def test_a_list_of_rules_is_one_field() -> None:
    applied = {LAST_APPLIED: json.dumps({"spec": {"rules": []}})}
    assert "spec.rules" in told(("spec", "rules"), annotations=applied)[0]
