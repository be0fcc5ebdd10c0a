# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from plugins.module_utils._analysis.watch import KEPT_SAMPLES, Count, Limits, Verdict, watch
from plugins.module_utils._errors import InvalidError, UnreachableError
from plugins.module_utils._wait import Clock

Look = t.Union[Count, None]
"""What one look finds; None: it fails."""
STRICT = Limits(max_error_share=1, max_latency_ms=100, min_requests=10)


def counts(*steps: tuple[int, int], latency_ms: float = 5.0) -> list[Look]:
    """The counter at each look, from (requests, errors) of each second; it did not begin at nought."""
    requests, errors, looks = 1000, 500, [Count(1000, 500, latency_ms)]
    for more, bad in steps:
        requests, errors = requests + more, errors + bad
        looks.append(Count(requests, errors, latency_ms))
    return [*looks]


def watched(looks: list[Look], limits: Limits = STRICT, **options: t.Any) -> tuple[Verdict, float]:
    """The verdict, and after how many seconds of a fake time; each second a look, the last one again and again."""
    now, number = 0.0, 0

    def look() -> Count:
        nonlocal number
        seen = looks[min(number, len(looks) - 1)]
        number += 1
        if seen is None:
            raise UnreachableError("nobody answers")
        return seen

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    options = {"duration": len(looks) - 1, "interval": 1, "window": 30, **options}
    return watch(look, limits, clock=Clock(lambda: now, sleep), **options), now


GOOD = (100, 0)
BAD = (100, 2)


@pytest.mark.parametrize(
    ("looks", "options", "verdict", "seconds", "reason"),
    [
        (counts(GOOD, GOOD, GOOD), {}, "pass", 3, "0 of 300 answers were errors"),
        (counts(GOOD, (100, 1), GOOD), {}, "pass", 3, "1 of 300 answers were errors"),
        (counts(BAD, GOOD, GOOD), {}, "fail", 1, "2 of 100 answers (2.0 %) were errors, and at most 1 % may be"),
        (
            counts(GOOD, BAD, BAD),
            {"window": 1},
            "fail",
            2,
            "2 of 100 answers (2.0 %) were errors, and at most 1 % may be",
        ),
        # errors from before the watch are nobody's
        (counts((0, 0), (0, 0)), {}, "inconclusive", 2, "0 requests in 2 s, and fewer than 10 prove nothing"),
        (counts((3, 3), (3, 3), (3, 3)), {}, "inconclusive", 3, "9 requests in 3 s, and fewer than 10 prove nothing"),
        (counts((5, 5), (5, 5)), {}, "fail", 2, "all of 10 answers were errors"),
        # trouble that starts late is not hidden by a long good time before it
        (
            counts(*[GOOD] * 60, BAD, BAD, BAD),
            {"window": 2},
            "fail",
            62,
            "4 of 200 answers (2.0 %) were errors, and at most 1 % may be",
        ),
        (counts(*[GOOD] * 60, BAD), {"window": 30}, "pass", 61, "2 of 6100 answers were errors"),
        # latency
        (counts(GOOD, GOOD, latency_ms=100), {}, "pass", 2, "0 of 200 answers were errors"),
        (counts(GOOD, latency_ms=101), {}, "fail", 1, "answers take 101 ms, and at most 100 ms is allowed"),
        (counts((9, 0), latency_ms=999), {}, "inconclusive", 1, "9 requests in 1 s, and fewer than 10 prove nothing"),
        # blind is never fail
        ([None, None, None], {}, "blind", 2, "3 of 3 looks failed; the last: nobody answers"),
        ([*counts(GOOD)[:1], None, None], {}, "blind", 2, "2 of 3 looks failed; the last: nobody answers"),
        ([counts()[0], None, *counts(GOOD)[1:]], {}, "pass", 2, "0 of 100 answers were errors"),
        (
            [counts()[0], None, *counts(BAD)[1:]],
            {},
            "fail",
            2,
            "2 of 100 answers (2.0 %) were errors, and at most 1 % may be",
        ),
        (counts(GOOD), {"duration": 0}, "inconclusive", 0, "0 requests in 0 s, and fewer than 10 prove nothing"),
    ],
)
def test_the_verdict(looks: list[Look], options: dict[str, t.Any], verdict: str, seconds: float, reason: str) -> None:
    result, now = watched(looks, **options)
    assert (result.verdict, now, result.reason) == (verdict, seconds, reason)


@pytest.mark.parametrize(
    ("after", "verdict", "requests", "errors"),
    [
        ([Count(0, 0, 5), Count(90, 0, 5)], "pass", 90, 0),
        ([Count(0, 0, 5), Count(90, 9, 5)], "fail", 90, 9),
        ([Count(50, 40, 5), Count(140, 40, 5)], "pass", 90, 0),  # what came before our first look is not judged
        ([Count(5000, 0, 5), Count(5090, 0, 5)], "pass", 90, 0),  # a busy one: it has even more requests than before
        ([Count(5000, 0, 5), Count(5090, 9, 5)], "fail", 90, 9),
    ],
)
def test_a_counter_that_went_back_begins_anew(after: list[Look], verdict: str, requests: int, errors: int) -> None:
    """As after a reload or restart of the load balancer."""
    result, _now = watched([*counts(GOOD, GOOD), *after])
    assert (result.verdict, result.requests, result.errors) == (verdict, requests, errors)
    assert all(sample.requests >= 0 and sample.errors >= 0 for sample in result.samples)


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        (Limits(None, None, 10), "pass"),
        (Limits(50, None, 10), "pass"),
        (Limits(49.9, None, 10), "fail"),
        (Limits(0, None, 10), "fail"),
        (Limits(None, 5, 10), "pass"),
        (Limits(None, 4.9, 10), "fail"),
    ],
)
def test_only_what_has_a_limit_is_judged(limits: Limits, verdict: str) -> None:
    assert watched(counts((100, 50)), limits)[0].verdict == verdict


def test_the_evidence_is_counted_from_look_to_look() -> None:
    result = watched([*counts((100, 1)), None, *counts((100, 1), (50, 0))[2:]], duration=3)[0].as_result()
    assert [(s["requests"], s["errors"], s["latency_ms"]) for s in result["samples"]] == [
        (0, 0, 5.0),
        (100, 1, 5.0),
        (50, 0, 5.0),
    ]
    assert (result["requests"], result["errors"], result["error_share"]) == (150, 1, 0.667)
    assert (result["blind_looks"], result["latency_ms"]) == (1, 5.0)


def test_without_requests_there_is_no_share() -> None:
    result = watched([None])[0].as_result()
    assert (result["error_share"], result["latency_ms"], result["samples"]) == (None, None, [])


def test_a_long_watch_keeps_the_last_of_its_evidence() -> None:
    result, _now = watched(counts(*[GOOD] * (KEPT_SAMPLES + 5)))
    assert len(result.samples) == KEPT_SAMPLES
    assert result.requests == 100 * (KEPT_SAMPLES + 5)


@pytest.mark.parametrize("name", ["duration", "interval", "window"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_a_time_that_is_none_is_invalid(name: str, value: float) -> None:
    with pytest.raises(InvalidError):
        watched(counts(GOOD), **{name: value})


@pytest.mark.parametrize(
    "limits",
    [(-1, None, 1), (101, None, 1), (float("nan"), None, 1), (None, -1, 1), (None, float("nan"), 1), (None, None, 0)],
)
def test_a_limit_that_is_none_is_invalid(limits: tuple[t.Any, t.Any, int]) -> None:
    with pytest.raises(InvalidError):
        Limits(*limits)


def seen_ready(*ready: int | None) -> list[Look]:
    """Looks at a colour without a request, which has so many members ready; None: nobody tells."""
    return [Count(7, 0, 5.0, one) for one in ready]


@pytest.mark.parametrize(
    ("looks", "verdict", "seconds"),
    [
        (seen_ready(2, 2, 0, 0, 0), "fail", 3),
        # none at the end: one more look tells
        (seen_ready(2, 2, 2, 2, 0), "fail", 5),
        (seen_ready(0), "fail", 1),
        (seen_ready(2, 0, 2, 0, 2), "inconclusive", 4),  # a blink of a health check
        (seen_ready(0, 2, 2), "inconclusive", 2),
        (seen_ready(None, None, None), "inconclusive", 2),
        ([*seen_ready(2, 0), None, *seen_ready(0, 2)], "fail", 3),
        ([*seen_ready(2, 2, 0), None], "blind", 3),  # nobody could look once more
    ],
)
def test_a_colour_that_is_watched_and_has_no_ready_member_fails(
    looks: list[Look], verdict: str, seconds: float
) -> None:
    result, now = watched(looks)
    assert (result.verdict, now) == (verdict, seconds)
    assert (result.reason == "none of its members is ready") == (verdict == "fail")


@pytest.mark.parametrize("pooled", [True, False])
def test_a_total_failure_is_one_however_few_requests_there_are(pooled: bool) -> None:
    limits = Limits(1, None, 50)
    assert watched(counts((6, 6), (6, 6), (6, 6)), limits, pooled=pooled)[0].reason == "all of 12 answers were errors"
    assert watched(counts((6, 6), (6, 5), (6, 6)), limits, pooled=pooled)[0].verdict == "inconclusive"
    assert watched(counts((3, 3), (3, 3), (3, 3)), limits, pooled=pooled)[0].verdict == "inconclusive"


def test_what_is_pooled_is_judged_by_nobody_but_the_fleet() -> None:
    result, now = watched(counts(BAD, BAD, GOOD), pooled=True)
    assert (result.verdict, now) == ("inconclusive", 3)
    assert result.reason == "4 of 300 answers were errors, for the fleet to judge"
    assert (result.requests, result.errors) == (300, 4)
    assert watched([None, None], pooled=True)[0].verdict == "blind"


@pytest.mark.parametrize("pooled", [True, False])
def test_a_limit_that_nobody_can_look_at_is_blind_and_no_pass(pooled: bool) -> None:
    untold: list[Look] = [Count(0, 0, None), Count(500, 0, None), Count(900, 0, None)]
    result, _now = watched(untold, pooled=pooled)
    assert (result.verdict, result.latency_ms) == ("blind", None)
    assert result.reason == "the load balancer does not tell how long answers take, and max_latency_ms is set"
    assert watched(untold, Limits(1, None, 10))[0].verdict == "pass"
    assert watched([Count(0, 0, None), Count(500, 50, None)], Limits(1, 9, 10))[0].verdict == "fail"


def ready(*many: int, members: int = 4) -> list[Look]:
    """Members that are ready at each look, while nobody errs."""
    return [Count(1000 + 100 * second, 0, 5.0, one, members) for second, one in enumerate(many)]


@pytest.mark.parametrize(
    ("looks", "verdict", "seconds", "reason"),
    [
        (ready(4, 4, 4, 4), "pass", 3, "0 of 300 answers were errors"),
        (ready(4, 1, 4, 4), "pass", 3, "0 of 300 answers were errors"),
        (ready(4, 1, 1, 4), "fail", 2, "1 of 4 members are ready, and 4 were before"),
        (
            ready(1, 4, 3, 3),
            "inconclusive",
            3,
            "0 of 300 answers were errors, but 3 of 4 members are ready, and 4 were",
        ),
        (ready(1, 2, 3, 4), "pass", 3, "0 of 300 answers were errors"),  # they come up
        (ready(4, 2, 2, 2, members=2), "pass", 3, "0 of 300 answers were errors"),  # somebody scales down
    ],
)
def test_a_colour_that_loses_members_while_it_is_watched_does_not_pass(
    looks: list[Look], verdict: str, seconds: float, reason: str
) -> None:
    seen, took = watched(looks)
    assert (seen.verdict, took) == (verdict, seconds), seen.reason
    assert seen.reason.startswith(reason)
