# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the switch engine takes for granted of every provider. Whoever tests one brings a fixture C(case)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

import pytest

from plugins.module_utils._errors import BlueGreenError, ConflictError, UnsupportedError
from plugins.module_utils._traffic.route import Route
from plugins.module_utils._traffic.router import Activity, Router
from plugins.module_utils._traffic.split import Split
from plugins.module_utils._traffic.switch import Order, switch
from plugins.module_utils._traffic.undo import go_back
from tests.integration.balancer import BLUE, COLOURS, GREEN, green

WHOLE_SPLITS = (BLUE, GREEN)
SHARED_SPLITS = (BLUE, green(10), green(50), green(90), GREEN)


@dataclass(frozen=True)
class Case:
    """A provider's route, all of whose traffic goes to blue, with two ready members for each colour."""

    router: Router
    state: Callable[[], Any]
    """All that the provider could change, however it is stored."""
    holds: tuple[Split, ...]
    refuses: tuple[Split, ...]
    left: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    """Ways in which people, restarts and half-made changes leave such a route, with every member able to serve."""


class Contract:
    """The tests."""

    def test_it_reads_what_it_applied_and_applying_it_again_does_no_harm(self, case: Case) -> None:
        assert case.router.read() == BLUE
        for before, wanted in itertools.product(case.holds, case.holds):
            case.router.apply(before, case.router.read())
            case.router.check(wanted)
            case.router.apply(wanted, before)
            assert case.router.read() == wanted
            assert case.router.verify(wanted) is not False
            after = case.state()
            case.router.apply(wanted, wanted)
            assert case.state() == after
            assert case.router.drift() == ()

    def test_applying_what_was_before_restores_it(self, case: Case) -> None:
        for before, wanted in itertools.permutations(case.holds, 2):
            case.router.apply(before, case.router.read())
            state, live = case.state(), case.router.live()
            case.router.apply(wanted, before)
            assert case.state() != state
            case.router.apply(before, wanted)
            assert (case.router.read(), case.router.live()) == (before, live)

    def test_only_the_expected_split_is_changed(self, case: Case) -> None:
        for there, expected in itertools.permutations(case.holds, 2):
            case.router.apply(there, case.router.read())
            state = case.state()
            for wanted in case.holds:
                with pytest.raises(ConflictError):
                    case.router.apply(wanted, expected)
                assert case.state() == state

    def test_looking_changes_nothing(self, case: Case) -> None:
        for split in case.holds:
            case.router.apply(split, case.router.read())
            state = case.state()
            for look in (case.router.read, case.router.drift, case.router.observe, case.router.long_lived):
                look()
            case.router.live()
            case.router.check(split)
            assert case.router.verify(GREEN) in (split == GREEN, None)
            switch([Route("r", case.router)], Order(GREEN), dry_run=True)
            assert case.state() == state

    def test_a_split_it_cannot_hold_is_refused_untouched(self, case: Case) -> None:
        for there, wanted in itertools.product(case.holds, case.refuses):
            case.router.apply(there, case.router.read())
            state = case.state()
            with pytest.raises(BlueGreenError) as caught:
                switch([Route("r", case.router)], Order(wanted))
            assert caught.value.__class__ is UnsupportedError
            assert case.state() == state

    def test_it_tells_what_each_colour_does(self, case: Case) -> None:
        for split in case.holds:
            case.router.apply(split, case.router.read())
            assert case.router.live() in (*COLOURS, None)
            if split in WHOLE_SPLITS:
                assert case.router.live() == split.leader
            for many in (case.router.long_lived(),):
                assert many is None or (set(many) == set(COLOURS) and all(count >= 0 for count in many.values()))
            seen = case.router.observe()
            if seen is None:  # it knows no members
                assert not case.router.capabilities.counts_connections
                continue
            assert list(seen) == list(COLOURS)
            for activity in seen.values():
                assert isinstance(activity, Activity)
                assert (activity.members, activity.ready) == (2, 2)
                assert (activity.counted is not None) == case.router.capabilities.counts_connections
                if activity.counted:
                    assert min(number for number in astuple(activity.counted) if number is not None) >= 0

    def test_whatever_state_it_was_left_in_a_colour_can_be_brought_up(self, case: Case) -> None:
        assert case.left
        for how, leave in case.left.items():
            for wanted in WHOLE_SPLITS:
                leave()
                found = case.router.read()
                (outcome,) = switch([Route("r", case.router)], Order(wanted, mend_drift=True))
                assert (outcome.before, case.router.read(), case.router.drift()) == (found, wanted, ()), how
            case.router.apply(BLUE, case.router.read())

    def test_whatever_a_failed_change_has_left_there_is_a_way_back(self, case: Case) -> None:
        for how, leave in case.left.items():
            leave()
            go_back(case.router, BLUE, None)
            assert (case.router.read(), case.router.drift()) == (BLUE, ()), how
            assert case.router.verify(BLUE) is not False, how

    def test_its_finest_step_divides_all_that_it_holds(self, case: Case) -> None:
        assert all(split.first_share % case.router.capabilities.finest_step == 0 for split in case.holds)
