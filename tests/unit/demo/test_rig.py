# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from demo.rig import _gone, end, wait_until

WAITS = "import sys; sys.stdin.read()"


@pytest.mark.parametrize("ours", [True, False])
def test_only_a_process_that_names_its_pid_file_is_ended(tmp_path: Path, ours: bool) -> None:
    """A number that was left behind may be that of somebody else's process by now."""
    pid_file = tmp_path / "it.pid"
    words = [sys.executable, "-c", WAITS, *(["--pid-file", str(pid_file)] if ours else [])]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        try:
            wait_until(Path(f"/proc/{process.pid}/cmdline").read_bytes, 10, "it has begun")
            pid_file.write_text(f"{process.pid}\n")
            end(pid_file, 10)
            assert _gone(process.pid) is ours
            assert not pid_file.exists()
        finally:
            process.kill()


def test_a_process_that_is_no_more_is_no_trouble(tmp_path: Path) -> None:
    pid_file = tmp_path / "it.pid"
    end(pid_file, 10)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait(20)
    pid_file.write_text(str(process.pid))
    end(pid_file, 10)
    assert not pid_file.exists()
