# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory, or a record, that is not the one of the release that moved the load balancers last."""

from __future__ import annotations

import pytest

from plugins.module_utils._fleet.elsewhere import Here, elsewhere
from plugins.module_utils._traffic.known_fleet import KnownFleet

ALL = ("lb1", "lb2", "lb3")
KNOWN = KnownFleet(7, "lb1", ALL)


@pytest.mark.parametrize(
    "here",
    [
        Here("lb1", 7, ALL),
        Here("lb1", 0, ALL),  # the record is lost, and nobody else
        Here("lb1", 0, ("lb1", "lb2"), gone=("lb3",)),
        Here("lb2", 0, ("lb2", "lb3"), gone=("lb1",)),
        Here("ops", 7, ALL),  # the record was moved there
        Here("lb1", 9, ("lb1", "lb2")),  # lb3 was called gone, which the record knows
    ],
)
def test_a_whole_inventory_with_the_record_of_the_last_release_is_fine(here: Here) -> None:
    assert elsewhere(dict.fromkeys(here.load_balancers, KNOWN), here) == ""


@pytest.mark.parametrize(
    ("here", "said"),
    [
        (Here("lb3", 0, ("lb3",)), ["on lb1, and not on lb3", "lacks lb1, lb2", "record_host=lb1", "gone=lb1,lb2"]),
        (Here("lb3", 0, ("lb3",), gone=("lb1",)), ["lacks lb2", "gone=lb2"]),
        (Here("lb3", 6, ("lb3", "lb1", "lb2")), ["on lb1, and not on lb3", "record_host=lb1"]),  # in another order
        (Here("lb1", 0, ("lb1", "lb2")), ["lacks lb3", "gone=lb3"]),  # and the record is lost
    ],
)
def test_what_is_elsewhere_is_told_with_the_ways_on(here: Here, said: list[str]) -> None:
    told = elsewhere(dict.fromkeys(here.load_balancers, KNOWN), here)
    assert [part for part in said if part not in told] == []
    assert ("record_host" in told, "gone=" in told) == ("record_host" in "".join(said), "gone=" in "".join(said))
    assert told.startswith(f"{', '.join(sorted(here.load_balancers))} knows of a release that the record on")


def test_those_who_remember_nothing_know_nothing() -> None:
    assert elsewhere({}, Here("lb3", 0, ("lb3",))) == ""
