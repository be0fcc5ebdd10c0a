# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers as a fixture, one pair a test process. Tests take names of their own: a resolver keeps its answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.missing import UnavailableError, do_without

from .program import find_or_fetch
from .servers import Dns, running


@pytest.fixture(scope="session")
def dns_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dns]:
    try:
        program = find_or_fetch()
    except UnavailableError as error:
        do_without("a DNS server", error)
    with running(program, tmp_path_factory.mktemp("dns")) as servers:
        yield servers
