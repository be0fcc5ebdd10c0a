# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from plugins.module_utils._analysis.counters import NOBODY_COUNTS, ONLY_MEMBERS, counts, watcher
from plugins.module_utils._analysis.watch import Count
from plugins.module_utils._errors import UnreachableError, UnsupportedError
from plugins.module_utils._traffic.route import Route
from plugins.module_utils._traffic.router import Activity, Capabilities, Counted
from plugins.module_utils._traffic.split import Split
from tests.unit.plugins.module_utils._traffic.fakes import BLUE, GREEN, FakeRouter


class Counting(FakeRouter):
    def __init__(self, green: Activity | None) -> None:
        super().__init__()
        self.green = green

    def observe(self) -> dict[str, Activity] | None:
        self._may_fail("observe")
        return {"green": self.green, "blue": Activity(0, 0, Counted(0, 999, 999, 999.0))} if self.green else None


def routes(*counted: Activity | None) -> list[Route]:
    return [Route(f"r{number}", Counting(one)) for number, one in enumerate(counted)]


@pytest.mark.parametrize(
    ("counted", "count"),
    [
        ([Activity(2, 2, Counted(0, 100, 3, 5.0))], Count(100, 3, 5.0, 2, 2)),
        ([Activity(2, 2, Counted(0, 100, 3, 5.0)), Activity(2, 1, Counted(0, 300, 1, 9.0))], Count(400, 4, 8.0, 1, 2)),
        ([Activity(2, 2, Counted(0, 0, 0, 0.0)), Activity(2, 2, Counted(0, 10, 0, 9.0))], Count(10, 0, 9.0, 2, 2)),
        ([Activity(2, 2, Counted(0, 0, 0, 0.0))], Count(0, 0, 0.0, 2, 2)),
        # a route that serves nobody, beside one that does
        ([Activity(2, 2, Counted(0, 0, 0, 0.0)), Activity(2, 0, Counted(0, 0, 0, 0.0))], Count(0, 0, 0.0, 0, 2)),
        ([Activity(2, 2, Counted(0, 100, 30, 5.0, answers=120))], Count(120, 30, 5.0, 2, 2)),
        ([Activity(2, 2, Counted(0, 100, 30, None))], Count(100, 30, None, 2, 2)),
    ],
)
def test_a_colour_is_counted_over_all_routes(counted: list[Activity], count: Count) -> None:
    assert counts(routes(*counted), "green") == count


def test_a_provider_that_does_not_count_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        counts(routes(Activity(2, 2, Counted(0, 0, 0, 0.0)), None), "green")
    assert caught.value.found == "route r1: this provider does not count requests"


def test_one_that_cannot_be_asked_makes_the_look_fail() -> None:
    asked = routes(Activity(2, 2, Counted(0, 0, 0, 0.0)))
    asked[0].router.raises["observe"] = [UnreachableError("nobody answers")]  # type: ignore[attr-defined]
    with pytest.raises(UnreachableError):
        counts(asked, "green")


class Knowing(Counting):
    """Knows its members, and counts nothing."""

    capabilities = Capabilities(finest_step=100, sticky=False, counts_connections=False, survives_reload=True)


WATCH = {"duration": 0.3, "interval": 0.01, "window": 30.0, "max_error_share": 1.0, "max_latency_ms": 5.0}


@pytest.mark.parametrize(
    ("routers", "verdict", "reason", "counted"),
    [
        ([Knowing(Activity(2, 0))], "fail", "none of its members is ready", False),
        ([Knowing(Activity(2, 1)), Knowing(Activity(2, 0))], "fail", "none of its members is ready", False),
        ([Knowing(Activity(2, 1))], "inconclusive", ONLY_MEMBERS, False),
        ([Knowing(Activity(2, 1)), Knowing(None)], "inconclusive", ONLY_MEMBERS, False),
        ([Knowing(None)], "inconclusive", NOBODY_COUNTS, False),
        # beside one that counts
        (
            [Counting(Activity(2, 2, Counted(0, 0, 0, 0.0))), Knowing(Activity(2, 0))],
            "fail",
            "none of its members is ready",
            True,
        ),
        (
            [Counting(Activity(2, 2, Counted(0, 0, 0, 0.0))), Knowing(None)],
            "inconclusive",
            "0 requests in 0.3 s, and fewer than 50 prove nothing",
            True,
        ),
    ],
)
def test_where_nobody_counts_it_is_seen_that_members_are_ready(
    routers: list[Counting], verdict: str, reason: str, counted: bool
) -> None:
    named = [Route(f"r{number}", router) for number, router in enumerate(routers)]
    found = watcher(named, {**WATCH, "min_requests": 50, "pooled": False})("green", {})
    assert (found.verdict, found.reason, found.counted) == (verdict, reason, counted)
    assert len(found.samples) > 1 or verdict == "fail"  # the time is spent, also where nothing can be seen


class Changing(Knowing):
    """What it holds changes from one look to the next, and stays as it was last."""

    def __init__(self, *splits: Split) -> None:
        super().__init__(Activity(2, 2))
        self._splits = [*splits]

    def read(self) -> Split | None:
        return self._splits.pop(0) if len(self._splits) > 1 else self._splits[0]


def test_a_member_that_falls_ill_is_not_left_out_of_the_words() -> None:
    router = Knowing(Activity(4, 4))
    seen = iter([Activity(4, 4), Activity(4, 3)])
    router.observe = lambda: dict.fromkeys(("blue", "green"), next(seen, Activity(4, 3)))  # type: ignore[method-assign]
    found = watcher([Route("shop", router)], {**WATCH, "min_requests": 50, "pooled": False})("green", {})
    assert found.reason == f"{ONLY_MEMBERS}, but 3 of 4 members are ready, and 4 were before"


@pytest.mark.parametrize("found", [GREEN, BLUE])
def test_a_split_that_was_put_back_before_the_first_look_is_told(found: Split) -> None:
    router, put = Changing(found), {"shop": GREEN}
    watched = watcher([Route("shop", router)], {**WATCH, "min_requests": 50, "pooled": False})("green", put)
    assert ("was changed while" in watched.reason) is (found == BLUE)


def test_a_split_that_somebody_puts_back_ends_the_watch_and_is_told() -> None:
    router = Changing(GREEN, GREEN, BLUE)
    found = watcher([Route("shop", router)], {**WATCH, "duration": 600.0, "min_requests": 50, "pooled": False})(
        "green", {}
    )
    assert (found.verdict, found.reason) == ("inconclusive", "the split of shop was changed while it was watched")
