# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials that run out, as a real API server sees them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.cluster import Handle
from tests.unit.plugins.modules.process import run_module

HANDS_OUT = """
import json, pathlib, sys
given = pathlib.Path({given!r})
tokens = {tokens!r}
number = len(given.read_text()) if given.exists() else 0
given.write_text("x" * (number + 1))
status = {{"token": tokens[min(number, len(tokens) - 1)]}}
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}}))
"""


def kubeconfig(cluster: Handle, directory: Path, tokens: list[str]) -> Path:
    """One whose tokens come from a program, as those of cloud providers do: one after the other."""
    program = directory / "hand_out.py"
    program.write_text(HANDS_OUT.format(given=str(directory / "given"), tokens=tokens))
    found: dict[str, Any] = yaml.safe_load(cluster.kubeconfig.read_text())
    version = "client.authentication.k8s.io/v1"
    run = {"apiVersion": version, "command": sys.executable, "args": [str(program)], "interactiveMode": "Never"}
    found["users"][0]["user"] = {"exec": run}
    path = directory / "kubeconfig"
    path.write_text(json.dumps(found))
    return path


@pytest.mark.parametrize(
    ("tokens", "code", "asked"),
    [(["good"], None, 1), (["expired", "good"], None, 2), (["expired", "as bad"], "denied", 2)],
)
def test_a_token_that_has_expired_is_asked_for_once_more(
    shop: Any, tmp_path: Path, tokens: list[str], code: str | None, asked: int
) -> None:
    known = [shop.cluster.token if token == "good" else token for token in tokens]
    config = kubeconfig(shop.cluster, tmp_path, known)
    route = shop.route(preview_service=None, kubeconfig=str(config))
    told = run_module("traffic", routes=[route], to="green")
    assert told.get("failure", {}).get("code") == code, told
    assert len((tmp_path / "given").read_text()) == asked
    assert shop.selected()[0] == ("blue" if code else "green")
    if code:
        assert "See whether the token or certificate has expired" in told["msg"]
        assert "as bad" not in json.dumps(told)
