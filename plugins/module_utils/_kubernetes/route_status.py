# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What gateways say of a route that is attached to them. Private to this collection.

Source: gateway-api.sigs.k8s.io/reference/spec (RouteParentStatus; conditions Accepted and ResolvedRefs).
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .client import Json

CONDITIONS = ("Accepted", "ResolvedRefs")


@dataclass(frozen=True)
class Word:
    """Of one gateway's controller."""

    who: str
    generation: int
    """Of the route as the controller has seen it. 0: it does not tell; some never do."""
    objections: tuple[str, ...]
    """A condition that is False, a sentence each."""


def words(route: Json) -> list[Word]:
    """Of each gateway that the route is attached to: its status may still hold others, which nobody takes away."""
    namespace = route["metadata"].get("namespace", "")
    attached = {_key(each, namespace) for each in route["spec"].get("parentRefs") or ()}
    parents = route.get("status", {}).get("parents") or ()
    return [_word(each) for each in parents if _key(each.get("parentRef") or {}, namespace) in attached]


def has_seen(route: Json) -> bool | None:
    """Whether every gateway has taken this generation of the route into account. None: not all of them tell."""
    generation, told = route["metadata"]["generation"], [word.generation for word in words(route)]
    if any(0 < seen < generation for seen in told):
        return False
    return True if told and all(told) else None


def objections(route: Json) -> tuple[str, ...]:
    """What gateways that have seen this generation have against it."""
    generation = route["metadata"]["generation"]
    return tuple(said for word in words(route) if word.generation in (0, generation) for said in word.objections)


def _word(parent: Json) -> Word:
    found = [each for each in parent.get("conditions") or () if each.get("type") in CONDITIONS]
    who = (
        f"gateway {(parent.get('parentRef') or {}).get('name', '?')} ({parent.get('controllerName', 'no controller')})"
    )
    refused = [each for each in found if each.get("status") == "False"]
    return Word(
        who,
        min((int(each.get("observedGeneration") or 0) for each in found), default=0),
        tuple(f"{who} says {each['type']}: False, {_reason(each)}" for each in refused),
    )


def _reason(condition: t.Mapping[str, t.Any]) -> str:
    return ": ".join(str(condition[name]) for name in ("reason", "message") if condition.get(name)) or "with no reason"


def _key(ref: Json, namespace: str) -> tuple[t.Any, ...]:
    return (
        ref.get("group", "gateway.networking.k8s.io"),
        ref.get("kind", "Gateway"),
        ref.get("namespace") or namespace,
        ref.get("name"),
        ref.get("sectionName"),
        ref.get("port"),
    )
