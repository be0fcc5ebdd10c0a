# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A route, what was found on it and done to it, and work on many of them at once. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from .._errors import BlueGreenError, ConflictError
from .router import Router
from .split import Split, shares

T = t.TypeVar("T")


@dataclass(frozen=True)
class Route:
    """A named place that decides which colour a request reaches."""

    name: str
    router: Router


def counting(routes: t.Sequence[Route]) -> list[Route]:
    """Those whose provider counts requests and connections."""
    return [route for route in routes if route.router.capabilities.counts_connections]


@dataclass(frozen=True)
class Outcome:
    """What was found on one route, and what was done to it."""

    name: str
    before: Split | None
    after: Split | None
    """None, as in ``before``: nobody served."""
    changed: bool
    verified: bool | None = None
    committed_at: str | None = None
    """When the provider acknowledged the change, ISO 8601 in UTC."""
    took_ms: float | None = None
    """From the start of the change to its acknowledgement."""
    old_until: str | None = None
    """The last moment at which a client may still reach the colour that was lowered, where the provider knows."""
    cached_until: str | None = None
    """The same for a client that asks only then, where answers are cached. None: it is led right from the beginning."""
    restored: bool | None = None
    """After a failure: is the route back? None where it was not touched."""
    restored_at: str | None = None
    """When the way back was acknowledged, ISO 8601 in UTC."""
    drift: tuple[str, ...] = ()
    error: BlueGreenError | None = field(default=None, compare=False)

    def as_result(self) -> dict[str, t.Any]:
        return {
            "name": self.name,
            "before": self._shares(self.before),
            "after": self._shares(self.after),
            "changed": self.changed,
            "verified": self.verified,
            "committed_at": self.committed_at,
            "took_ms": self.took_ms,
            "old_until": self.old_until,
            "cached_until": self.cached_until,
            "restored": self.restored,
            "restored_at": self.restored_at,
            "drift": list(self.drift),
            "error": self.error.message if self.error else None,
        }

    def _shares(self, split: Split | None) -> dict[str, int | float]:
        known = self.before or self.after
        return shares(split, known.colours) if known else {}


def side_by_side(work: t.Callable[[Route], T], routes: t.Sequence[Route]) -> list[T | BlueGreenError]:
    """Do the work for every route at once; an error of one is its result, named after the route."""

    def one(route: Route) -> T | BlueGreenError:
        try:
            return work(route)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the other routes must hear of it
            return named(route, error)

    if len(routes) < 2:
        return [one(route) for route in routes]
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 -- most tasks have one route and need none

    with ThreadPoolExecutor(max_workers=len(routes)) as pool:
        return list(pool.map(one, routes))


def of_all(work: t.Callable[[Route], T], routes: t.Sequence[Route]) -> list[T]:
    """The same, where one that fails fails all."""
    answers = side_by_side(work, routes)
    failed = [answer for answer in answers if isinstance(answer, BlueGreenError)]
    if failed:
        raise failed[0]
    return [t.cast(T, answer) for answer in answers]


def refuse_live(routes: t.Sequence[Route], colour: str) -> None:
    """Raises ``conflict`` where any of them gives the colour a share of the traffic."""
    for route, split in zip(routes, of_all(lambda route: route.router.read(), routes)):
        if split and split.share(colour):
            raise ConflictError(
                f"route {route.name} has {split}",
                f"no traffic on {colour}",
                f"{colour} is not idle: nothing was changed. Name the idle colour",
            )


def with_routes(error: BlueGreenError, outcomes: t.Sequence[Outcome], failed: int = 1) -> BlueGreenError:
    error.details["routes"] = [outcome.as_result() for outcome in outcomes]
    if failed > 1:
        error.found = f"{error.found} (and {failed - 1} more routes failed)"
    return error


def named(route: Route, error: BaseException) -> BlueGreenError:
    if not isinstance(error, BlueGreenError):
        error = BlueGreenError(f"{type(error).__name__}: {error}")
    return error.of(f"route {route.name}")


def utc_now() -> str:
    return later(0.0) or ""


def later(seconds: float | None) -> str | None:
    """So many seconds from now, ISO 8601 in UTC."""
    if seconds is None:
        return None
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat(timespec="microseconds")
