# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo web app: one process, standard library only, bound to loopback.

    python -m demo.app --port 8081 --colour blue --version 1.0 --instance blue1

Prints one JSON line when it listens (``--port 0`` takes a free port), and stops gracefully on SIGTERM.
The request and frame readers are generators over a buffer the caller appends to: they yield ``None`` when
they need more bytes, so the protocol reads straight down, without a state machine and without a task.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import json
import math
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlsplit

MAX_HEAD = 16 * 1024
MAX_BODY = 16 * 1024 * 1024
GRACE = 2.0  # seconds over which idle clients and WebSockets are sent away
DRAIN = 10.0  # seconds requests in flight are given to finish
PROBES = frozenset({"/health", "/version", "/metrics", "/_ctl"})  # what no user asks for
STEERED = frozenset({"/metrics", "/_ctl"})  # what no fault touches
CHECKS = dict.fromkeys(("database", "cache", "messageQueue", "diskSpace"), "healthy")
JSON = "application/json"

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
SERVICE_RESTART = 1012
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class MalformedError(ValueError):
    """What the peer sent is not the protocol."""


# --- HTTP, read -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    http11: bool
    body: bytes = b""

    @property
    def keep_alive(self) -> bool:
        wish = self.headers.get("connection", "").lower()
        return "close" not in wish if self.http11 else "keep-alive" in wish

    def number(self, name: str, default: float, most: float) -> float:
        """A number of the query, between 0 and ``most``."""
        try:
            value = float(parse_qs(self.query).get(name, [str(default)])[-1])
        except ValueError as error:
            raise MalformedError(f"{name} is not a number") from error
        if not 0 <= value <= most:  # false for nan too
            raise MalformedError(f"{name} is not between 0 and {most:g}")
        return value


def take(buffer: bytearray, size: int) -> Generator[None, None, bytes]:
    if size > MAX_BODY:
        raise MalformedError(f"more than {MAX_BODY} bytes")
    while len(buffer) < size:
        yield
    taken = bytes(buffer[:size])
    del buffer[:size]
    return taken


def take_until(buffer: bytearray, end: bytes) -> Generator[None, None, bytes]:
    while (at := buffer.find(end)) < 0:
        if len(buffer) > MAX_HEAD:
            raise MalformedError(f"more than {MAX_HEAD} bytes of header")
        yield
    taken = bytes(buffer[:at])
    del buffer[: at + len(end)]
    return taken


def take_chunks(buffer: bytearray) -> Generator[None, None, bytes]:
    body = bytearray()
    while size := hexadecimal((yield from take_until(buffer, b"\r\n"))):
        body += yield from take(buffer, size)
        if len(body) > MAX_BODY or (yield from take(buffer, 2)) != b"\r\n":
            raise MalformedError("chunks too long or badly ended")
    while (yield from take_until(buffer, b"\r\n")):
        pass  # trailers
    return bytes(body)


def hexadecimal(line: bytes) -> int:
    size = line.partition(b";")[0].strip()
    if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size):
        raise MalformedError("malformed chunk size")
    return int(size, 16)


def take_body(headers: Mapping[str, str], buffer: bytearray) -> Generator[None, None, bytes]:
    length, coding = headers.get("content-length", "0"), headers.get("transfer-encoding")
    if coding is None:
        if not re.fullmatch("[0-9]{1,12}", length):
            raise MalformedError("malformed Content-Length")
        return (yield from take(buffer, int(length)))
    if coding.lower() != "chunked" or "content-length" in headers:
        raise MalformedError("a body is either chunked or has a Content-Length")
    return (yield from take_chunks(buffer))


def parse_headers(lines: list[str]) -> dict[str, str]:
    """Names in lower case; repeated ones joined by a comma."""
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise MalformedError("malformed header line")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def parse_head(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, *rest = first.split(" ")
    if len(rest) != 2 or not method.isalpha() or rest[1] not in ("HTTP/1.1", "HTTP/1.0"):
        raise MalformedError("malformed request line")
    target, http11 = rest[0], rest[1] == "HTTP/1.1"
    if not target.startswith("/"):
        parts = urlsplit(target)
        target = f"{parts.path or '/'}?{parts.query}"
    path, _unused, query = target.partition("?")
    headers = parse_headers(lines)
    if http11 and "host" not in headers:
        raise MalformedError("no Host header")
    return Request(method, path, query, headers, http11)


def requests(buffer: bytearray, on_head: Callable[[Request], None]) -> Iterator[Request | None]:
    """The requests of one connection, pipelined ones too; None when more bytes are needed."""
    while True:
        while bytes(buffer[:2]) in (b"", b"\r", b"\r\n"):  # empty lines before a request are allowed
            if len(buffer) < 2:
                yield None
            else:
                del buffer[:2]
        request = parse_head((yield from take_until(buffer, b"\r\n\r\n")))
        on_head(request)
        body = yield from take_body(request.headers, buffer)
        yield dataclasses.replace(request, body=body) if body else request


# --- WebSocket frames (RFC 6455), both sides --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frame:
    opcode: int
    payload: bytes
    final: bool
    masked: bool

    @property
    def close_code(self) -> int:
        return int.from_bytes(self.payload[:2], "big") or 1005  # 1005: closed without a code


def accept_key(key: str) -> str:
    # SHA-1 is what the RFC asks for; it guards nothing.
    digest = hashlib.sha1(key.encode("latin-1") + WEBSOCKET_GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


def masked(payload: bytes, key: bytes) -> bytes:
    size = len(payload)
    keys = int.from_bytes((key * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(payload, "big") ^ keys).to_bytes(size, "big")


def encode_frame(opcode: int, payload: bytes = b"", key: bytes = b"") -> bytes:
    """One final frame; with a key of 4 bytes a masked one, which is what a client has to send."""
    size, mask_bit = len(payload), 0x80 if key else 0
    if size < 126:
        head = bytes((0x80 | opcode, mask_bit | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, mask_bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, mask_bit | 127)) + size.to_bytes(8, "big")
    return head + key + (masked(payload, key) if key else payload)


def frames(buffer: bytearray) -> Iterator[Frame | None]:
    """The frames of one connection; None when more bytes are needed."""
    while True:
        while len(buffer) < 2:
            yield None
        first, second = yield from take(buffer, 2)
        if first & 0x70:
            raise MalformedError("reserved bits set")
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes((yield from take(buffer, 2 if size == 126 else 8)), "big")
        key = (yield from take(buffer, 4)) if second & 0x80 else b""
        payload = yield from take(buffer, size)
        yield Frame(first & 0xF, masked(payload, key) if key else payload, bool(first & 0x80), bool(key))


class WebSocket:
    """The server's end of one WebSocket: echoes every message."""

    def __init__(self, transport: asyncio.Transport, buffer: bytearray) -> None:
        self.transport, self.buffer = transport, buffer
        self.frames = frames(buffer)
        self.opcode, self.message = TEXT, bytearray()
        self.closing = False

    def advance(self) -> None:
        try:
            while not self.transport.is_closing() and (frame := next(self.frames)) is not None:
                self.take(frame)
        except MalformedError:
            self.close(1002)
            self.transport.close()

    def take(self, frame: Frame) -> None:
        if not frame.masked:
            raise MalformedError("a client has to mask")
        if frame.opcode == CLOSE:
            self.close(frame.close_code if frame.payload else 1000)
            self.transport.close()
        elif frame.opcode == PING:
            self.transport.write(encode_frame(PONG, frame.payload))
        elif frame.opcode != PONG:
            self.collect(frame)

    def collect(self, frame: Frame) -> None:
        """A message may come in fragments; it is echoed as one."""
        self.opcode = frame.opcode or self.opcode
        self.message += frame.payload
        if len(self.message) > MAX_BODY:
            raise MalformedError("message too long")
        if frame.final:
            self.transport.write(encode_frame(self.opcode, bytes(self.message)))
            self.message.clear()

    def close(self, code: int) -> None:
        """Say goodbye once; the client's own close frame ends the connection."""
        if not self.closing:
            self.closing = True
            self.transport.write(encode_frame(CLOSE, code.to_bytes(2, "big")))


# --- The app ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Identity:
    colour: str
    version: str
    instance: str
    build: str = "1"


@dataclass(frozen=True)
class Faults:
    """What ``POST /_ctl`` may set; what is not named stays as it is."""

    fail_share: float = 0.0
    unhealthy: bool = False
    checks: Mapping[str, str] = dataclasses.field(default_factory=dict)
    latency_ms: float = 0.0
    health_body: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.fail_share <= 1:
            raise ValueError("fail_share is a share, 0 to 1")
        if not 0 <= self.latency_ms <= 60_000:
            raise ValueError("latency_ms is 0 to 60000")
        if not isinstance(self.unhealthy, bool) or not isinstance(self.checks, Mapping):
            raise TypeError("unhealthy is a boolean, checks a mapping")
        if not isinstance(self.health_body, str | None):
            raise TypeError("health_body is text or null")


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: str = ""
    after: float = 0.0  # seconds to wait before answering
    pieces: tuple[bytes, ...] = ()  # sent chunked, instead of a body
    every: float = 0.0  # seconds between two pieces


def document(content: object, status: int = 200) -> Response:
    return Response(status, json.dumps(content).encode() + b"\n")


class App:
    """What one instance is, does and has counted."""

    def __init__(self, identity: Identity, faults: Faults = Faults()) -> None:
        self.identity, self.faults = identity, faults
        self.started = time.monotonic()
        self.connections: set[Connection] = set()
        self.answered: Counter[int] = Counter()
        self.stopping = False
        self.owed = 0.0
        who = {"Colour": identity.colour, "Version": identity.version, "Instance": identity.instance}
        self.headers = "".join(f"X-{name}: {value}\r\n" for name, value in who.items())
        self.greeting = document(dataclasses.asdict(identity) | {"message": "hello"})

    def answer(self, request: Request) -> Response:
        faults = self.faults
        fails = request.path not in PROBES and self.owes_failure()
        response = self.failure() if fails else self.route(request)
        if faults.latency_ms and request.path not in STEERED:
            response = dataclasses.replace(response, after=response.after + faults.latency_ms / 1000)
        return response

    def route(self, request: Request) -> Response:
        handlers = ROUTES.get(request.path)
        if handlers is None:
            return document({"error": "not found"}, 404)
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allow = f"Allow: {', '.join(handlers)}\r\n"
            return dataclasses.replace(document({"error": "method not allowed"}, 405), headers=allow)
        try:
            return handler(self, request)
        except MalformedError as error:
            return document({"error": str(error)}, 400)

    def owes_failure(self) -> bool:
        """Spread the failing share evenly, and the same in every run (error diffusion)."""
        self.owed += self.faults.fail_share
        if self.owed < 1 - 1e-9:
            return False
        self.owed -= 1
        return True

    def failure(self) -> Response:
        return document({"error": "this release fails", "version": self.identity.version}, 500)

    def count(self, request: Request, response: Response) -> None:
        if request.path not in PROBES:
            self.answered[response.status] += 1

    async def drain(self) -> None:
        """Let the work in flight end, send everybody away gently, cut what is left in the end."""
        self.stopping = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DRAIN
        sockets = [connection.websocket for connection in self.connections if connection.websocket]
        for number, websocket in enumerate(sockets):
            loop.call_later(GRACE * number / len(sockets), websocket.close, SERVICE_RESTART)
        # An idle client may be sending just now: it gets an answer that says "close" before we hang up.
        loop.call_later(GRACE, self.send_away)
        while self.connections and loop.time() < deadline:
            await asyncio.sleep(0.01)
        for connection in self.connections:
            connection.transport.abort()

    def send_away(self) -> None:
        for connection in self.connections:
            if connection.websocket:
                connection.websocket.close(SERVICE_RESTART)
            elif not connection.busy:
                connection.transport.close()


Handler = Callable[[App, Request], Response]


def greet(app: App, _request: Request) -> Response:
    return app.greeting


def digest(_app: App, request: Request) -> Response:
    return document({"length": len(request.body), "sha256": hashlib.sha256(request.body).hexdigest()})


def version(app: App, _request: Request) -> Response:
    return document(dataclasses.asdict(app.identity))


def health(app: App, _request: Request) -> Response:
    checks = CHECKS | dict(app.faults.checks)
    healthy = not app.faults.unhealthy and all(state == "healthy" for state in checks.values())
    status = 200 if healthy else 503
    if app.faults.health_body is not None:
        return Response(status, app.faults.health_body.encode())
    content = {
        "status": "healthy" if healthy else "unhealthy",
        "version": app.identity.version,
        "buildNumber": app.identity.build,
        "uptime": round(time.monotonic() - app.started, 3),
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "checks": checks,
    }
    return document(content, status)


def slow(app: App, request: Request) -> Response:
    return dataclasses.replace(app.greeting, after=request.number("ms", 1500, 60_000) / 1000)


def stream(_app: App, request: Request) -> Response:
    count = math.ceil(request.number("chunks", 8, 1000))
    pieces = tuple(f"chunk {number} of {count}\n".encode() for number in range(1, count + 1))
    return Response(200, b"", "text/plain", pieces=pieces, every=request.number("ms", 200, 10_000) / 1000)


def upgrade(_app: App, request: Request) -> Response:
    wanted = request.http11 and request.headers.get("upgrade", "").lower() == "websocket"
    key = request.headers.get("sec-websocket-key", "")
    if not wanted or not key or request.headers.get("sec-websocket-version") != "13":
        raise MalformedError("a WebSocket (version 13) opens here")
    accept = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_key(key)}\r\n"
    return Response(101, headers=accept)


def metrics(app: App, request: Request) -> Response:
    """Prometheus text. Probes are not counted: the shares are those the users see."""
    who = ",".join(f'{name}="{getattr(app.identity, name)}"' for name in ("colour", "version", "instance"))
    in_flight = sum(client.busy for client in app.connections if client.request is not request)
    websockets = sum(client.websocket is not None for client in app.connections)
    lines = [
        "# TYPE http_requests_total counter",
        *(f'http_requests_total{{status="{s}",{who}}} {n}' for s, n in sorted(app.answered.items())),
        "# TYPE http_requests_in_flight gauge",
        f"http_requests_in_flight{{{who}}} {in_flight}",
        "# TYPE websockets_open gauge",
        f"websockets_open{{{who}}} {websockets}",
    ]
    return Response(200, "\n".join([*lines, ""]).encode(), "text/plain; version=0.0.4")


def control(app: App, request: Request) -> Response:
    try:
        app.faults = dataclasses.replace(app.faults, **json.loads(request.body))
    except (ValueError, TypeError) as error:
        raise MalformedError(str(error)) from error
    return document(dataclasses.asdict(app.faults))


ROUTES: Mapping[str, Mapping[str, Handler]] = {
    "/": {"GET": greet, "POST": digest},
    "/version": {"GET": version},
    "/health": {"GET": health},
    "/slow": {"GET": slow},
    "/stream": {"GET": stream},
    "/ws": {"GET": upgrade},
    "/metrics": {"GET": metrics},
    "/_ctl": {"POST": control},
}


# --- HTTP, answered ---------------------------------------------------------------------------------------


class Connection(asyncio.Protocol):
    """One client. Plain answers go out at once; slow ones and streams have a task of their own."""

    transport: asyncio.Transport

    def __init__(self, app: App) -> None:
        self.app = app
        self.buffer = bytearray()
        self.requests = requests(self.buffer, self.on_head)
        self.request: Request | None = None  # the one being read or answered
        self.task: asyncio.Task[None] | None = None
        self.websocket: WebSocket | None = None

    @property
    def busy(self) -> bool:
        return self.request is not None or bool(self.buffer)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.app.connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.app.connections.discard(self)
        if self.task:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.websocket:
            self.websocket.advance()
        elif len(self.buffer) > 2 * MAX_BODY:  # pipelined far ahead of a slow answer
            self.transport.abort()
        else:
            self.advance()

    def on_head(self, request: Request) -> None:
        self.request = request
        if request.headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def advance(self) -> None:
        try:
            while self.ready and (request := next(self.requests)) is not None:
                self.begin(request)
        except MalformedError as error:
            self.refuse(str(error))

    @property
    def ready(self) -> bool:
        return not self.task and not self.websocket and not self.transport.is_closing()

    def refuse(self, reason: str) -> None:
        request = Request("GET", "", "", {"connection": "close"}, True)
        response = document({"error": reason}, 400)
        self.send(request, response)
        self.app.count(request, response)
        self.transport.close()

    def begin(self, request: Request) -> None:
        self.request = request
        response = self.app.answer(request)
        if response.after or response.pieces:
            self.task = asyncio.get_running_loop().create_task(self.deliver(request, response))
        else:
            self.send(request, response)
            self.finish(request, response)

    async def deliver(self, request: Request, response: Response) -> None:
        await asyncio.sleep(response.after)
        self.send(request, response)
        if response.pieces and request.method != "HEAD":
            await self.send_pieces(response, chunked=request.http11)
        self.task = None
        self.finish(request, response)
        self.advance()

    def send(self, request: Request, response: Response) -> None:
        head = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}\r\n", self.app.headers]
        head.append(response.headers)
        if response.status != 101:
            head.append(f"Content-Type: {response.content_type}\r\n")
            head.append(self.framing(request, response))
        head.append("\r\n")
        body = b"" if request.method == "HEAD" else response.body
        self.transport.write("".join(head).encode("latin-1") + body)

    def framing(self, request: Request, response: Response) -> str:
        """How the client finds the end of the answer, and whether another request may follow."""
        length = f"Content-Length: {len(response.body)}\r\n"
        if response.pieces:
            length = "Transfer-Encoding: chunked\r\n" if request.http11 else ""
        if self.last(request, response):
            return f"{length}Connection: close\r\n"
        return length if request.http11 else f"{length}Connection: keep-alive\r\n"

    def last(self, request: Request, response: Response) -> bool:
        unframed = bool(response.pieces) and not request.http11
        return self.app.stopping or unframed or not request.keep_alive

    async def send_pieces(self, response: Response, chunked: bool) -> None:
        for piece in response.pieces:
            self.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await asyncio.sleep(response.every)
        if chunked:
            self.transport.write(b"0\r\n\r\n")

    def finish(self, request: Request, response: Response) -> None:
        self.request = None
        self.app.count(request, response)
        if response.status == 101:
            self.websocket = WebSocket(self.transport, self.buffer)
            self.websocket.advance()
        elif self.last(request, response):
            self.transport.close()


# --- The process ------------------------------------------------------------------------------------------


async def serve(app: App, address: str, port: int, pid_file: Path | None = None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(lambda: Connection(app), address, port, backlog=1024)
    if pid_file:
        pid_file.write_text(f"{os.getpid()}\n", encoding="ascii")
    process = {"listening": server.sockets[0].getsockname()[1], "pid": os.getpid()}
    print(json.dumps(process | dataclasses.asdict(app.identity)), flush=True)
    try:
        await stop.wait()
        server.close()
        await app.drain()
    finally:
        if pid_file:
            pid_file.unlink(missing_ok=True)


def word(text: str) -> str:
    """Goes into a header as it is."""
    if not re.fullmatch(r"[A-Za-z0-9._+-]{1,64}", text):
        raise argparse.ArgumentTypeError("letters, digits and ._+- only")
    return text


def share(text: str) -> float:
    """0 to 1."""
    return Faults(fail_share=float(text)).fail_share


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.app", description="The demo web app.")
    parser.add_argument("--address", default="127.0.0.1", help="where it listens; default: loopback only")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--colour", type=word, required=True)
    parser.add_argument("--version", type=word, required=True)
    parser.add_argument("--instance", type=word, required=True)
    parser.add_argument("--build-number", type=word, default="1")
    parser.add_argument("--fail-share", type=share, default=0.0, help="share of real requests answered 500")
    parser.add_argument("--pid-file", type=Path, help="written once it listens, removed when it ends")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse_args()
    identity = Identity(options.colour, options.version, options.instance, options.build_number)
    app = App(identity, Faults(fail_share=options.fail_share))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(app, options.address, options.port, options.pid_file))


if __name__ == "__main__":
    main()
