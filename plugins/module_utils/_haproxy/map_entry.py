# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app's entry, where it may be none: on disk, and in the HAProxy that runs. Private to this collection."""

from __future__ import annotations

import re

from .._errors import MissingError, UnreachableError
from .map_file import MapFile
from .runtime_api import RuntimeApi


def written(path: str, app: str) -> str | None:
    try:
        return MapFile(path).get(app)
    except MissingError:
        return None


def running(socket: str, path: str, app: str, timeout: float) -> str | None:
    try:
        return value(RuntimeApi(socket, timeout).ask(f"get map {path} {app}")[0])
    except (MissingError, UnreachableError):  # none runs, or what runs does not listen there
        return None


def value(answer: str) -> str | None:
    """What HAProxy has found, by its answer to C(get map)."""
    found = re.search(r'found=yes.* value="([^"]*)"', answer)
    return found.group(1) if found else None
