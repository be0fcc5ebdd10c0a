# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One load balancer for all tests, put back to blue before each of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.rig import find_haproxy
from tests.aws.fixture import aws, aws_server
from tests.bind.fixture import dns_servers
from tests.cluster.cluster import Handle
from tests.cluster.shared import shared_cluster
from tests.missing import tell_skipped

from .balancer import Balancer

__all__ = ["aws", "aws_server", "dns_servers"]


def binaries() -> list[str]:
    """The HAProxy that is there, and the one in $BLUEGREEN_HAPROXY."""
    asked_for = os.environ.pop("BLUEGREEN_HAPROXY", None)
    try:
        found = find_haproxy()
    finally:
        if asked_for:
            os.environ["BLUEGREEN_HAPROXY"] = asked_for
    return [*dict.fromkeys(binary for binary in (found, asked_for) if binary)]


@pytest.fixture(scope="session", params=binaries(), ids=lambda binary: Path(binary).name)
def shared_balancer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    balancer = Balancer(tmp_path_factory.mktemp("rig"), request.param)
    with balancer.rig:
        balancer.start()
        yield balancer


@pytest.fixture
def balancer(shared_balancer: Balancer) -> Balancer:
    shared_balancer.reset()
    return shared_balancer


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Handle:
    """One Kubernetes cluster for all workers."""
    return shared_cluster(tmp_path_factory)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tell_skipped(terminalreporter)
