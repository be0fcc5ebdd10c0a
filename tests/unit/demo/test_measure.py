# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the load saw, measured: tables of records with known answers."""

from __future__ import annotations

import json

import pytest

from demo import measure
from demo.measure import Answer, Record

BLUE, GREEN = ("blue", "1.1"), ("green", "1.2")


def rec(start, who=BLUE, outcome="ok", latency=10.0, kind="get"):
    status = {"ok": 200, "release_error": 500}.get(outcome, 0)
    return Record(start, latency, kind, *(who if status else ("", "")), status, outcome)


def test_summary_of_nothing():
    seen = measure.summary([])
    assert (seen.requests, seen.rate, seen.p50_ms, seen.p99_ms) == (0, 0.0, None, None)


def test_summary_counts_every_outcome_and_leaves_slow_kinds_out_of_the_percentiles():
    records = [
        rec(0.0, latency=1.0),
        rec(1.0, GREEN, latency=3.0),
        rec(2.0, GREEN, "release_error", latency=5.0),
        rec(3.0, outcome="failed", latency=10_000.0),
        rec(4.0, outcome="race", latency=0.1),
        rec(5.0, kind="slow", latency=1500.0),
    ]
    seen = measure.summary(records)
    assert (seen.requests, seen.ok, seen.release_errors, seen.failed, seen.races) == (6, 3, 1, 1, 1)
    assert (seen.seconds, seen.rate) == (5.0, 1.2)
    assert (seen.p50_ms, seen.p99_ms) == (3.0, 5.0)
    assert seen.kinds == {"get": 5, "slow": 1}
    assert seen.versions == {"blue": {"1.1": 2}, "green": {"1.2": 2}}


@pytest.mark.parametrize(
    ("values", "percent", "wanted"),
    [
        ([], 50, None),
        ([7.0], 99, 7.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.0),
        ([float(n) for n in range(1, 101)], 99, 99.0),
        ([float(n) for n in range(1, 101)], 0, 1.0),
    ],
)
def test_percentile(values, percent, wanted):
    assert measure.percentile(values, percent) == wanted


# Commanded at 10.0, confirmed at 10.5, the next command at 20.0; blue is left for green.
SWITCHES = {
    # name: (records, stale, last_on, mixed window from 9.0)
    "clean": ([rec(9.9), rec(10.1, GREEN), rec(11.0, GREEN)], 0, 0.0, 0.0),
    "old until after the command": ([rec(9.9), rec(10.2), rec(10.3, GREEN)], 0, 200.0, 0.0),
    "old after the confirmation": ([rec(10.2, GREEN), rec(10.6), rec(11.0)], 2, 1000.0, 800.0),
    "routed after the command, begun before": ([rec(9.8, GREEN), rec(9.9), rec(11.0, GREEN)], 0, 0.0, 100.0),
    "confirmed at that very instant": ([rec(10.5), rec(10.6, GREEN)], 0, 500.0, 0.0),
    "the next switch is not this one": ([rec(10.1, GREEN), rec(20.0), rec(21.0)], 0, 0.0, 0.0),
    "in flight when the next switch came": ([rec(10.1, GREEN), rec(19.995)], 0, 0.0, 0.0),
    "unanswered is nobody's": ([rec(10.1, GREEN), rec(11.0, outcome="failed")], 0, 0.0, 0.0),
    "in no order": ([rec(11.0), rec(10.6), rec(10.1, GREEN)], 2, 1000.0, 900.0),
    "nothing at all": ([], 0, 0.0, 0.0),
    "nobody on the new colour": ([rec(10.6)], 1, 600.0, 0.0),
}


@pytest.mark.parametrize(("records", "stale", "last_on", "mixed"), SWITCHES.values(), ids=SWITCHES)
def test_a_switch(records, stale, last_on, mixed):
    assert len(measure.stale(records, "blue", 10.5, 20.0)) == stale
    assert measure.last_on(records, "blue", 10.0, 20.0) == pytest.approx(last_on)
    assert measure.mixed_window_ms(records, "blue", "green", 9.0, 20.0) == pytest.approx(mixed)


def test_colours_over_time_shows_silence():
    records = [rec(10.6, GREEN, "release_error"), rec(10.1), rec(10.2), rec(11.6, GREEN)]
    buckets = measure.colours_over_time(records, 0.5)
    assert [(bucket.start, dict(bucket.counts)) for bucket in buckets] == [
        (10.0, {Answer("blue", "1.1", "ok"): 2}),
        (10.5, {Answer("green", "1.2", "release_error"): 1}),
        (11.0, {}),
        (11.5, {Answer("green", "1.2", "ok"): 1}),
    ]
    assert measure.colours_over_time([], 0.5) == []


BAD = {
    # name: (records, milliseconds); the way back is confirmed at 13.0, the bad version comes again at 20.0
    "no error": ([rec(10.0, GREEN), rec(13.0)], None),
    "error only after the way back": ([rec(13.5, GREEN, "release_error")], None),
    "from the answer, not from the start": (
        [rec(10.0, GREEN, "release_error", latency=500.0), rec(12.0, GREEN), rec(13.0)],
        1500.0,
    ),
    "a straggler counts": ([rec(10.0, GREEN, "release_error", latency=0.0), rec(13.2, GREEN)], 3200.0),
    "the first answered error, not the first begun": (
        [
            rec(10.0, GREEN, "release_error", latency=2000.0),
            rec(11.0, GREEN, "release_error", latency=0.0),
            rec(12.5, GREEN),
        ],
        1500.0,
    ),
    "answered after the last one began": ([rec(10.0, GREEN, "release_error", latency=900.0)], 0.0),
    "another release": (
        [rec(10.0, GREEN, "release_error", latency=0.0), rec(11.0, GREEN), rec(20.0, GREEN)],
        1000.0,
    ),
    "errors of the good version do not count": ([rec(10.0, BLUE, "release_error")], None),
}


@pytest.mark.parametrize(("records", "wanted"), BAD.values(), ids=BAD)
def test_first_bad_to_all_back(records, wanted):
    seen = measure.first_bad_to_all_back_ms(records, "1.2", 13.0, 20.0)
    assert seen == (wanted if wanted is None else pytest.approx(wanted))


def test_parse_reads_what_load_writes():
    head, records = measure.parse([json.dumps({"requests": 1}), json.dumps(rec(1.5))])
    assert (head, records) == ({"requests": 1}, [rec(1.5)])
