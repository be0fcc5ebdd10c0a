# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._errors import InvalidError
from plugins.module_utils._health.probe import (
    BODY_LIMIT,
    Answer,
    Expectation,
    Result,
    Verdict,
    credentials,
    judge,
    parse_condition,
    parse_target,
    shown,
)


@pytest.mark.parametrize(
    ("url", "found", "authority"),
    [
        ("http://a", ("http", "a", 80, "/"), "a"),
        ("HTTPS://A.example:443/x?y=%20#z", ("https", "a.example", 443, "/x?y=%20"), "a.example"),
        ("http://a_b-c:8080?q", ("http", "a_b-c", 8080, "/?q"), "a_b-c:8080"),
        ("http://[::1]:81/", ("http", "::1", 81, "/"), "[::1]:81"),
        ("https://[2001:db8::1]", ("https", "2001:db8::1", 443, "/"), "[2001:db8::1]"),
        ("tcp://10.0.0.1:5432", ("tcp", "10.0.0.1", 5432, ""), "10.0.0.1:5432"),
        ("tcp://db.:1/", ("tcp", "db.", 1, ""), "db.:1"),
    ],
)
def test_endpoints_are_read(url, found, authority):
    target = parse_target(url, 1)
    assert (target.scheme, target.host, target.port, target.path) == found
    assert (target.url, target.authority) == (url, authority)


@pytest.mark.parametrize(
    "url",
    [
        *(None, 5, "", " ", "a", "a:80", "/health", "//a/", "http:", "http://", "http:///x", "http://:80"),
        *("ftp://a", "file:///etc/passwd", "unix:///run/x", "udp://a:1", "javascript:1", "httpx://a"),
        *("http://a:0", "http://a:65536", "http://a:-1", "http://a:x", "http://a:99999999999999999999"),
        *(
            "http://a b",
            "http://a/\r\nX: y",
            "http://a/\t",
            "http://a/\x00",
            "http://a/\x7f",
            "http://\u00e9",
        ),
        *(
            "http://a/\u00e9",
            " http://a",
            "http://a\n",
            "http://[::1",
            "http://[a]",
            "http://::1",
            "http://[]",
        ),
        *(
            "http://a..b",
            "http://.a",
            "http://" + "a" * 64,
            "http://" + "a." * 127 + "a",
            "http://[fe80::1%25e]",
        ),
        *("http://a%41", "http://a\\b", "http://a,b", "http://a;b", "http://*", "http://[1.2.3.4]"),
        *("tcp://a", "tcp://a:0", "tcp://:1", "tcp://a:1/x", "tcp://a:1?x", "tcp://a:1/#x", "tcp:a:1"),
    ],
)
def test_what_is_no_endpoint_is_refused(url):
    with pytest.raises(InvalidError, match=r"^endpoint 3 .*expected a URL such as") as caught:
        parse_target(url, 3)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("http://bob:hunter2@a/", {"bob:hunter2", "hunter2"}),
        ("https://token@a", {"token"}),
        ("http://a:b@c@d:1", {"a:b@c", "b@c"}),
        ("http://@a", set()),
        ("http://:hunter2@a", {":hunter2", "hunter2"}),
        ("tcp://bob:hunter2@a:1", {"bob:hunter2", "hunter2"}),
    ],
)
def test_credentials_are_refused_and_not_repeated(url, secrets):
    assert credentials([url]) == secrets
    with pytest.raises(InvalidError, match=r"holds credentials.*headers") as caught:
        parse_target(url, 1)
    assert "hunter2" not in str(caught.value)
    assert caught.value.details == {}


def test_an_at_sign_in_a_path_is_no_credential():
    assert credentials(["http://a/b@c", "http://a?b@c", "http://a"]) == set()
    assert parse_target("http://a/b@c", 1).path == "/b@c"


def test_two_spellings_of_an_endpoint_are_equal():
    assert parse_target("http://A:80", 1) == parse_target("HTTP://a/", 2)
    assert parse_target("http://a", 1) != parse_target("https://a:80", 2)


def body(document):
    return Answer(200, json.dumps(document).encode())


def wants(**options):
    if "expect" in options:
        options["condition"] = parse_condition(options.pop("expect"))
    return Expectation(**options)


@pytest.mark.parametrize(
    ("answer", "wanted", "reason"),
    [
        (Answer(), wants(), ""),
        (Answer(problem="connection refused"), wants(), "connection refused"),
        (Answer(200, b"ok"), wants(), ""),
        (Answer(503, b"no"), wants(), "status 503"),
        (Answer(302), wants(status=(200, 302)), ""),
        (Answer(200, b"x" * 10, truncated=True), wants(), ""),
        (Answer(200), wants(version="1"), "the body is empty, not JSON"),
        (Answer(200, b"<p>"), wants(version="1"), "the body is not JSON"),
        (Answer(200, b"\xff\xfe\x00"), wants(version="1"), "the body is not JSON"),
        (Answer(200, b"[" * 100_000), wants(version="1"), "the body is not JSON"),
        (Answer(200, b"{}", truncated=True), wants(version="1"), "the body is longer than 1024 KiB"),
        (Answer(503, b"<p>"), wants(version="1"), "status 503"),
        (body({"version": "2.0"}), wants(version="2.0"), ""),
        (body({"version": "1.9"}), wants(version="2.0"), "version 1.9"),
        (body({"version": 7}), wants(version="7"), ""),
        (body({"version": True}), wants(version="True"), "no version under version"),
        (body({"version": {"a": 1}}), wants(version="1"), "no version under version"),
        (body([1]), wants(version="1"), "no version under version"),
        (body({"build": {"version": "3"}}), wants(version="3", version_key="build.version"), ""),
        (body({"build.version": "3"}), wants(version="3", version_key="build.version"), ""),
        (
            body({"build": "x"}),
            wants(version="3", version_key="build.version"),
            "no version under build.version",
        ),
        (body({"a": [1]}), wants(expect="a[0]"), ""),
        (body({"a": []}), wants(expect="a"), "expect does not hold"),
        (body({"a": 0}), wants(expect="a"), "expect does not hold"),
        (body({"a": None}), wants(expect="length(a) > `1`"), "expect cannot be worked out on this body"),
        (body({"a": 3}), wants(expect="a >= `2`", version="1"), "no version under version"),
        (
            Answer(503, b'{"checks": {"db": "down"}, "version": "1"}'),
            wants(required_checks=("db",), version="2", expect="x"),
            "status 503; version 1; check db is down; expect does not hold",
        ),
    ],
)
def test_an_answer_is_judged(answer, wanted, reason):
    assert judge(answer, wanted).reason == reason


@pytest.mark.parametrize(
    ("state", "good", "says"),
    [
        ("healthy", True, "healthy"),
        ("OK", True, "OK"),
        ("Up", True, "Up"),
        ("pass", True, "pass"),
        (True, True, "healthy"),
        ({"status": "ok", "since": 3}, True, "ok"),
        ({"status": True}, True, "healthy"),
        ("passing", False, "passing"),
        ("", False, ""),
        (False, False, "unhealthy"),
        (1, False, "without a status"),
        (None, False, "without a status"),
        ({}, False, "without a status"),
        ({"status": {"status": "ok"}}, False, "without a status"),
        ([{"status": "ok"}], False, "without a status"),
        ({"status": "down"}, False, "down"),
    ],
)
def test_a_required_check_is_judged(state, good, says):
    verdict = judge(body({"checks": {"db": state, "other": "down"}}), wants(required_checks=("db",)))
    assert verdict.checks == {"db": says}
    assert verdict.reason == ("" if good else f"check db is {says}")


def test_required_checks_must_be_there():
    wanted = wants(required_checks=("db", "queue"))
    verdict = judge(body({"checks": {"db": "ok"}}), wanted)
    assert verdict == Verdict("check queue is missing", None, {"db": "ok", "queue": "missing"})
    for document in ({}, {"checks": ["db"]}, [], "checks", None):
        assert judge(body(document), wanted).reason == "no object checks in the body"


def test_the_version_is_reported_where_it_was_not_asked_for():
    assert judge(body({"version": "1.2"}), wants()).version == "1.2"
    assert judge(Answer(200, b"{broken"), wants()) == Verdict()


def test_an_echoed_secret_is_not_repeated():
    wanted = wants(version="1", required_checks=("db",), secrets=("Bearer abcdefgh", "abcdefgh"))
    verdict = judge(body({"version": "v-abcdefgh", "checks": {"db": "Bearer abcdefgh"}}), wanted)
    assert "abcdefgh" not in repr(verdict)
    assert "abcdefgh" not in repr(wanted)
    assert judge(body({"version": "abcdefgh"}), wants(version="abcdefgh", secrets=("abcdefgh",))).reason == ""


def test_words_of_a_server_are_short_and_printable():
    assert shown("a\nb\x1b[31m\ud800") == "a?b?[31m?"
    assert shown("x" * 1000) == "x" * 80 + "..."


@pytest.mark.parametrize(
    "text", ["", "a[", "a ==", "nosuch(a)", "length()", "a" * 5 + "(" * 5000, "`", "a[99999999999999]."]
)
def test_an_expression_that_can_never_hold_is_refused(text):
    with pytest.raises(InvalidError, match="expect is not a JMESPath"):
        parse_condition(text)


def test_an_expression_that_only_needs_an_answer_is_taken():
    assert parse_condition("length(a) > `1`").search({"a": [1, 2]}) is True


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["checks", "version", "a", "status", "db"]), inner, max_size=4)
        ),
        max_leaves=8,
    ).map(lambda document: json.dumps(document).encode())
)
def test_any_body_can_be_judged(data):
    wanted = wants(version="1", version_key="a.version", required_checks=("db",), expect="a.b > `1`")
    verdict = judge(Answer(200, data), wanted)
    assert verdict.reason
    assert verdict.reason.isprintable()


def test_a_bad_answer_ends_the_streak():
    good, bad = Verdict(version="1"), Verdict("status 503")
    result = Result("http://a", successes=2)
    told = []
    for verdict in (good, bad, good, good):
        result = result.after(Answer(200), verdict, 5)
        told.append((result.streak, result.healthy, result.reason))
    assert told == [
        (1, False, "1 of 2 good answers in a row"),
        (0, False, "status 503"),
        (1, False, "1 of 2 good answers in a row"),
        (2, True, ""),
    ]
    assert result.as_dict() == {
        "endpoint": "http://a",
        "healthy": True,
        "status": 200,
        "version": "1",
        "reason": "",
        "took_ms": 5,
        "answers": 4,
        "streak": 2,
    }


def test_the_body_limit_is_one_mebibyte():
    assert BODY_LIMIT == 1 << 20
