# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils._errors import InvalidError, MissingError, NotReadyError
from plugins.module_utils._health.check import Plan, health_check, parse, report, run
from plugins.module_utils._health.probe import Answer, Target
from plugins.module_utils._wait import Clock

GOOD = Answer(200)
BAD = Answer(503)
LATE = Answer(problem="no whole answer", late=True)


class FakeTime:
    """A clock that moves only when somebody sleeps, or when a probe takes its time."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.lock = threading.Lock()

    def sleep(self, seconds: float) -> None:
        with self.lock:
            self.at += seconds

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.at, sleep=self.sleep)


class FakeProbe:
    """Gives each endpoint's answers in order, and then the last one for ever; notes when it was asked."""

    def __init__(self, time: FakeTime, took: float = 0, **answers: t.Sequence[Answer]) -> None:
        self.time = time
        self.took = took
        self.answers = answers
        self.asked: list[tuple[float, str, float]] = []

    def __call__(self, target: Target, limit: float) -> Answer:
        before = sum(1 for _at, host, _limit in self.asked if host == target.host)
        self.asked.append((self.time.at - 1000, target.host, limit))
        answers = self.answers[target.host]
        answer = answers[min(before, len(answers) - 1)]
        self.time.sleep(limit if answer.late else self.took)
        return answer


def plan(*hosts: str, **options: t.Any) -> Plan:
    return parse({"endpoints": [f"http://{host}/" for host in hosts], "concurrency": 1, **options})


def test_one_good_answer_is_enough():
    time = FakeTime()
    probe = FakeProbe(time, a=[GOOD], b=[GOOD])
    results = run(plan("a", "b"), probe, time.clock)
    assert [(r.endpoint, r.healthy, r.answers) for r in results] == [
        ("http://a/", True, 1),
        ("http://b/", True, 1),
    ]
    assert time.at == 1000


@pytest.mark.parametrize(
    ("answers", "needed", "asked"),
    [
        ([GOOD], 1, 1),
        ([BAD, GOOD], 1, 2),
        ([GOOD], 3, 3),
        ([GOOD, GOOD, BAD, GOOD], 3, 6),
        ([LATE, GOOD, LATE, GOOD], 2, 5),
    ],
)
def test_a_streak_is_of_answers_in_a_row(answers, needed, asked):
    time = FakeTime()
    (result,) = run(plan("a", successes=needed), FakeProbe(time, a=answers), time.clock)
    assert (result.healthy, result.streak, result.answers) == (True, needed, asked)


def test_each_endpoint_has_a_streak_of_its_own_and_is_left_alone_after_it():
    time = FakeTime()
    probe = FakeProbe(time, a=[GOOD], b=[BAD, BAD, GOOD], c=[GOOD, BAD, GOOD])
    results = run(plan("a", "b", "c", successes=2), probe, time.clock)
    assert [(r.healthy, r.answers) for r in results] == [(True, 2), (True, 4), (True, 4)]


def test_rounds_are_an_interval_apart():
    time = FakeTime()
    probe = FakeProbe(time, a=[BAD, BAD, GOOD])
    run(plan("a", interval=2), probe, time.clock)
    assert [at for at, _host, _limit in probe.asked] == [0, 2, 4]


def test_no_probe_starts_after_the_deadline_and_none_may_last_beyond_it():
    time = FakeTime()
    hosts = [f"h{number}" for number in range(10)]
    probe = FakeProbe(time, **{host: [LATE] for host in hosts})
    results = run(plan(*hosts, timeout=5, request_timeout=2), probe, time.clock)
    assert [limit for _at, _host, limit in probe.asked] == [2, 2, 1]
    assert time.at == 1005
    assert [r.answers for r in results] == [1, 1, 1] + [0] * 7
    assert results[-1].reason == "never asked: the time was over before its turn"


def test_an_answer_cut_short_by_the_deadline_does_not_hide_the_one_before():
    time = FakeTime()
    (result,) = run(plan("a", timeout=3, interval=2), FakeProbe(time, a=[BAD, LATE]), time.clock)
    assert (result.reason, result.answers) == ("status 503", 1)


def test_a_whole_late_answer_counts():
    time = FakeTime()
    (result,) = run(plan("a", timeout=5, interval=1), FakeProbe(time, a=[BAD, LATE]), time.clock)
    assert result.reason == "no whole answer"


def test_no_more_are_asked_at_once_than_allowed():
    lock, now, most = threading.Lock(), [0], [0]

    def probe(target: Target, limit: float) -> Answer:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.002)
        with lock:
            now[0] -= 1
        return GOOD

    run(plan(*[f"h{number}" for number in range(60)], concurrency=4), probe, Clock())
    assert 1 < most[0] <= 4


def test_a_fault_of_a_probe_is_not_swallowed():
    def probe(target: Target, limit: float) -> Answer:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        run(plan("a", "b"), probe, Clock())


# The report


def test_all_healthy_is_a_result():
    time = FakeTime()
    asked = plan("a", "b")
    found = report(asked, run(asked, FakeProbe(time, a=[GOOD], b=[GOOD]), time.clock), 7)
    assert {key: found[key] for key in ("changed", "healthy", "took_ms")} == {
        "changed": False,
        "healthy": 2,
        "took_ms": 7,
    }
    assert [endpoint["endpoint"] for endpoint in found["endpoints"]] == ["http://a/", "http://b/"]


def test_the_error_says_how_many_which_why_and_what_next():
    time = FakeTime()
    asked = plan(*"abcde", successes=2, timeout=3, version="2.0", required_checks=["db"], expect="a")
    probe = FakeProbe(
        time,
        a=[BAD],
        b=[Answer(problem="connection refused")],
        c=[Answer(200, b'{"version": "2.0", "checks": {"db": "ok"}, "a": 1}')],
        d=[Answer(200, b"<p>")],
        e=[BAD],
    )
    with pytest.raises(NotReadyError) as caught:
        report(asked, run(asked, probe, time.clock), 3000)
    assert str(caught.value) == (
        "4 of 5 endpoints are not healthy after 3 s: http://a/ (status 503), http://b/ (connection refused), "
        "http://d/ (the body is not JSON), and 1 more; expected status 200, version 2.0, healthy checks db, "
        "expect to hold (a), 2 times in a row. "
        "Look at what these endpoints log; if they only need longer to start, raise timeout."
    )
    assert caught.value.code == "not_ready"
    assert caught.value.details["healthy"] == 1
    assert [endpoint["healthy"] for endpoint in caught.value.details["endpoints"]] == [
        False,
        False,
        True,
        False,
        False,
    ]


def test_the_error_says_when_some_were_never_asked():
    time = FakeTime()
    asked = parse({"endpoints": ["tcp://a:1", "tcp://b:1"], "timeout": 1, "concurrency": 1})
    with pytest.raises(NotReadyError, match=r"a connection on each TCP port\. 1 of them were never asked: raise"):
        report(asked, run(asked, FakeProbe(time, a=[LATE]), time.clock), 1000)


# The whole thing, on loopback


def answering(*bodies: bytes) -> t.Callable[[t.Any], None]:
    def script(talk):
        said = 0
        while talk.request():
            body = bodies[min(said, len(bodies) - 1)]
            talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            said += 1

    return script


def test_mixed_endpoints_are_asked_until_they_are_good(serve):
    warm = serve(answering(b'{"version": "1"}', b'{"version": "2"}'))
    port = serve(lambda talk: talk.stopped.wait())
    web = health_check({"endpoints": [f"http://127.0.0.1:{warm.port}/"], "version": "2", "interval": 0.01})
    tcp = health_check({"endpoints": [f"tcp://127.0.0.1:{port.port}", f"http://127.0.0.1:{warm.port}/"]})
    assert (web["endpoints"][0]["answers"], warm.connections) == (2, 2)
    assert (tcp["healthy"], [endpoint["status"] for endpoint in tcp["endpoints"]]) == (2, [None, 200])


def test_dead_endpoints_do_not_keep_the_call_beyond_its_time(serve, closed_port):
    dead = [serve(lambda talk: talk.stopped.wait()).port for _turn in range(8)]
    endpoints = [f"http://127.0.0.1:{port}/{path}" for port in dead for path in range(5)]
    with pytest.raises(NotReadyError) as caught:
        health_check({"endpoints": endpoints, "timeout": 0.6, "request_timeout": 0.25, "concurrency": 4})
    assert caught.value.details["healthy"] == 0
    assert sum(endpoint["answers"] for endpoint in caught.value.details["endpoints"]) <= 12


def test_tls_endpoints_share_one_context(serve, server_context, certificate):
    ports = [serve(answering(b"ok"), server_context).port for _turn in range(3)]
    found = health_check(
        {"endpoints": [f"https://127.0.0.1:{port}/" for port in ports], "ca_path": str(certificate[0])}
    )
    assert found["healthy"] == 3


# Options


def test_defaults():
    found = parse({"endpoints": ["http://a"]})
    assert (found.timeout, found.request_timeout, found.interval) == (30, 2, 0.5)
    assert (found.successes, found.concurrency, found.validate_certs, found.ca_path) == (1, 32, True, None)
    assert found.expectation.status == (200,)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"endpoints": []}, "endpoints is empty"),
        ({"endpoints": None}, "endpoints is empty"),
        ({"endpoints": "http://a"}, "endpoints is empty, or not a list"),
        ({"endpoints": ["http://a", "ftp://b"]}, r"endpoint 2 \(ftp://b\) has no scheme"),
        ({"endpoints": ["http://a", "http://b", "HTTP://A:80/"]}, "endpoint 3 .* is the same as endpoint 1"),
        ({"endpoints": ["http://a", "tcp://b:1"], "expect": "a"}, "expect cannot be asked of tcp://b:1"),
        ({"endpoints": ["tcp://b:1"], "version": "1"}, "version cannot be asked of tcp://b:1"),
        ({"endpoints": ["tcp://b:1"], "required_checks": ["a"]}, "required_checks cannot be asked"),
        ({"expect": "a["}, "expect is not a JMESPath"),
        ({"expect": ""}, "expect is empty"),
        ({"version": " "}, "version is empty"),
        ({"version_key": ""}, "version_key is empty"),
        ({"required_checks": ["a", ""]}, "required_checks is not a list of names"),
        ({"status": []}, "status is empty"),
        ({"status": [99]}, "no HTTP status"),
        ({"status": [True]}, "no HTTP status"),
        ({"headers": {"X": "a\r\nb"}}, "header X has a line break"),
        *[({name: 0}, f"{name} is out of range") for name in ("timeout", "request_timeout", "interval")],
        *[({"timeout": value}, "timeout is out of range") for value in (-1, math.nan, math.inf, 86401, 1e300)],
        ({"concurrency": 0}, "concurrency is out of range"),
        ({"concurrency": 513}, "concurrency is out of range"),
        ({"successes": 0}, "successes is out of range"),
        ({"successes": 11, "interval": 1, "timeout": 10}, "11 answers, one every 1 s, do not fit into 10 s"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(InvalidError, match=words) as caught:
        parse({"endpoints": ["http://a"], **options})
    assert caught.value.code == "invalid"


def test_a_plan_does_not_show_its_secrets():
    found = parse({"endpoints": ["http://a"], "secret_headers": {"Authorization": "Bearer hunter2hunter2"}})
    assert "hunter2" not in repr(found)
    assert found.expectation.secrets == ("Bearer hunter2hunter2", "hunter2hunter2")


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.lists(st.one_of(st.text(max_size=5), st.integers(), st.none()), max_size=3),
    st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=5), st.integers(), st.none()), max_size=3),
)
URLS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["http", "https", "tcp", "ftp", "HTTP", ""]),
        st.sampled_from(["://", ":", "//", ""]),
        st.one_of(st.sampled_from(["a", "[::1]", "[", "a@b", "127.0.0.1", "a..b"]), st.text(max_size=6)),
        st.one_of(st.sampled_from([":80", ":0", ":", ":x", ""]), st.integers().map(lambda port: f":{port}")),
        st.one_of(st.sampled_from(["/", "?a", "#b", ""]), st.text(max_size=6)),
    ),
)
EXPRESSIONS = st.text("abz[]().*@&|!<>=`'\"{},:?0-9\\ length", max_size=20)
OPTIONS = st.fixed_dictionaries(
    {"endpoints": st.one_of(st.lists(st.one_of(URLS, st.just("http://a/")), max_size=3), JUNK)},
    optional={
        "headers": JUNK,
        "secret_headers": JUNK,
        "status": st.one_of(st.lists(st.integers(90, 610), max_size=3), JUNK),
        "expect": st.one_of(EXPRESSIONS, JUNK),
        "required_checks": JUNK,
        "version": JUNK,
        "version_key": JUNK,
        **dict.fromkeys(("successes", "timeout", "request_timeout", "interval", "concurrency"), JUNK),
        "validate_certs": JUNK,
        "ca_path": JUNK,
    },
)


def message(options: dict[str, t.Any]) -> str:
    """Why the options are refused; empty if they are a plan. Any other exception is a defect."""
    try:
        parse(options)
    except InvalidError as error:
        return error.message
    return ""


@settings(max_examples=300, deadline=None)
@given(OPTIONS)
def test_any_options_are_a_plan_or_invalid(options):
    said = message(options)
    assert said.isprintable()


@pytest.mark.filterwarnings("ignore:deprecated string literal syntax")
@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS)
def test_any_expression_is_a_plan_or_invalid(expression):
    said = message({"endpoints": ["http://a"], "expect": expression})
    assert said.isprintable()


# jmespath


def test_a_missing_jmespath_is_named_with_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "jmespath", None)
    parse({"endpoints": ["http://a"], "version": "1"})
    with pytest.raises(MissingError, match=r"jmespath cannot be imported on .* -m pip install jmespath") as caught:
        parse({"endpoints": ["http://a"], "expect": "a"})
    assert sys.executable in str(caught.value)


def test_jmespath_is_imported_only_for_expect():
    code = (
        "import sys; from plugins.module_utils._health.check import parse;"
        "parse({'endpoints': ['http://a'], 'version': '1', 'required_checks': ['a']});"
        "before = 'jmespath' in sys.modules;"
        "parse({'endpoints': ['http://a'], 'expect': 'a'});"
        "sys.exit(before or 'jmespath' not in sys.modules)"
    )
    root = Path(__file__).parents[5]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
