# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo app, as a process of its own on a free loopback port."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from demo.app import (
    App,
    Faults,
    Identity,
    MalformedError,
    Request,
    accept_key,
    encode_frame,
    frames,
    requests,
)

ROOT = Path(__file__).parents[3]
KEY = bytes((0x37, 0xFA, 0x21, 0x3D))  # the mask of the examples in RFC 6455 5.7


class Running:
    """One instance and how to talk to it."""

    def __init__(self, *more: str) -> None:
        command = [sys.executable, "-m", "demo.app", "--port", "0", "--colour", "blue"]
        command += ["--version", "1.0", "--instance", "blue1", *more]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.port = json.loads(self.process.stdout.readline())["listening"]

    def ask(self, method, path, body=None, **options):
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(client):
            client.request(method, path, body, **options)
            answer = client.getresponse()
            return answer.status, answer.read(), answer.headers

    def steer(self, **faults):
        status, body, _unused = self.ask("POST", "/_ctl", json.dumps(faults))
        assert status == 200, body

    def raw(self, sent):
        """Everything answered to these bytes, until the app closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
            client.sendall(sent)
            return client.makefile("rb").read()

    def websocket(self):
        client = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        client.sendall(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        stream = client.makefile("rwb", buffering=0)
        head = b"".join(iter(stream.readline, b"\r\n"))
        return client, stream, head

    def stop(self):
        self.process.stdout.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)


@pytest.fixture(scope="module")
def shared():
    running = Running()
    yield running
    running.stop()


@pytest.fixture
def app(shared):
    """The shared instance, without faults."""
    shared.steer(fail_share=0, unhealthy=False, checks={}, latency_ms=0, health_body=None)
    return shared


@pytest.fixture
def own():
    """An instance the test may stop."""
    running = Running()
    yield running
    running.stop()


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 200), ("/version", 200), ("/nowhere", 404), ("/slow?ms=x", 400), ("/_ctl", 405)],
)
def test_every_answer_says_who_made_it(app, path, status):
    seen, _unused, headers = app.ask("GET", path)
    assert seen == status
    assert (headers["X-Colour"], headers["X-Version"], headers["X-Instance"]) == ("blue", "1.0", "blue1")


def test_health_is_deep_and_can_be_made_ill(app):
    status, body, _unused = app.ask("GET", "/health")
    seen = json.loads(body)
    assert (status, seen["status"], seen["version"]) == (200, "healthy", "1.0")
    assert set(seen["checks"]) == {"database", "cache", "messageQueue", "diskSpace"}
    assert {"buildNumber", "uptime", "timestamp"} < set(seen)

    app.steer(checks={"cache": "unhealthy"})
    status, body, _unused = app.ask("GET", "/health")
    seen = json.loads(body)
    assert (status, seen["status"], seen["checks"]["cache"]) == (503, "unhealthy", "unhealthy")

    app.steer(checks={}, unhealthy=True)
    assert app.ask("GET", "/health")[0] == 503
    app.steer(unhealthy=False, health_body="all is well, says a proxy")
    assert app.ask("GET", "/health")[:2] == (200, b"all is well, says a proxy")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_post_is_read_whole(app, chunked):
    sent = bytes(range(256)) * 1000
    pieces = iter([sent[:10], sent[10:100_000], sent[100_000:]])
    status, body, _unused = app.ask("POST", "/", pieces if chunked else sent, encode_chunked=chunked)
    assert status == 200
    assert json.loads(body) == {"length": len(sent), "sha256": hashlib.sha256(sent).hexdigest()}


def test_slow_and_stream(app):
    began = time.monotonic()
    assert app.ask("GET", "/slow?ms=120")[0] == 200
    assert time.monotonic() - began >= 0.12
    _unused, body, headers = app.ask("GET", "/stream?chunks=3&ms=10")
    assert headers["Transfer-Encoding"] == "chunked"
    assert body == b"chunk 1 of 3\nchunk 2 of 3\nchunk 3 of 3\n"


def test_a_bad_release_is_healthy_on_its_own_health_check(app):
    app.steer(fail_share=0.25)
    statuses = [app.ask("GET", "/")[0] for _unused in range(20)]
    assert statuses.count(500) == 5
    for path in ("/health", "/version", "/metrics"):
        assert {app.ask("GET", path)[0] for _unused in range(4)} == {200}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.3, 1.0])
def test_the_failing_share_is_exact_and_spread(share):
    app = App(Identity("blue", "1.0", "blue1"), Faults(fail_share=share))
    request = Request("GET", "/", "", {}, True)
    failed = [app.answer(request).status == 500 for _unused in range(1000)]
    assert sum(failed) == round(1000 * share)
    assert abs(sum(failed[:500]) - sum(failed[500:])) <= 1


def test_latency_can_be_added(app):
    app.steer(latency_ms=80)
    began = time.monotonic()
    app.ask("GET", "/")
    assert time.monotonic() - began >= 0.08


@pytest.mark.parametrize(
    "body", ["", "[]", "{", '{"fail_share": 2}', '{"typo": 1}', '{"unhealthy": "yes"}', '{"fail_share": NaN}']
)
def test_control_refuses_what_it_does_not_know(app, body):
    assert app.ask("POST", "/_ctl", body)[0] == 400


def test_metrics(own):
    own.ask("GET", "/")
    own.ask("GET", "/nowhere")
    own.ask("GET", "/health")
    websocket, _unused, _unused = own.websocket()
    with websocket:
        text = own.ask("GET", "/metrics")[1].decode()
    who = 'colour="blue",version="1.0",instance="blue1"'
    for line in (
        f'http_requests_total{{status="101",{who}}} 1',
        f'http_requests_total{{status="200",{who}}} 1',
        f'http_requests_total{{status="404",{who}}} 1',
        f"http_requests_in_flight{{{who}}} 0",
        f"websockets_open{{{who}}} 1",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbroken\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nName : value\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000,
    ],
)
def test_a_malformed_request_gets_400_and_the_door(app, sent):
    answer = app.raw(sent)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close\r\n" in answer


def test_pipelined_requests_are_answered_in_order(app):
    one = b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n"
    answer = app.raw(
        one % (b"/slow?ms=30", b"")
        + b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
        + one % (b"/nowhere", b"Connection: close\r\n")
    )
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"200", b"200", b"404"]
    assert hashlib.sha256(b"hi").hexdigest().encode() in answer


def test_http_1_0_is_answered_and_closed(app):
    assert b"Connection: close" in app.raw(b"GET / HTTP/1.0\r\n\r\n")
    streamed = app.raw(b"GET /stream?chunks=2&ms=5 HTTP/1.0\r\n\r\n")
    assert b"chunked" not in streamed
    assert streamed.endswith(b"\r\n\r\nchunk 1 of 2\nchunk 2 of 2\n")


def test_requests_may_come_byte_by_byte():
    head = b"\r\nPOST /a?b=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    sent = head + b"3;e\r\nabc\r\n0\r\nT: 1\r\n\r\n"
    buffer, heads = bytearray(), []
    reader = requests(buffer, heads.append)
    seen = []
    for byte in sent * 2:
        buffer.append(byte)
        while (request := next(reader)) is not None:
            seen.append((request.path, request.query, request.body))
    assert seen == [("/a", "b=1", b"abc")] * 2
    assert len(heads) == 2


# --- WebSocket: the wire format by the examples of RFC 6455 ------------------------------------------------


def test_accept_key_of_the_rfc():
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("sent", "opcode", "payload", "final"),
    [
        (bytes.fromhex("810548656c6c6f"), 1, b"Hello", True),
        (bytes.fromhex("818537fa213d7f9f4d5158"), 1, b"Hello", True),
        (bytes.fromhex("010348656c"), 1, b"Hel", False),
        (bytes.fromhex("80026c6f"), 0, b"lo", True),
        (bytes.fromhex("890548656c6c6f"), 9, b"Hello", True),
        (bytes.fromhex("827e0100") + b"x" * 256, 2, b"x" * 256, True),
        (bytes.fromhex("827f0000000000010000") + b"x" * 65536, 2, b"x" * 65536, True),
    ],
)
def test_frames_of_the_rfc(sent, opcode, payload, final):
    buffer = bytearray()
    reader = frames(buffer)
    assert next(reader) is None
    half = len(sent) // 2
    buffer += sent[:half]
    assert next(reader) is None
    buffer += sent[half:]
    frame = next(reader)
    assert (frame.opcode, frame.payload, frame.final) == (opcode, payload, final)
    if final:
        assert encode_frame(opcode, payload, KEY if frame.masked else b"") == sent


def test_reserved_bits_are_malformed():
    with pytest.raises(MalformedError):
        next(frames(bytearray(b"\xf1\x00")))


def test_websocket_echoes_pongs_and_closes(app):
    client, stream, head = app.websocket()
    with client, stream:
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        assert b"X-Instance: blue1" in head
        stream.write(encode_frame(0x1, b"Hello", KEY))
        assert stream.read(7) == encode_frame(0x1, b"Hello")
        first = bytearray(encode_frame(0x1, b"Hel", KEY))
        first[0] &= 0x7F  # not final
        stream.write(bytes(first) + encode_frame(0x9, b"?", KEY) + encode_frame(0x0, b"lo", KEY))
        assert stream.read(3) == encode_frame(0xA, b"?")
        assert stream.read(7) == encode_frame(0x1, b"Hello")
        stream.write(encode_frame(0x8, (1000).to_bytes(2, "big"), KEY))
        assert stream.read(10) == encode_frame(0x8, (1000).to_bytes(2, "big"))


def test_an_unmasked_client_is_closed_with_1002(app):
    client, stream, _unused = app.websocket()
    with client, stream:
        stream.write(encode_frame(0x1, b"Hello"))
        assert stream.read(10) == encode_frame(0x8, (1002).to_bytes(2, "big"))


def test_ws_without_an_upgrade_is_a_bad_request(app):
    assert app.ask("GET", "/ws")[0] == 400


# --- The end ----------------------------------------------------------------------------------------------


def test_sigterm_ends_at_once_when_nobody_is_there(own):
    own.process.send_signal(signal.SIGTERM)
    assert own.process.wait(1) == 0


def test_sigterm_lets_work_end_and_sends_websockets_away(own):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(own.ask("GET", "/slow?ms=500")))
    sockets = [own.websocket() for _unused in range(4)]
    thread.start()
    idle = http.client.HTTPConnection("127.0.0.1", own.port, timeout=5)
    idle.request("GET", "/")
    idle.getresponse().read()
    time.sleep(0.1)  # the slow request is on its way
    own.process.send_signal(signal.SIGTERM)
    time.sleep(0.1)

    with pytest.raises(ConnectionRefusedError):
        own.ask("GET", "/")
    idle.request("GET", "/")  # a client that was just about to send gets its answer, and the hint to go
    answer = idle.getresponse()
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    idle.close()

    def sent_away_at(websocket):
        client, stream, _unused = websocket
        with client, stream:
            assert stream.read(10) == encode_frame(0x8, (1012).to_bytes(2, "big"))
            seen = time.monotonic()
            stream.write(encode_frame(0x8, (1012).to_bytes(2, "big"), KEY))
            assert stream.read(10) == b""
            return seen

    with ThreadPoolExecutor() as pool:
        closed_at = list(pool.map(sent_away_at, sockets))
    thread.join(5)
    assert answers[0][0] == 200
    assert answers[0][2]["Connection"] == "close"
    assert own.process.wait(2) == 0
    assert max(closed_at) - min(closed_at) > 0.1, "all WebSockets were sent away at the same moment"


def test_the_pid_file_is_there_while_it_listens(tmp_path):
    file = tmp_path / "app.pid"
    running = Running("--pid-file", str(file))
    try:
        assert int(file.read_text()) == running.process.pid
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(2) == 0
        assert not file.exists()
    finally:
        running.stop()
