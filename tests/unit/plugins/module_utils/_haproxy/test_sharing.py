# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils._haproxy.members import Member
from plugins.module_utils._haproxy.sharing import HEAVIEST, own_weights, scaled, shared_out


def member(weight: int, initial: int, name: str = "") -> Member:
    return Member("shop", name or f"{weight}-{initial}", "blue", weight=weight, initial=initial)


def shares(own: tuple[list[int], list[int]], share: float) -> tuple[list[int], list[int]] | None:
    scales = shared_out(own, share)
    return None if scales is None else tuple([scaled(w, s) for w in ws] for ws, s in zip(own, scales))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("own", "share", "weights"),
    [
        (([1], [1]), 0.9, ([9], [1])),
        (([100], [100]), 0.9, ([9], [1])),
        (([1, 1], [1]), 0.5, ([1, 1], [2])),
        (([256, 1], [1, 1]), 0.9, ([251, 1], [14, 14])),
        (([10, 20], [5]), 0.5, ([1, 2], [3])),
    ],
)
def test_shares_keep_the_proportions_of_the_members(
    own: tuple[list[int], list[int]], share: float, weights: tuple[list[int], list[int]]
) -> None:
    assert shares(own, share) == weights


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 256), min_size=1, max_size=8),
    st.lists(st.integers(1, 256), min_size=1, max_size=8),
    st.integers(1, 99),
)
def test_weights_hold_the_share_or_there_are_none(blue: list[int], greens: list[int], percent: int) -> None:
    weights = shares((blue, greens), percent / 100)
    if weights is None:
        return
    assert all(1 <= weight <= HEAVIEST for colour in weights for weight in colour)
    total = sum(map(sum, weights))
    assert abs(sum(weights[0]) / total - percent / 100) <= 0.005


@pytest.mark.parametrize("percent", [5, 10, 25, 50, 75, 90, 95])
@pytest.mark.parametrize("many", [1, 2, 7, 10])
def test_usual_shares_of_usual_colours_can_be_held(percent: int, many: int) -> None:
    assert shares(([1] * many, [1] * 3), percent / 100)


@pytest.mark.parametrize(
    ("members", "in_canary", "own"),
    [
        ([(30, 100), (90, 100)], False, [30, 90]),
        ([(30, 100), (90, 100)], True, [30, 90]),  # somebody's will
        ([(9, 100), (9, 100)], True, [100, 100]),  # a canary's
        ([(9, 100), (9, 100)], False, [9, 9]),
        ([(5, 100), (1, 1)], True, [100, 1]),
        ([(0, 100), (0, 50)], False, [100, 50]),  # taken out by weight
        ([(0, 100), (7, 100)], True, [0, 7]),  # one of them was
        ([(0, 0), (0, 0)], False, [64, 64]),
        ([(3, 0), (3, 0)], True, [64, 64]),
        ([(3, 0), (9, 100)], True, [3, 9]),
        ([], False, []),
    ],
)
def test_what_a_member_weighs_among_its_own(members: list[tuple[int, int]], in_canary: bool, own: list[int]) -> None:
    named = [member(*weights, name=f"b{n}") for n, weights in enumerate(members)]
    assert [*own_weights(named, 64, in_canary).values()] == own


def test_a_slot_without_an_address_gives_no_weight_to_the_others() -> None:
    idle = member(0, 0, "b1")
    slot = Member("shop", "b2", "blue", admin=0x20)
    assert own_weights([idle, slot], 64) == {idle: 64, slot: 64}
