# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that do not outlive whoever started them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from demo.rig import wait_until


def with_parent(words: Sequence[str]) -> list[str]:
    """The words of a command that is killed when the thread that started it is no more."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *words]


def start(words: Sequence[str], log: Path, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """In a process group of its own, so that a Ctrl-C at the terminal leaves the order of the end to us."""
    with log.open("ab") as file:
        return subprocess.Popen(
            with_parent(words), cwd=cwd, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )


def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Politely, then for good."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


@contextlib.contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """One process at a time; TimeoutError when its turn does not come."""
    with path.open("a") as file:
        wait_until(lambda: _taken(file.fileno()), seconds, f"{path} is not held by another process")
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
