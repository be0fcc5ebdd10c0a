# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for kube-proxy: a port on loopback for each port of a Service.

A new connection goes to one of the endpoints that are ready at that moment, in turn, and stays there whatever
becomes of the Service, as one that conntrack knows does. Where there is no ready endpoint it is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from .api import Api, Object
from .watching import Watcher, key_of

OWNER = "kubernetes.io/service-name"
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection
CONNECT = 5.0
Address = tuple[str, int]


@dataclass(frozen=True)
class Listener:
    """Where new connections to one port of a Service arrive."""

    service: str
    port_name: str
    socket: socket.socket

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])


class Proxy:
    """``local`` tells on which port of this machine a pod's address and port are, if it listens there."""

    def __init__(self, api: Api, local: Callable[[Address], int | None], published: Callable[[], None]) -> None:
        self._local, self._published = local, published
        self._listeners: dict[str, Listener] = {}
        self._turns: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._services = Watcher(api, "/api/v1/services", self._service, self._service_gone)
        self._slices = Watcher(
            api, f"{api.group('discovery.k8s.io')}/endpointslices", lambda _slice: None, lambda _slice: None
        )

    @property
    def ports(self) -> dict[str, int]:
        """From namespace/service/port to the port on loopback."""
        return {name: listener.port for name, listener in sorted(self._listeners.items())}

    def start(self) -> None:
        for watcher in (self._services, self._slices):
            watcher.start(asyncio.get_running_loop())

    def stop(self) -> None:
        self._services.stop()
        self._slices.stop()
        self._close([*self._listeners])

    def endpoints(self, listener: Listener) -> list[Address]:
        """Those that are ready."""
        namespace, name = listener.service.split("/")
        found = {
            address
            for each in self._slices.known.values()
            if each["metadata"]["namespace"] == namespace and each["metadata"].get("labels", {}).get(OWNER) == name
            for address in _ready(each, listener.port_name)
        }
        return sorted(found)

    def _service(self, service: Object) -> None:
        key, spec = key_of(service), service["spec"]
        balanced = spec.get("type") != "ExternalName" and spec.get("clusterIP") not in {None, "", "None"}
        wanted = {f"{key}/{each['port']}": each.get("name", "") for each in spec.get("ports") or [] if balanced}
        self._close([name for name in self._of(key) if name not in wanted])
        for name, port_name in wanted.items():
            if name in self._listeners:
                listening = self._listeners[name].socket
                asyncio.get_running_loop().remove_reader(listening)
            else:
                listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
                listening.setblocking(False)
            listener = self._listeners[name] = Listener(key, port_name, listening)
            asyncio.get_running_loop().add_reader(listening, self._accept, listener)
        self._published()

    def _service_gone(self, service: Object) -> None:
        self._close(self._of(key_of(service)))
        self._published()

    def _of(self, service: str) -> list[str]:
        return [name for name, listener in self._listeners.items() if listener.service == service]

    def _close(self, names: Iterable[str]) -> None:
        """No new connections; those that are open stay."""
        for name in names:
            listening = self._listeners.pop(name).socket
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()

    def _accept(self, listener: Listener) -> None:
        for client in _accepted(listener.socket):
            target = self._choose(listener)
            if target is None:
                _reset(client)
            else:
                task = asyncio.get_running_loop().create_task(_forward(client, target))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _choose(self, listener: Listener) -> int | None:
        """The next one's port on this machine."""
        there = self.endpoints(listener)
        if not there:
            return None
        turn = self._turns[listener.service] = self._turns.get(listener.service, -1) + 1
        return self._local(there[turn % len(there)])


def _ready(endpoint_slice: Object, port_name: str) -> Iterator[Address]:
    for port in endpoint_slice.get("ports") or []:
        if (port.get("name") or "") == port_name:
            for endpoint in endpoint_slice.get("endpoints") or []:
                if endpoint.get("conditions", {}).get("ready") is not False:
                    for address in endpoint["addresses"]:
                        yield address, port["port"]


def _accepted(listening: socket.socket) -> Iterator[socket.socket]:
    for _each in range(100):  # then the others have their turn
        try:
            yield listening.accept()[0]
        except (BlockingIOError, ConnectionError):
            return


def _reset(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    client.close()


class _Half(asyncio.Protocol):
    """One end of a forwarded connection: what it hears goes out at the other one."""

    transport: asyncio.Transport
    other: _Half | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.other:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """The other direction stays open."""
        if self.other and self.other.transport.can_write_eof():
            self.other.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.other:
            return
        if exc:
            self.other.reset()
        else:
            self.other.transport.close()

    def reset(self) -> None:
        if there := self.transport.get_extra_info("socket"):
            with contextlib.suppress(OSError):
                there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self.transport.abort()

    def pause_writing(self) -> None:
        if self.other:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other and not self.other.transport.is_closing():
            self.other.transport.resume_reading()


async def _forward(client: socket.socket, target: int) -> None:
    loop = asyncio.get_running_loop()
    client.setblocking(False)
    try:
        async with asyncio.timeout(CONNECT):
            _transport, server = await loop.create_connection(_Half, "127.0.0.1", target)
    except (OSError, TimeoutError):
        _reset(client)
        return
    # What the server says first has to find the client there.
    server.transport.pause_reading()
    try:
        _transport, half = await loop.connect_accepted_socket(_Half, client)
    except OSError:
        server.transport.abort()
        client.close()
        return
    half.other, server.other = server, half
    if half.transport.is_closing():
        server.transport.close()
    elif server.transport.is_closing():
        half.reset()
    else:
        server.transport.resume_reading()
