# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import socket
import ssl
import struct
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugins.module_utils._errors import InvalidError
from plugins.module_utils._health.http_probe import KEPT, Http, _spoiled, parse_headers, tls_context
from plugins.module_utils._health.probe import BODY_LIMIT, Answer, parse_target


def target(port, path="/health", scheme="http"):
    return parse_target(f"{scheme}://127.0.0.1:{port}{path}", 1)


def response(body=b"ok", status="200 OK", *lines):
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def answering(*answers):
    """Answers every request; the last answer is repeated."""

    def script(talk):
        said = 0
        while talk.request():
            talk.say(answers[min(said, len(answers) - 1)])
            said += 1

    return script


@pytest.fixture
def http():
    probe = Http({}, None)
    yield probe
    probe.close()


def test_status_and_body_come_back(serve, http):
    server = serve(answering(response(b'{"a": 1}', "503 Service Unavailable")))
    assert http(target(server.port), 5) == Answer(503, b'{"a": 1}')


def test_a_chunked_body_is_put_together(serve, http):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = serve(answering(head + b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"))
    assert [http(target(server.port), 5) for _turn in range(2)] == [Answer(200, b"abcde")] * 2
    assert server.connections == 1


def test_a_redirect_is_not_followed(serve, http):
    seen = []
    server = serve(lambda talk: (seen.append(talk.request()), talk.say(response(b"", "302 Found", "Location: /other"))))
    assert http(target(server.port), 5).status == 302
    assert len(seen) == 1


def test_a_proxy_of_the_environment_is_not_used(monkeypatch, serve, http, closed_port):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    server = serve(answering(response()))
    assert http(target(server.port), 5).status == 200


def test_the_request_says_what_it_should(serve):
    seen = []
    server = serve(lambda talk: (seen.append(talk.request()), talk.say(response())))
    probe = Http({"authorization": "Bearer abc", "ACCEPT": "text/plain"}, None)
    probe(target(server.port, "/a%20b?c=d&e"), 5)
    probe.close()
    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "GET /a%20b?c=d&e HTTP/1.1"
    assert sorted(lines[1:-2]) == [
        "ACCEPT: text/plain",
        "Accept-Encoding: identity",
        f"Host: 127.0.0.1:{server.port}",
        "User-Agent: bluegreen.deploy health_check",
        "authorization: Bearer abc",
    ]


def test_the_host_may_be_another(serve):
    seen = []
    server = serve(lambda talk: (seen.append(talk.request()), talk.say(response())))
    probe = Http({"Host": "shop.example.com"}, None)
    probe(target(server.port), 5)
    probe.close()
    assert seen[0].lower().count(b"host: ") == 1
    assert b"Host: shop.example.com\r\n" in seen[0]


# Servers that misbehave


def reset(talk):
    talk.request()
    talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset_in_the_body(talk):
    talk.request()
    talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    talk.stopped.wait(0.05)
    talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def drip(talk):
    """Would be whole in two seconds; each piece is quick."""
    talk.request()
    talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _turn in range(100):
        talk.stopped.wait(0.02)
        talk.say(b"x")


def drip_in_the_head(talk):
    talk.request()
    talk.say(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _turn in range(100):
        talk.stopped.wait(0.02)
        talk.say(b"x")
    talk.say(b"\r\nContent-Length: 0\r\n\r\n")


def say(data):
    return lambda talk: (talk.request(), talk.say(data))


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (lambda talk: talk.request(), "the connection was closed without an answer"),
        (reset, "connection reset"),
        (reset_in_the_body, "the answer breaks off"),
        (say(b"\x16\x03\x01garbage\r\n\r\n"), "the answer is not HTTP/1"),
        (say(b"HTTP/2.0 200 OK\r\n\r\n"), "the answer is not HTTP/1"),
        (say(b"HTTP/1.1 abc\r\n\r\n"), "the answer is not HTTP/1"),
        (say(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n"), "the answer is not HTTP/1"),
        (say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), "the answer breaks off"),
        (say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "the answer breaks off"),
    ],
)
def test_a_bad_answer_is_a_problem_in_our_words(serve, http, script, problem):
    server = serve(script)
    assert http(target(server.port), 5) == Answer(problem=problem)


@pytest.mark.parametrize(
    "script", [drip, drip_in_the_head, lambda talk: talk.stopped.wait(2)], ids=["drip", "drip-head", "hang"]
)
def test_a_slow_answer_is_late(serve, http, script):
    server = serve(script)
    assert http(target(server.port), 0.3) == Answer(problem="no whole answer within 0.3 s", late=True)


@pytest.mark.parametrize("length", [BODY_LIMIT, BODY_LIMIT + 1, 3 * BODY_LIMIT])
def test_a_body_is_read_up_to_its_limit(serve, http, length):
    server = serve(answering(response(b"x" * length)))
    answer = http(target(server.port), 5)
    assert (len(answer.body), answer.truncated) == (BODY_LIMIT, length > BODY_LIMIT)


def test_a_body_without_end_is_cut(serve, http):
    def script(talk):
        talk.request()
        talk.say(b"HTTP/1.1 200 OK\r\n\r\n")
        while not talk.stopped.is_set():
            talk.say(b"x" * 65536)

    server = serve(script)
    assert http(target(server.port), 5).truncated


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_whatever_a_server_says_there_is_an_answer(data):
    line = st.sampled_from(
        [b"HTTP/1.1 200 OK", b"HTTP/1.0 204", b"HTTP/1.1 100 Continue", b"HTTP/1.1 -1 x", b"HTTP/1.1 99999"]
    )
    header = st.sampled_from(
        [
            b"Content-Length: -5",
            b"Content-Length: 9" + b"9" * 5000,
            b"Transfer-Encoding: chunked",
            b": ",
            b" x",
        ]
    )
    piece = st.one_of(line, header, st.binary(max_size=20), st.just(b""), st.just(b"\xff: \xff"))
    said = b"\r\n".join(data.draw(st.lists(piece, max_size=8)))
    ours, theirs = socket.socketpair()
    probe = Http({}, None)
    probe._connect = lambda *_args: ours
    with theirs:
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        answer = probe(target(80), 5)
    probe.close()
    ours.close()
    assert isinstance(answer, Answer)
    assert (answer.status is None) == bool(answer.problem)


# Kept connections


def test_a_connection_is_kept_from_round_to_round(serve, http):
    server = serve(answering(response()))
    assert [http(target(server.port), 5).status for _turn in range(5)] == [200] * 5
    assert server.connections == 1


def test_a_connection_is_not_kept_where_the_server_ends_it(serve, http):
    server = serve(answering(response(b"ok", "200 OK", "Connection: close")))
    assert [http(target(server.port), 5).status for _turn in range(2)] == [200] * 2
    assert server.connections == 2


def until_spoiled(http):
    """What the server did to the kept connection has arrived."""
    deadline = time.monotonic() + 5
    while not all(map(_spoiled, http._kept.values())) and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_kept_connection_that_was_closed_is_opened_again(serve, http):
    server = serve(say(response()))
    for _turn in range(3):
        assert http(target(server.port), 5).status == 200
        until_spoiled(http)
    assert server.connections == 3


def test_a_kept_connection_that_is_closed_on_asking_is_opened_again(serve, http):
    def script(talk):
        talk.request()
        talk.say(response())
        talk.request()  # closes without an answer

    server = serve(script)
    assert [http(target(server.port), 5).status for _turn in range(3)] == [200] * 3
    assert server.connections == 3


def test_it_is_opened_again_only_once(serve, http):
    def script(talk):
        talk.request()
        if talk.number == 1:
            talk.say(response())
            talk.request()

    server = serve(script)
    assert http(target(server.port), 5).status == 200
    assert http(target(server.port), 5).problem == "the connection was closed without an answer"
    assert server.connections == 2


def test_what_nobody_asked_for_is_not_an_answer(serve, http):
    def script(talk):
        talk.request()
        talk.say(response() if talk.number == 1 else response(b"", "503 Down"))
        if talk.number == 1:
            talk.stopped.wait(0.05)
            talk.say(response(b"stale"))
            talk.stopped.wait()

    server = serve(script)
    assert http(target(server.port), 5).status == 200
    until_spoiled(http)
    assert http(target(server.port), 5).status == 503


def test_not_all_connections_are_kept(serve, http):
    server = serve(answering(response()))
    for number in range(KEPT + 20):
        assert http(target(server.port, f"/{number}"), 5).status == 200
    assert len(http._kept) == KEPT


# TLS


@pytest.fixture
def ask_tls(serve, server_context):
    def ask(validate, ca_path):
        server = serve(answering(response()), server_context)
        probe = Http({}, tls_context(validate, ca_path))
        answers = [probe(target(server.port, scheme="https"), 5) for _turn in range(2)]
        probe.close()
        return answers, server.connections

    return ask


def test_a_trusted_certificate_is_accepted_and_the_connection_kept(ask_tls, certificate):
    assert ask_tls(True, str(certificate[0])) == ([Answer(200, b"ok")] * 2, 1)


def test_an_unknown_certificate_is_not_accepted(ask_tls):
    answers, _connections = ask_tls(True, None)
    assert answers[0].problem.startswith("the certificate is not accepted: self")


def test_validation_may_be_left_out(ask_tls):
    assert ask_tls(False, None)[0][0].status == 200


def test_another_name_is_not_accepted(serve, server_context, certificate):
    server = serve(answering(response()), server_context)
    probe = Http({}, tls_context(True, str(certificate[0])))
    answer = probe(parse_target(f"https://localhost:{server.port}/", 1), 5)
    assert answer.problem.startswith("the certificate is not accepted: Hostname mismatch")


def test_a_server_without_tls_says_so(serve):
    server = serve(lambda talk: talk.say(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    probe = Http({}, tls_context(False, None))
    assert probe(target(server.port, scheme="https"), 5).problem == "TLS failed: wrong version number"


def test_a_handshake_that_hangs_is_late(serve):
    server = serve(lambda talk: talk.stopped.wait())
    assert Http({}, tls_context(False, None))(target(server.port, scheme="https"), 0.2).late


def test_a_directory_of_authorities_may_be_given(tmp_path):
    assert isinstance(tls_context(True, str(tmp_path)), ssl.SSLContext)


@pytest.mark.parametrize("text", [None, "", "no certificate"])
def test_authorities_that_cannot_be_read_are_refused(tmp_path, text):
    place = tmp_path / "ca.pem"
    if text is not None:
        place.write_text(text)
    with pytest.raises(InvalidError, match="ca_path"):
        tls_context(True, str(place))


# Headers


def test_plain_values_become_text():
    assert parse_headers({"A": "b", "C": 1, "D": True, "E": ""}) == {"A": "b", "C": "1", "D": "true", "E": ""}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A\r\nX-B": "hunter2"},
        {"X-A": "hunter2\r\nX-B: y"},
        {"X-A": "hunter2\n"},
        {"X-A": "hunter2\x00"},
        {"X-A": "hunter2\u00e9"},
        {"": "hunter2"},
        {"X A": "hunter2"},
        {"Authorization: hunter2": ""},
        {"X-A": ["hunter2"]},
        {"X-A": None},
        {"Content-Length": "5"},
        {"connection": "hunter2"},
        {"X-A": "hunter2", "x-a": "hunter2"},
        {1: "hunter2"},
        ["hunter2"],
        "hunter2",
    ],
)
def test_bad_headers_are_refused_without_their_value(headers):
    with pytest.raises(InvalidError) as caught:
        parse_headers(headers)
    assert "hunter2" not in str(caught.value)
