# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator types when nothing else works any more. Private to this collection."""

from __future__ import annotations

import json
import shlex
import typing as t


def patch_command(options: t.Mapping[str, t.Any], kind: str, name: str, patch: t.Any) -> str:
    """The kubectl command for a merge patch, or for a JSON Patch where it is a list."""
    kubeconfig, context = options["kubeconfig"], options["context"]
    where = [*(["--kubeconfig", kubeconfig] if kubeconfig else []), *(["--context", context] if context else [])]
    how = ["--type", "json"] if isinstance(patch, list) else ["--type", "merge"]
    words = ["kubectl", *where, "-n", options["namespace"], "patch", kind, name, *how, "-p", json.dumps(patch)]
    return shlex.join(words)
