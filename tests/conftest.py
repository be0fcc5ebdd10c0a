# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever ends the tests ends what they have started, too."""

from __future__ import annotations

import signal

import pytest

from demo.rig import end


def pytest_configure() -> None:
    """pytest takes SIGTERM like Ctrl-C, and stops what was started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Workers of xdist that were ended leave load balancers behind, which have gone to the background by themselves."""
    factory = getattr(config, "_tmp_path_factory", None)
    if factory and factory._basetemp and not hasattr(config, "workerinput"):
        for number in (signal.SIGTERM, signal.SIGINT):  # who asks a second time must not keep it from ending the rest
            signal.signal(number, signal.SIG_IGN)
        for pid_file in factory._basetemp.rglob("*.pid"):
            end(pid_file, 15)
