# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from plugins.module_utils._analysis.watch import Limits
from plugins.module_utils._errors import InvalidError
from plugins.module_utils._fleet.watched import Judgement, Rules, Seen, begin, judge

LIMITS = Limits(max_error_share=1, max_latency_ms=100, min_requests=50)
NOTHING_COUNTED = Seen("inconclusive", "nothing was watched: nothing is counted", looked=False, counted=False)
ONLY_READY = Seen("inconclusive", "only its members were watched", counted=False)
BLIND = Seen("blind", "3 of 3 looks failed; the last: nobody answers")
TOTAL = Seen("fail", "none of its members is ready")


def saw(requests: int, errors: int = 0, latency_ms: float = 5.0) -> Seen:
    return Seen("inconclusive", f"{errors} of {requests} answers were errors", requests, errors, latency_ms)


def fleet(*seen: Seen) -> dict[str, Seen]:
    return {f"lb{number}": one for number, one in enumerate(seen, 1)}


def judged(*slices: dict[str, Seen], duration: float = 10, **options: t.Any) -> Judgement:
    """After one watch or more, each of them as long as the judgement before has said."""
    rules = Rules(LIMITS, duration, **options)
    judgement = begin(rules, len(slices[0]))
    for seen in slices:
        assert judgement.decision == "watch"
        judgement = judge(seen, rules, judgement)
    return judgement


@pytest.mark.parametrize(
    ("seen", "verdict", "decision", "reason"),
    [
        # on each of them too few to tell, on all of them enough
        (
            fleet(saw(27, 8), saw(29, 9), saw(25, 7)),
            "fail",
            "back",
            "24 of 81 answers (29.6 %) were errors, and at most 1 % may be (over 3 load balancers)",
        ),
        (
            fleet(saw(27), saw(29), saw(25)),
            "pass",
            "go_on",
            "0 of 81 answers were errors (over 3 load balancers)",
        ),
        (
            fleet(saw(7), saw(3), saw(2)),
            "inconclusive",
            "go_on",
            "12 requests in 10 s, and fewer than 50 prove nothing (over 3 load balancers)",
        ),
        (fleet(saw(12, 3)), "inconclusive", "go_on", "12 requests in 10 s, and fewer than 50 prove nothing"),
        (fleet(saw(300)), "pass", "go_on", "0 of 300 answers were errors"),
        # one bad answer among few is not held against a fleet that does well
        (
            fleet(saw(51, 1), saw(500), saw(500)),
            "pass",
            "go_on",
            "1 of 1051 answers were errors (over 3 load balancers)",
        ),
        # slow on the one that has the traffic
        (
            fleet(saw(900, latency_ms=150), saw(100, latency_ms=5)),
            "fail",
            "back",
            "answers take 136 ms, and at most 100 ms is allowed (over 2 load balancers)",
        ),
        # total failure on one is a failure
        (fleet(saw(400), TOTAL), "fail", "back", "lb2: none of its members is ready"),
        # who cannot look is named, by all in the same words
        (fleet(saw(400), BLIND), "blind", "hold", f"lb2: {BLIND.reason}"),
        (fleet(BLIND, saw(400), BLIND), "blind", "hold", f"lb1: {BLIND.reason}; lb3: {BLIND.reason}"),
        # the others see enough to know that it is bad
        (
            fleet(BLIND, saw(100, 30)),
            "fail",
            "back",
            "30 of 100 answers (30.0 %) were errors, and at most 1 % may be (over 2 load balancers)",
        ),
        # some count nothing
        (fleet(NOTHING_COUNTED, NOTHING_COUNTED), "inconclusive", "go_on", NOTHING_COUNTED.reason),
        (
            fleet(saw(100), NOTHING_COUNTED),
            "pass",
            "go_on",
            "0 of 100 answers were errors (without lb2, where nothing is counted)",
        ),
    ],
)
def test_the_verdict_over_all_load_balancers(seen: dict[str, Seen], verdict: str, decision: str, reason: str) -> None:
    found = judged(seen)
    assert (found.verdict, found.decision, found.reason) == (verdict, decision, reason)
    assert found.passed is {"pass": True, "fail": False}.get(verdict)


FEW, MANY, BAD = fleet(saw(5), saw(5)), fleet(saw(40), saw(40)), fleet(saw(40, 9), saw(40))


@pytest.mark.parametrize(
    ("slices", "options", "verdict", "decision", "watched_for"),
    [
        ([FEW], {}, "inconclusive", "go_on", 10),
        ([FEW], {"on_inconclusive": "go_on", "extend_for": 60}, "inconclusive", "go_on", 10),
        ([FEW], {"on_inconclusive": "hold", "extend_for": 60}, "inconclusive", "hold", 10),
        ([FEW], {"on_inconclusive": "extend", "extend_for": 60}, "inconclusive", "watch", 10),
        ([FEW], {"on_inconclusive": "extend", "extend_for": 0}, "inconclusive", "hold", 10),
        ([FEW, MANY], {"on_inconclusive": "extend", "extend_for": 60}, "pass", "go_on", 25),
        ([FEW, BAD], {"on_inconclusive": "extend", "extend_for": 60}, "fail", "back", 25),
        ([FEW, FEW, FEW], {"on_inconclusive": "extend", "extend_for": 20}, "inconclusive", "hold", 30),
        ([FEW] * 5, {"on_inconclusive": "extend", "extend_for": 60}, "pass", "go_on", 70),  # together they are enough
        ([MANY], {"on_inconclusive": "hold"}, "pass", "go_on", 10),
        # members are watched to the end, and nothing would be counted in a longer watch, either
        ([fleet(ONLY_READY, ONLY_READY)] * 2, {"duration": 20}, "inconclusive", "go_on", 20),
        ([fleet(ONLY_READY)], {"on_inconclusive": "extend", "extend_for": 60}, "inconclusive", "hold", 10),
        ([fleet(ONLY_READY, TOTAL)], {"duration": 20}, "fail", "back", 15),
        ([fleet(NOTHING_COUNTED)], {"on_inconclusive": "extend", "extend_for": 60}, "inconclusive", "hold", 10),
    ],
)
def test_what_follows_from_too_few_requests(
    slices: list[dict[str, Seen]], options: dict[str, t.Any], verdict: str, decision: str, watched_for: float
) -> None:
    found = judged(*slices, **options)
    assert (found.verdict, found.decision, found.watched_for) == (verdict, decision, watched_for)


def test_several_are_judged_again_and_again_and_one_judges_for_itself() -> None:
    rules = Rules(LIMITS, 40)
    assert (begin(rules, 1).next, begin(rules, 2).next) == (40, 15)
    found = begin(rules, 2)
    lengths, left = [], []
    while found.decision == "watch":
        lengths.append(found.next)
        left.append(found.slices)
        found = judge(MANY, rules, found)
    assert (lengths, left, found.decision, found.requests) == ([15, 15, 10], [3, 2, 1], "go_on", 240)
    assert found.slices == 0


def test_trouble_that_starts_late_is_not_hidden_by_a_long_good_time() -> None:
    good, late = fleet(saw(9000), saw(9000)), fleet(saw(90, 3), saw(90))
    assert judged(good, late, duration=30).reason.startswith("3 of 180 answers (1.7 %) were errors")


def test_trouble_that_comes_slowly_adds_up() -> None:
    drop = fleet(saw(10, 1), saw(10))
    assert judged(drop, drop, drop, duration=60).reason.startswith("3 of 60 answers (5.0 %) were errors")


def test_where_nothing_was_watched_there_is_no_verdict() -> None:
    found = judge({}, Rules(LIMITS, 10), begin(Rules(LIMITS, 10), 2))
    assert (found.verdict, found.decision, found.passed) == ("", "go_on", None)


def test_what_a_module_returns_is_read() -> None:
    told = {"verdict": "blind", "reason": "why", "requests": 0, "errors": 0, "latency_ms": None, "blind_looks": 3}
    assert Seen.of(told) == Seen("blind", "why")
    nothing = {"verdict": "inconclusive", "reason": "", "samples": [], "blind_looks": 0, "counted": False}
    assert (Seen.of(nothing).looked, Seen.of(nothing).counted) == (False, False)


@pytest.mark.parametrize(
    "options", [{"on_inconclusive": "maybe"}, {"extend_for": -1}, {"duration": float("nan")}, {"duration": -1}]
)
def test_rules_that_cannot_be_are_refused(options: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidError):
        Rules(LIMITS, **{"duration": 1, **options})


def test_who_watches_for_no_time_looks_once_and_whoever_watches_long_does_so_in_few_slices() -> None:
    assert begin(Rules(LIMITS, 0, extend_for=300), 2).next == 0
    assert begin(Rules(LIMITS, 300), 2).next == 15
    assert (begin(Rules(LIMITS, 3600), 2).next, begin(Rules(LIMITS, 3600), 2).slices) == (15, 240)
    assert begin(Rules(LIMITS, 36000), 2).next == 150


@pytest.mark.parametrize(
    ("duration", "policy", "load_balancers", "slices"),
    [(40, "go_on", 1, 0), (40, "extend", 1, 20), (40, "hold", 2, 2), (40, "extend", 2, 22), (0, "go_on", 2, 0)],
)
def test_how_many_more_watches_there_may_be_is_known_from_the_first_one(
    duration: float, policy: str, load_balancers: int, slices: int
) -> None:
    rules = Rules(LIMITS, duration, policy, extend_for=300)
    assert begin(rules, load_balancers).slices == slices + 1
