# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests need and cannot be had on this machine: they are skipped, loudly; with ``CI=true`` they fail."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import NoReturn

import pytest

_MARK = "there is not "


class UnavailableError(Exception):
    """It is not here and cannot be made; says why."""


def do_without(what: str, error: UnavailableError, *, must: bool = True) -> NoReturn:
    """``must``: it fails with ``CI=true``; else it is something beyond, which not every system can have."""
    why = f"{_MARK}{what}: {error}"
    if must and os.environ.get("CI") == "true":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


def tell_skipped(reporter: pytest.TerminalReporter) -> None:
    """One loud line for each such part, for the end of the run: how many tests were skipped for want of it, and why."""
    said = (re.search(f"{_MARK}.*", str(report.longrepr)) for report in reporter.stats.get("skipped", []))
    for why, many in Counter(found[0].rstrip("'\")") for found in said if found).items():
        reporter.write_line(f"SKIPPED {many} tests, {why}", red=True, bold=True)
