# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: T201 (it talks to whoever runs it)
"""`make faults`: all that may befall a release, and the same at fewer instants on the oldest and newest ansible-core.

The other versions of ansible-core are installed once, in the user's cache. One whose Python is not there is left
out, loudly. The last line holds the figures over everything as key=value pairs, for a program to read.
"""

from __future__ import annotations

import argparse
import collections
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
REQUIREMENTS = ROOT / "requirements" / "faults.txt"
EVERYTHING = (
    "tests/faults",
    "tests/integration/targets/store",
    "tests/integration/targets/revert",
    "tests/integration/targets/kubernetes/test_outage.py",
)
FLEETS = ("tests/faults",)
QUICK = ("tests/faults", "--dist", "loadfile")  # a fleet takes longer to set up than a test
PYTHONS = {"2.17": ("3.11", "3.12"), "2.21": ("3.12", "3.13", "3.14")}
"""For each ansible-core, those it runs on that the tests run on, too."""

Figures = collections.Counter[str]


@dataclass(frozen=True)
class Part:
    """Some tests on one ansible-core."""

    core: str
    python: Path
    tests: Sequence[str]
    form: str


@dataclass(frozen=True)
class Outcome:
    core: str
    passed: bool
    figures: Figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run", description=__doc__)
    parser.add_argument("form", choices=["full", "short"], nargs="?", default="full")
    form = parser.parse_args().form
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    here = Path(sys.executable)
    parts = [Part(_version(here), here, EVERYTHING if form == "full" else QUICK, form)]
    parts += _other_cores() if form == "full" else []
    outcomes = [_run(part) for part in parts]
    bad = [outcome.core for outcome in outcomes if not outcome.passed]
    if bad:
        print(f"\nfaults: failed on ansible-core {', '.join(bad)}", file=sys.stderr)
    print(f"\n{_last_line(outcomes, form)}")
    return 1 if bad else 0


def _run(part: Part) -> Outcome:
    """Shows what pytest says, and keeps its line of figures."""
    print(f"\n== faults on ansible-core {part.core}", flush=True)
    command = [str(part.python), "-m", "pytest", "-n", "2", *part.tests]
    figures: Figures = collections.Counter()
    environment = {**os.environ, "BLUEGREEN_FAULTS": part.form}
    pytest = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        for line in pytest.stdout or ():
            print(line, end="", flush=True)
            if line.startswith("faults "):
                figures = _figures(line)
        return Outcome(part.core, pytest.wait() == 0, figures)
    finally:
        if pytest.poll() is None:
            pytest.terminate()  # it stops what it has started, and ends; SIGINT may be ignored, as under nohup
            print(pytest.communicate()[0])


def _figures(line: str) -> Figures:
    pairs = (word.split("=") for word in line.split()[1:])
    return collections.Counter({key: float(value) for key, value in pairs})


def _last_line(outcomes: Sequence[Outcome], form: str) -> str:
    total: Figures = collections.Counter()
    for outcome in outcomes:
        for key, value in outcome.figures.items():
            total[key] = max(total[key], value) if key.startswith("max_") else total[key] + value
    if form == "full" and outcomes[0].passed:
        os.environ["BLUEGREEN_FAULTS"] = form
        from tests.integration.targets.store.test_faults import ROUNDS  # noqa: PLC0415 -- it looks at the form

        total["races"] = ROUNDS
    figures = [f"{key}={value:.10g}" for key, value in sorted(total.items())]
    return " ".join(["faults", *figures, f"cores={','.join(outcome.core for outcome in outcomes)}"])


def _other_cores() -> Iterator[Part]:
    for core, versions in PYTHONS.items():
        python = _find(versions)
        if python is None:
            names = " or ".join(f"python{version}" for version in versions)
            print(f"\n!! NOT TESTED on ansible-core {core}: there is no {names} here !!", file=sys.stderr, flush=True)
            continue
        inside = _environment(core, python)
        yield Part(_version(inside), inside, FLEETS, "most")


def _find(versions: Sequence[str]) -> Path | None:
    """The first Python in PATH or of pyenv that can make virtual environments; what pyenv puts in PATH may not run."""
    folders = [*map(Path, os.get_exec_path()), *sorted(Path.home().glob(".pyenv/versions/*/bin"))]
    candidates = (folder / f"python{version}" for version in versions for folder in folders)
    return next((python for python in candidates if python.exists() and _runs(python)), None)


def _runs(python: Path) -> bool:
    try:
        return (
            subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode == 0
        )
    except OSError:
        return False


def _environment(core: str, python: Path) -> Path:
    """The Python of a virtual environment with this ansible-core and this checkout; made when it is not as wanted."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "bluegreen-deploy", f"core-{core}")
    made, wanted = home / ".made", f"{ROOT}\n{python}\n{REQUIREMENTS.read_text()}"
    inside = home / "bin" / "python"
    if made.exists() and made.read_text() == wanted and _runs(inside):
        return inside
    print(f"\ninstalling ansible-core {core} into {home} ...", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    quiet = ("-qq", "--disable-pip-version-check", "--no-input")
    subprocess.run([python, "-m", "venv", home], check=True)
    subprocess.run(
        [inside, "-m", "pip", "install", *quiet, f"ansible-core=={core}.*", "-r", REQUIREMENTS],
        check=True,
    )
    packages = Path(_told(inside, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    (packages / "ansible_collections" / "bluegreen").mkdir(parents=True)
    (packages / "ansible_collections" / "bluegreen" / "deploy").symlink_to(ROOT)
    made.write_text(wanted)
    return inside


def _version(python: Path) -> str:
    return _told(python, "import importlib.metadata as m; print(m.version('ansible-core'))")


def _told(python: Path, program: str) -> str:
    return subprocess.run([python, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
