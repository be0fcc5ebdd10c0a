# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from .balancer import Balancer
from .bench import Bench, Ratio, Samples
from .play import Task, play

TURNS = 4


class Switch(Bench):
    """A whole `traffic` task (map way, a real move each time) beside an `ansible.builtin.ping` task.

    Both on the same host in the same ansible-playbook run, for a HAProxy of 2 servers and one of 1,000. Each
    run begins with a turn that counts apart: the first task of a module also pays for packing the module.
    """

    ratios = (
        Ratio("switch_2_vs_ping", "traffic, 2 servers", "ping", promised=1.5),
        Ratio("switch_1000_vs_ping", "traffic, 1,000 servers", "ping", promised=1.5),
        Ratio("switch_first_vs_ping", "the first traffic of a run", "ping"),
        Ratio("switch_first_vs_first_ping", "the first traffic of a run", "the first ping of a run"),
    )

    def __init__(self, directory: Path, processes: ExitStack) -> None:
        self._directory = directory
        self._small = processes.enter_context(Balancer.running(directory / "map_2", "map", 2))
        self._large = processes.enter_context(Balancer.running(directory / "map_1000", "map", 1000))

    def measure(self) -> Samples:
        tasks = [_ping("the first ping of a run"), *self._small.move("the first traffic of a run")]
        for turn in range(TURNS):
            contestants = [
                [_ping("ping")],
                self._small.move("traffic, 2 servers"),
                self._large.move("traffic, 1,000 servers"),
            ]
            for place in range(3):
                tasks += contestants[(turn + place) % 3]
        return play(self._directory, tasks, seconds=240)


def _ping(name: str) -> Task:
    return {"name": name, "ansible.builtin.ping": {}}
