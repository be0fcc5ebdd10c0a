# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users at a front door, for as long as a test does things to it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demo import measure
from demo.rig import ROOT, load_command, wait_until

FEW = ("--rate", "50", "--slow", "1", "--streams", "1", "--websockets", "2")
"""Where a slower front door is asked than a HAProxy."""


@contextlib.contextmanager
def live_load(url: str, directory: Path, *options: str) -> Iterator[list[Any]]:
    """A live load while the block runs; afterwards the list holds its summary and its records."""
    out, log = directory / "load.jsonl", directory / "load.log"
    seen: list[Any] = []
    with log.open("w") as told:
        process = subprocess.Popen(load_command(url, out, *options), cwd=ROOT, stdout=told)
        try:
            wait_until(lambda: log.stat().st_size > 0, 20, "the load runs")
            yield seen
        finally:
            process.terminate()
            process.wait(30)
    with out.open() as file:
        seen.extend(measure.parse(file))
