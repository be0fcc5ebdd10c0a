# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the next requests go after a change, as HAProxy counts them. Private to this collection."""

from __future__ import annotations

import typing as t

from .._errors import NotVerifiedError
from .._wait import until
from .members import Row
from .pool import Look

PATIENCE = 0.3
"""Seconds to wait for the next request."""


class Taken:
    """What was counted right after a change, to hold what comes then against it."""

    def __init__(self, since: Look, backends: t.Mapping[str, str]) -> None:
        self._since, self._backends = since, backends

    def looked(self, look: t.Callable[[], Look], colour: str) -> bool | None:
        """Whether the next request went to the colour's backend. None: there was none.

        Raises ``not_verified`` where it went to the other one, which has no server for it. One that a server of the
        other took was on its way before, or its client sticks to that server.
        """
        wrong = next(backend for other, backend in self._backends.items() if other != colour)

        def seen() -> tuple[bool, bool]:
            now = look()
            return self._more(now, self._backends[colour]), self._unserved(now, wrong)

        (right, lost), _shown = until(seen, any, timeout=PATIENCE, interval=0.05)
        if lost:
            raise NotVerifiedError(
                f"a request came to the backend {wrong}, whose servers have just been taken out",
                f"one that takes {self._backends[colour]} when that has servers",
                "See whether the frontend chooses by the number of usable servers, as with "
                f"use_backend {self._backends[colour]} if {{ nbsrv({self._backends[colour]}) gt 0 }}, "
                f"and the same for {wrong} (docs/haproxy.md), or set lower_with to maint where it asks srv_is_up, for "
                "which a drained server is up; and whether requests were queued",
            )
        return True if right else None

    def _more(self, now: Look, backend: str) -> bool:
        return _count(now, backend, "stot") > _count(self._since, backend, "stot")

    def _unserved(self, now: Look, backend: str) -> bool:
        """Whether a request came to the backend and to no server of it."""
        return _alone(now, backend) > _alone(self._since, backend)


def queued(look: Look, backends: t.Collection[str]) -> int:
    """Requests that wait for a server of one of the backends."""
    rows = [*look.servers.values(), *look.backends.values()]
    return sum(int(row.get("qcur") or 0) for row in rows if row.get("pxname") in backends)


def reached(since: Look, now: Look, look: t.Callable[[], Look], lowered: t.Collection[str]) -> bool:
    """Whether a request that came ``since`` then went to a server that was taken out, as a rule of the configuration
    or a client's cookie can have it. Waits for the next one where there were some in the last second."""

    def taken(now: Look) -> set[str]:
        known = now.servers.keys() & since.servers.keys()
        return {place for place in known if _total(now.servers[place]) > _total(since.servers[place])}

    places = taken(now)
    if not places and any(int(row.get("rate") or 0) for row in since.backends.values()):
        places, _any = until(lambda: taken(look()), bool, timeout=PATIENCE, interval=0.02)
    return bool(places.intersection(lowered))


def _total(row: Row) -> int:
    return int(row.get("stot") or 0)


def _alone(look: Look, backend: str) -> int:
    """Connections that failed for want of a server."""
    mine = [row for place, row in look.servers.items() if place.startswith(f"{backend}/")]
    return _count(look, backend, "econ") - sum(int(row.get("econ") or 0) for row in mine)


def _count(look: Look, backend: str, column: str) -> int:
    return int(look.backends[backend].get(column) or 0)
