# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples run as they are, but for the addresses of this machine and the way to install a version."""

from __future__ import annotations

from pathlib import Path

from demo.rig import ROOT, Rig

from .conftest import QUICK

EXAMPLE = ROOT / "examples" / "onprem"


def test_the_onprem_example_releases(tmp_path: Path) -> None:
    with Rig(tmp_path, load_balancers=2) as rig:
        rig.deploy("blue", "1.0")
        rig.deploy("green", "1.1")
        rig.write_inventory(ansible_become=False)
        here = ["-i", str(EXAMPLE), "-i", str(rig.inventory)]
        set_up = rig.play("haproxy", *here, ansible_become=False)
        assert set_up.returncode == 0, set_up.stdout + set_up.stderr
        hooks = {"bluegreen_deploy": [], "bluegreen_retire": []}  # they lie beside the example's inventory
        done = rig.play("release", *here, **{**QUICK, **hooks}, bluegreen_version="1.1", ansible_become=False)
        assert done.returncode == 0, done.stdout + done.stderr
        maps = [(rig.home(name) / "bluegreen.map").read_text().splitlines()[-1] for name in rig.names]
        assert maps == ["shop green:blue:0"] * 2
