# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each server is told, for each state that it may be found in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plugins.module_utils._haproxy.members import Member
from plugins.module_utils._haproxy.plan import Wish, halfway, is_as_told, ours, planned, restored, steps

ALL_BLUE, ALL_GREEN, CANARY = ({"blue": b, "green": 1 - b} for b in (1.0, 0.0, 0.9))
MAINT, DISABLED, DRAIN, HELD = 1, 5, 8, 0x20


def m(name: str, admin: int = 0, weight: int = 10, initial: int = 10, op: int = 2, **more: object) -> Member:
    colour = {"b": "blue", "g": "green"}.get(name[0])
    return replace(Member("shop", name, colour, admin, op, weight, initial), **more)


def told(members: list[Member], shares: dict[str, float], **wish: object) -> tuple[list[str], ...]:
    """The commands of each step, without what is always the same."""
    after = planned(members, Wish(shares, **wish))  # type: ignore[arg-type]
    assert after is not None
    return bare(members, after, shares)


def bare(before: list[Member], after: list[Member], shares: dict[str, float]) -> tuple[list[str], ...]:
    done = steps(before, after, shares)
    return tuple(
        [line.replace("set server shop/", "") for line in part] for part in (done.weigh, done.raise_, done.lower)
    )


@pytest.mark.parametrize(
    ("members", "shares", "commands"),
    [
        ([m("b1"), m("g1", DRAIN)], ALL_BLUE, ([], [], [])),
        ([m("b1"), m("g1", DRAIN)], ALL_GREEN, ([], ["g1 state ready"], ["b1 state drain"])),
        # weight 0 is the idle colour's, or everybody's
        ([m("b1"), m("g1", 0, 0, 0)], ALL_GREEN, (["g1 weight 10"], [], ["b1 state drain"])),
        ([m("b1"), m("g1", 0, 0, 20)], ALL_GREEN, (["g1 weight 20"], [], ["b1 state drain"])),
        ([m("b1", 0, 0, 0), m("g1", 0, 0, 0)], ALL_GREEN, (["g1 weight 1"], [], ["b1 state drain"])),
        ([m("b1"), m("g1", 0, 0), m("g2")], ALL_GREEN, ([], [], ["b1 state drain"])),
        # a canary's weights, and those that were there
        ([m("b1"), m("g1", DRAIN)], CANARY, (["b1 weight 9", "g1 weight 1"], ["g1 state ready"], [])),
        ([m("b1", weight=9), m("g1", weight=1)], ALL_GREEN, (["g1 weight 10"], [], ["b1 state drain", "b1 weight 10"])),
        # a repair stays one, both ways
        ([m("b1"), m("g1", DRAIN), m("g2", MAINT)], ALL_GREEN, ([], ["g1 state ready"], ["b1 state drain"])),
        ([m("b1"), m("b2", MAINT), m("g1", DRAIN)], ALL_GREEN, ([], ["g1 state ready"], ["b1 state drain"])),
        ([m("b1"), m("g1", MAINT)], ALL_GREEN, ([], [], ["b1 state drain"])),  # refused by whoever asks
        # what the configuration disables is the idle colour, or one of its servers
        ([m("b1"), m("g1", DISABLED)], ALL_GREEN, ([], ["g1 state ready"], ["b1 state drain"])),
        ([m("b1"), m("g1"), m("g2", DISABLED)], ALL_GREEN, ([], [], ["b1 state drain"])),
        # slots without an address come and go with the others, and carry nothing
        ([m("b1"), m("g1", DRAIN), m("g2", DRAIN | HELD)], CANARY,
         (["b1 weight 9", "g1 weight 1", "g2 weight 1"], ["g1 state ready", "g2 state ready"], [])),
        # a backup gets nothing anyway, while another is usable
        ([m("b1"), m("g1", backup=True)], ALL_GREEN, ([], [], ["b1 state drain"])),
        ([m("b1", DRAIN), m("g1", backup=True)], ALL_BLUE, ([], ["b1 state ready"], [])),
        ([m("b1", DRAIN, backup=True), m("g1", backup=True)], ALL_BLUE, ([], ["b1 state ready"], ["g1 state drain"])),
        ([m("b1", op=0), m("g1", backup=True)], ALL_BLUE, ([], [], ["g1 state drain"])),
        # who is of neither colour is left alone
        ([m("b1"), m("g1", DRAIN), m("x1")], ALL_GREEN, ([], ["g1 state ready"], ["b1 state drain"])),
    ],
)  # fmt: skip
def test_what_each_server_is_told(
    members: list[Member], shares: dict[str, float], commands: tuple[list[str], ...]
) -> None:
    assert told(members, shares) == commands


def test_by_force_those_in_maintenance_are_raised_too_where_nobody_else_could_serve() -> None:
    repair = [m("b1"), m("g1", MAINT)]
    assert told(repair, ALL_GREEN, force=True) == ([], ["g1 state ready"], ["b1 state drain"])
    assert told([*repair, m("g2", DRAIN)], ALL_GREEN, force=True)[1] == ["g2 state ready"]
    assert told([*repair, m("g2", DRAIN | HELD)], ALL_GREEN, force=True)[1] == ["g1 state ready", "g2 state ready"]


@pytest.mark.parametrize(
    ("of_colour", "lower_with", "names"),
    [
        ([m("b1"), m("b2", DRAIN)], "drain", ["b1", "b2"]),
        ([m("b1", DRAIN), m("b2", MAINT)], "drain", ["b1"]),
        ([m("b1", MAINT), m("b2", MAINT)], "drain", []),
        ([m("b1", MAINT), m("b2", MAINT)], "maint", ["b1", "b2"]),
        ([m("b1"), m("b2", MAINT)], "maint", ["b1"]),
        ([m("b1", MAINT, weight=0), m("b2", MAINT)], "maint", ["b1"]),  # as we have lowered it
        ([m("b1", DISABLED), m("b2", DISABLED)], "drain", ["b1", "b2"]),
        ([m("b1", DISABLED), m("b2", MAINT)], "drain", ["b1"]),
        ([m("b1", DISABLED), m("b2")], "drain", ["b2"]),
        ([m("b1", MAINT), m("b2", HELD)], "maint", ["b1", "b2"]),  # a slot without an address tells nothing
    ],
)
def test_who_was_put_in_maintenance_by_somebody_else_is_not_ours(
    of_colour: list[Member], lower_with: str, names: list[str]
) -> None:
    assert [member.name for member in ours(of_colour, lower_with)] == names


def test_with_maintenance_a_repair_is_told_apart_after_the_colour_was_lowered() -> None:
    members = [m("b1"), m("b2", MAINT), m("g1", MAINT)]
    after = planned(members, Wish(ALL_GREEN, "maint"))
    assert after is not None
    assert bare(members, after, ALL_GREEN) == ([], ["g1 state ready"], ["b1 state maint", "b1 weight 0"])
    back = planned(after, Wish(ALL_BLUE, "maint"))
    assert back is not None
    assert bare(after, back, ALL_BLUE) == (["b1 weight 10"], ["b1 state ready"], ["g1 state maint"])


def test_who_is_drained_is_put_in_maintenance_where_that_is_wanted() -> None:
    assert told([m("b1"), m("g1", DRAIN)], ALL_BLUE, lower_with="maint") == ([], [], ["g1 state maint"])


def test_halfway_those_with_a_share_are_raised_and_nobody_is_lowered() -> None:
    before = [m("b1", MAINT), m("b2", weight=3), m("g1")]
    after = [m("b1"), m("b2", DRAIN), m("g1", MAINT)]
    assert halfway(before, after, ALL_BLUE) == [m("b1"), m("b2"), m("g1")]


def test_the_way_back_gives_back_what_was_found() -> None:
    found = [m("b1", weight=7), m("b2", DRAIN), m("g1", weight=0, initial=0)]
    now = planned(found, Wish(ALL_GREEN))
    assert now is not None
    back = restored(now, found, Wish(ALL_BLUE))
    assert back == found
    assert bare(now, back, ALL_BLUE) == ([], ["b1 state ready"], ["g1 weight 0"])


def test_the_way_back_from_maintenance_is_not_held_up_by_a_backup_of_somebody_else() -> None:
    found = [m("b1"), m("g1", 0, 0, 0), m("x1", backup=True)]
    now = [m("b1", MAINT, op=0), m("g1", 0, 10, 0), m("x1", backup=True)]
    assert restored(now, found, Wish(ALL_BLUE, "maint")) == found


def test_the_way_back_leaves_alone_who_was_put_in_maintenance_since() -> None:
    found = [m("b1"), m("b2"), m("g1", DRAIN)]
    now = [m("b1", DRAIN), m("b2", MAINT), m("g1")]
    back = restored(now, found, Wish(ALL_BLUE))
    assert [member.admin for member in back] == [0, MAINT, DRAIN]


def test_a_tracked_server_takes_its_followers_along() -> None:
    members = [m("b1"), m("g1", DRAIN), m("g2", DRAIN | 0x10, tracks="shop/g1")]
    assert told(members, ALL_GREEN)[1] == ["g1 state ready", "g2 state ready"]
    after = planned(members, Wish(ALL_GREEN))
    assert after is not None
    assert [member.admin for member in after] == [DRAIN, 0, 0]


def test_no_weights_hold_a_share_that_is_too_small() -> None:
    members = [m(f"b{n}") for n in range(2)] + [m(f"g{n}") for n in range(60)]
    assert planned(members, Wish({"blue": 0.99, "green": 0.01})) is None


def test_it_stands_as_it_was_told_until_a_command_changes_it() -> None:
    then = m("b1", DRAIN)
    assert is_as_told(replace(then, op=0, admin=DRAIN | HELD), then)
    assert not is_as_told(replace(then, weight=11), then)
    assert not is_as_told(m("b1"), then)
    assert not is_as_told(None, then)
