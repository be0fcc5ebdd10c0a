# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from plugins.module_utils._errors import TimeLimitError, UnreachableError, UnsupportedError
from plugins.module_utils._traffic.drain import Left, drain
from plugins.module_utils._traffic.route import Route
from plugins.module_utils._traffic.router import Activity, Counted
from plugins.module_utils._wait import Clock

from .fakes import COLOURS, FakeRouter

OPTIONS: dict[str, t.Any] = {"wait_for_long_lived": True, "allowed": 0, "quiet": 0, "timeout": 10, "interval": 1}


class Counting(FakeRouter):
    """Counts the requests that each colour got."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = dict.fromkeys(COLOURS, 0)

    def observe(self) -> dict[str, Activity] | None:
        seen = super().observe() or {}
        return {
            colour: replace(one, counted=replace(t.cast(Counted, one.counted), requests=self.counted[colour]))
            for colour, one in seen.items()
        }


class Emptying:
    """A clock, and routes of which each has a list of (requests, WebSockets), one for each second.

    ``counters`` has the same for what the load balancer counted; without it, it counts nothing.
    """

    def __init__(self, *courses: list[tuple[int, int]], counters: t.Sequence[list[int]] = ()) -> None:
        self.now = 0.0
        self.courses = courses
        self.counters = counters or [[0]] * len(courses)
        self.routes = [Route(f"r{number}", Counting()) for number in range(len(courses))]
        self.sleep(0)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for route, course, counter in zip(self.routes, self.courses, self.counters):
            fake = t.cast(Counting, route.router)
            fake.busy["blue"], fake.sockets["blue"] = course[min(int(self.now), len(course) - 1)]
            fake.counted["blue"] = counter[min(int(self.now), len(counter) - 1)]
            fake.busy["green"] = fake.counted["green"] = 99 + int(self.now)  # is none of ours

    def drain(self, **options: t.Any) -> list[Left]:
        return drain(self.routes, "blue", clock=Clock(lambda: self.now, self.sleep), **{**OPTIONS, **options})


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
        {"route": "r0", "requests": requests, "long_lived": long_lived, "new_requests": 0},
        {"route": "r1", "requests": 0, "long_lived": 0, "new_requests": 0},
    ]


IDLE = [(0, 0)]


@pytest.mark.parametrize(
    ("courses", "counters", "options", "seconds", "new"),
    [
        # without quiet, new requests do not matter, and are told
        ([IDLE], [[5, 6, 7]], {}, 0, [0]),
        ([[(1, 0), (1, 0), (0, 0)]], [[5, 6, 7]], {}, 2, [2]),
        # from the first look on
        ([IDLE], [[5]], {"quiet": 3}, 3, [0]),
        ([IDLE], [[5]], {"quiet": 2.5}, 3, [0]),
        ([IDLE], [[5]], {"quiet": 9}, 9, [0]),
        # from the last new request on, which came sometime before it was seen
        ([IDLE], [[5, 5, 6]], {"quiet": 3}, 5, [1]),
        ([IDLE], [[5, 6, 8, 8, 9]], {"quiet": 3}, 7, [4]),
        # on every route
        ([IDLE, IDLE], [[5], [5, 6, 7, 8]], {"quiet": 2}, 5, [0, 3]),
        ([IDLE, IDLE, IDLE], [[0, 0, 0, 1], [0, 1], [0]], {"quiet": 2}, 5, [1, 1, 0]),
        # and nothing in flight
        ([[(1, 0)] * 6 + IDLE], [[5]], {"quiet": 2}, 6, [0]),
        ([[(1, 0), (1, 0), (0, 0)]], [[5, 5, 6]], {"quiet": 2}, 4, [1]),
        # a counter that began anew, with and without a request meanwhile
        ([IDLE], [[5, 5, 0]], {"quiet": 3}, 5, [0]),
        ([IDLE], [[5, 6, 2]], {"quiet": 3}, 5, [3]),
    ],
)
def test_it_waits_until_no_new_request_came_for_a_while(
    courses: list[list[tuple[int, int]]],
    counters: list[list[int]],
    options: dict[str, t.Any],
    seconds: float,
    new: list[int],
) -> None:
    course = Emptying(*courses, counters=counters)
    assert [one.new_requests for one in course.drain(**options)] == new
    assert course.now == seconds


@pytest.mark.parametrize(
    ("courses", "counters", "found", "todo"),
    [
        (
            [IDLE, IDLE],
            [[5], [*range(100)]],
            "was not quiet on r1: 10 new requests in 10 s, none in the last 0 s",
            "Look with traffic_info",
        ),
        (
            [IDLE, IDLE],
            [[0, 0, 1, 1, 2, 2, 3, 3, 4], [7] * 9 + [1]],
            (
                "was not quiet on r0: 4 new requests in 10 s, none in the last 2 s; "
                "r1: 1 new requests in 10 s, none in the last 1 s"
            ),
            "Look with traffic_info",
        ),
        (
            [[(2, 1)], IDLE],
            [[5], [5] * 9 + [6]],
            (
                "still has in flight on r0: 2 requests, 1 long-lived connections, and was not quiet on "
                "r1: 1 new requests in 10 s, none in the last 1 s"
            ),
            "Look with traffic_info",
        ),
        (
            [[(2, 0)], IDLE],
            [[5], [5]],
            "still has in flight on r0: 2 requests, 0 long-lived connections",
            "Wait longer, or set long_lived",
        ),
    ],
)
def test_when_the_time_is_over_it_says_which_route_still_gets_requests(
    courses: list[list[tuple[int, int]]], counters: list[list[int]], found: str, todo: str
) -> None:
    emptying = Emptying(*courses, counters=counters)
    with pytest.raises(TimeLimitError) as caught:
        emptying.drain(quiet=3)
    assert caught.value.found == f"after 10 s blue {found}"
    assert caught.value.expected == "at most 0 on each route and no new request for 3 s"
    assert caught.value.todo.startswith(todo)


class Slow(Counting):
    """Takes its time to answer."""

    def __init__(self, take: t.Callable[[float], None], seconds: float) -> None:
        super().__init__()
        self.take, self.seconds = take, seconds

    def long_lived(self) -> dict[str, int] | None:
        self.take(self.seconds)
        return super().long_lived()


def test_the_time_that_looks_take_is_not_quiet() -> None:
    """The first look ends at 2 s; each next one begins a second after the one before has ended, at 3, 6, 9."""
    course = Emptying(IDLE)
    course.routes = [Route("r0", Slow(course.sleep, 2))]
    assert course.drain(quiet=5, timeout=20) == [Left("r0", 0, 0, 0)]
    assert course.now == 11


def test_without_quiet_one_slow_look_is_enough() -> None:
    course = Emptying(IDLE)
    course.routes = [Route("r0", Slow(course.sleep, 5))]
    assert course.drain() == [Left("r0", 0, 0, 0)]
    assert course.now == 5


def test_one_slow_look_says_nothing_about_before() -> None:
    course = Emptying(IDLE)
    course.routes = [Route("r0", Slow(course.sleep, 5))]
    with pytest.raises(TimeLimitError) as caught:
        course.drain(quiet=1, timeout=2)
    assert caught.value.found == "after 2 s blue was not quiet on r0: 0 new requests in 0 s, none in the last 0 s"


class Blank(FakeRouter):
    """Counts no connections, or cannot tell which of them are long-lived."""

    def __init__(self, counts: bool) -> None:
        super().__init__()
        self.counts = counts

    def observe(self) -> dict[str, Activity] | None:
        return dict.fromkeys(COLOURS, Activity(2, 2, Counted(7, 0, 0, 0.0))) if self.counts else None

    def long_lived(self) -> dict[str, int] | None:
        return None


def test_a_provider_that_does_not_count_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        drain([Route("r", Blank(counts=False))], "blue", **{**OPTIONS, "timeout": 1})
    assert caught.value.found == "route r: this provider does not count connections"


def test_without_a_count_of_long_lived_connections_all_are_work() -> None:
    routes = [Route("r", Blank(counts=True))]
    assert drain(routes, "blue", **{**OPTIONS, "wait_for_long_lived": False, "allowed": 7}) == [Left("r", 7, 0, 0)]


def test_a_load_balancer_that_cannot_be_asked_is_named() -> None:
    course = Emptying([(0, 0)], [(0, 0)])
    t.cast(FakeRouter, course.routes[1].router).raises["observe"] = [UnreachableError("nobody answers")]
    with pytest.raises(UnreachableError) as caught:
        course.drain()
    assert caught.value.found == "route r1: nobody answers"


class Led(FakeRouter):
    """Counts nothing; somebody else leads clients to blue, until the time that is given."""

    capabilities = replace(FakeRouter.capabilities, counts_connections=False)

    def __init__(self, now: t.Callable[[], float], until: float) -> None:
        super().__init__()
        self.now, self.until, self.asked = now, until, 0

    def leads_to(self, colour: str) -> tuple[str, ...]:
        self.asked += 1
        left = self.until - self.now()
        return (f"a resolver gives it for {left:g} s more",) if colour == "blue" and left > 0 else ()


def test_a_colour_is_quiet_when_nobody_else_leads_clients_to_it() -> None:
    course = Emptying(IDLE)
    led = Led(lambda: course.now, 7)
    course.routes.append(Route("dns", led))
    assert [one.route for one in course.drain(quiet=3)] == ["r0"]
    assert course.now == 7
    course.drain()
    assert led.asked == 8  # without quiet it does not matter


def test_when_the_time_is_over_it_says_who_still_leads_clients_to_it() -> None:
    course = Emptying()
    course.routes = [Route("dns", Led(lambda: course.now, 12))]
    with pytest.raises(TimeLimitError) as caught:
        course.drain(quiet=3)
    assert caught.value.message == (
        "after 10 s blue may still be reached: dns: a resolver gives it for 2 s more; expected at most 0 on each route "
        "and no new request for 3 s. Wait until those answers have run out"
    )
