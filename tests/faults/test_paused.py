# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release stands still for a while, such as a virtual machine that is moved, and goes on when its time is over."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.rig import COLOURS, wait_until

from .fleet import AMPLE, FULL, VERSIONS, Fleet, end_group

HOLD = "touch {held}; until [ -e {go} ]; do sleep 0.05; done"


def family(pid: int) -> set[int]:
    """The process and all below it; Ansible's workers have sessions of their own."""
    parents = {}
    for each in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(each.parent.name)] = int(each.read_text().rpartition(")")[2].split()[1])
    found, more = {pid}, {pid}
    while more:
        more = {child for child, parent in parents.items() if parent in found} - found
        found |= more
    return found


@contextlib.contextmanager
def standing_still(pid: int) -> Iterator[None]:
    """The whole family, until the end of the block."""
    stopped: set[int] = set()
    while more := family(pid) - stopped:
        signalled(more, signal.SIGSTOP)
        stopped |= more
    try:
        yield
    finally:
        signalled(stopped, signal.SIGCONT)


def signalled(pids: set[int], what: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)


@contextlib.contextmanager
def released(fleet: Fleet, log: Path, environment: dict[str, str], **variables: Any) -> Iterator[subprocess.Popen[str]]:
    """A release to the colour that is idle now, with a log of its own, that has ended afterwards."""
    version = VERSIONS[fleet.idle()]
    with log.open("w") as said:
        process = subprocess.Popen(
            fleet.command("release", bluegreen_version=version, **{**AMPLE, **variables}),
            env=fleet.environment(**environment),
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end_group(process, signal.SIGKILL)


def half(fleet: Fleet) -> bool:
    return set(map(str, fleet.splits().values())) == {str(dict.fromkeys(COLOURS, 50))}


def waiting(fleet: Fleet) -> bool:
    """The look before has ended, so that whatever module is at work is the one that will move the traffic."""
    return (fleet.directory / "events.log").exists() and fleet.modules() != []


MOMENTS: dict[str, tuple[dict[str, Any], Callable[[Fleet], bool]]] = {
    "in the watch": ({"bluegreen_hold": 5}, half),
    "before the instant": ({"bluegreen_lead": 10}, waiting),
}


@dataclass(frozen=True)
class Truth:
    """Where the traffic is, and what the record says."""

    splits: dict[str, Any]
    record: dict[str, Any]

    @classmethod
    def of(cls, fleet: Fleet) -> Truth:
        return cls(fleet.splits(), fleet.record())


@pytest.mark.parametrize("moment", MOMENTS if FULL else ["in the watch"])
def test_what_was_paused_writes_nothing_after_the_next_has_begun(
    fleet: Fleet, tmp_path: Path, moment: str, tally: Callable[..., None]
) -> None:
    live, (variables, reached) = fleet.live(), MOMENTS[moment]
    held, go, said = tmp_path / "held", tmp_path / "go", tmp_path / "first"
    at_the_step = {**fleet.at("Send 50 % to", event="start"), "USER": "alice", "ANSIBLE_SHOW_CUSTOM_STATS": "true"}
    with released(fleet, said, at_the_step, **variables) as first, contextlib.ExitStack() as after:
        wait_until(lambda: first.poll() is not None or reached(fleet), 120, f"the first is {moment}")
        with standing_still(first.pid):
            recovered = fleet.recover(bluegreen_take_over="it does not answer any more")
            assert (recovered.returncode, fleet.assert_whole()) == (2, live), recovered.stdout
            hold = fleet.at("Ask once more for the health", do=HOLD.format(held=held, go=go), event="start", nth=0)
            second = after.enter_context(released(fleet, tmp_path / "second", {**hold, "USER": "bob"}))
            wait_until(lambda: second.poll() is not None or held.exists(), 120, "the second is at work")
            before = Truth.of(fleet)
            assert before.record["lock"]["owner"] == "bob"
        assert first.wait(120) == 2, said.read_text()
        assert Truth.of(fleet) == before
        assert "bob has the release" in said.read_text()
        assert "bluegreen_release" not in said.read_text()  # which would send the next job of its workflow astray
        go.touch()
        assert second.wait(120) == 0, (tmp_path / "second").read_text()
    assert fleet.assert_whole() != live
    tally(paused=1)
