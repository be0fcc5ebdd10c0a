# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each stage is a job of its own, as AWX runs it: started from nothing, and when it is cancelled killed with SIGKILL.

Nothing goes from one job to the next but what the record holds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.rig import COLOURS, wait_until

from .fleet import AMPLE, FULL, VERSIONS, Environment, Fleet

RUNNER = str(Path(sys.executable).with_name("ansible-runner"))
CHAIN = ("pre_deploy", "switch", "post_deploy")
HELD = "kill -INT {parent}; exec sleep 120"
"""The run waits at the very event until it is killed."""


BEFORE_THE_PROOF = "Read what the load balancer has counted so far"
CANCELS = {
    "pre_deploy after begin": ("pre_deploy", {"task": "Begin the release", "event": "end", "do": HELD}),
    "switch after a step": ("switch", {"task": "Send 50 % to", "event": "end", "do": HELD}),
    "switch before the proof": ("switch", {"task": BEFORE_THE_PROOF, "event": "start", "do": HELD}),
    "post_deploy in the watch": ("post_deploy", {"task": "Watch .* under all", "do": "kill -INT {parent}"}),
}
"""The stage that is cancelled, and when."""
AFTER_A_STEP = "switch after a step"


@dataclass(frozen=True)
class Job:
    """What AWX would show of it."""

    status: str
    artifacts: dict[str, Any]
    """What it hands to the next job of a workflow."""
    said: str


@pytest.fixture
def awx(fleet: Fleet, tmp_path: Path) -> Awx:
    return Awx(fleet, tmp_path)


class Awx:
    """A controller, and nodes that run its jobs, which remember nothing."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.fleet, self.directory = fleet, directory
        self.number = 0

    def job(self, stage: str, environment: Environment = None, **variables: Any) -> Job:
        self.number += 1
        home = self.directory / str(self.number)
        said = {**AMPLE, "awx_job_id": self.number, "awx_user_name": "alice", **variables}
        sent = self._private_data(home / "sent", stage, said, environment or {})
        self._runner(home, "transmit", str(sent), "-p", f"{stage}.yml", reads="/dev/null")
        self._runner(home, "worker", "--private-data-dir", str(home / "executed"), reads="transmit")
        self._runner(home, "process", str(home / "processed"), reads="worker")
        return self._shown(home / "processed" / "artifacts")

    def _private_data(self, sent: Path, stage: str, variables: dict[str, Any], environment: dict[str, str]) -> Path:
        files = {
            f"project/{stage}.yml": [{"import_playbook": f"bluegreen.deploy.{stage}"}],
            "inventory/hosts.json": json.loads(self.fleet.inventory.read_text()),
            "env/extravars": variables,
            "env/envvars": environment,
            "env/settings": {"pexpect_timeout": 1},
        }
        for name, content in files.items():
            (sent / name).parent.mkdir(parents=True, exist_ok=True)
            (sent / name).write_text(json.dumps(content))
        return sent

    def _runner(self, home: Path, part: str, *words: str, reads: str) -> None:
        with (home / reads).open("rb") as given, (home / part).open("wb") as told:
            subprocess.run(
                [RUNNER, part, *words],
                env=self.fleet.environment(),
                stdin=given,
                stdout=told,
                stderr=(home / f"{part}.err").open("wb"),
                check=False,
                timeout=300,
            )

    def _shown(self, artifacts: Path) -> Job:
        events = [json.loads(each.read_text()) for each in artifacts.glob("job_events/*.json")]
        stats = [event["event_data"] for event in events if event["event"] == "playbook_on_stats"]
        handed_over = stats[0].get("artifact_data", {}) if stats else {}
        return Job((artifacts / "status").read_text(), handed_over, (artifacts / "stdout").read_text())

    def cancelled(self, where: str, version: str) -> Job:
        """A release job by job, up to the one that is cancelled."""
        stage, wish = CANCELS[where]
        for before in CHAIN[: CHAIN.index(stage)]:
            self.passes(before, bluegreen_version=version)
        cancel = self.fleet.at(**wish, nth=0)
        job = self.job(stage, cancel, bluegreen_version=version, bluegreen_watch=10)
        assert (job.status, job.artifacts) == ("canceled", {}), job.said
        return job

    def passes(self, stage: str, **variables: Any) -> None:
        job = self.job(stage, **variables)
        assert job.status == "successful", job.said


def test_the_record_is_all_that_the_next_job_needs(fleet: Fleet, awx: Awx, tally: Callable[..., None]) -> None:
    to = fleet.idle()
    for stage in CHAIN:
        awx.passes(stage, bluegreen_version=VERSIONS[to])
    assert fleet.assert_whole() == to
    sessions = fleet.record()["release"]["sessions"]
    assert [(one["owner"], one["why"]) for one in sessions] == [
        ("alice (job 1)", "began"),
        ("alice (job 2)", "joined"),
        ("alice (job 3)", "joined"),
    ]
    tally(jobs=awx.number)


@pytest.mark.parametrize("where", CANCELS if FULL else [AFTER_A_STEP])
def test_a_release_whose_job_was_cancelled_is_recovered(
    fleet: Fleet, awx: Awx, where: str, tally: Callable[..., None]
) -> None:
    live, version = fleet.live(), VERSIONS[fleet.idle()]
    awx.cancelled(where, version)
    recovered = awx.job("recover", bluegreen_take_over=f"job {awx.number} was cancelled")
    assert recovered.status == "failed", recovered.said
    assert "rolled back" in recovered.said
    assert fleet.assert_whole() == live
    wait_until(lambda: not fleet.modules(), 60, "what the killed job has left has ended")
    assert fleet.assert_whole() == live
    tally(jobs=awx.number, recovered=1)


@pytest.mark.skipif(not FULL, reason="a part of the full form")
def test_a_release_whose_job_was_cancelled_is_taken_up_again(
    fleet: Fleet, awx: Awx, tally: Callable[..., None]
) -> None:
    to = fleet.idle()
    awx.cancelled(AFTER_A_STEP, VERSIONS[to])
    assert set(map(str, fleet.splits().values())) == {str(dict.fromkeys(COLOURS, 50))}
    awx.passes("switch", bluegreen_version=VERSIONS[to], bluegreen_release=fleet.record()["release"]["id"])
    awx.passes("post_deploy", bluegreen_version=VERSIONS[to])
    assert fleet.assert_whole() == to
    tally(jobs=awx.number)
