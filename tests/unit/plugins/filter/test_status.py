# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On records as the ledger writes them; in a playbook, see the integration tests of releases."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from plugins.filter.status import FilterModule, status
from plugins.module_utils._release import ledger
from plugins.module_utils._release.record import Record

NOW = 1_795_402_800.0  # 2026-11-23 03:00 UTC
NOTHING = ledger.standing(Record("shop"), NOW)
SIDES = {"from_": {"colour": "blue", "version": "1.0"}, "to_": {"colour": "green", "version": "1.1"}}


def begun(**more: t.Any) -> Record:
    request = ledger.Request(**{"id": "shop-1.1", "owner": "alice", "stage": "switch", **SIDES, **more})
    return ledger.begin(Record("shop"), request, NOW)


def parked(**entry: t.Any) -> Record:
    record = begun()
    return ledger.step(record, record.token, ledger.Entry(park=True, **entry), NOW)


def over(state: str = "released", period: float | None = 3600.0) -> Record:
    record = begun()
    return ledger.finish(record, record.token, ledger.Entry(), ledger.Ending(state, None, None, period), NOW)


def recovered(record: Record, close: bool = True) -> Record:
    request = ledger.Request(id="r", owner="bob", stage="recover", from_={"colour": "green"}, to_={"colour": ""})
    record = ledger.begin(record, request, NOW)
    return ledger.finish(record, record.token, ledger.Entry(), ledger.Ending("recovered"), NOW) if close else record


def seen(green: float = 0, live: str | None = "blue", **more: t.Any) -> dict[str, t.Any]:
    return {"routes": [{"name": "lb1", "split": {"blue": 100 - green, "green": green}, "live": live, **more}]}


def watchdog(state: str, **more: t.Any) -> dict[str, t.Any]:
    times = {"ended_at": "2026-11-23T03:05:00.000000+00:00", "fires_in": 287.4}
    return {**seen(100, "green"), "watchdog": {"state": state, "message": "lb1: put back", **times, **more}}


@pytest.mark.parametrize(
    ("what", "found", "expected"),
    [
        ("all on one", {"lb1": seen()}, ["shop: blue is live, green is not", "lb1: blue 100 %, green 0 %"]),
        ("a canary", {"lb1": seen(12.5)}, ["shop: blue is live, green is not", "lb1: blue 87.5 %, green 12.5 %"]),
        (
            "they disagree",
            {"lb2": seen(100, "green"), "lb1": seen()},
            ["shop: blue and green are live", "lb1: blue 100 %, green 0 %", "lb2, route lb1: blue 0 %, green 100 %"],
        ),
        ("no colour", {"lb1": seen(50, None)}, ["shop: no colour is live, blue is not, green is not"]),
        (
            "nobody serves",
            {"lb1": {"routes": [{"name": "lb1", "split": {"blue": 0, "green": 0}, "live": None}]}},
            ["shop: no colour is live, blue is not, green is not", "lb1: nobody serves"],
        ),
        ("nobody was seen", {}, ["shop: nobody knows what is live"]),
        ("a result without routes", {"lb1": {"failed": True}}, ["shop: nobody knows what is live"]),
        (
            "drift",
            {"lb1": seen(drift=["the map file says green"])},
            ["lb1: blue 100 %, green 0 %", "lb1: drift, the map file says green"],
        ),
        ("overdue", {"lb1": watchdog("armed", message="Its process is gone")}, ["lb1: Its process is gone"]),
        (
            "waiting for a lock",
            {"lb1": watchdog("firing", message="The watchdog goes on trying")},
            ["lb1: The watchdog goes on trying"],
        ),
        (
            "armed",
            {"lb1": watchdog("armed", message="")},
            ["lb1: unless it is confirmed, the traffic goes back in 5 min"],
        ),
        (
            "fired",
            {"lb1": watchdog("fired")},
            ["lb1: nobody confirmed in time, fired at 2026-11-23 03:05:00 UTC: lb1: put back"],
        ),
    ],
)
def test_where_the_traffic_is(what: str, found: dict[str, t.Any], expected: list[str]) -> None:
    told = status(NOTHING, "shop", found, [])
    assert [line for line in told if line in expected] == expected, (what, told)
    assert "nothing was released yet" in told


@pytest.mark.parametrize("state", ["confirmed", "undone"])
def test_a_watchdog_with_nothing_to_do_is_not_told(state: str) -> None:
    assert not [line for line in status(NOTHING, "shop", {"lb1": watchdog(state)}, []) if "confirm" in line]


@pytest.mark.parametrize(
    ("what", "record", "later", "expected"),
    [
        (
            "open",
            begun(),
            42,
            [
                "release shop-1.1 is open for 42 s, at stage switch",
                "it is of alice, from blue (1.0) to green (1.1)",
                "its lock, of alice, holds for another 14 min",
            ],
        ),
        ("no stage", begun(stage=None), 0, ["release shop-1.1 is open for 0 s"]),
        ("no version", begun(from_={}, to_={"colour": "green"}), 0, ["it is of alice, from no colour to green"]),
        ("of one colour", begun(from_=SIDES["to_"]), 0, ["it is of alice, with green (1.1) live"]),
        ("run out", begun(), 7201, ["release shop-1.1 is open for 2 h, at stage switch"]),
        ("its lock", begun(), 901, ["its lock, of alice, ran out at 2026-11-23 03:15:00 UTC"]),
        ("parked", parked(), 0, ["its lock is left to whoever goes on"]),
        ("in doubt", parked(in_doubt=["lb2", "lb3"]), 0, ["in doubt since then: lb2, lb3"]),
        (
            "over",
            over("rolled_back", None),
            0,
            [
                "last release: shop-1.1, rolled back",
                "it was of alice, from blue (1.0) to green (1.1)",
                "it ended at 2026-11-23 03:00:00 UTC",
            ],
        ),
        (
            "recovered since",
            recovered(over()),
            600,
            [
                "last release: shop-1.1, released",
                "the way back is kept for another 50 min",
                "bob sent all traffic to green at 2026-11-23 03:00:00 UTC",
            ],
        ),
        (
            "recovered only",
            recovered(Record("shop")),
            0,
            ["nothing was released yet", "bob sent all traffic to green at 2026-11-23 03:00:00 UTC"],
        ),
        (
            "a recovery is open",
            recovered(over(), False),
            0,
            ["release r is open for 0 s, at stage recover", "it is of bob, all traffic to green"],
        ),
        ("kept", over(), 600, ["the way back is kept for another 50 min"]),
        (
            "frozen",
            ledger.freeze(over(), "bob", "Holidays", "2027-01-02T06:00:00Z", NOW),
            0,
            ["frozen by bob until 2027-01-02 06:00:00 UTC: Holidays"],
        ),
    ],
)
def test_what_the_record_says(what: str, record: Record, later: float, expected: list[str]) -> None:
    told = status(ledger.standing(record, NOW + later), "shop", {"lb1": seen()}, [])
    assert [line for line in told if line in expected] == expected, (what, told)
    assert all(len(line) < 70 for line in told), "the lines fit a terminal of 80 columns"


def test_a_confirmation_period_that_is_over_is_not_told() -> None:
    told = status(ledger.standing(over(), NOW + 3601), "shop", {"lb1": seen()}, [])
    assert not [line for line in told if "way back" in line]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"failed": True, "msg": "it is no JSON"}, "the record cannot be read: it is no JSON"),
        ({"unreachable": True}, "the record cannot be read: no answer"),
    ],
)
def test_a_record_that_cannot_be_read_hides_nothing_else(record: dict[str, t.Any], expected: str) -> None:
    told = status(record, "shop", {"lb1": seen()}, [{"host": "lb2", "code": "unreachable", "msg": "gone"}])
    assert told == ["shop: blue is live, green is not", "lb1: blue 100 %, green 0 %", "lb2: in doubt, gone", expected]


def test_a_load_balancer_that_the_inventory_has_lost_is_named() -> None:
    told = status({**NOTHING, "missing": ["lb3"]}, "shop", {"lb1": seen()}, [])
    assert "lb3: not in the inventory, though the last release ran on it" in told


def test_a_version_is_the_last_that_the_record_has_for_the_colour() -> None:
    first = over("released")
    second = ledger.begin(
        first,
        ledger.Request(id="retire", owner="bob", from_={"colour": "green"}, to_={"colour": "green"}),
        NOW + 1,
    )
    for record in (first, second, replace(second, history=[*second.history])):
        told = status(ledger.standing(record, NOW + 2), "shop", {"lb1": seen(100, "green")}, [])
        assert told[0] == "shop: green (1.1) is live, blue (1.0) is not"
    unknown = status(ledger.standing(replace(second, history=[]), NOW + 2), "shop", {"lb1": seen(100, "green")}, [])
    assert unknown[0] == "shop: green is live, blue is not"


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"status": status}
