# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One site for all tests, which the role haproxy has set up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.missing import UnavailableError, do_without, tell_skipped

from .site import Site, site


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tell_skipped(terminalreporter)


@pytest.fixture(scope="session")
def made() -> Iterator[Site]:
    try:
        with site() as made:
            for colour in ("blue", "green"):
                for machine in made.of(colour):
                    machine.run("systemctl", "start", "shop")
            done = made.play("haproxy", pipelining=False)
            assert done.returncode == 0, done.stdout + done.stderr
            yield made
    except UnavailableError as error:
        do_without("a rig of real hosts", error, must=False)


@pytest.fixture
def hosts(made: Site) -> Site:
    """1.0 on both colours, all traffic on blue."""
    made.reset()
    return made
