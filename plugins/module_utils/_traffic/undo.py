# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back: put routes where they were found, and say what is left. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from datetime import datetime

from .._errors import BlueGreenError, ConflictError, NotVerifiedError, UndoFailedError
from .._wait import SYSTEM_CLOCK, Clock, until
from .fence import Fence, StaleTokenError, held
from .route import Outcome, Route, named, utc_now, with_routes
from .router import Router
from .split import Split, describe

PATIENCE = 5.0
"""Seconds that a way back is given until it is seen in force."""


def put_back(
    moved: t.Sequence[Route],
    outcomes: t.Sequence[Outcome],
    cause: BlueGreenError,
    to: Split | None = None,
    fence: Fence | None = None,
    *,
    clock: Clock = SYSTEM_CLOCK,
) -> BlueGreenError:
    """Undo in reverse order; returns the error that says what is left.

    Each route goes back to where it was found, or ``to`` the split given. One on which nobody served, and that is
    given no other split, is left: there is nothing to go back to. Once the release is taken over, nothing is put
    back: the traffic is the successor's.
    """
    done = {outcome.name: outcome for outcome in outcomes}
    stuck: list[str] = []
    commands: list[str] = []
    taken_over: StaleTokenError | None = None
    for route in reversed(moved):
        outcome = done[route.name]
        target = to or outcome.before
        try:
            if target is None or isinstance(outcome.error, ConflictError):  # a conflict has changed nothing
                done[route.name] = replace(outcome, after=route.router.read(), changed=False)
                continue
            done[route.name] = _restore(route.router, outcome, target, fence, clock)
        except StaleTokenError as error:
            taken_over = error
            done[route.name] = replace(outcome, restored=False, verified=None)
        except Exception as error:  # noqa: BLE001 -- the next route must still be put back
            stuck.append(named(route, error).message)
            commands.append(by_hand(route, t.cast(Split, target)))
            done[route.name] = replace(outcome, restored=False, verified=None)
    left = [done[outcome.name] for outcome in outcomes]
    return with_routes(_what_is_left(cause, stuck, commands, taken_over), left)


def _what_is_left(
    cause: BlueGreenError, stuck: list[str], commands: list[str], taken_over: StaleTokenError | None
) -> BlueGreenError:
    what = BlueGreenError(cause.found, cause.expected).message
    if taken_over:
        return StaleTokenError(
            f"{what}. And the traffic was left as it is: {'; '.join([taken_over.found, *stuck])}",
            taken_over.expected,
            taken_over.todo,
            **cause.details,
        )
    if stuck:
        return UndoFailedError(
            f"{what}. And putting it back failed: {'; '.join(stuck)}",
            todo=f"Look at each route named here, and put it back by hand: {'; '.join(commands)}",
            **cause.details,
        )
    return cause


def by_hand(route: Route, target: Split) -> str:
    """The route and the command that puts the split in force there by hand, for a message; never raises."""
    try:
        return f"route {route.name}: {route.router.by_hand(target)}"
    except Exception as error:  # noqa: BLE001 -- it helps to find the way back, and must not get into it
        return f"route {route.name}: to {target} ({named(route, error).message})"


def _restore(router: Router, outcome: Outcome, target: Split, fence: Fence | None, clock: Clock) -> Outcome:
    """From whatever a change that went wrong has made; one that was proven goes back from what it was then."""
    ours = None if outcome.error or outcome.after is None else (outcome.after,)
    with held(fence):
        go_back(router, target, ours, since=_epoch(outcome.committed_at), drift=outcome.drift)
    restored_at = utc_now()
    _seen, done = until(
        lambda: router.verify(target), lambda seen: seen is not False, timeout=PATIENCE, interval=0.1, clock=clock
    )
    if not done:
        raise NotVerifiedError(f"the split is {describe(router.read())}", f"{target}")
    return replace(outcome, after=target, changed=target != outcome.before, restored=True, restored_at=restored_at)


def _epoch(moment: str | None) -> float | None:
    return datetime.fromisoformat(moment).timestamp() if moment else None


def go_back(
    router: Router,
    home: Split,
    ours: t.Collection[Split] | None,
    live: str | None = None,
    *,
    since: float | None = None,
    drift: tuple[str, ...] = (),
) -> bool:
    """Put ``home`` in force where it is not; returns whether something was changed. ``drift`` was there before.

    Raises ``conflict`` where the traffic has been moved since: the split in force is neither that nor one of
    ``ours`` (None: any is), and has not come about by itself ``since`` then. Where nobody serves it always goes home.
    """
    try:
        return _go_back(router, home, ours, live, since=since, drift=drift)
    except ConflictError:  # it may have changed between the look and the change: a second look tells
        return _go_back(router, home, ours, live, since=since, drift=drift)


def _go_back(
    router: Router,
    home: Split,
    ours: t.Collection[Split] | None,
    live: str | None,
    *,
    since: float | None,
    drift: tuple[str, ...],
) -> bool:
    now = router.read()
    if ours is not None and now not in (None, home, *ours) and not came_by_itself(router, since):
        expected = " or ".join(map(str, ours))
        raise ConflictError(
            f"the split is {describe(now)}",
            f"{expected}, as it was left here",
            "It was changed since then: see who did it, and where the traffic is to go",
        )
    if now == home and router.drift() in ((), drift) and not router.as_left():
        return False
    router.home = True
    router.apply(home, now, live)
    return True


def came_by_itself(router: Router, since: float | None) -> bool:
    """Whether nobody needs to have moved what is not as it was left: a member that died has shifted the shares, or
    the load balancer has lost them."""
    return bool(router.as_left() or (since is not None and router.changed_by_itself(since)))
