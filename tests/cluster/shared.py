# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster for all tests of a run, whichever worker they are in.

``BLUEGREEN_TEST_KUBECONFIG`` names another cluster to take instead, such as one of kind or k3d: it has no stand-ins of
ours. Where there is none and none can be brought up the tests are skipped, loudly; with ``CI=true`` they fail.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from demo.rig import ROOT, wait_until
from tests.missing import UnavailableError, do_without

from .binaries import LONGEST, find_or_build
from .cluster import Handle
from .control_plane import START
from .process import locked

VARIABLE = "BLUEGREEN_TEST_KUBECONFIG"


def shared_cluster(temporary: pytest.TempPathFactory) -> Handle:
    """For a session fixture. The cluster ends by itself when the run does."""
    try:
        if named := os.environ.get(VARIABLE):
            return Handle(Path(named), None)
        worker = "PYTEST_XDIST_WORKER" in os.environ
        base = temporary.getbasetemp()
        return attach(base.parent if worker else base, os.getppid() if worker else os.getpid())
    except UnavailableError as error:
        do_without("a Kubernetes cluster", error)


def attach(base: Path, controller: int) -> Handle:
    """To the run's cluster; who comes first brings it up, for as long as the controller lives."""
    told = base / "cluster.json"
    with locked(base / "cluster.lock", LONGEST):
        if not told.exists():
            told.write_text(json.dumps(_bring_up(base, controller)))
    found = json.loads(told.read_text())
    if "unavailable" in found:
        raise UnavailableError(found["unavailable"])
    directory = Path(found["directory"])
    return Handle(directory / "admin.kubeconfig", directory)


def _bring_up(base: Path, controller: int) -> dict[str, str]:
    try:
        find_or_build()
    except UnavailableError as error:
        return {"unavailable": str(error)}
    directory = Path(tempfile.mkdtemp(prefix="cluster-", dir=base))
    words = ["--directory", str(directory), "--while-alive", str(controller)]
    out, log = directory / "out", directory / "log"
    with out.open("wb") as said, log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster", *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=errors,
            start_new_session=True,  # it has to outlive the worker that came first
        )
    wait_until(lambda: out.read_text() or process.poll() is not None, 2 * START, "the cluster is up")
    if not out.read_text():
        raise RuntimeError(f"the cluster ended: {log.read_text()[-2000:]}")
    return {"directory": str(directory)}
