# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The templates of examples/aws are valid, by the linter that knows the types of CloudFormation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from demo.rig import ROOT

LINT = str(Path(sys.executable).with_name("cfn-lint"))


def lint(template: Path) -> tuple[int, str]:
    done = subprocess.run([LINT, str(template)], capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["my-app.yml", "classic.yml"])
def test_a_template_is_valid(name: str) -> None:
    code, said = lint(ROOT / "examples" / "aws" / name)
    assert (code, said.strip()) == (0, "")


def test_the_linter_knows_what_is_not(tmp_path: Path) -> None:
    """Draining as an attribute of a classic load balancer is in many guides, and in no version of CloudFormation."""
    text = (ROOT / "examples" / "aws" / "classic.yml").read_text()
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(text.replace("ConnectionDrainingPolicy:", "LoadBalancerAttributes:"))
    code, said = lint(wrong)
    assert (code, "LoadBalancerAttributes" in said) == (2, True), said
