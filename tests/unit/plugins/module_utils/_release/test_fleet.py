# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from plugins.module_utils._errors import IncompleteError
from plugins.module_utils._release import ledger
from plugins.module_utils._release.fleet import missing, remembered
from plugins.module_utils._release.ledger import Ending, Entry, Request
from plugins.module_utils._release.record import Record, document, parse_record

from .fakes import NOW

THREE = ["lb1", "lb2", "lb3"]
REQUEST = Request(id="shop-1", owner="alice")


def released(names: list[str] | None, record: Record | None = None, **more: t.Any) -> Record:
    wanted = replace(REQUEST, id=f"shop-{len(record.history) + 2 if record else 1}", load_balancers=names, **more)
    begun = ledger.begin(record or Record("shop"), wanted, NOW)
    return ledger.finish(begun, begun.token, Entry(), Ending("released"), NOW)


def test_the_record_remembers_the_fleet_of_the_last_release() -> None:
    record = released(THREE)
    assert remembered(parse_record("shop", document(record))) == THREE
    assert remembered(released([*THREE, "lb4"], record)) == [*THREE, "lb4"]


def test_an_inventory_that_holds_one_of_three_is_refused_with_the_missing_names() -> None:
    record = released(THREE)
    assert missing(record, ["lb1"], []) == ["lb2", "lb3"]
    with pytest.raises(IncompleteError, match=r"lacks lb2, lb3, .* bluegreen_gone=lb2,lb3"):
        released(["lb1"], record)


@pytest.mark.parametrize("how", [{"id": "shop-2", "named": True}, {"join": True}, {"take_over": "recover"}])
def test_it_is_refused_to_whoever_goes_on_with_a_release_too(how: dict[str, t.Any]) -> None:
    begun = ledger.begin(Record("shop"), replace(REQUEST, id="shop-2", load_balancers=THREE), NOW)
    parked = ledger.step(begun, begun.token, Entry(park=True), NOW)
    with pytest.raises(IncompleteError):
        ledger.begin(parked, replace(REQUEST, load_balancers=["lb1"], **how), NOW)


def test_who_is_called_gone_is_asked_for_once_and_then_forgotten() -> None:
    record = released(["lb1"], released(THREE), gone=["lb2", "lb3"])
    assert remembered(record) == ["lb1"]
    assert missing(released(["lb1"], record), ["lb1"], []) == []


def test_a_release_that_names_no_load_balancers_leaves_the_fleet_as_it_is() -> None:
    record = released(None, released(THREE))
    assert remembered(record) == THREE
    assert missing(record, None, []) == []


def test_a_record_from_before_fleets_were_kept_has_them_in_its_routes() -> None:
    record = released(None, routes={name: [] for name in THREE})
    assert (record.fleet, remembered(record)) == ([], THREE)
    assert remembered(released(None, record)) == THREE
    assert remembered(replace(record, history=[], release=None)) == []


@pytest.mark.parametrize("routes", [None, [], "lb1", 5, {}])
def test_rubbish_in_the_history_is_no_fleet(routes: t.Any) -> None:
    record = replace(released(None), history=[{"routes": {"lb1": []}}, {"routes": routes}])
    assert remembered(record) == ["lb1"]
