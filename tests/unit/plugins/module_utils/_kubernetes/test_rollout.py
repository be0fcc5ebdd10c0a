# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from plugins.module_utils._kubernetes.rollout import gave_up, is_complete, label_selector, progress, refused, waits_for

DONE = {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3}
OVERDUE = {
    "type": "Progressing",
    "status": "False",
    "reason": "ProgressDeadlineExceeded",
    "message": "it has timed out progressing",
}


def item(wanted: int | None = 3, **status: t.Any) -> dict[str, t.Any]:
    spec = {} if wanted is None else {"replicas": wanted}
    return {"metadata": {"generation": 2}, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("given", "complete"),
    [
        (item(**DONE), True),
        (item(**{**DONE, "observedGeneration": 1}), False),
        (item(**{**DONE, "replicas": 4}), False),
        (item(**{**DONE, "updatedReplicas": 2}), False),
        (item(**{**DONE, "availableReplicas": 2}), False),
        (item(0, observedGeneration=2), True),
        (item(0, observedGeneration=2, replicas=1), False),
        (item(None, observedGeneration=2, replicas=1, updatedReplicas=1, readyReplicas=1, availableReplicas=1), True),
        ({"metadata": {"generation": 1}, "spec": {"replicas": 0}}, False),
    ],
)
def test_a_rollout_is_complete_when_all_pods_are_new_and_no_other_is_left(given: t.Any, complete: bool) -> None:
    assert is_complete(given) is complete


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (item(**DONE), None),
        (item(observedGeneration=2, conditions=[OVERDUE]), "it has timed out progressing"),
        (item(observedGeneration=1, conditions=[OVERDUE]), None),  # of the rollout before
        (item(observedGeneration=2, conditions=[{**OVERDUE, "reason": "ReplicaSetUpdated"}]), None),
        (item(observedGeneration=2, conditions=[{**OVERDUE, "message": ""}]), "ProgressDeadlineExceeded"),
    ],
)
def test_a_deployment_that_gave_up_says_why(given: t.Any, told: str | None) -> None:
    assert gave_up(given) == told


def test_how_far_it_is() -> None:
    said = progress([item(updatedReplicas=2, availableReplicas=1, replicas=4)])
    assert said == "2 of 3 pods updated, 1 available, and 4 in all"
    assert progress([]) == "gone"


def test_a_paused_deployment_is_not_waited_for() -> None:
    paused = item(observedGeneration=2, replicas=3)
    paused["spec"]["paused"] = True
    assert "it is paused" in (gave_up(paused) or "")
    done = item(**DONE)
    done["spec"]["paused"] = True
    assert gave_up(done) is None


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        (
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: pods"},
            "FailedCreate: exceeded quota: pods",
        ),
        ({"type": "ReplicaFailure", "status": "False", "reason": "FailedCreate", "message": "x"}, None),
        ({"type": "Available", "status": "True"}, None),
    ],
)
def test_why_pods_are_not_even_made(condition: dict[str, str], told: str | None) -> None:
    assert refused(item(observedGeneration=2, conditions=[condition])) == told


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ([], None),
        (
            [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: cpu"}],
            "Unschedulable: 0/3 nodes: cpu",
        ),
        (
            [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady", "message": "gate neg-ready"},
            ],
            "ReadinessGatesNotReady: gate neg-ready",
        ),
        ([{"type": "Ready", "status": "False"}], None),
    ],
)
def test_what_a_pod_waits_for(conditions: list[dict[str, str]], told: str | None) -> None:
    assert waits_for({"status": {"conditions": conditions}}) == told


def test_a_selector_of_expressions_only() -> None:
    expressions = [
        {"key": "app", "operator": "In", "values": ["shop", "store"]},
        {"key": "tier", "operator": "NotIn", "values": ["test"]},
        {"key": "version", "operator": "Exists"},
        {"key": "canary", "operator": "DoesNotExist"},
    ]
    selector = {"matchLabels": {"team": "a"}, "matchExpressions": expressions}
    assert label_selector({"spec": {"selector": selector}}) == (
        "team=a,app in (shop,store),tier notin (test),version,!canary"
    )
