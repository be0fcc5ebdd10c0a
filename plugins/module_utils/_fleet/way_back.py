# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a colour can take all traffic of a fleet, asked once before it gets it. Private to this collection.

Only what is seen counts: where nobody could ask, or the colour that is to be left is dead as well, nothing keeps the
traffic from going. Nor does an answer that is no good one: an older version need not have the page that is asked.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

Json = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Sight:
    """What one load balancer's host has seen."""

    routes: t.Sequence[Json] = ()
    """As the module traffic_info tells them."""
    answers: t.Sequence[Json] = ()
    """Of the members of the colour to go to, as the module health_check tells them."""
    others: t.Sequence[Json] = field(default=())
    """Of the members of the other colour."""

    def moves(self, to: str) -> bool:
        return any(route["split"].get(to) != 100 for route in self.routes)

    def would_lose(self, to: str) -> bool:
        """Whether the colour to leave lives, as its members say where they were asked, or else the load balancer."""
        if self.others:
            return any(answer["healthy"] for answer in self.others)
        return any(
            share and colour != to and _ready(route, colour)
            for route in self.routes
            for colour, share in route["split"].items()
        )


def why_unfit(to: str, seen: t.Mapping[str, Sight]) -> list[str]:
    """A sentence each; none if the colour can take the traffic as far as anybody knows."""
    at_risk = {host: one for host, one in sorted(seen.items()) if one.moves(to) and one.would_lose(to)}
    silent = [host for host, one in at_risk.items() if one.answers and not any(map(_speaks, one.answers))]
    unready = (sentence for host in at_risk.keys() - {*silent} for sentence in _unready(to, host, at_risk[host]))
    return [*_silent(to, silent, at_risk), *sorted(unready)]


def _speaks(answer: Json) -> bool:
    return answer["healthy"] or answer.get("status") is not None


def _silent(to: str, hosts: t.Sequence[str], seen: t.Mapping[str, Sight]) -> t.Iterator[str]:
    if hosts:
        first, many = seen[hosts[0]].answers[0], len(seen[hosts[0]].answers)
        yield f"{', '.join(hosts)}: no member of {to} out of {many} answers ({first['endpoint']}: {first['reason']})"


def _unready(to: str, host: str, one: Sight) -> t.Iterator[str]:
    for route in one.routes:
        if route["split"].get(to) != 100 and _ready(route, to) == 0:
            known = route["activity"][to]
            why = f" ({'; '.join(known['unready'])})" if known["unready"] else ""
            yield f"{host} sees {known['members']} members of {to}, and none is ready{why}"


def _ready(route: Json, colour: str) -> int | None:
    known = (route.get("activity") or {}).get(colour)
    return known["ready"] if known else None
