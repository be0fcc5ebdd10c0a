# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A switch that watches what it has done, and puts it back by itself. Private to this collection."""

from __future__ import annotations

import typing as t

from .._analysis.watch import Verdict
from .._errors import BlueGreenError, ThresholdError
from .split import Split
from .switch import Order, Outcome, Route, put_back, switch


def guarded_switch(
    routes: t.Sequence[Route],
    order: Order,
    watch: t.Callable[[str], Verdict],
    *,
    back_to: Split | None = None,
    dry_run: bool = False,
) -> tuple[list[Outcome], Verdict | None]:
    """Switch, then watch the colour that was raised; a verdict of fail puts everything back at once.

    Without ``back_to`` each moved route goes back to where it was found, and nothing is watched if none was
    moved. With it, the routes are watched even if they were there already, and go to that split.
    Raises ``threshold_exceeded``, with the routes and the verdict in its details.
    """
    outcomes = switch(routes, order, dry_run=dry_run)
    watched = [route for route, outcome in zip(routes, outcomes) if outcome.changed or back_to]
    if dry_run or not watched:
        return outcomes, None
    cause: BlueGreenError
    try:
        verdict = watch(_raised(order, outcomes))
        if verdict.verdict != "fail":
            return outcomes, verdict
        cause = ThresholdError(verdict.reason, todo="The traffic was put back", watched=verdict.as_result())
    except Exception as error:  # noqa: BLE001 -- nobody watches any more: what was moved must not stay so
        cause = BlueGreenError(f"the watch broke: {type(error).__name__}: {error}")
    raise put_back(watched, outcomes, cause, back_to)


def _raised(order: Order, outcomes: t.Sequence[Outcome]) -> str:
    raised = [outcome.after.raised_from(outcome.before) for outcome in outcomes]
    return next((colour for colour in raised if colour), order.wanted.leader or order.wanted.second)
