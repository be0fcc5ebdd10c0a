# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights for a split over servers that have weights of their own. Private to this collection."""

from __future__ import annotations

import typing as t
from collections import Counter

from .members import HELD, Member

HEAVIEST = 256


def own_weights(of_colour: t.Sequence[Member], fallback: int, in_canary: bool = False) -> dict[Member, int]:
    """The weight of each member among its own, whatever shares its colour has had.

    Those that it has, also where somebody has set them at run time; but what a canary has made of the configuration's
    is the configuration's. A colour that has none at all gets ``fallback`` for each.
    """
    now = {member: member.weight for member in of_colour}
    initial = {member: member.initial for member in of_colour}
    able = [member for member in of_colour if not member.admin & HELD] or of_colour
    if any(now[member] for member in able) and not (in_canary and _in_proportion(of_colour)):
        return now
    return initial if any(initial[member] for member in able) else dict.fromkeys(of_colour, fallback)


def _in_proportion(members: t.Sequence[Member]) -> bool:
    """Whether the weights are the configuration's, made larger or smaller and rounded."""
    least, most = 0.0, float("inf")
    for member in members:
        if not member.initial:
            if member.weight and any(one.initial for one in members):
                return False
            continue
        if not member.weight:
            return False
        least = max(least, (member.weight - 0.5) / member.initial if member.weight > 1 else 0.0)
        most = min(most, (member.weight + 0.5) / member.initial)
    return least <= most


def shared_out(own: tuple[t.Sequence[int], t.Sequence[int]], share: float) -> tuple[float, float] | None:
    """By what to multiply the weights of each of two colours, so that the first one gets the share.

    Chosen so that the split is the nearest one, each colour's own proportions hold, and the weights are small.
    None: no weights can hold it. ``share`` is above 0 and below 1.
    """
    counts = Counter(own[0]), Counter(own[1])
    ratio = sum(own[0]) * (1 - share) / (sum(own[1]) * share)
    heaviest = max(*own[0], max(own[1]) * ratio)
    tried = ((size / heaviest, size / heaviest * ratio) for size in range(1, HEAVIEST + 1))
    errors = ((_error(counts, scales, share), scales) for scales in tried)
    able = [(round(sum(error), 9), scales) for error, scales in errors if error[0] <= 0.005]
    return min(able)[1] if able else None


def scaled(weight: int, scale: float) -> int:
    return min(max(round(weight * scale), 1), HEAVIEST) if weight else 0


def _error(counts: tuple[Counter[int], Counter[int]], scales: tuple[float, float], share: float) -> tuple[float, float]:
    """How far the split is off, and how far the members of a colour among themselves."""
    sums = [sum(scaled(w, scale) * many for w, many in count.items()) for count, scale in zip(counts, scales)]
    wholes = [sum(w * many for w, many in count.items()) for count in counts]
    apart = max(
        abs(scaled(weight, scale) / total - weight / whole)
        for count, scale, total, whole in zip(counts, scales, sums, wholes)
        for weight in count
    )
    return abs(sums[0] / sum(sums) - share), apart
