# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An AWS to try things on.

    python -m tests.aws [--while-alive PID]

Prints one JSON line with its ``url`` when it listens, and ends on SIGINT or SIGTERM, or when the process it is for is
gone. Clients take it by ``AWS_ENDPOINT_URL``; what only tests ask is under ``/_bg/`` (``admin.py``).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from .server import serve

LOOK = 1.0  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.aws", description=main.__doc__)
    parser.add_argument("--while-alive", type=int, metavar="PID", help="end when this process is gone")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with serve() as port:
        sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{port}", "pid": os.getpid()}) + "\n")
        sys.stdout.flush()
        while not stop.wait(LOOK) and alive(options.while_alive):
            pass


def alive(pid: int | None) -> bool:
    if pid is None:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return not Path("/proc/self").exists() and _answers(pid)
    return state != "Z"


def _answers(pid: int) -> bool:
    """Where there is no /proc to look at."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


if __name__ == "__main__":
    main()
