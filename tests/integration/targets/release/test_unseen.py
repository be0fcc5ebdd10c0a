# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was not seen is no pass, and what no load balancer sees alone all of them see together."""

from __future__ import annotations

import contextlib
import re
import subprocess
from typing import Any

from tests.integration.live_load import live_load

SLOWLY = ("--rate", "6", "--slow", "0", "--streams", "0", "--websockets", "0")
WATCHES = ("50 % of the traffic on green", "Error share and response times stay within the limits")


def shown(stage: Any, **variables: Any) -> subprocess.CompletedProcess[str]:
    """A release as the console shows it."""
    return subprocess.run(
        stage.rig.command("release", bluegreen_version="1.1", **variables),
        env=stage.rig.environment(ANSIBLE_STDOUT_CALLBACK="bluegreen.deploy.progress", COLUMNS="200"),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def verdicts(stage: Any) -> dict[str, str]:
    report = stage.report()
    return {item["check"]: item["verdict"] for item in report["load_balancers"]["lb1"]["checklist"]}


def test_a_site_without_visitors_is_released_and_nobody_says_that_it_was_seen_to_be_good(stage: Any) -> None:
    held = shown(stage, bluegreen_on_inconclusive="extend", bluegreen_extend_for=1)
    assert held.returncode == 2, held.stdout
    assert "The traffic is held at 50 % on green. inconclusive: 0 requests in 2 s, and fewer than 5" in held.stdout
    assert stage.map_entry() == "shop blue:green:5000"
    assert (stage.report()["outcome"], verdicts(stage)[WATCHES[0]]) == ("failed", "inconclusive")

    named = re.search(r"bluegreen_release=([A-Za-z0-9_.-]*[A-Za-z0-9])", held.stdout)
    assert named, held.stdout
    done = shown(stage, bluegreen_release=named[1])
    assert done.returncode == 0, done.stdout
    report, page = stage.report(), (stage.rig.directory / "reports" / "report.md").read_text()
    assert (report["outcome"], report["unproven"]) == ("released", list(WATCHES))
    for watch in WATCHES:
        assert (stage.passed()[watch], verdicts(stage)[watch]) == (None, "inconclusive")
        assert f"| ? **inconclusive** | {watch} | 0 requests in 1 s, and fewer than 5 prove nothing |" in page
    assert page.startswith("# shop 1.1: released, green is live; not proven: ")
    lines = [line.split()[0] for line in done.stdout.splitlines() if "Say what is not proven" in line]
    assert lines == ["?", "?"]
    # the watch after the switch moves nothing: it is no "ok"
    watch_line = next(line for line in done.stdout.splitlines() if "Watch green under all of the traffic" in line)
    assert watch_line.split()[0] == "?"


def test_a_bad_version_of_which_no_load_balancer_sees_enough_goes_back(fleet: Any) -> None:
    with contextlib.ExitStack() as users:
        for name in fleet.rig.names:
            folder = fleet.rig.directory / f"users-{name}"
            folder.mkdir()
            users.enter_context(live_load(fleet.rig.fronts[name], folder, *SLOWLY))
        done = fleet.rig.play(
            "release", bluegreen_version="1.2", demo_fail_share=0.3, bluegreen_hold=14, bluegreen_min_requests=60
        )
    assert done.returncode == 2, done.stdout
    report = fleet.report()
    assert report["outcome"] == "rolled_back", report["reason"]
    assert "(over 3 load balancers)" in report["reason"]
    assert {fleet.map_entry(name) for name in fleet.rig.names} == {"shop blue:green:0"}
    step = next(c for c in report["load_balancers"]["lb1"]["checklist"] if c["check"] == WATCHES[0])
    assert (step["passed"], step["verdict"]) == (False, "fail")
    alone = [one["requests"] for one in step["evidence"]["watched"]["load_balancers"].values()]
    assert len(alone) == 3
    assert max(alone) < 60 <= sum(alone)
