# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients get at the front door is seen, and only what the colour can be blamed for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from plugins.module_utils._analysis.front import Front, front_of
from plugins.module_utils._errors import InvalidError
from plugins.module_utils._health.probe import Answer, Target, parse_target
from plugins.module_utils._wait import Clock

HOME, LOGIN = (parse_target(f"http://shop.example{path}", 1) for path in ("/", "/login"))
OK, BROKEN, MOVED = Answer(200), Answer(500), Answer(302)
REFUSED, LATE = Answer(problem="connection refused"), Answer(problem="no whole answer within 2 s", late=True)


class Asked:
    """Answers one after the other, the last one for ever; by path where they differ."""

    def __init__(self, *answers: Answer, other: Answer = OK) -> None:
        self._answers, self._other = [*answers], other
        self.asked: list[str] = []

    def __call__(self, target: Target, _limit: float) -> Answer:
        self.asked.append(target.path)
        if target.path == "/login":
            return self._other
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


class Hand:
    """A clock that goes on by hand."""

    def __init__(self) -> None:
        self.at = 0.0

    def clock(self) -> Clock:
        return Clock(now=lambda: self.at)


def front(*answers: Answer, targets: Sequence[Target] = (HOME,), share: float = 1.0, other: Answer = OK) -> Front:
    return Front(targets, Asked(*answers, other=other), share, 30.0)


@pytest.mark.parametrize(
    ("answers", "share", "bad"),
    [
        ([OK], 1.0, None),
        ([MOVED], 1.0, None),
        ([Answer(404)], 1.0, None),
        (
            [BROKEN],
            1.0,
            "6 of 6 requests of ours at the front door failed, the last one with http://shop.example/: status 500",
        ),
        (
            [REFUSED],
            1.0,
            "6 of 6 requests of ours at the front door failed, the last one with http://shop.example/: connection",
        ),
        ([BROKEN, BROKEN, OK], 1.0, None),  # a blink
        ([BROKEN, OK, BROKEN, OK, BROKEN, OK], 1.0, "3 of 6 requests of ours"),
        ([BROKEN, OK, BROKEN, OK, BROKEN, OK], 50.0, None),
        ([BROKEN, OK, BROKEN, OK, BROKEN, OK], 0.0, "3 of 6 requests of ours"),
    ],
)
def test_what_clients_get_is_judged(answers: list[Answer], share: float, bad: str | None) -> None:
    door = front(*answers, share=share)
    door.look()
    door.look()
    assert (door.bad() or "").startswith(bad or "\0") is bool(bad)


def test_who_does_not_answer_in_time_is_asked_once_at_each_look() -> None:
    door = front(LATE)
    door.look()
    assert (door.requests, door.errors) == (1, 1)


def test_old_errors_are_forgotten() -> None:
    hand = Hand()
    door = Front([HOME], Asked(BROKEN, BROKEN, OK), 1.0, 30.0, hand.clock())
    door.look()
    hand.at = 31.0
    door.ask = Asked(BROKEN, OK)
    door.look()
    assert (door.bad(), door.told()) == (None, "3 of 6 requests of ours at the front door failed")


def test_what_failed_before_the_colour_had_a_share_is_not_its_fault() -> None:
    door = front(BROKEN, targets=[HOME, LOGIN])
    door.look_before()
    door.look()
    assert (door.requests, door.bad()) == (3, None)
    assert door.told() == (
        "0 of 3 requests of ours at the front door failed; not asked: http://shop.example/: status 500 before"
    )


def test_a_blink_before_leaves_nothing_out() -> None:
    door = front(BROKEN, OK)
    door.look_before()
    assert (door.left_out, len(door.targets)) == ({}, 1)


def test_a_front_door_that_cannot_be_asked_is_told_before_anything_moves() -> None:
    with pytest.raises(InvalidError):
        front_of({"front": {"endpoints": ["shop.example/"]}, "max_error_share": 1.0, "window": 30.0})
    assert front_of({"front": None}) is None
