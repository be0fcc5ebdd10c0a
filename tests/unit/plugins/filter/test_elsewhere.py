# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible's variables hold, as the decision takes it."""

from __future__ import annotations

import typing as t

import pytest

pytest.importorskip("ansible.errors")

from ansible.errors import AnsibleFilterError

from plugins.filter.elsewhere import FilterModule

FLEET = {"token": 7, "record_host": "lb1", "load_balancers": ["lb1", "lb2"]}


def told(found: t.Any, read: t.Any, hosts: t.Any = ("lb2",)) -> str:
    call = FilterModule().filters()["elsewhere"]
    answer: str = call(list(hosts), {"lb2": {"seen": found}}, "seen", read, "lb2", gone=[])
    return answer


@pytest.mark.parametrize("read", [{}, {"record": None}, {"failed": True}, {"record": {"token": 6}}])
def test_a_record_that_does_not_know_the_release_is_not_its_record(read: t.Any) -> None:
    assert "bluegreen_record_host=lb1" in told({"fleet": FLEET}, read)


@pytest.mark.parametrize("found", [{}, {"fleet": None}, {"unreachable": True}, {"failed": True, "msg": "no"}])
def test_nothing_remembered(found: t.Any) -> None:
    assert told(found, {}) == ""


def test_a_record_that_knows_it_is() -> None:
    assert told({"fleet": FLEET}, {"record": {"token": 7}}) == ""


def test_what_is_no_memory_is_an_error() -> None:
    with pytest.raises(AnsibleFilterError, match="record_host is no name"):
        told({"fleet": {**FLEET, "record_host": 1}}, {})
