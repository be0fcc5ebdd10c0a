# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The live load against the app, and against servers that misbehave on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo import measure
from demo.app import App, Connection, Faults, Identity
from demo.load import Address, Client, FailedError, Job, Load, Plan, get, post

ROOT = Path(__file__).parents[3]
LIGHT = Plan(Address("127.0.0.1", 0, ""), Address("127.0.0.1", 0, "/ws"), 300.0, 0, 0, 0)


def at(port, **changes):
    """A light plan against this port."""
    http, ws = Address("127.0.0.1", port, ""), Address("127.0.0.1", port, "/ws")
    return dataclasses.replace(LIGHT, http=http, ws=ws, **changes)


@contextlib.asynccontextmanager
async def running(app):
    """The app in our own event loop, and the port it listens on."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(app), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(app.connections):
            connection.transport.abort()


@contextlib.asynccontextmanager
async def answering(*answers):
    """A server that gives the n-th request the n-th answer, and closes after an empty one."""
    left = list(answers)

    async def serve(reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while left:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
                answer = left.pop(0)
                writer.write(answer)
                if not answer or b"connection: close" in answer.lower():
                    break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def blue(**faults):
    return App(Identity("blue", "1.0", "blue1"), Faults(**faults))


def reply(status=200, body=b'{"instance": "b"}', *headers):
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


GOOD = reply(200, b'{"instance": "b"}', "X-Instance: b", "X-Colour: blue", "X-Version: 1.0")


async def attempts(port, *jobs):
    """Each job once, over one client, in turn."""
    load = Load(at(port))
    client = Client(load.plan.http)
    for job in jobs:
        await load.attempt(job, client)
    client.close()
    return load.ledger


def outcomes(ledger):
    return [record.outcome for record in ledger.records]


def test_stop_after_records_exactly_that_many_and_checks_every_kind():
    async def scenario():
        app = blue()
        async with running(app) as port:
            load = Load(at(port, rate=2000.0, websockets=2, stop_after=400))
            await load.run()
        return load.ledger

    ledger = asyncio.run(scenario())
    seen = measure.summary(ledger.records)
    assert (seen.requests, seen.ok) == (400, 400), ledger.failures
    assert set(seen.kinds) == {"get", "post", "short", "ws"}
    assert seen.versions == {"blue": {"1.0": 400}}
    assert (ledger.websockets.opened, ledger.websockets.open, ledger.websockets.lost) == (2, 0, 0)
    assert ledger.websockets.echoes >= 2


def test_slow_requests_and_streams_end_after_the_stop():
    async def scenario():
        async with running(blue()) as port:
            load = Load(at(port, slow=1, streams=1))
            asyncio.get_running_loop().call_later(0.2, load.stopping.set)
            assert await load.run() == 0
        return load.ledger

    ledger = asyncio.run(scenario())
    kinds = {record.kind: record for record in ledger.records}
    assert kinds["slow"].latency_ms >= 1000
    assert kinds["stream"].latency_ms >= 1000
    assert set(outcomes(ledger)) == {"ok"}


def test_a_5xx_of_the_app_is_the_release_s_fault():
    async def scenario():
        async with running(blue(fail_share=0.5)) as port:
            return await attempts(port, get(), get(), post(1), post(2))

    ledger = asyncio.run(scenario())
    assert outcomes(ledger) == ["ok", "release_error"] * 2
    assert ledger.failures == []


BROKEN = {
    # what the server does: (its answers, the outcomes of GET, GET, the last reason)
    "5xx of the load balancer": ([GOOD, reply(503)], ["ok", "failed"], "status 503"),
    "4xx, even of the app": ([GOOD, reply(404, b"", "X-Instance: b")], ["ok", "failed"], "status 404"),
    "somebody else's body": ([GOOD, GOOD.replace(b'"b"', b'"c"')], ["ok", "failed"], "wrong answer"),
    "not even JSON": ([GOOD, reply(200, b"hi", "X-Instance: b")], ["ok", "failed"], "JSONDecodeError"),
    "an answer nobody signed": ([GOOD, reply()], ["ok", "failed"], "KeyError"),
    "not HTTP": ([GOOD, b"rubbish\r\n\r\n"], ["ok", "failed"], "IndexError"),
    "a truncated head": ([GOOD, b"HTTP/1.1 200 OK\r\nConnection: close\r\n"], ["ok", "failed"], "Incomplete"),
    "a truncated body": (
        [GOOD, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhalf"],
        ["ok", "failed"],
        "4 bytes read on a total of 9",
    ),
    "EOF on a used connection": ([GOOD, b""], ["ok", "race"], ""),
    "EOF on a new connection": ([b"", GOOD], ["failed", "ok"], "EOF before any answer byte"),
}


@pytest.mark.parametrize(("answers", "wanted", "reason"), BROKEN.values(), ids=BROKEN)
def test_what_ends_badly_is_told_apart(answers, wanted, reason):
    async def scenario():
        async with answering(*answers) as port:
            return await attempts(port, get(), get())

    ledger = asyncio.run(scenario())
    assert outcomes(ledger) == wanted
    assert [reason in failure.reason for failure in ledger.failures] == [True] * wanted.count("failed")


def test_a_post_that_raced_has_failed():
    async def scenario():
        async with answering(GOOD, b"") as port:
            return await attempts(port, get(), post(1))

    ledger = asyncio.run(scenario())
    assert outcomes(ledger) == ["ok", "failed"]
    assert ledger.failures[0].reason == "race: EOF before any answer byte"


def test_a_connection_closed_before_the_next_request_is_no_failure():
    async def scenario():
        app = blue()
        async with running(app) as port:
            load = Load(at(port))
            client = Client(load.plan.http)
            await load.attempt(get(), client)
            for connection in app.connections:
                connection.transport.close()
            await asyncio.sleep(0.02)
            await load.attempt(get(), client)
            client.close()
        return load.ledger

    assert outcomes(asyncio.run(scenario())) == ["ok", "ok"]


def test_a_raced_get_is_asked_again_and_both_are_recorded():
    async def scenario():
        async with answering(GOOD, b"", GOOD, GOOD) as port:
            load = Load(at(port))
            work = asyncio.create_task(load.work(get, 0.01, 0.0))
            while len(load.ledger.records) < 3:
                await asyncio.sleep(0.01)
            load.stopping.set()
            await work
        return load.ledger

    assert outcomes(asyncio.run(scenario()))[:3] == ["ok", "race", "ok"]


def test_no_answer_in_time_is_a_failure(monkeypatch):
    monkeypatch.setattr("demo.load.TIMEOUT", 0.05)

    async def scenario():
        async with running(blue(latency_ms=500)) as port:
            return await attempts(port, get())

    ledger = asyncio.run(scenario())
    assert ledger.failures[0].reason == "no whole answer in 0.05 s"


def test_a_defect_of_the_load_is_a_failure_and_the_worker_goes_on():
    async def scenario():
        load = Load(LIGHT)
        calls = []

        async def work():
            calls.append(1)
            if len(calls) == 2:
                load.stopping.set()
            raise LookupError("oops")

        await load.keep_on("get", work)
        return load.ledger

    ledger = asyncio.run(scenario())
    assert outcomes(ledger) == ["failed", "failed"]
    assert ledger.failures[0].reason == "defect of the load: LookupError: oops"


def test_a_defect_in_a_check_is_a_failure():
    def broken(answer):
        raise FailedError("the check broke")

    async def scenario():
        async with running(blue()) as port:
            return await attempts(port, Job("get", "GET", "/", broken))

    assert asyncio.run(scenario()).failures[0].reason == "the check broke"


# --- WebSockets -------------------------------------------------------------------------------------------


async def websockets_while(app, act, opened):
    """Three open WebSockets, and what became of them after ``act``, once so many have been opened in all."""
    async with running(app) as port:
        load = Load(at(port, rate=1.0, websockets=3))
        task = asyncio.create_task(load.run())
        while load.ledger.websockets.open < 3:
            await asyncio.sleep(0.01)
        act([connection for connection in app.connections if connection.websocket])
        async with asyncio.timeout(3):
            while load.ledger.websockets.opened < opened:
                await asyncio.sleep(0.01)
        load.stopping.set()
        await task
    return load.ledger


def test_websockets_sent_away_come_back_at_once_and_are_not_lost():
    def restart(connections):
        for connection in connections:
            connection.websocket.close(1012)

    ledger = asyncio.run(websockets_while(blue(), restart, 6))
    counts = ledger.websockets
    assert (counts.opened, counts.reconnected, counts.lost, counts.open) == (6, 3, 0, 0)
    assert ledger.failures == []


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda connection: connection.transport.abort(), "EOF without a close frame|ConnectionResetError"),
        (lambda connection: connection.websocket.close(1000), "closed with code 1000"),
        (lambda connection: connection.transport.write(b"\x81\x02hi"), "hi"),
    ],
)
def test_any_other_end_of_a_websocket_is_a_loss(end, reason):
    ledger = asyncio.run(websockets_while(blue(), lambda connections: end(connections[0]), 4))
    counts = ledger.websockets
    assert (counts.opened, counts.reconnected, counts.lost, counts.open) == (4, 0, 1, 0)
    assert [failure.kind for failure in ledger.failures] == ["ws lost"]
    assert re.search(reason, ledger.failures[0].reason)


def test_a_missing_echo_is_a_loss(monkeypatch):
    monkeypatch.setattr("demo.load.ECHO_TIMEOUT", 0.4)
    monkeypatch.setattr("demo.load.ECHO_EVERY", 0.01)

    def deafen(connections):
        connections[0].transport.pause_reading()

    ledger = asyncio.run(websockets_while(blue(), deafen, 4))
    assert [failure.reason for failure in ledger.failures] == ["no echo in 0.4 s"]


# --- The processes ----------------------------------------------------------------------------------------


@pytest.fixture
def start():
    """Start a program of the demo; whatever the test does, it is stopped."""
    started = []

    def start(module, *arguments):
        command = [sys.executable, "-m", f"demo.{module}", *map(str, arguments)]
        started.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(5)
        process.stdout.close()


def test_killing_the_app_is_seen_and_told(start, tmp_path):
    app = start("app", "--port", 0, "--colour", "blue", "--version", "1.0", "--instance", "blue1")
    port = json.loads(app.stdout.readline())["listening"]
    out = tmp_path / "load.jsonl"
    options = ("--rate", 300, "--slow", 1, "--streams", 1, "--websockets", 3, "--out", out)
    load = start("load", "--url", f"http://127.0.0.1:{port}", *options)
    while json.loads(load.stdout.readline())["websockets"]["open"] < 3:
        pass
    before = time.time()
    app.kill()
    app.wait(5)
    killed = time.time()
    line = {"failed": 0, "websockets": {"lost": 0}}
    while not line["failed"] or line["websockets"]["lost"] < 3:
        line = json.loads(load.stdout.readline())
    load.send_signal(signal.SIGTERM)
    assert load.wait(5) == 0

    with out.open(encoding="utf-8") as lines:
        head, records = measure.parse(lines)
    assert head["requests"] == len(records)
    assert head["websockets"]["lost"] == 3
    assert all(record.outcome == "ok" for record in records if record.end < before)
    assert not any(record.outcome == "ok" for record in records if record.start > killed)
    assert head["failed"] == sum(record.outcome == "failed" for record in records) > 0
    assert len(head["failures"]) == min(200, head["failed"] + 3)
    assert all(failure["reason"] for failure in head["failures"])
    assert {"slow", "stream"} <= {record.kind for record in records if record.outcome == "failed"}


def test_a_path_that_cannot_be_written_fails_at_once(start, tmp_path):
    load = start("load", "--url", "http://127.0.0.1:1", "--out", tmp_path / "nowhere" / "load.jsonl")
    assert load.wait(5) != 0


def test_a_load_ends_when_whoever_started_it_is_no_more(start, tmp_path):
    """It would go on for ever, since nobody is left who could stop it."""
    out = tmp_path / "load.jsonl"
    app = start("app", "--port", 0, "--colour", "blue", "--version", "1.0", "--instance", "blue1")
    url = f"http://127.0.0.1:{json.loads(app.stdout.readline())['listening']}"
    load = [sys.executable, "-m", "demo.load", "--url", url, "--out", str(out), "--rate", "10"]
    starter = f"import subprocess; subprocess.Popen({load!r}); input()"
    with subprocess.Popen(
        [sys.executable, "-c", starter], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as it:
        it.stdout.readline()
        it.kill()
    deadline = time.monotonic() + 20
    while not out.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert out.exists()
