# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benches share: what a thing costs, the ratios that matter, and processes that end in every outcome."""

from __future__ import annotations

import abc
import contextlib
import http.client
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from demo.rig import ROOT, wait_until


class BrokenError(Exception):
    """Something did not work, so there is nothing to measure."""


class Cost(NamedTuple):
    """Seconds."""

    wall: float
    cpu: float

    @classmethod
    def median(cls, costs: Sequence[Self]) -> Self:
        return cls(*map(statistics.median, zip(*costs, strict=True)))


Samples = Mapping[str, Sequence[Cost]]  # by the name of what was timed


@dataclass(frozen=True)
class Ratio:
    """How many times as much ``of`` costs as ``per``."""

    key: str
    of: str
    per: str
    promised: float | None = None

    def value(self, samples: Samples) -> Cost | None:
        """Of the medians; None without samples."""
        if self.of not in samples or self.per not in samples:
            return None
        of, per = Cost.median(samples[self.of]), Cost.median(samples[self.per])
        return Cost(of.wall / per.wall, of.cpu / per.cpu)


class Bench(abc.ABC):
    """One comparison. What it compares takes turns, within each measurement."""

    ratios: Sequence[Ratio]
    most_runs: int | None = None
    absent: str | None = None  # why there is nothing to compare with, in one word
    cut_short: bool = False  # what is compared took longer than its samples say

    @abc.abstractmethod
    def measure(self) -> Samples: ...

    def more(self, samples: Samples) -> Mapping[str, str]:
        """More pairs for the last line than the ratios."""
        return {}


@contextlib.contextmanager
def process(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """A server for as long as it is needed. It has started when it listens."""
    with log.open("ab") as file:
        server = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    try:
        wait_until(lambda: server.poll() is not None or _answers(port), 20, f"{command[0]} listens")
        if server.poll() is not None:
            raise BrokenError(f"{command[0]} has ended: {log.read_text()}")
        yield
    finally:
        end(server)


def end(server: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Politely, then for good."""
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _answers(port: int) -> bool:
    try:
        get(port, "/")
    except OSError:
        return False
    return True


def get(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read().decode()
