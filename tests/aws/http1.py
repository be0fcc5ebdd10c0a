# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/1.1 as the data plane needs it: heads are read, bodies are passed on as they come."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

MAX_HEAD = 64 * 1024
MAX_BODY = 16 * 1024 * 1024
PIECE = 64 * 1024
HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "upgrade"})

Write = Callable[[bytes], Awaitable[None]]


class MalformedError(ValueError):
    """What the peer sent is not the protocol."""


@dataclass(frozen=True)
class Head:
    """The first line of a request or an answer, and its headers as they came."""

    first: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key.lower() == name)

    @property
    def chunked(self) -> bool:
        return "chunked" in self.get("transfer-encoding").lower()

    @property
    def length(self) -> int | None:
        value = self.get("content-length")
        if not value:
            return None
        if not re.fullmatch(r"\d{1,12}", value):
            raise MalformedError("malformed Content-Length")
        return int(value)

    @property
    def upgrades(self) -> bool:
        return "upgrade" in self.get("connection").lower() and bool(self.get("upgrade"))

    def without(self, *names: str) -> tuple[tuple[str, str], ...]:
        return tuple((key, value) for key, value in self.headers if key.lower() not in names)

    def encode(self) -> bytes:
        lines = [self.first, *(f"{key}: {value}" for key, value in self.headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """None: the peer has ended the connection where it may."""
    try:
        data = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise MalformedError("the head ends in its middle") from error
        return None
    except asyncio.LimitOverrunError as error:
        raise MalformedError("the head is too long") from error
    first, *lines = data.decode("latin-1").strip("\r\n").split("\r\n")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise MalformedError("malformed header line")
        headers.append((name, value.strip()))
    return Head(first, tuple(headers))


async def read_body(head: Head, reader: asyncio.StreamReader) -> bytes:
    """Of a request, in whole: it may have to be sent to a target that is found later. Chunks stay chunks."""
    if not head.chunked:
        length = head.length or 0
        if length > MAX_BODY:
            raise MalformedError("the body is too long")
        return await reader.readexactly(length)
    body = bytearray()

    async def collect(data: bytes) -> None:
        body.extend(data)
        if len(body) > MAX_BODY:
            raise MalformedError("the body is too long")

    await copy_chunks(reader, collect)
    return bytes(body)


async def copy_chunks(reader: asyncio.StreamReader, write: Write) -> None:
    while True:
        line = await reader.readuntil(b"\r\n")
        size = line.partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size):
            raise MalformedError("malformed chunk size")
        if int(size, 16) == 0:
            await write(line + await _trailers(reader))
            return
        await write(line + await reader.readexactly(int(size, 16) + 2))


async def _trailers(reader: asyncio.StreamReader) -> bytes:
    found = bytearray()
    while not found.endswith(b"\r\n\r\n") and found != b"\r\n":
        found += await reader.readuntil(b"\r\n")
    return bytes(found)


async def copy_exactly(reader: asyncio.StreamReader, length: int, write: Write) -> None:
    while length:
        data = await reader.read(min(length, PIECE))
        if not data:
            raise MalformedError("the body ends in its middle")
        length -= len(data)
        await write(data)


async def copy_all(reader: asyncio.StreamReader, write: Write) -> None:
    while data := await reader.read(PIECE):
        await write(data)
