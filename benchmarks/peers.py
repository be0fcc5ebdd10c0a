# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from demo.rig import environment

from .balancer import PEER, Balancer
from .bench import Bench, Ratio, Samples
from .play import TooLongError, play


class Peers(Bench):
    """The same swap with `community.general.haproxy`, in a loop over the servers, beside one `traffic` task.

    20 servers are 10 to enable and then 10 to drain, and so are 200: the loop takes each of them once. A loop that
    takes too long is ended, and what it took until then is a lower bound.
    """

    def __init__(
        self,
        directory: Path,
        processes: ExitStack,
        servers: int,
        *,
        absent: str | None,
        most_runs: int | None = None,
        seconds: float = 240,
    ) -> None:
        self.absent = absent
        self.most_runs = most_runs
        self._directory = directory
        self._seconds = seconds
        self._map, self._servers = (
            processes.enter_context(Balancer.running(directory / f"{way}_{servers}", way, servers))
            for way in ("map", "servers")
        )
        self._peer = f"{PEER}, {servers} servers"
        self._by_map, self._by_servers = (f"traffic by {way}, {servers} servers" for way in ("map", "servers"))
        self.ratios = (
            Ratio(f"peer_{servers}", self._peer, self._by_map),
            Ratio(f"peer_{servers}_by_servers", self._peer, self._by_servers),
        )

    def measure(self) -> Samples:
        tasks = self._map.move("the first of a run")
        for _turn in range(2):
            tasks += self._map.move(self._by_map) + self._servers.move(self._by_servers)
        if not self.absent:
            tasks.append(self._servers.peer_task("the first of a run", [(f"{self._servers.live}1", "enabled")]))
            tasks += self._servers.move_by_peer(self._peer)
        try:
            samples = play(self._directory, tasks, self._seconds)
        except TooLongError as error:
            if self._peer not in error.samples:
                raise
            self.cut_short, self.most_runs = True, 1
            return error.samples
        self._servers.prove()
        return samples


def installed(peer: str) -> bool:
    """Whether ansible-playbook would find the peer's module."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-doc")), "--json", "--type", "module", peer],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode == 0 and peer in json.loads(done.stdout)
