# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With plain data; in a playbook, see the integration test of the records."""

from __future__ import annotations

from plugins.filter.first_colour import FilterModule, first_colour

COLOURS = ["blue", "green"]
NEW = {"written": None, "running": None}


def test_the_load_balancers_decide() -> None:
    found = {"lb1": {"written": "green:blue:0", "running": "green:blue:0"}, "lb2": NEW}
    assert first_colour(found, COLOURS) == {"colour": "green", "trouble": "", "asks_record": False}
    assert FilterModule().filters()["first_colour"] is first_colour


def test_else_the_record_does() -> None:
    record = {"record": {"release": {"id": "1", "state": "released", "from": {}, "to": {"colour": "green"}}}}
    assert first_colour({"lb1": NEW}, COLOURS, "", record) == {"colour": "green", "trouble": "", "asks_record": True}


def test_a_record_that_cannot_be_read_is_named() -> None:
    said = first_colour({"lb1": NEW}, COLOURS, "", {"failed": True, "msg": "no room"})
    assert said["colour"] == ""
    assert said["trouble"].startswith(
        "lb1 has no entry yet, and what is live is not known: the record cannot be read: no"
    )
    assert "Set haproxy_live" in said["trouble"]
    assert first_colour({"lb1": NEW}, COLOURS, "green", {"unreachable": True})["colour"] == "green"


def test_a_host_that_was_not_asked_is_left_out() -> None:
    assert first_colour({"lb1": {}}, COLOURS) == {"colour": "blue", "trouble": "", "asks_record": False}
