# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster to try things on, or for several test processes to share.

    python -m tests.cluster [--directory D] [--while-alive PID]

Prints ``KUBECONFIG=…`` when it is up, and ends on SIGINT or SIGTERM, or when the process it is for is gone.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

from tests.missing import UnavailableError

from .cluster import Cluster

LOOK = 1.0  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=main.__doc__)
    parser.add_argument("--directory", type=Path, help="for its state; a temporary one if not given")
    parser.add_argument("--while-alive", type=int, metavar="PID", help="end when this process is gone")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with tempfile.TemporaryDirectory(prefix="bluegreen-cluster-") as folder:
        try:
            with Cluster(options.directory or Path(folder)) as cluster:
                sys.stdout.write(f"KUBECONFIG={cluster.kubeconfig}\n")
                sys.stdout.flush()
                while not stop.wait(LOOK) and alive(options.while_alive):
                    pass
        except UnavailableError as error:
            sys.exit(f"tests.cluster: {error}")


def alive(pid: int | None) -> bool:
    if pid is None:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


if __name__ == "__main__":
    main()
