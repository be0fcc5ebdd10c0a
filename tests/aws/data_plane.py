# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data plane: each listener has a port on loopback, and requests go where its actions say.

An HTTPS or TLS listener speaks without TLS here. Target stickiness, slow start, HTTP/2 and UDP are not there.

Routes are replaced as a whole at each change of the API, so a change counts for the next request; those in flight end
where they are. Each request has a connection to its target of its own: none is ever found closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.client import responses

from . import http1
from .http1 import HOP_BY_HOP, Head, MalformedError
from .routing import Chooser, Fixed, Forward, Group, Listener, Redirect, Request, cookie_for

LOG = logging.getLogger(__name__)
CONNECT_TIMEOUT = 5.0  # seconds
# docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html, idle timeout
IDLE = 60.0  # seconds
BODILESS = frozenset({204, 304})
BACKLOG = 512
HTTP = frozenset({"HTTP", "HTTPS"})
NOTHING = Request("", "", "", (), "127.0.0.1")


@dataclass(frozen=True)
class Port:
    number: int
    server: asyncio.Server


@dataclass
class DataPlane:
    places: Mapping[str, int]
    """Of targets that are on loopback under another name."""
    listeners: dict[str, Listener] = field(default_factory=dict)
    chooser: Chooser = field(default_factory=Chooser)
    _ports: dict[str, Port] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="data plane")
        self._thread.start()

    def stop(self) -> None:
        self.update([])
        self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread:
            self._thread.join(10)

    def ports(self) -> dict[str, int]:
        return {arn: port.number for arn, port in self._ports.items()}

    def update(self, listeners: list[Listener]) -> None:
        """From another thread. The ports of new listeners are open when it returns, those of old ones closed."""
        self.listeners = {listener.arn: listener for listener in listeners}
        if self._ports.keys() != self.listeners.keys():
            asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(30)

    async def _listen(self) -> None:
        for arn in self._ports.keys() - self.listeners.keys():
            self._ports.pop(arn).server.close()
        for arn in self.listeners.keys() - self._ports.keys():
            # With its protocol named, or asyncio leaves Nagle's algorithm on.
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            sock.bind(("127.0.0.1", 0))
            client = partial(self._serve, arn)
            server = await asyncio.start_server(client, sock=sock, backlog=BACKLOG, limit=http1.MAX_HEAD)
            self._ports[arn] = Port(sock.getsockname()[1], server)

    async def _serve(self, arn: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Client(self, arn, reader, writer).serve()


class AnswerError(Exception):
    """The load balancer answers by itself, because it got nothing from a target."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass
class Client:
    """One connection of a client."""

    plane: DataPlane
    arn: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    keep: bool = True
    method: str = ""
    begun: bool = False
    """Something of the answer is on its way: no other can be given."""

    async def serve(self) -> None:
        listener = self.plane.listeners.get(self.arn)
        try:
            if listener and listener.protocol not in HTTP:
                await self._pass_through(listener)
                return
            while self.keep and await self._serve_one():
                pass
        except (OSError, MalformedError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError) as error:
            LOG.debug("%s: %r", self.arn, error)
        except Exception:
            LOG.exception("data plane")
        finally:
            with contextlib.suppress(OSError):
                self.writer.close()

    async def _pass_through(self, listener: Listener) -> None:
        """A network load balancer decides once a connection, and looks at nothing."""
        action = listener.action(NOTHING)
        group = self.plane.chooser.group(action, NOTHING) if isinstance(action, Forward) else None
        target = self.plane.chooser.target(group) if group else None
        address = target.address(self.plane.places) if target else None
        if address is None:
            return
        with contextlib.suppress(AnswerError):
            reader, writer = await self._connect(*address)
            try:
                await self._tunnel(reader, writer)
            finally:
                writer.close()

    async def _serve_one(self) -> bool:
        """False: there is no other request on this connection."""
        async with asyncio.timeout(IDLE):
            head = await http1.read_head(self.reader)
        listener = self.plane.listeners.get(self.arn)
        if head is None or listener is None:
            return False
        self.begun = False
        try:
            request = self._request(head)
            if "100-continue" in head.get("expect").lower():
                self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            async with asyncio.timeout(IDLE):
                body = await http1.read_body(head, self.reader)
            await self._answer(listener, request, head, body)
        except MalformedError:
            self.keep = False
            await self._say(400)
        except AnswerError as error:
            await self._say(error.status)
        return True

    def _request(self, head: Head) -> Request:
        method, *rest = head.first.split(" ")
        if len(rest) != 2 or rest[1] not in ("HTTP/1.1", "HTTP/1.0"):
            raise MalformedError("malformed request line")
        wish = head.get("connection").lower()
        self.method = method
        self.keep = "close" not in wish if rest[1] == "HTTP/1.1" else "keep-alive" in wish
        path, _unused, query = rest[0].partition("?")
        return Request(method, path, query, head.headers, self.writer.get_extra_info("peername")[0])

    async def _answer(self, listener: Listener, request: Request, head: Head, body: bytes) -> None:
        action = listener.action(request)
        if isinstance(action, Forward):
            await self._forward(listener, action, request, head, body)
        elif isinstance(action, Fixed):
            await self._say(action.status, action.body, action.content_type)
        elif isinstance(action, Redirect):
            location = action.location(request, listener.protocol.lower(), listener.port)
            await self._say(action.status, headers=(("Location", location),))
        else:
            raise AnswerError(503)

    async def _forward(self, listener: Listener, action: Forward, request: Request, head: Head, body: bytes) -> None:
        group = self.plane.chooser.group(action, request)
        target = self.plane.chooser.target(group) if group else None
        if group is None or target is None:
            raise AnswerError(503)
        address = target.address(self.plane.places)
        if address is None:
            raise AnswerError(502)
        reader, writer = await self._connect(*address)
        try:
            asked = Head(head.first, self._towards_target(head, listener))
            with contextlib.suppress(OSError):  # it may have answered before it had all of the request
                writer.write(asked.encode() + body)
                await writer.drain()
            await self._pass_on(reader, writer, request, _cookies(action, group))
        finally:
            with contextlib.suppress(OSError):
                writer.close()

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                return await asyncio.open_connection(host, port, limit=http1.MAX_HEAD)
        except TimeoutError:
            raise AnswerError(504) from None
        except OSError:
            raise AnswerError(502) from None

    def _towards_target(self, head: Head, listener: Listener) -> tuple[tuple[str, str], ...]:
        """docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html"""
        client = self.writer.get_extra_info("peername")[0]
        before = head.get("x-forwarded-for")
        told = (
            ("X-Forwarded-For", f"{before}, {client}" if before else client),
            ("X-Forwarded-Proto", listener.protocol.lower()),
            ("X-Forwarded-Port", str(listener.port)),
        )
        names = tuple(name.lower() for name, _value in told)
        if head.upgrades:
            return head.without("expect", *names) + told
        return (*head.without("expect", *HOP_BY_HOP, *names), ("Connection", "close"), *told)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: Request,
        cookies: tuple[tuple[str, str], ...],
    ) -> None:
        answer = await self._read_answer(reader)
        status = int(answer.first.split(" ", 2)[1])
        if status == HTTPStatus.SWITCHING_PROTOCOLS:
            self.keep = False
            await self._write(Head(answer.first, answer.headers + cookies).encode())
            await self._tunnel(reader, writer)
            return
        bodiless = request.method == "HEAD" or status in BODILESS
        length = answer.length
        if not (bodiless or answer.chunked or length is not None):
            self.keep = False  # the end of the body is the end of the connection
        end = () if self.keep else (("Connection", "close"),)
        await self._write(Head(answer.first, answer.without(*HOP_BY_HOP) + cookies + end).encode())
        async with asyncio.timeout(None) as limit:

            async def write(data: bytes) -> None:
                limit.reschedule(asyncio.get_running_loop().time() + IDLE)
                await self._write(data)

            limit.reschedule(asyncio.get_running_loop().time() + IDLE)
            if bodiless:
                return
            if answer.chunked:
                await http1.copy_chunks(reader, write)
            elif length is not None:
                await http1.copy_exactly(reader, length, write)
            else:
                await http1.copy_all(reader, write)

    async def _read_answer(self, reader: asyncio.StreamReader) -> Head:
        """Past those that are only on the way (100, 103)."""
        try:
            async with asyncio.timeout(IDLE):
                while True:
                    head = await http1.read_head(reader)
                    if head is None or not head.first.startswith("HTTP/1."):
                        raise AnswerError(502)
                    status = head.first.split(" ", 2)[1]
                    if status == "101" or not status.startswith("1"):
                        return head
        except TimeoutError:
            raise AnswerError(504) from None
        except (OSError, MalformedError, IndexError):
            raise AnswerError(502) from None

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until one side ends it."""

        async def towards_target(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        both = [
            asyncio.ensure_future(http1.copy_all(self.reader, towards_target)),
            asyncio.ensure_future(http1.copy_all(reader, self._write)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _write(self, data: bytes) -> None:
        self.begun = True
        self.writer.write(data)
        await self.writer.drain()

    async def _say(
        self,
        status: int,
        body: str | None = None,
        content_type: str = "text/html",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """An answer of the load balancer's own; where that of a target has begun, the connection ends instead."""
        if self.begun:
            self.keep = False
            return
        phrase = responses.get(status, "")
        text = f"<html><body><h1>{status} {phrase}</h1></body></html>\r\n" if body is None else body
        data = b"" if status in BODILESS else text.encode()
        told = (("Server", "awselb/2.0"), ("Content-Type", content_type), ("Content-Length", str(len(data))))
        end = () if self.keep else (("Connection", "close"),)
        head = Head(f"HTTP/1.1 {status} {phrase}", (*told, *headers, *end)).encode()
        await self._write(head if self.method == "HEAD" else head + data)


def _cookies(action: Forward, group: Group) -> tuple[tuple[str, str], ...]:
    return (("Set-Cookie", cookie_for(group.arn, action.sticky)),) if action.sticky is not None else ()
