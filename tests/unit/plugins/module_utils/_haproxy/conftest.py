# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from plugins.module_utils._haproxy import command_line

from .fakes import Processlist


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Processlist:
    """What else runs on this host: at first nothing."""
    home = tmp_path / "proc"
    home.mkdir()
    monkeypatch.setattr(command_line, "PROC", home)
    return Processlist(home)
