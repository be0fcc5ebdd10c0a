# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from plugins.module_utils._errors import TimeLimitError, UnreachableError, UnsupportedError
from plugins.module_utils._traffic.drain import Left, drain
from plugins.module_utils._traffic.router import Activity
from plugins.module_utils._traffic.switch import Route
from plugins.module_utils._wait import Clock

from .fakes import COLOURS, FakeRouter


class Emptying:
    """A clock, and routes of which each has a list of (requests, WebSockets), one for each second."""

    def __init__(self, *courses: list[tuple[int, int]]) -> None:
        self.now = 0.0
        self.courses = courses
        self.routes = [Route(f"r{number}", FakeRouter()) for number in range(len(courses))]
        self.sleep(0)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for route, course in zip(self.routes, self.courses):
            fake = t.cast(FakeRouter, route.router)
            fake.busy["blue"], fake.sockets["blue"] = course[min(int(self.now), len(course) - 1)]
            fake.busy["green"] = 99  # is none of ours

    def drain(self, **options: t.Any) -> list[Left]:
        options = {"wait_for_long_lived": True, "allowed": 0, "timeout": 10, "interval": 1, **options}
        return drain(self.routes, "blue", clock=Clock(lambda: self.now, self.sleep), **options)


@pytest.mark.parametrize(
    ("courses", "options", "seconds", "left"),
    [
        ([[(0, 0)]], {}, 0, [(0, 0)]),
        ([[(5, 0), (1, 0), (0, 0)]], {}, 2, [(0, 0)]),
        ([[(5, 0), (0, 0)], [(1, 0), (1, 0), (1, 0), (0, 0)]], {}, 3, [(0, 0), (0, 0)]),
        ([[(1, 4), (0, 4)]], {"wait_for_long_lived": False}, 1, [(0, 4)]),
        ([[(1, 1), (0, 1), (0, 0)]], {}, 2, [(0, 0)]),
        ([[(5, 0), (2, 0)]], {"allowed": 2}, 1, [(2, 0)]),
        ([[(1, 2), (1, 1)]], {"allowed": 2}, 1, [(1, 1)]),
        ([[(0, 0)]], {"timeout": 0}, 0, [(0, 0)]),
    ],
)
def test_it_waits_until_nothing_is_in_flight_on_any_route(
    courses: list[list[tuple[int, int]]], options: dict[str, t.Any], seconds: float, left: list[tuple[int, int]]
) -> None:
    course = Emptying(*courses)
    assert [(one.requests, one.long_lived) for one in course.drain(**options)] == left
    assert course.now == seconds


@pytest.mark.parametrize(
    ("course", "options", "found"),
    [
        ([(2, 1)], {}, "r0: 2 requests, 1 long-lived connections"),
        ([(0, 1)], {}, "r0: 0 requests, 1 long-lived connections"),
        ([(1, 0)], {"wait_for_long_lived": False}, "r0: 1 requests, 0 long-lived connections"),
        ([(3, 0)], {"allowed": 2}, "r0: 3 requests, 0 long-lived connections"),
    ],
)
def test_when_the_time_is_over_it_says_what_is_left(
    course: list[tuple[int, int]], options: dict[str, t.Any], found: str
) -> None:
    emptying = Emptying(course, [(0, 0)])
    with pytest.raises(TimeLimitError) as caught:
        emptying.drain(**options)
    assert caught.value.found == f"after 10 s blue still has in flight on {found}"
    assert emptying.now == 10
    ((requests, long_lived),) = course
    assert caught.value.details["left"] == [
        {"route": "r0", "requests": requests, "long_lived": long_lived},
        {"route": "r1", "requests": 0, "long_lived": 0},
    ]


class Blank(FakeRouter):
    """Counts no connections, or cannot tell which of them are long-lived."""

    def __init__(self, counts: bool) -> None:
        super().__init__()
        self.counts = counts

    def observe(self) -> dict[str, Activity] | None:
        return dict.fromkeys(COLOURS, Activity(2, 2, 7, 0, 0, 0.0)) if self.counts else None

    def long_lived(self) -> dict[str, int] | None:
        return None


def test_a_provider_that_does_not_count_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        drain([Route("r", Blank(counts=False))], "blue", wait_for_long_lived=True, allowed=0, timeout=1, interval=1)
    assert caught.value.found == "route r: this provider does not count connections"


def test_without_a_count_of_long_lived_connections_all_are_work() -> None:
    routes = [Route("r", Blank(counts=True))]
    assert drain(routes, "blue", wait_for_long_lived=False, allowed=7, timeout=0, interval=1) == [Left("r", 7, 0)]


def test_a_load_balancer_that_cannot_be_asked_is_named() -> None:
    course = Emptying([(0, 0)], [(0, 0)])
    t.cast(FakeRouter, course.routes[1].router).raises["observe"] = [UnreachableError("nobody answers")]
    with pytest.raises(UnreachableError) as caught:
        course.drain()
    assert caught.value.found == "route r1: nobody answers"
