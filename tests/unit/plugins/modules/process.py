# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules about routes as processes, as Ansible runs them: JSON in, JSON out."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
UNTOLD = ("required_if", "no_log", "options", "apply_defaults")
"""What an argument spec says and the documentation does not."""


def run_module(name: str, **options: t.Any) -> dict[str, t.Any]:
    """The module's result, which agrees with its exit status; it writes nothing else and never a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", f"plugins.modules.{name}"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": options}),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    result: dict[str, t.Any] = json.loads(done.stdout)
    assert done.returncode == (1 if result.get("failed") else 0)
    return result


def documented_options(name: str) -> dict[str, t.Any]:
    """The options in the documentation of a module, those of our fragments included."""
    yaml = pytest.importorskip("yaml")

    def document(path: str) -> dict[str, t.Any]:
        text = (ROOT / path).read_text(encoding="utf-8").split('DOCUMENTATION = r"""')[1].split('"""')[0]
        found: dict[str, t.Any] = yaml.safe_load(text)
        return found

    module = document(f"plugins/modules/{name}.py")
    options: dict[str, t.Any] = {}
    for fragment in module.get("extends_documentation_fragment", ()):
        if fragment.startswith("bluegreen.deploy."):
            options.update(document("plugins/doc_fragments/{}.py".format(fragment.split(".")[2]))["options"])
    return {**options, **module.get("options", {})}


def as_spec(options: dict[str, t.Any]) -> dict[str, t.Any]:
    """What the documentation says, in the form of an argument spec."""
    spec: dict[str, t.Any] = {}
    for name, option in options.items():
        spec[name] = {
            key: option[key] for key in ("type", "elements", "required", "choices", "default") if key in option
        }
        if "suboptions" in option:
            spec[name]["options"] = as_spec(option["suboptions"])
    return spec


def bare(spec: dict[str, t.Any]) -> dict[str, t.Any]:
    """An argument spec without what the documentation does not tell."""
    plain: dict[str, t.Any] = {}
    for name, option in spec.items():
        plain[name] = {
            key: value
            for key, value in option.items()
            if key not in ("required_if", "no_log", "options", "apply_defaults")
        }
        if "options" in option:
            plain[name]["options"] = bare(option["options"])
    return plain
