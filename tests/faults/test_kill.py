# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release is killed, at any moment; what is left of it is recovered."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from .fleet import FORM, Fleet, end_group, wait_seconds

JOURNAL = "bluegreen.deploy.release "
KILLS = {"kill": signal.SIGKILL, "term": signal.SIGTERM}
INSTANTS = {"full": 100, "most": 3}.get(FORM, 1)
"""For each way to reach the load balancers."""
BOUNDARIES = {"full": slice(None), "most": slice(None, None, 5)}.get(FORM, slice(8, 9))


@dataclass(frozen=True)
class Calm:
    """A release that nobody disturbs."""

    seconds: float
    boundaries: tuple[int, ...]
    """Which of the starts and ends of the journal's tasks belong to one that was not skipped."""


@pytest.fixture(scope="module")
def calm(fleet: Fleet) -> Calm:
    begun = time.monotonic()
    release = fleet.start_release(environment=fleet.at(JOURNAL))
    assert release.wait(300) == 0, fleet.said()
    seconds = time.monotonic() - begun
    fleet.assert_whole()
    events = fleet.events()
    ended = [place for place, event in enumerate(events) if event.startswith("end ")]
    return Calm(seconds, tuple(sorted({*ended, *(place - 1 for place in ended)})))


def recovered(fleet: Fleet, tally: Callable[..., None]) -> None:
    done = fleet.recover()
    assert done.returncode in {0, 2}, done.stdout + done.stderr
    fleet.assert_whole()
    tally(kills=1, recovered=1)


@pytest.mark.parametrize("how", KILLS)
def test_at_each_boundary_of_the_journal(fleet: Fleet, calm: Calm, how: str, tally: Callable[..., None]) -> None:
    assert len(calm.boundaries) > 12
    for boundary in calm.boundaries[BOUNDARIES]:
        kill = f"kill -{how.upper()} -{{group}}"
        release = fleet.start_release(environment=fleet.at(JOURNAL, do=kill, nth=boundary))
        assert release.wait(300) != 0, fleet.said()
        recovered(fleet, tally)


@pytest.mark.parametrize("instant", range(INSTANTS))
def test_at_random_instants(fleet: Fleet, calm: Calm, instant: int, tally: Callable[..., None]) -> None:
    chance = random.Random(instant)
    how = chance.choice(list(KILLS.values()))
    release = fleet.start_release()
    wait_seconds(release, chance.random() * calm.seconds)
    end_group(release, how)
    recovered(fleet, tally)
