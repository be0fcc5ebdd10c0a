# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A switch that watches what it has done, and puts it back by itself. Private to this collection."""

from __future__ import annotations

import time
import typing as t
from dataclasses import replace

from .._errors import BlueGreenError, ConflictError, InvalidError, NotVerifiedError, ThresholdError
from .fence import Fence
from .route import Outcome, Route, side_by_side, with_routes
from .split import Split, describe
from .switch import Order, Watchdog, switch
from .undo import came_by_itself, put_back

if t.TYPE_CHECKING:
    from .._analysis.watch import Verdict
    from .watchdog import HostWatchdog

Watch = t.Callable[[str, t.Mapping[str, t.Optional[Split]]], "Verdict"]
"""Of a colour, while each route, by its name, has the split that was put there."""


def guarded_switch(
    routes: t.Sequence[Route],
    order: Order,
    watch: Watch | None = None,
    *,
    back_to: Split | None = None,
    dry_run: bool = False,
    fence: Fence | None = None,
    watchdog: Watchdog | None = None,
) -> tuple[list[Outcome], Verdict | None]:
    """Switch, then watch the colour that was raised; a verdict of fail puts everything back at once.

    Without ``back_to`` each moved route goes back to where it was found, and nothing is watched if none was
    moved. With it, the routes are watched even if they were there already, and go to that split.
    Raises ``threshold_exceeded``, with the routes and the verdict in its details.
    """
    try:
        done = _switch_and_watch(routes, order, watch, back_to, dry_run=dry_run, fence=fence, watchdog=watchdog)
    except BlueGreenError as error:
        error.details["watchdog"] = watchdog.stand_down() if watchdog and not dry_run else None
        raise
    if watchdog and not dry_run:
        watchdog.stand_down()
    return done


def _switch_and_watch(
    routes: t.Sequence[Route],
    order: Order,
    watch: Watch | None,
    back_to: Split | None,
    *,
    dry_run: bool,
    fence: Fence | None,
    watchdog: Watchdog | None,
) -> tuple[list[Outcome], Verdict | None]:
    outcomes = switch(routes, order, dry_run=dry_run, fence=fence, watchdog=watchdog)
    watched = [route for route, outcome in zip(routes, outcomes) if outcome.changed or back_to]
    if dry_run or not watched or not watch:
        return outcomes, None
    began = time.time()
    put = {outcome.name: outcome.after for outcome in outcomes}
    verdict, cause = _judge(watch, _raised(order, outcomes, back_to), put)
    if verdict is None or cause:
        raise put_back(watched, outcomes, cause or BlueGreenError("nobody watched"), back_to, fence)
    seen = list(zip(watched, side_by_side(lambda route: route.router.read(), watched)))
    ended = {route.name: split for route, split in seen if not isinstance(split, BlueGreenError)}
    moved = _moved_meanwhile(watched, put, ended, began)
    if isinstance(moved, ConflictError):
        raise with_routes(moved, [replace(one, after=ended.get(one.name, one.after)) for one in outcomes])
    if moved:
        raise put_back(watched, outcomes, moved, back_to, fence)
    unread = [split.message for _route, split in seen if isinstance(split, BlueGreenError)]
    return outcomes, replace(verdict, verdict="blind", reason=unread[0]) if unread else verdict


def _moved_meanwhile(
    watched: t.Sequence[Route],
    put: t.Mapping[str, Split | None],
    ended: t.Mapping[str, Split | None],
    began: float,
) -> BlueGreenError | None:
    """What was watched must be what there is in the end. A conflict: it was changed, and stays so.

    ``ended`` has the routes that could be read.
    """
    for route in watched:
        wanted = put[route.name]
        now = ended.get(route.name, wanted)
        if now == wanted:
            continue
        found = f"route {route.name}: when the watch ended the split was {describe(now)}"
        if now is None or came_by_itself(route.router, began):
            return NotVerifiedError(
                found, f"{describe(wanted)}, as it was when the watch began", "The traffic was put back"
            )
        return ConflictError(
            found,
            f"{describe(wanted)}, as it was when the watch began",
            "It was changed meanwhile, by somebody else or by the load balancer itself, and was left so: look at it "
            "before you move it again",
        )
    return None


def _judge(
    watch: Watch, colour: str, put: t.Mapping[str, Split | None]
) -> tuple[Verdict | None, BlueGreenError | None]:
    try:
        verdict = watch(colour, put)
    except Exception as error:  # noqa: BLE001 -- nobody watches any more: what was moved must not stay so
        return None, BlueGreenError(f"the watch broke: {type(error).__name__}: {error}")
    if verdict.verdict == "fail":
        return verdict, ThresholdError(verdict.reason, todo="The traffic was put back", watched=verdict.as_result())
    return verdict, None


def _raised(order: Order, outcomes: t.Sequence[Outcome], back_to: Split | None) -> str:
    """The colour to watch: on the way from home it is the other one, also where it was raised by an earlier call."""
    if back_to and back_to.leader:
        return back_to.other(back_to.leader)
    raised = [order.wanted.raised_from(outcome.before) for outcome in outcomes]
    return next((colour for colour in raised if colour), order.wanted.leader or order.wanted.second)


def watchdog_of(params: t.Mapping[str, t.Any], routes: t.Sequence[Route], back_to: Split | None) -> HostWatchdog | None:
    """The watchdog of the release that a module works for; nothing is begun yet.

    Without ``revert_after`` none is armed; one of an earlier call stands down when the release is home again. It is
    imported only where it may be needed: each task compiles what it imports.
    """
    seconds = params["revert_after"]
    if params["app"] is None or (seconds is None and params["token"] is None):
        return None
    if seconds is not None and not 0 < seconds < float("inf"):
        raise InvalidError(f"revert_after is {seconds:g}", "a number of seconds above 0")
    from .revert import RevertFile
    from .watchdog import HostWatchdog

    return HostWatchdog(RevertFile(params["state_dir"], params["app"]), params, routes, back_to)
