# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The constant live load: users who keep asking while the traffic is being switched, and miss nothing.

    python -m demo.load --url http://127.0.0.1:8080 --out load.jsonl

Prints a JSON line of progress every 0.25 s; SIGTERM, SIGINT or ``--stop-after`` end it. Then ``--out`` holds
a line of summary and a line for each request (``demo.measure.parse`` reads them).

What ends badly is told apart: ``release_error`` is a 5xx the app itself made (it carries X-Instance),
``race`` a reused connection closed before any answer byte though it looked open when the request was sent
(RFC 9112 9.3.1: a GET is repeated, a POST cannot be and has failed), ``failed`` is everything else.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from demo import measure
from demo.app import CLOSE, PING, PONG, TEXT, Frame, accept_key, encode_frame, frames, parse_headers
from demo.measure import Record

TIMEOUT = 10.0  # seconds for one request
ECHO_TIMEOUT = 5.0  # seconds for one WebSocket echo
ECHO_EVERY = 0.25
PROGRESS_EVERY = 0.25
RETRY_AFTER = 0.25  # seconds between two tries of what is slow or open for long
LAST_ANSWERS = 5.0  # seconds the requests in flight are given in the end
DETAILS = 200  # failures told in full; all are counted
GOING_AWAY = (1001, 1012)  # close codes that ask the client to come again
SHARES = {"get": (0.6, 16), "post": (0.2, 4), "short": (0.2, 8)}  # of the rate, and by how many workers
STREAM_CHUNKS = 8


@dataclass(frozen=True)
class Address:
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Address:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "ws") or not parts.hostname:
            raise ValueError(f"{url} is no http:// or ws:// address")
        return cls(parts.hostname, parts.port or 80, parts.path.rstrip("/"))


@dataclass(frozen=True)
class Plan:
    http: Address
    ws: Address
    rate: float = 600.0  # requests a second of the fast kinds together
    slow: int = 8  # workers
    streams: int = 4
    websockets: int = 20
    stop_after: int | None = None


@dataclass(frozen=True)
class Failure:
    at: float  # epoch seconds
    kind: str
    reason: str


class FailedError(Exception):
    """The request or WebSocket failed; the text says how."""


class RaceError(Exception):
    """A reused connection was closed before any answer byte, though it looked open."""


class ClosedError(Exception):
    """The other end closed the WebSocket with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with code {code}")
        self.code = code


def reason_of(error: BaseException) -> str:
    if isinstance(error, FailedError | ClosedError):
        return str(error)
    return f"{type(error).__name__}: {error}"


# --- The client -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def keep_alive(self) -> bool:
        return "close" not in self.headers.get("connection", "").lower()


class Wire:
    """One connection to the front."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def __init__(self, address: Address, sock: socket.socket) -> None:
        self.host, self.sock = f"{address.host}:{address.port}", sock
        self.used = False

    @classmethod
    async def open(cls, address: Address) -> Wire:
        # With its protocol named, or asyncio leaves Nagle's algorithm on.
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setblocking(False)
        wire = cls(address, sock)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (address.host, address.port))
            wire.reader, wire.writer = await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise
        return wire

    def gone(self) -> bool:
        """Whether it was closed (or something unasked came) since the last answer, as the kernel knows it."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return self.reader.at_eof()
        except OSError:
            pass
        return True

    async def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        sent = {"Host": self.host, **headers} | ({"Content-Length": str(len(body))} if body else {})
        lines = [f"{method} {path or '/'} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
        head = await self.first_byte("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        head += await self.reader.readuntil(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        answered = parse_headers(rest)
        return Reply(int(first.split(" ")[1]), answered, await self.body(answered))

    async def first_byte(self, request: bytes) -> bytes:
        reused, self.used = self.used, True
        reason = "EOF"
        try:
            self.writer.write(request)
            await self.writer.drain()
            first = await self.reader.read(1)
        except ConnectionError as error:
            first, reason = b"", reason_of(error)
        if not first:
            error_type = RaceError if reused else FailedError
            raise error_type(f"{reason} before any answer byte")
        return first

    async def body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join([piece async for piece in self.chunks()])
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        return b"" if "upgrade" in headers else await self.reader.read()

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            piece = await self.reader.readexactly(size + 2)
            if not size:
                return
            yield piece[:-2]

    def close(self) -> None:
        self.writer.close()


class Client:
    """Keep-alive: one connection, used again and again while it lives."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.wire: Wire | None = None

    async def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        if self.wire is None or self.wire.gone():
            self.close()
            self.wire = await Wire.open(self.address)
        try:
            reply = await self.wire.ask(method, self.address.path + path, headers, body)
        except BaseException:
            self.close()
            raise
        if not reply.keep_alive:
            self.close()
        return reply

    def close(self) -> None:
        if self.wire:
            self.wire.close()
        self.wire = None


class Socket:
    """The client's end of one open WebSocket."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.buffer = bytearray()
        self.frames = frames(self.buffer)

    def send(self, opcode: int, payload: bytes) -> None:
        self.wire.writer.write(encode_frame(opcode, payload, key=os.urandom(4)))

    async def message(self) -> bytes:
        """The next message; may be cancelled and called again, nothing is lost."""
        while True:
            frame = await self.frame()
            if frame.opcode == CLOSE:
                self.send(CLOSE, frame.payload[:2])
                raise ClosedError(frame.close_code)
            if frame.opcode == PING:
                self.send(PONG, frame.payload)
            elif frame.opcode != PONG:
                return frame.payload

    async def frame(self) -> Frame:
        while (frame := next(self.frames)) is None:
            received = await self.wire.reader.read(65536)
            if not received:
                raise FailedError("EOF without a close frame")
            self.buffer += received
        return frame

    async def bye(self) -> None:
        self.send(CLOSE, (1000).to_bytes(2, "big"))
        with contextlib.suppress(ClosedError, FailedError, OSError):
            async with asyncio.timeout(1.0):
                while True:
                    await self.message()


# --- What was asked and what came back --------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """One request, and how to tell a right answer."""

    kind: str
    method: str
    path: str
    right: Callable[[Reply], bool]
    body: bytes = b""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


def greeted(reply: Reply) -> bool:
    """The body comes from the instance the headers name."""
    return bool(json.loads(reply.body)["instance"] == reply.headers["x-instance"])


def get(path: str = "/") -> Job:
    return Job("get", "GET", path, greeted)


def short() -> Job:
    return Job("short", "GET", "/", greeted, headers={"Connection": "close"})


def slow(number: int) -> Job:
    return Job("slow", "GET", f"/slow?ms={1000 + 125 * (number % 9)}", greeted)


def stream() -> Job:
    path = f"/stream?chunks={STREAM_CHUNKS}&ms=200"
    return Job("stream", "GET", path, lambda reply: reply.body.count(b"\n") == STREAM_CHUNKS)


def post(number: int) -> Job:
    body = hashlib.sha256(str(number).encode()).digest() * (1 + number % 256)
    wanted = {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    return Job("post", "POST", "/", lambda reply: bool(json.loads(reply.body) == wanted), body)


def upgrade() -> Job:
    key = base64.b64encode(os.urandom(16)).decode("ascii")
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    headers["Sec-WebSocket-Key"] = key
    accept = accept_key(key)
    return Job("ws", "GET", "", lambda r: r.headers.get("sec-websocket-accept") == accept, headers=headers)


def judge(job: Job, reply: Reply) -> tuple[str, str]:
    """The outcome, and the reason when it is a failure."""
    if reply.status >= 500 and "x-instance" in reply.headers:
        return "release_error", ""
    if reply.status != (101 if job.kind == "ws" else 200):
        return "failed", f"status {reply.status}: {reply.body[:80]!r}"
    return ("ok", "") if job.right(reply) else ("failed", f"wrong answer: {reply.body[:80]!r}")


@dataclass
class WebSockets:
    open: int = 0
    opened: int = 0
    echoes: int = 0
    reconnected: int = 0
    lost: int = 0


class Ledger:
    """Everything that happened."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.failures: list[Failure] = []
        self.counts = {"ok": 0, "release_error": 0, "failed": 0, "race": 0}
        self.websockets = WebSockets()
        self.told = 0  # records already told in a progress line

    def add(self, record: Record, reason: str = "") -> None:
        self.records.append(record)
        self.counts[record.outcome] += 1
        if record.outcome == "failed":
            self.explain(Failure(record.end, record.kind, reason))

    def explain(self, failure: Failure) -> None:
        if len(self.failures) < DETAILS:
            self.failures.append(failure)

    def progress(self, seconds: float) -> dict[str, Any]:
        """What happened since the last call, ``seconds`` ago, and the totals."""
        recent, self.told = self.records[self.told :], len(self.records)
        fast = measure.fast_latencies(recent)
        return {
            "at": round(time.time(), 3),
            "requests": len(self.records),
            "rate": round(len(recent) / seconds, 1),
            "versions": measure.versions(recent),
            "failed": self.counts["failed"],
            "release_errors": self.counts["release_error"],
            "races": self.counts["race"],
            "websockets": dataclasses.asdict(self.websockets),
            "p50_ms": measure.percentile(fast, 50),
            "p99_ms": measure.percentile(fast, 99),
        }

    def lines(self, cut: int) -> Iterator[str]:
        """The file: a summary, then the records. ``cut`` workers were still busy when the load ended."""
        head = dataclasses.asdict(measure.summary(self.records)) | {
            "websockets": dataclasses.asdict(self.websockets),
            "failures": [dataclasses.asdict(failure) for failure in self.failures],
            "cut_by_own_end": cut,
        }
        for row in itertools.chain([head], self.records):
            yield json.dumps(row, separators=(",", ":")) + "\n"


# --- The load ---------------------------------------------------------------------------------------------


Work = Callable[[], Coroutine[Any, Any, None]]


class Load:
    """The users, all in one event loop."""

    def __init__(self, plan: Plan, tell: Callable[[dict[str, Any]], None] = lambda _line: None) -> None:
        self.plan, self.tell = plan, tell
        self.ledger = Ledger()
        self.stopping = asyncio.Event()
        self.started = 0

    async def run(self) -> int:
        """Until told to stop; how many workers were still busy then, and have been cut."""
        workers = [asyncio.create_task(self.keep_on(kind, work)) for kind, work in self.workers()]
        progress = asyncio.create_task(self.progress())
        await self.stopping.wait()
        _unused, busy = await asyncio.wait(workers, timeout=LAST_ANSWERS)
        for task in [*busy, progress]:
            task.cancel()
        await asyncio.wait([*busy, progress])
        return len(busy)

    def workers(self) -> Iterator[tuple[str, Work]]:
        numbers = itertools.count()
        makers: dict[str, Callable[[], Job]] = {
            "get": get,
            "post": lambda: post(next(numbers)),
            "short": short,
            "slow": lambda: slow(next(numbers)),
            "stream": stream,
        }
        crew = {kind: (count, count / (self.plan.rate * share)) for kind, (share, count) in SHARES.items()}
        crew |= {"slow": (self.plan.slow, RETRY_AFTER), "stream": (self.plan.streams, RETRY_AFTER)}
        for kind, (count, every) in crew.items():
            for number in range(count):
                yield kind, partial(self.work, makers[kind], every, every * number / count)
        for number in range(self.plan.websockets):
            yield "ws", partial(self.hold_websocket, number)

    async def keep_on(self, kind: str, work: Work) -> None:
        """A defect of the load itself must neither end a worker nor hide: it is told as a failure."""
        while not self.stopping.is_set():
            try:
                await work()
            except Exception as error:  # noqa: BLE001  whatever it is, it must not be lost
                record = Record(time.time(), 0.0, kind, "", "", 0, "failed")
                self.ledger.add(record, f"defect of the load: {reason_of(error)}")
                await self.pause(time.monotonic() + RETRY_AFTER)

    async def work(self, make: Callable[[], Job], every: float, offset: float) -> None:
        """One user: a request at most each ``every`` seconds, and never the next before the answer."""
        client = Client(self.plan.http)
        due = time.monotonic() + offset
        while await self.pause(due):
            due = max(due, time.monotonic() - every) + every
            outcome = await self.attempt(make(), client)
            if outcome == "race" and not self.stopping.is_set():
                await self.attempt(make(), client)
        client.close()

    async def pause(self, due: float) -> bool:
        """Whether to go on then."""
        while not self.stopping.is_set() and (left := due - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.1))
        return not self.stopping.is_set()

    async def attempt(self, job: Job, client: Client) -> str:
        """One request, always recorded, unless the load itself ends before it does."""
        self.count_start()
        start, began = time.time(), time.perf_counter()
        reply = Reply(0, {}, b"")
        try:
            async with asyncio.timeout(TIMEOUT):
                reply = await client.ask(job.method, job.path, job.headers, job.body)
            outcome, reason = judge(job, reply)
        except TimeoutError:
            outcome, reason = "failed", f"no whole answer in {TIMEOUT:g} s"
        except RaceError as error:
            outcome, reason = ("failed" if job.method == "POST" else "race"), f"race: {error}"
        except Exception as error:  # noqa: BLE001  whatever it is, it must not be lost
            outcome, reason = "failed", reason_of(error)
        latency = round((time.perf_counter() - began) * 1000, 3)
        who = reply.headers.get("x-colour", ""), reply.headers.get("x-version", "")
        self.ledger.add(Record(start, latency, job.kind, *who, reply.status, outcome), reason)
        return outcome

    def count_start(self) -> None:
        self.started += 1
        if self.plan.stop_after and self.started >= self.plan.stop_after:
            self.stopping.set()

    async def hold_websocket(self, number: int) -> None:
        """One user with a WebSocket open all the time."""
        sent_away = False
        while not self.stopping.is_set():
            client = Client(self.plan.ws)
            if await self.attempt(upgrade(), client) == "ok" and client.wire:
                self.ledger.websockets.reconnected += sent_away
                sent_away = await self.use_websocket(Socket(client.wire), number)
            else:
                await self.pause(time.monotonic() + RETRY_AFTER)
            client.close()

    async def use_websocket(self, socket: Socket, number: int) -> bool:
        """Whether the server sent us away properly; any other end is a loss, unless it is our own."""
        counts = self.ledger.websockets
        counts.open += 1
        counts.opened += 1
        try:
            await self.echo(socket, number)
        except ClosedError as closed:
            if closed.code in GOING_AWAY:
                return True
            self.lose_websocket(closed)
        except TimeoutError:
            self.lose_websocket(FailedError(f"no echo in {ECHO_TIMEOUT:g} s"))
        except Exception as error:  # noqa: BLE001  whatever it is, it must not be lost
            self.lose_websocket(error)
        finally:
            counts.open -= 1
        return False

    def lose_websocket(self, error: Exception) -> None:
        self.ledger.websockets.lost += 1
        self.ledger.explain(Failure(time.time(), "ws lost", reason_of(error)))

    async def echo(self, socket: Socket, number: int) -> None:
        for count in itertools.count():
            if self.stopping.is_set():
                await socket.bye()
                break
            payload = f"user {number} message {count}".encode()
            socket.send(TEXT, payload)
            async with asyncio.timeout(ECHO_TIMEOUT):
                message = await socket.message()
            if message != payload:
                raise FailedError(f"wrong echo: {message[:80]!r}")
            self.ledger.websockets.echoes += 1
            await self.listen(socket)

    async def listen(self, socket: Socket) -> None:
        """The pause between two messages, with an ear for a close frame."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ECHO_EVERY):
                message = await socket.message()
                raise FailedError(f"message nobody asked for: {message[:80]!r}")

    async def progress(self) -> None:
        """Tell how it goes; when whoever started the load is no more, there is nobody to tell, and it ends."""
        last, starter = time.monotonic(), os.getppid()
        while True:
            await asyncio.sleep(PROGRESS_EVERY)
            if os.getppid() != starter:
                self.stopping.set()
            now = time.monotonic()
            self.tell(self.ledger.progress(now - last))
            last = now


# --- The process ------------------------------------------------------------------------------------------


class Teller(threading.Thread):
    """Prints from a thread of its own: whoever does not read our lines must not stop the load."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def tell(self, line: dict[str, Any]) -> None:
        self.lines.put(json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def run(self) -> None:
        with contextlib.suppress(OSError):  # the reader has gone
            while line := self.lines.get():
                os.write(sys.stdout.fileno(), line)

    def finish(self) -> None:
        self.lines.put(b"")
        self.join(timeout=0.5)


async def run(plan: Plan, out: Path) -> Ledger:
    """Run the load, and write what it saw to ``out``, which appears complete or not at all."""
    teller = Teller()
    teller.start()
    load = Load(plan, teller.tell)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, load.stopping.set)
    part = out.with_name(out.name + ".part")
    with part.open("w", encoding="utf-8") as file:  # opened first: a path that cannot be written fails now
        cut = await load.run()
        file.writelines(load.ledger.lines(cut))
    part.replace(out)
    teller.finish()
    return load.ledger


def parse_args(arguments: list[str] | None = None) -> tuple[Plan, Path]:
    parser = argparse.ArgumentParser(prog="python -m demo.load", description="The constant live load.")
    parser.add_argument("--url", required=True, help="the front, http://host:port")
    parser.add_argument("--ws-url", help="where the WebSockets open; default: /ws under --url")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=Plan.rate, help="fast requests a second, in all")
    parser.add_argument("--slow", type=int, default=Plan.slow, help="workers of requests of 1-2 s")
    parser.add_argument("--streams", type=int, default=Plan.streams, help="workers of chunked streams")
    parser.add_argument("--websockets", type=int, default=Plan.websockets)
    parser.add_argument("--stop-after", type=int, help="requests")
    o = parser.parse_args(arguments)
    try:
        http = Address.parse(o.url)
        ws = Address.parse(o.ws_url) if o.ws_url else dataclasses.replace(http, path=http.path + "/ws")
    except ValueError as error:
        parser.error(str(error))
    return Plan(http, ws, o.rate, o.slow, o.streams, o.websockets, o.stop_after), o.out


def main() -> None:
    plan, out = parse_args()
    asyncio.run(run(plan, out))


if __name__ == "__main__":
    main()
