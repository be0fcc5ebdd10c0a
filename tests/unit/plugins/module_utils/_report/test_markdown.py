# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import html
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugins.module_utils._report.markdown import SHOWN, compact, escape, markdown
from plugins.module_utils._report.values import OUTCOMES, STAGES, as_json, parse_report

START = "2026-03-01T10:00:00Z"


def page(load_balancers, **more):
    given = {"app": "shop", "outcome": "released", "started_at": START, "load_balancers": load_balancers}
    return markdown(parse_report({**given, **more}))


def check(passed=True, stage="pre_deploy", name="Healthy", evidence=None):
    return {"stage": stage, "check": name, "passed": passed, "evidence": evidence}


def sent(share, at="2026-03-01T10:00:04.120Z"):
    return {"at": at, "event": "Sent", "split": {"blue": round(100 - share, 2), "green": share}}


def assert_well_formed(text):
    """Each table has a heading, and each of its rows as many cells; all is printable."""
    assert all(line.isprintable() for line in text.split("\n"))
    cells = None
    for line in text.split("\n"):
        if not line.startswith("|"):
            cells = None
            continue
        assert line.endswith(" |")
        found = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))
        cells = found if cells is None else cells
        assert found == cells


def test_the_page_reads_like_a_checklist():
    found = {
        "checklist": [
            check(evidence={"healthy": 4, "took_ms": 38}),
            check(None, "post_deploy", "Blue is kept"),
            check(False, "switch", "All traffic | is on `green`", ["10 %", {"lost": None}]),
        ],
        "timeline": [sent(10), {"at": "2026-03-01T10:02:04Z", "event": "Confirmed"}],
        "figures": {"requests": 18234, "gap": "1.2 ms"},
    }
    colours = {"from_colour": "blue", "to_colour": "green"}
    assert page({"lb1": found}, version="2.4.0", reason="Why\nnot", **colours) == (
        """\
# shop 2.4.0: released, green is live

**Why:** Why not

|  |  |
| --- | --- |
| App | shop |
| Version | 2.4.0 |
| Colours | blue → green |
| Outcome | released |
| Started | 2026-03-01T10:00:00Z |
| Took | 2 min 4 s |
| Checks | 1 passed, 1 failed, 1 not run |
| Load balancers | lb1 |

## Pre-deployment

| Result | Check | Evidence |
| --- | --- | --- |
| ✔ pass | Healthy | healthy: 4, took_ms: 38 |

## During deployment

| Result | Check | Evidence |
| --- | --- | --- |
| ✘ **fail** | All traffic \\| is on \\`green\\` | 10 %, {lost: null} |

## Post-deployment

| Result | Check | Evidence |
| --- | --- | --- |
| · not run | Blue is kept |  |

## Timeline

| Time (UTC) | Since start | Event | Traffic |
| --- | --- | --- | --- |
| 2026-03-01 10:00:04.120 | 4.1 s | Sent | ██░░░░░░░░░░░░░░░░░░ green 10 % |
| 2026-03-01 10:02:04.000 | 2 min 4 s | Confirmed |  |

## Figures

| Figure | Value |
| --- | --- |
| requests | 18234 |
| gap | 1.2 ms |

Long values are cut short here. The JSON file of the same name has all of it.
"""
    )


def test_load_balancers_that_say_the_same_share_a_row():
    text = page(
        {
            "lb1": {"checklist": [check(), check(name="Roomy")], "figures": {"requests": 1}},
            "lb2": {"checklist": [check(False), check(name="Roomy")], "figures": {"requests": 2}},
            "lb3": {"checklist": [check(), check(), check(name="Roomy")], "figures": {"requests": 1}},
        }
    )
    rows = [
        "| Result | Check | Evidence | Where |",
        "| --- | --- | --- | --- |",
        "| ✔ pass | Healthy |  | lb1, lb3 |",
        "| ✘ **fail** | Healthy |  | lb2 |",
        "| ✔ pass | Roomy |  | all |",
    ]
    assert "\n".join(rows) in text
    assert "| requests | 1 | lb1, lb3 |\n| requests | 2 | lb2 |" in text


def test_the_timelines_are_one_in_the_order_of_time():
    early, late = sent(10), sent(100, "2026-03-01T11:00:05+01:00")
    text = page({"lb1": {"timeline": [late, early]}, "lb2": {"timeline": [late]}})
    table = text.partition("## Timeline\n\n")[2].split("\n")
    assert [row.rpartition(" | ")[2] for row in table[2:4]] == ["lb1 |", "all |"]


@pytest.mark.parametrize(
    ("share", "filled"), [(0, 0), (0.01, 1), (1, 1), (10, 2), (50, 10), (99, 19), (99.99, 19), (100, 20)]
)
def test_the_bar_shows_nothing_and_all_only_where_it_is_so(share, filled):
    text = page({"lb1": {"timeline": [sent(share)]}}, to_colour="green")
    assert f" {'█' * filled}{'░' * (20 - filled)} green {share} % |" in text


@pytest.mark.parametrize(
    ("outcome", "title"),
    [
        ("released", "released, green is live"),
        ("rolled_back", "rolled back, blue is live again"),
        ("refused", "refused before the switch, blue stays live"),
        ("failed", "failed"),
        ("unchanged", "unchanged, green was live already"),
    ],
)
def test_the_title_says_the_outcome_in_plain_words(outcome, title):
    text = page({}, outcome=outcome, from_colour="blue", to_colour="green")
    assert text.startswith(f"# shop: {title}\n")
    assert "| Load balancers | none |" in text


def test_every_outcome_has_a_title_without_colours():
    assert all(page({}, outcome=outcome).startswith("# shop: ") for outcome in OUTCOMES)


@pytest.mark.parametrize(
    ("finished", "took"),
    [
        ("2026-03-01T10:00:59.94Z", "59.9 s"),
        ("2026-03-01T10:01:00Z", "1 min 0 s"),
        ("2026-03-01T12:03:30Z", "2 h 3 min"),
    ],
)
def test_the_time_it_took_is_in_words(finished, took):
    assert f"| Took | {took} |" in page({}, finished_at=finished)


def test_an_event_before_the_start_is_seen_to_be_so():
    text = page({"lb1": {"timeline": [sent(0, "2026-03-01T09:58:00Z")]}})
    assert "| 2026-03-01 09:58:00.000 | -2 min 0 s |" in text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a | b", r"a \| b"),
        ("a\\|b", r"a\\\|b"),
        ("two\n\t lines\u2028here", "two lines here"),
        ("`x` *y* ~z~ $1$", r"\`x\` \*y\* \~z\~ \$1\$"),
        ("took_ms _this_", r"took_ms \_this\_"),
        ("<b>&amp;</b>", "&lt;b&gt;&amp;amp;&lt;/b&gt;"),
        ("![x](http://evil)", r"!\[x](http:&#8203;//evil)"),
        ("\x1b[31m\x00\u202e", "\ufffd\\[31m\ufffd\ufffd"),
    ],
)
def test_a_text_means_itself(given, shown):
    assert escape(given) == shown


def test_a_long_text_is_cut():
    assert escape("x" * SHOWN) == "x" * SHOWN
    assert escape("x" * 1000) == "x" * (SHOWN - 1) + "…"


@pytest.mark.parametrize(
    ("evidence", "shown"),
    [
        (None, ""),
        (True, "true"),
        (1, "1"),
        ({"rc": 0, "ok": True, "why": None}, "rc: 0, ok: true, why: null"),
        ([1, [2, {"a": {}}]], "1, [2, {a: {}}]"),
        ({"summary": "2 of 2 ready", "routes": [1]}, "2 of 2 ready"),
        ({"summary": 2}, "summary: 2"),
    ],
)
def test_evidence_is_compact(evidence, shown):
    assert compact(evidence) == shown


def words():
    specials = st.sampled_from(["|", "\\", "\\|", "`", "\n", "\r", "\x85", "\u2028", "<br>", "| --- |", "\0"])
    return st.lists(st.text(st.characters(), max_size=9) | specials, max_size=5).map("".join)


def evidence():
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | words()
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words(), inner, max_size=3),
        max_leaves=6,
    )


def named():
    return words().map(lambda text: text if text.strip() else "x" + text)


def load_balancers():
    checks = st.fixed_dictionaries(
        {
            "stage": st.sampled_from(STAGES),
            "check": named(),
            "passed": st.sampled_from([True, False, None]),
            "evidence": evidence(),
        }
    )
    events = st.fixed_dictionaries(
        {
            "at": st.datetimes().map(lambda time: time.isoformat()),
            "event": named(),
            "split": st.none() | st.integers(0, 100).map(lambda share: {"blue": share, "green": 100 - share}),
        }
    )
    figures = st.dictionaries(named(), st.integers() | st.floats() | words() | st.none(), max_size=2)
    found = st.fixed_dictionaries(
        {
            "checklist": st.lists(checks, max_size=2),
            "timeline": st.lists(events, max_size=2),
            "figures": figures,
        }
    )
    return st.dictionaries(named(), found, max_size=2)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault
@given(load_balancers(), named(), words())
def test_whatever_is_reported_the_page_is_well_formed(found, app, reason):
    report = parse_report(
        {
            "app": app,
            "outcome": "failed",
            "reason": reason.strip(),
            "load_balancers": found,
            "to_colour": "green",
        }
    )
    assert_well_formed(markdown(report))
    json.loads(as_json(report), parse_constant=pytest.fail)
    assert re.fullmatch(r"[\w.+-]+", report.default_name, re.ASCII)


@pytest.mark.parametrize(
    "answer",
    [
        "see https://evil.example/x",
        "see HTTP://evil.example",
        "www.evil.example",
        "WWW.evil.example",
        "ask @team/ops",
        "mail a@evil.example",
        "fixes #1",
        "owner/repo#12",
        "GH-12",
        "[x](https://evil.example)",
        "![x](https://evil.example/pixel)",
        "<a href=https://evil.example>",
        "&#64;team",
    ],
)
def test_an_answer_of_others_links_nowhere_and_calls_nobody(answer):
    """In a pull request or an issue, where such a report is shown, each of these does something."""
    text = page({"lb1": {"checklist": [check(evidence={"body": answer})]}}, reason=answer)
    assert not re.search(r"://|@\w|#\d(?!\d*;)|(?i:www\.|gh-\d)|(?<!\\)[\[<]|&#64;", text.replace("&#8203;", " "))
    assert_well_formed(text)
    shown = html.unescape(re.sub(r"\\([\[|`_*~$])", r"\1", escape(answer)))
    assert shown.replace("\u200b", "") == answer


def test_what_was_not_seen_has_a_mark_of_its_own():
    few = "12 requests in 30 s, and fewer than 50 prove nothing"
    unseen = {**check(None, "switch", "10 % on green", {"summary": few}), "verdict": "inconclusive"}
    blind = {**check(None, "switch", "50 % on green"), "verdict": "blind"}
    text = page({"lb1": {"checklist": [unseen, blind, check()]}}, to_colour="green")
    assert text.startswith("# shop: released, green is live; not proven: 10 % on green; 50 % on green\n")
    assert f"| ? **inconclusive** | 10 % on green | {few} |" in text
    assert "| ? **blind** | 50 % on green |  |" in text
    assert "| Checks | 1 passed, 1 inconclusive, 1 blind |" in text
