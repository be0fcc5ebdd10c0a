# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugins.module_utils._errors import InvalidError
from plugins.module_utils._report.markdown import markdown
from plugins.module_utils._report.values import as_json, parse_report


class WrappedText(str):
    """As Ansible wraps what it does not trust."""

    __slots__ = ()


def options(load_balancers=None, **more):
    return {"app": "shop", "outcome": "released", "load_balancers": load_balancers or {}, **more}


def one(**found):
    return options({"lb1": found})


def check(**more):
    return one(checklist=[{"stage": "switch", "check": "Verified", "passed": True, **more}])


def event(**more):
    return one(timeline=[{"at": "2026-03-01T10:00:00Z", "event": "Sent", **more}])


def document(given):
    return json.loads(as_json(parse_report(given)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (options(app=" "), "app is ' '; expected a text that is not empty"),
        (options(version=2.4), "version is 2.4; expected a text that is not empty"),
        (options(outcome="done"), "outcome is 'done'; expected open, released, rolled_back, refused, failed or"),
        (options(started_at="yesterday"), "started_at is 'yesterday'; expected an ISO 8601 time"),
        (options(started_at="2026-02-30"), "started_at is '2026-02-30'; expected an ISO 8601 time"),
        (options(started_at="0001-01-01T00:00:00+01:00"), "expected an ISO 8601 time"),
        (
            options(started_at="2026-03-01T10:00:00Z", finished_at="2026-03-01T10:00:00+01:00"),
            "before started_at, 2026-03-01T10:00:00Z; expected a later time. Leave finished_at out",
        ),
        (options([{"name": "lb1"}]), "load_balancers is [{'name': 'lb1'}]; expected a dictionary"),
        (options({1: {}}), "the name of a load balancer is 1; expected a text"),
        (options({"lb1": None}), "lb1 is None; expected a dictionary"),
        (one(checks=[]), "lb1 has 'checks'; expected only checklist, timeline, figures. Mend or remove it"),
        (one(checklist={}), "lb1: checklist is {}; expected a list"),
        (one(checklist=[None]), "lb1: checklist entry 1 is None; expected a dictionary"),
        (one(checklist=[{"stage": "switch", "check": "x"}]), "has no passed; expected stage, check, passed"),
        (check(stage="deploy"), "entry 1: stage is 'deploy'; expected pre_deploy, switch, post_deploy or"),
        (check(check=["x"]), "lb1: checklist entry 1: check is ['x']; expected a text"),
        (check(passed="yes"), "passed is 'yes'; expected true, false, or null for a check not run"),
        (check(passed=1), "passed is 1; expected true, false"),
        (
            check(proof="x"),
            "lb1: checklist entry 1 has 'proof'; expected only stage, check, passed, verdict, evidence",
        ),
        (event(at=1), "lb1: timeline entry 1: at is 1; expected an ISO 8601 time"),
        (event(event=""), "lb1: timeline entry 1: event is ''; expected a text"),
        (event(took_ms="3 ms"), "lb1: timeline entry 1: took_ms is '3 ms'; expected a number"),
        (event(took_ms=float("nan")), "took_ms is nan; expected a number of milliseconds"),
        (event(split=[90, 10]), "split is [90, 10]; expected a dictionary"),
        (event(split={"blue": 100}), "lb1: timeline entry 1: split: colours is blue; expected two"),
        (event(split={"blue": 90, "green": 20}), "adds up to 110 %; expected 100 %"),
        (one(figures=[1]), "lb1: figures is [1]; expected a dictionary"),
        (one(figures={"p99": [1]}), "lb1: figure 'p99' is [1]; expected a number, a text, or null"),
        (one(figures={"calm": True}), "lb1: figure 'calm' is True; expected a number"),
    ],
)
def test_what_cannot_be_right_is_refused_in_one_line(given, message):
    with pytest.raises(InvalidError) as refusal:
        parse_report(given)
    assert message in refusal.value.message
    assert "\n" not in refusal.value.message


def test_the_document_holds_all_of_it():
    assert document(
        options(
            {
                "lb10": {},
                "lb2": {
                    "checklist": [
                        {"stage": "post_deploy", "check": "Blue is kept", "passed": None},
                        {
                            "stage": "pre_deploy",
                            "check": "Healthy",
                            "passed": True,
                            "evidence": {"b": [1, 0.5]},
                        },
                    ],
                    "timeline": [
                        {"at": "2026-03-01T10:00:09.5Z", "event": "Sent", "split": {"blue": 0, "green": 100}},
                        {"at": "2026-03-01T11:00:01+01:00", "event": "Found", "took_ms": 1.5},
                    ],
                    "figures": {"requests": 5, "gap": None, "p99": "2 ms"},
                },
            },
            version="2.4.0",
            reason="",
            from_colour="blue",
            to_colour="green",
            started_at="2026-03-01T10:00:00Z",
        )
    ) == {
        "format": 1,
        "app": "shop",
        "version": "2.4.0",
        "outcome": "released",
        "unproven": [],
        "reason": None,
        "from_colour": "blue",
        "to_colour": "green",
        "started_at": "2026-03-01T10:00:00Z",
        "finished_at": "2026-03-01T10:00:09.5Z",
        "took_s": 9.5,
        "load_balancers": {
            "lb2": {
                "checklist": [
                    {
                        "stage": "pre_deploy",
                        "check": "Healthy",
                        "passed": True,
                        "verdict": "pass",
                        "evidence": {"b": [1, 0.5]},
                    },
                    {
                        "stage": "post_deploy",
                        "check": "Blue is kept",
                        "passed": None,
                        "verdict": "not_run",
                        "evidence": None,
                    },
                ],
                "timeline": [
                    {"at": "2026-03-01T11:00:01+01:00", "event": "Found", "split": None, "took_ms": 1.5},
                    {
                        "at": "2026-03-01T10:00:09.5Z",
                        "event": "Sent",
                        "split": {"blue": 0, "green": 100},
                        "took_ms": None,
                    },
                ],
                "figures": {"requests": 5, "gap": None, "p99": "2 ms"},
            },
            "lb10": {"checklist": [], "timeline": [], "figures": {}},
        },
    }


@pytest.mark.parametrize("verdict", ["inconclusive", "blind"])
def test_what_was_not_seen_is_no_pass(verdict):
    given = [check(passed=None, verdict=verdict), check(passed=True, verdict="pass"), check(passed=None, verdict="")]
    found = document(
        options(
            {
                name: {"checklist": [one_["load_balancers"]["lb1"]["checklist"][0] for one_ in given]}
                for name in ("lb1", "lb2")
            }
        )
    )
    checks = found["load_balancers"]["lb2"]["checklist"]
    assert [(one_["passed"], one_["verdict"]) for one_ in checks] == [
        (None, verdict),
        (True, "pass"),
        (None, "not_run"),
    ]
    assert found["unproven"] == ["Verified"]


@pytest.mark.parametrize(
    ("passed", "verdict", "message"),
    [
        (True, "inconclusive", "passed is True and verdict is 'inconclusive'; expected the same of both"),
        (False, "pass", "passed is False and verdict is 'pass'; expected the same of both"),
        (None, "pass", "passed is null and verdict is 'pass'; expected the same of both"),
        (None, "maybe", "verdict is 'maybe'; expected pass, fail, inconclusive or blind"),
    ],
)
def test_a_mark_and_a_verdict_that_contradict_each_other_are_refused(passed, verdict, message):
    with pytest.raises(InvalidError) as refusal:
        parse_report(check(passed=passed, verdict=verdict))
    assert message in refusal.value.message


def test_load_balancers_stand_in_the_order_of_their_numbers():
    assert list(document(options({"lb10": {}, "lb9": {}}))["load_balancers"]) == ["lb9", "lb10"]


def test_an_empty_text_is_the_null_of_older_templates():
    given = one(checklist="", figures="", timeline=[{"at": "2026-03-01", "event": "Found", "split": ""}])
    found = document(given)["load_balancers"]["lb1"]
    assert (found["checklist"], found["timeline"][0]["split"]) == ([], None)
    assert document(check(passed=""))["load_balancers"]["lb1"]["checklist"][0]["passed"] is None


@pytest.mark.parametrize(
    ("evidence", "written"),
    [
        (WrappedText("text"), "text"),
        ({"__ansible_unsafe": "text"}, "text"),
        ({"invocation": {"module_args": {}}, "_ansible_no_log": False, "rc": 0}, {"rc": 0}),
        ({"deep": [{"invocation": 1}]}, {"deep": [{}]}),
        (float("nan"), "nan"),
        ({1: (), 2.5: None}, {"1": [], "2.5": None}),
        ("\udc80", "\\udc80"),
        ({"\ud800": 1}, {"\\ud800": 1}),
    ],
)
def test_evidence_is_written_as_plain_json(evidence, written):
    assert document(check(evidence=evidence))["load_balancers"]["lb1"]["checklist"][0]["evidence"] == written


def test_evidence_without_a_bottom_is_refused():
    evidence = []
    evidence.append(evidence)
    with pytest.raises(InvalidError, match="evidence is nested deeper than 64 levels"):
        parse_report(check(evidence=evidence))


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("2026-03-01T10:00:01Z", 1),
        ("2026-03-01 10:00:01.25", 1.25),
        ("2026-03-01T10:00:01.123456789+00:00", 1.123456),
        ("2026-03-01T11:00:01,5+0100", 1.5),
        ("2026-03-01T10:01", 60),
        ("2026-03-02", 14 * 3600),
    ],
)
def test_times_are_read_in_any_common_spelling_and_kept_as_given(given, seconds):
    found = document(options(started_at="2026-03-01T10:00:00Z", finished_at=given))
    assert (found["took_s"], found["finished_at"]) == (seconds, given)


def test_the_end_is_the_latest_time_known():
    late = {"timeline": [{"at": "2026-03-01T10:00:05Z", "event": "Sent"}]}
    given = options({"lb1": late, "lb2": {}}, started_at="2026-03-01T10:00:00Z")
    assert document(given)["finished_at"] == "2026-03-01T10:00:05Z"
    # The clock of a load balancer may be behind.
    given["started_at"] = "2026-03-01T10:00:06Z"
    assert document(given)["took_s"] == 0
    assert document(options())["finished_at"] is None


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (options(), "shop"),
        (options(version="2.4.0", started_at="2026-03-01T11:00:00.5+01:00"), "shop-2.4.0-20260301T100000Z"),
        (options(app="../../etc/passwd", version="a\\b\0c"), "etc-passwd-a-b-c"),
        (options(app="магазин"), "release"),
        (options(app="x" * 500), "x" * 80),
    ],
)
def test_the_default_name_is_a_safe_file_name(given, name):
    assert parse_report(given).default_name == name


def anything():
    """Whatever a playbook may hold, with texts that no encoding can hold."""
    text = st.text(st.characters(), max_size=300)
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | text | text.map(WrappedText)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text | st.integers(), inner, max_size=4),
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault
@given(st.dictionaries(st.sampled_from(["checklist", "timeline", "figures", "other"]), anything()) | anything())
def test_garbage_is_refused_and_nothing_worse(found):
    for load_balancers in (found, {"lb1": found}, {"lb1": {"checklist": [found], "timeline": [found]}}):
        with contextlib.suppress(InvalidError):
            markdown(parse_report(options() | {"load_balancers": load_balancers}))
