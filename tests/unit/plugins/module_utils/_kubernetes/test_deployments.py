# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from plugins.module_utils._kubernetes.deployments import _gave_up, _is_complete, _progress

DONE = {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3}
OVERDUE = {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "it has timed out progressing"}


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
    assert _is_complete(given) is complete


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
    assert _gave_up(given) == told


def test_how_far_it_is() -> None:
    said = _progress([item(updatedReplicas=2, availableReplicas=1, replicas=4)])
    assert said == "2 of 3 pods updated, 1 available, and 4 in all"
    assert _progress([]) == "gone"
