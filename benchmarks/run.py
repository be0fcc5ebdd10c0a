# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench`: what this collection costs, beside Ansible itself and beside the peers.

Everything runs on loopback, on a real HAProxy, and takes turns: a machine that gets slower makes both sides of a
ratio slower. The last line holds the ratios as key=value pairs, for a program to read.
"""

from __future__ import annotations

import argparse
import inspect
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn

from demo.rig import find_haproxy

from . import listeners, services
from .balancer import PEER
from .bench import Bench, BrokenError, Cost, Ratio, Samples
from .listeners import Listeners
from .peers import Peers, installed
from .play import TooLongError
from .probe import Probe
from .services import Services
from .skew import Skew
from .switch import Switch

MOST_RUNS = 50
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WHY_ABSENT = {
    "missing": "NOT INSTALLED, so there is nothing to compare with: install requirements/bench.txt (and kubectl, aws)",
    "skipped": "skipped, since it takes minutes",
}


def measure(benches: Sequence[Bench], runs: int) -> Samples:
    samples: defaultdict[str, list[Cost]] = defaultdict(list)
    for run in range(1, runs + 1):
        for bench in benches:
            if run <= (bench.most_runs or runs):
                print(f"run {run} of {runs}: {', '.join(r.key for r in bench.ratios)}", file=sys.stderr, flush=True)
                for what, costs in bench.measure().items():
                    samples[what] += costs
    return samples


def row(bench: Bench, ratio: Ratio, samples: Samples) -> str:
    value = ratio.value(samples)
    if value is None:
        return f"{bench.absent:>9}{'':26}{ratio.of}: {WHY_ABSENT[bench.absent or '']}"
    wall = f"{'> ' if bench.cut_short else ''}{value.wall:.2f}"
    promised = f"<= {ratio.promised:g}" if ratio.promised else ""
    cpu = "-" if math.isnan(value.cpu) else f"{value.cpu:.2f}"
    medians = (f"{what} {span(Cost.median(samples[what]).wall)}" for what in (ratio.of, ratio.per))
    return f"{wall:>9}{cpu:>8}{promised:>10}{len(samples[ratio.of]):>5}   {' : '.join(medians)}"


def span(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def figures(benches: Sequence[Bench], samples: Samples) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for bench in benches:
        for ratio in bench.ratios:
            value = ratio.value(samples)
            found[ratio.key] = f"{value.wall:.2f}" if value else bench.absent
            if bench.cut_short:
                found[f"{ratio.key}_is"] = "lower_bound"
        found |= bench.more(samples)
    return found


def tell(benches: Sequence[Bench], samples: Samples, runs: int) -> None:
    for kind, alike in groupby(benches, type):
        print(f"\n{inspect.getdoc(kind)}\n\n{'ratio':>9}{'of CPU':>8}{'promised':>10}{'n':>5}   medians")
        for bench in alike:
            for ratio in bench.ratios:
                print(row(bench, ratio, samples))
    pairs = {**figures(benches, samples), "runs": runs}
    print("\nbench " + " ".join(f"{key}={value}" for key, value in pairs.items()))


def bench(runs: int, quick: bool) -> None:
    missing = None if installed(PEER) else "missing"
    print(f"{_machine()}; load average {_load()} before", flush=True)
    with ExitStack() as stack:
        scratch = tempfile.TemporaryDirectory(prefix="bluegreen-bench-", ignore_cleanup_errors=True)
        directory = Path(stack.enter_context(scratch))
        benches = [
            Switch(directory, stack),
            Probe(directory, stack),
            Skew(directory, stack),
            Services(directory, stack, absent=None if installed(services.PEER) and services.KUBECTL else "missing"),
            Listeners(directory, stack, absent=None if installed(listeners.PEER) and listeners.CLI else "missing"),
            Peers(directory, stack, 20, absent=missing),
            Peers(directory, stack, 200, absent=missing or ("skipped" if quick else None), most_runs=1),
        ]
        samples = measure(benches, runs)
    print(f"load average {_load()} after")
    tell(benches, samples, runs)


def _machine() -> str:
    haproxy = subprocess.run([find_haproxy(), "-v"], capture_output=True, text=True, check=True).stdout
    return (
        f"{os.cpu_count()} CPUs, Python {sys.version.split()[0]}, ansible-core {version('ansible-core')}, "
        f"{' '.join(haproxy.split()[:3])}"
    )


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def count(text: str) -> int:
    """Runs, from 1 to 50."""
    number = int(text)
    if not 1 <= number <= MOST_RUNS:
        raise argparse.ArgumentTypeError(f"1 to {MOST_RUNS}")
    return number


def leave(number: int, _frame: object) -> NoReturn:
    """End everything that was started, undisturbed."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--runs", type=count, default=5, help="medians of so many; the peer at 200 servers runs once")
    parser.add_argument("--quick", action="store_true", help="one run, without the peer at 200 servers")
    options = parser.parse_args()
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, leave)
    try:
        bench(1 if options.quick else options.runs, options.quick)
    except (BrokenError, TooLongError, TimeoutError, subprocess.SubprocessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
