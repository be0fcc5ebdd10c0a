# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults: a few of them as part of `make test`, all of them with BLUEGREEN_FAULTS=full, as `make faults` sets it.

BLUEGREEN_FAULTS=most is all of them at fewer instants, for other versions of ansible-core.
"""

from __future__ import annotations

import collections
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .fleet import FULL, LOAD_BALANCERS, Fleet, OneHost

TALLY = "BLUEGREEN_FAULTS_TALLY"
FLEETS = {"barrier": OneHost, **({"hosts": Fleet} if FULL else {})}
"""One play host for all load balancers costs a fourth of one for each."""


def pytest_configure() -> None:
    """The file is one for all workers, who inherit its name."""
    if TALLY not in os.environ:
        handle, os.environ[TALLY] = tempfile.mkstemp(prefix="bluegreen-tally-")
        os.close(handle)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        Path(os.environ.pop(TALLY)).unlink(missing_ok=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line of figures, after everything else."""
    figures: collections.Counter[str] = collections.Counter()
    for line in Path(os.environ[TALLY]).read_text().splitlines():
        for key, value in json.loads(line).items():
            figures[key] = max(figures[key], value) if key.startswith("max_") else figures[key] + value
    if figures:
        terminalreporter.write_line(
            "faults " + " ".join(f"{key}={value:.10g}" for key, value in sorted(figures.items()))
        )


@pytest.fixture(scope="session")
def tally() -> Callable[..., None]:
    """Adds to the figures of the last line; those called max_… keep the largest."""

    def add(**figures: float) -> None:
        with Path(os.environ[TALLY]).open("a") as file:
            file.write(json.dumps(figures) + "\n")

    return add


@pytest.fixture(scope="module", params=FLEETS.values(), ids=FLEETS)
def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tally: Callable[..., None]
) -> Iterator[Fleet]:
    """Some load balancers under live load for all tests of a module; no request may fail."""
    with request.param(tmp_path_factory.mktemp("fleet"), LOAD_BALANCERS) as fleet:
        with fleet.load() as seen:
            yield fleet
        tally(requests=sum(head["requests"] for head in seen), failed=sum(head["failed"] for head in seen))
        assert [head["failures"] for head in seen if head["failed"] or head["websockets"]["lost"]] == []
