# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: live traffic moves from blue to green on a real HAProxy, and nobody notices.

Starts everything on loopback, keeps a constant load on the front door, releases 1.1 (and, to reach a number of
requests, more good versions), then releases one that breaks under live traffic, and measures at the clients.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from . import measure
from .rig import ROOT, Rig, find_haproxy, load_command, wait_until
from .screen import Screen, share_bar

FAIL_SHARE = 0.3
HOLD = 5
WATCH = 10


@dataclass(frozen=True)
class Release:
    """One run of release.yml, as its report and its exit code tell it."""

    version: str
    good: bool
    began: float  # epoch seconds
    ended: float
    exit_code: int
    report: dict[str, Any]

    @property
    def left(self) -> str:
        return str(self.report["from_colour"])

    @property
    def to(self) -> str:
        return str(self.report["to_colour"])

    def moves(self) -> list[tuple[float, float, dict[str, float]]]:
        """Commanded at, confirmed at (epoch seconds) and the split, for each move of the traffic."""
        timeline = self.report["load_balancers"]["lb1"]["timeline"]
        return [(_epoch(e["at"]) - (e["took_ms"] or 0) / 1000, _epoch(e["at"]), e["split"]) for e in timeline]


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class LoadProcess:
    """The live load, and the latest of what it tells."""

    def __init__(self, rig: Rig, out: Path) -> None:
        self.out = out
        self.last: dict[str, Any] = {"requests": 0}
        self._process = subprocess.Popen(
            load_command(rig.fronts["lb1"], out),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            self.last = json.loads(line)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Demo:
    def __init__(self, directory: Path, requests: int, screen: Screen) -> None:
        self.requests = requests
        self.screen = screen
        self.rig = Rig(directory)
        self.load: LoadProcess | None = None
        self.playing: subprocess.Popen[str] | None = None

    def run(self) -> int:
        self._set_up()
        self.load = LoadProcess(self.rig, self.rig.directory / "load.jsonl")
        wait_until(lambda: self._seen() > 1000, 60, "1,000 requests were answered")
        releases = list(self._releases())
        self.load.stop()
        return self._tell(releases)

    def stop(self) -> None:
        if self.playing and self.playing.poll() is None:
            self.playing.terminate()
            self.playing.wait(20)
        if self.load:
            self.load.stop()
        self.rig.stop()

    def _seen(self) -> int:
        return int(self.load.last["requests"]) if self.load else 0

    def _set_up(self) -> None:
        self.screen.title("Setting up: HAProxy, and two instances of the app for each colour")
        self.screen.line(f"  HAProxy  {find_haproxy()}")
        self.rig.write_inventory(
            bluegreen_deploy=[str(ROOT / "demo" / "deploy.yml")],
            bluegreen_hold=HOLD,
            bluegreen_watch=WATCH,
            bluegreen_watch_interval=0.25,
            bluegreen_min_requests=10,
            bluegreen_drain_timeout=30,
        )
        self.rig.deploy("blue", "1.0")
        self.rig.deploy("green", "1.0")
        if self._play("haproxy"):
            raise SystemExit("The load balancer could not be set up: see above what failed.")

    def _releases(self) -> Iterator[Release]:
        """1.1, as many good ones more as the requests asked for take, and then the bad one."""
        number = 1
        yield self._release(f"1.{number}", good=True)
        per_release = self._seen()
        while self._seen() + per_release / 2 < self.requests:
            number += 1
            yield self._release(f"1.{number}", good=True)
        yield self._release(f"1.{number + 1}", good=False)
        while self._seen() < self.requests:
            self.screen.status(self._status())
            time.sleep(0.25)

    def _release(self, version: str, *, good: bool) -> Release:
        kind = "" if good else f": healthy by its own check, but {FAIL_SHARE:.0%} of real requests fail"
        self.screen.title(f"Releasing {version}{kind}")
        began = time.time()
        code = self._play(
            "release",
            bluegreen_version=version,
            bluegreen_report_name=f"release-{version}",
            demo_fail_share=0 if good else FAIL_SHARE,
        )
        written = self.rig.directory / "reports" / f"release-{version}.json"
        if not written.exists():
            raise SystemExit(f"The release of {version} ended without a report: see above what failed.")
        report = json.loads(written.read_text())
        return Release(version, good, began, time.time(), code, report)

    def _play(self, playbook: str, **variables: Any) -> int:
        lines: queue.Queue[str | None] = queue.Queue()
        self.playing = subprocess.Popen(
            self.rig.command(playbook, **variables),
            env=self.rig.environment(
                ANSIBLE_STDOUT_CALLBACK="bluegreen.deploy.progress",
                ANSIBLE_FORCE_COLOR="1" if self.screen.terminal else "0",
                COLUMNS=str(self.screen.width),
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=_pump, args=(self.playing, lines), daemon=True).start()
        while True:
            try:
                line = lines.get(timeout=0.25)
            except queue.Empty:
                self.screen.status(self._status())
                continue
            if line is None:
                return self.playing.wait()
            self.screen.line(line.rstrip("\n"))

    def _status(self) -> str:
        if not self.load or "versions" not in self.load.last:
            return ""
        last = self.load.last
        shares = {colour: sum(versions.values()) for colour, versions in last["versions"].items()}
        return (
            f"{share_bar(shares, 20)}  {last['rate']:.0f} requests/s, {last['requests']} so far, "
            f"{last['failed'] + last['races']} failed, {last['release_errors']} bad, "
            f"{last['websockets']['open']} WebSockets"
        )

    def _tell(self, releases: list[Release]) -> int:
        with self.rig.directory.joinpath("load.jsonl").open() as file:
            head, records = measure.parse(file)
        figures = _figures(releases, records, head)
        reports = self.rig.directory / "reports"
        self.screen.table(figures)
        self.screen.colours(measure.colours_over_time(records, 2.0))
        for failure in head["failures"][:10]:
            self.screen.line(f"  failed: {failure}")
        self.screen.line(f"\nReports: {reports}")
        self.screen.line("demo " + " ".join(f"{name}={value}" for name, value in figures.items()))
        return 0 if _as_promised(releases, figures) else 1


def _pump(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    for line in process.stdout or ():
        lines.put(line)
    lines.put(None)


def _figures(releases: list[Release], records: list[measure.Record], head: dict[str, Any]) -> dict[str, Any]:
    """What is promised, measured at the clients."""
    ends = [release.began for release in releases[1:]] + [float("inf")]
    full = [_full_switch(release, end) for release, end in zip(releases, ends, strict=True) if release.good]
    last_old = [measure.last_on(records, r.left, commanded, until) for r, commanded, _c, until in full]
    mixed = [measure.mixed_window_ms(records, r.left, r.to, commanded, until) for r, commanded, _c, until in full]
    bad = releases[-1]
    back = bad.moves()[-1]
    stale = sum(len(measure.stale(records, r.left, confirmed, until)) for r, _c, confirmed, until in full)
    stale += len(measure.stale(records, bad.to, back[1], float("inf")))
    bad_ms = measure.first_bad_to_all_back_ms(records, bad.version, back[1])
    return {
        "requests": head["requests"],
        "failed": head["failed"] + head["races"],
        "websockets_lost": head["websockets"]["lost"],
        "websockets_reconnected": head["websockets"]["reconnected"],
        "stale": stale,
        "switches": sum(len(release.moves()) for release in releases),
        "last_old_ms": round(max(last_old), 1),
        "mixed_ms": round(max(mixed, default=0.0), 1),
        "release_errors": head["release_errors"],
        "rolled_back": "yes" if bad.report["outcome"] == "rolled_back" and bad.exit_code else "no",
        "bad_to_back_ms": round(bad_ms, 1) if bad_ms is not None else "none",
        "p50_ms": head["p50_ms"],
        "p99_ms": head["p99_ms"],
    }


def _full_switch(release: Release, until: float) -> tuple[Release, float, float, float]:
    commanded, confirmed, _split = release.moves()[-1]
    return release, commanded, confirmed, until


def _as_promised(releases: list[Release], figures: dict[str, Any]) -> bool:
    released = all(r.exit_code == 0 and r.report["outcome"] == "released" for r in releases if r.good)
    clean = not any(figures[name] for name in ("failed", "websockets_lost", "stale"))
    return released and clean and figures["rolled_back"] == "yes"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.run", description=__doc__)
    parser.add_argument("--requests", type=int, default=0, help="go on until the load has sent so many")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory = Path(tempfile.mkdtemp(prefix="bluegreen-demo-"))
    demo = Demo(directory, options.requests, Screen())
    try:
        return demo.run()
    except KeyboardInterrupt:
        return 130
    finally:
        demo.screen.status("")
        demo.stop()
        demo.screen.line("Everything that was started has been stopped.")


if __name__ == "__main__":
    sys.exit(main())
