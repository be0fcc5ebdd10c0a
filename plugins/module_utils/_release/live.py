# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The live colour by the record, for when no load balancer can say it. Private to this collection."""

from __future__ import annotations

import typing as t

from .._errors import ConflictError
from .record import Json

STAYED = ("rolled_back", "recovered", "refused", "unchanged", "retired")
"""Endings after which the traffic is on the colour that the release came from."""


def live_colour(record: t.Mapping[str, t.Any]) -> str | None:
    """The colour that the last release has left all traffic on. None: there was no release.

    ``record``: what the module release has read. Raises C(conflict) where the record does not tell.
    """
    whole = record.get("record") or {}
    for each in [whole.get("release"), *reversed(whole.get("history") or ())]:
        colour = _left_on(each) if each else None
        if colour:
            return colour
    return None


def _left_on(release: Json) -> str | None:
    """None: it has moved nothing, and has not seen where the traffic was."""
    before, after = (str((release.get(side) or {}).get("colour") or "") for side in ("from", "to"))
    if release.get("state") == "released":
        return after
    if release.get("state") in STAYED or before == after:
        return before or None
    raise ConflictError(
        f"release {release['id']} is {release['state']}, and the record does not say where its traffic is",
        "one that went well, or went back",
    )
