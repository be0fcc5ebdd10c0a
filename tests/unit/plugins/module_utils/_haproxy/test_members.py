# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from plugins.module_utils._haproxy.members import Member, carried, followed, serving

B1 = Member("shop", "b1", "blue")
G1 = Member("shop", "g1", "green")


def of(admin: int = 0, op: int = 2, weight: int = 1) -> Member:
    return Member("shop", "b1", "blue", admin=admin, op=op, weight=weight)


@pytest.mark.parametrize(
    ("admin", "is_out"),
    [
        (0x00, False),
        (0x01, True),  # forced maintenance
        (0x02, True),  # maintenance inherited from the server it tracks
        (0x04, False),  # was "disabled" in the configuration, which says nothing about now
        (0x05, True),
        (0x08, True),  # forced drain
        (0x10, True),  # drain inherited
        (0x20, True),  # maintenance because its name does not resolve
        (0x40, False),  # its host name was set at run time, as by an SRV record
    ],
)
def test_a_server_is_out_in_maintenance_or_drain_only(admin: int, is_out: bool) -> None:
    assert of(admin).is_out is is_out


@pytest.mark.parametrize(("op", "is_up"), [(0, False), (1, True), (2, True), (3, False)])
def test_a_server_is_up_unless_its_checks_say_otherwise_or_it_is_stopping(op: int, is_up: bool) -> None:
    assert of(op=op).is_up is is_up


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (of(0x01), "b1 is in maintenance"),
        (of(0x08), "b1 is in drain"),
        (of(0x21), "b1 is in maintenance"),
        (of(0x28), "b1 has no address, as its name does not resolve"),
        (replace(of(0x02), tracks="checks/b1"), "b1 tracks checks/b1, which is in maintenance"),
        (of(op=0), "b1 is down"),
        (replace(of(op=0), last_check="Connection refused"), "b1 is down (Connection refused)"),
        (of(weight=0), "b1 has weight 0"),
    ],
)
def test_it_says_why_it_gets_nothing(member: Member, why: str) -> None:
    assert member.why_not() == why


BACKUP = replace(G1, backup=True)
SECOND = replace(BACKUP, name="g2")


@pytest.mark.parametrize(
    ("members", "names"),
    [
        ([B1, G1], ["b1", "g1"]),
        ([replace(B1, weight=0), G1], ["g1"]),
        ([replace(B1, op=0), G1], ["b1", "g1"]),  # it is meant to, and will when it is up
        ([B1, BACKUP], ["b1"]),
        ([replace(B1, admin=8), BACKUP, SECOND], ["g1", "g2"]),
        ([replace(B1, op=0), BACKUP], ["g1"]),  # HAProxy has failed over
        ([replace(B1, op=0), replace(BACKUP, op=0)], ["b1"]),
        ([replace(B1, admin=1), replace(G1, admin=8)], []),
        (
            [replace(B1, backend="other", admin=1), replace(B1, backend="other", name="b2", backup=True), G1],
            ["b2", "g1"],
        ),
    ],
)
def test_who_is_meant_to_get_the_requests(members: list[Member], names: list[str]) -> None:
    assert [member.name for member in serving(members)] == names


def test_what_a_colour_carries_is_the_weight_of_its_members() -> None:
    assert carried([replace(B1, weight=3), replace(B1, name="b2", weight=4), G1], "blue") == 7


@pytest.mark.parametrize(("admin", "inherited"), [(1, 2), (8, 16), (0, 0)])
def test_a_server_that_tracks_another_one_follows_it(admin: int, inherited: int) -> None:
    heir = replace(G1, tracks="shop/b1", admin=18)
    heir_of_heir = replace(G1, name="g2", tracks="shop/g1")
    after = followed([replace(B1, admin=admin), heir_of_heir, heir])
    assert [member.admin for member in after] == [admin, inherited, inherited]


def test_what_it_tracks_elsewhere_is_as_haproxy_says() -> None:
    heir = replace(G1, tracks="checks/g1", admin=2)
    assert followed([heir]) == [heir]


@pytest.mark.parametrize(
    ("by", "is_known"),
    [({}, False), ({"is_checked": True}, True), ({"has_agent": True}, True), ({"tracks": "checks/g1"}, True)],
)
def test_a_server_that_nothing_checks_is_not_known(by: dict[str, Any], is_known: bool) -> None:
    assert replace(G1, **{"is_checked": False, **by}).is_known is is_known


@pytest.mark.parametrize(
    ("seen", "is_checked", "awaits"),
    [
        ({}, True, False),
        ({"srv_check_state": "7"}, True, False),  # a check is under way
        ({"srv_check_status": "1"}, True, True),  # never checked
        ({"check_health": "2"}, True, True),  # on the brink
        ({"check_health": "2", "check_fall": "1"}, True, False),  # with which nobody can tell
        ({"check_health": "2", "srv_op_state": "0"}, True, False),  # it is down
        ({"check_health": "", "check_rise": "", "check_fall": "", "srv_check_state": "14"}, True, False),  # at rest
        ({"check_health": "2", "srv_check_state": "2"}, False, False),  # checks are disabled
        ({"check_health": "2", "srv_check_state": "0"}, False, False),
        ({"srvrecord": "_shop._tcp.test"}, True, False),
    ],
)
def test_what_haproxy_says_of_a_server_is_read(seen: dict[str, str], is_checked: bool, awaits: bool) -> None:
    state = {"be_name": "shop", "srv_name": "b1", "srv_admin_state": "0", "srv_op_state": "2"}
    state |= {"srv_uweight": "7", "srv_iweight": "9", "srv_check_state": "6", "srv_check_status": "15"}
    row = {"bck": "0", "check_rise": "2", "check_fall": "3", "check_health": "4"}
    member = Member.of(state | seen, row | seen, "blue")
    assert (member.weight, member.initial, member.from_dns) == (7, 9, "srvrecord" in seen)
    assert (member.is_checked, member.awaits_check) == (is_checked, awaits)
