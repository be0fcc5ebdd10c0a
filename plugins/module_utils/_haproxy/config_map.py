# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app's entry in HAProxy's map file, from its first day to its last. Private to this collection.

Where the traffic is belongs to the switch: an entry that is there is never changed.
"""

from __future__ import annotations

from .map_file import MapFile

HEAD = "# One line is the whole routing state of an app: app active:candidate:share of the candidate in 0.01 %\n"


def with_entry(text: str | None, app: str, entry: str) -> str:
    """The text with an entry for the app, as it is or the one given."""
    text = HEAD if text is None else text
    if any(line.split()[:1] == [app] for line in text.splitlines()):
        return text
    return text + ("" if not text or text.endswith("\n") else "\n") + f"{app} {entry}\n"


def without_entry(text: str, app: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if line.split()[:1] != [app])


def make(path: str) -> None:
    """See that there is a map file, without which HAProxy takes no configuration that names it."""
    MapFile(path).make(HEAD)


def put_entry(path: str, app: str, entry: str | None, timeout: float) -> None:
    """Write the map file with an entry for the app, or without one, while no switch is at it."""
    file = MapFile(path)
    if file.text() is None:
        return
    with file.locked(timeout):
        old = file.text()
        new = with_entry(old, app, entry) if entry is not None else without_entry(old or "", app)
        if new != old:
            file.write(new)
