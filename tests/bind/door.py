# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A door for clients that know no resolver of ours: each connection goes where a resolver leads at that moment."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping

from plugins.module_utils._dns.resolver import Resolver

ANSWER = 10.0  # seconds
CHUNK = 65536


@contextlib.contextmanager
def door(resolver: Resolver, name: str, ports: Mapping[str, int]) -> Iterator[str]:
    """Its URL. ``ports`` are those on loopback of the machines that stand at the addresses."""
    loop = asyncio.new_event_loop()
    opened: asyncio.Future[int] = loop.create_future()
    ended = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(_serve(resolver, name, ports, opened, ended),))
    thread.start()
    try:
        port = asyncio.run_coroutine_threadsafe(asyncio.wait_for(opened, ANSWER), loop).result()
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


async def _serve(
    resolver: Resolver, name: str, ports: Mapping[str, int], opened: asyncio.Future[int], ended: asyncio.Event
) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            answer = await asyncio.to_thread(resolver.ask, name, "A")
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", ports[answer.told()])
            with contextlib.closing(far_writer):
                await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        opened.set_result(server.sockets[0].getsockname()[1])
        await ended.wait()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side ends; then the other one hears of it."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
