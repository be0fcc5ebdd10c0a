# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server as fixtures: one a test process, put back to nothing before each test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .handle import Aws, running


@pytest.fixture(scope="session")
def aws_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """For fixtures that set something up for many tests; it is not reset."""
    with running(tmp_path_factory.mktemp("aws"), os.getpid()) as aws:
        yield aws


@pytest.fixture
def aws(aws_server: Aws) -> Aws:
    """An empty account."""
    aws_server.reset()
    return aws_server
