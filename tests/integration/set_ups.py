# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site, a move, and who else talks to HAProxy, for tests of load balancers that people have set up themselves."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils._errors import BlueGreenError
from plugins.module_utils._traffic.route import Outcome, Route
from plugins.module_utils._traffic.router import Router
from plugins.module_utils._traffic.split import Split
from plugins.module_utils._traffic.switch import Order, switch
from tests.integration.haproxy_site import FRONTEND, Site

SiteMaker = Callable[..., Site]


@pytest.fixture
def site(tmp_path: Path, haproxy_binary: str) -> Iterator[SiteMaker]:
    with contextlib.ExitStack() as stack:
        yield lambda text, frontend=FRONTEND: stack.enter_context(Site(tmp_path, text, haproxy_binary, frontend))


def move(router: Router, wanted: Split, *, dry_run: bool = False, **order: Any) -> Outcome:
    """As a task does it that comes anew: each time with a router that knows nothing."""
    return switch([Route("lb1", router)], Order(wanted, **{"verify_timeout": 3.0, **order}), dry_run=dry_run)[0]


def refused(kind: type[BlueGreenError], call: Callable[[], object]) -> str:
    with pytest.raises(BlueGreenError) as caught:
        call()
    assert caught.value.__class__ is kind, caught.value.message
    return caught.value.message


@contextlib.contextmanager
def agent(says: str) -> Iterator[int]:
    """An agent of HAProxy that says one thing; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener, _serving(lambda: _say(listener, says), listener):
        yield listener.getsockname()[1]


def _say(listener: socket.socket, says: str) -> None:
    connection, _address = listener.accept()
    with connection:
        connection.sendall(f"{says}\n".encode())


@contextlib.contextmanager
def name_server(records: dict[str, list[int]]) -> Iterator[int]:
    """Answers with an SRV record of weight 1 for each port of a name, and with 127.0.0.1 for any host; yields its port.

    Source: RFC 1035, section 4, and RFC 2782.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        with _serving(lambda: _answer(listener, records), listener):
            yield listener.getsockname()[1]


def _answer(listener: socket.socket, records: dict[str, list[int]]) -> None:
    query, client = listener.recvfrom(4096)
    end = query.index(b"\0", 12)
    kind = query[end + 1 : end + 3]
    name, rest = "", query[12:end]
    while rest:
        name, rest = f"{name}.{rest[1 : 1 + rest[0]].decode()}", rest[1 + rest[0] :]
    host = [f"host{port}".encode() for port in records.get(name[1:], [])]
    targets = [bytes([len(label)]) + label + b"\4test\0" for label in host]
    srv = [struct.pack(">HHH", 1, 1, port) + t for port, t in zip(records.get(name[1:], []), targets, strict=True)]
    found = srv if kind == b"\0\x21" else [socket.inet_aton("127.0.0.1")] if kind == b"\0\1" else []
    told = b"".join(b"\xc0\x0c" + kind + struct.pack(">HIH", 1, 0, len(data)) + data for data in found)
    header = query[:2] + struct.pack(">HHHHH", 0x8580, 1, len(found), 0, 0)
    listener.sendto(header + query[12 : end + 5] + told, client)


@contextlib.contextmanager
def _serving(once: Callable[[], None], listener: socket.socket) -> Iterator[None]:
    done = threading.Event()
    listener.settimeout(0.1)

    def serve() -> None:
        while not done.is_set():
            with contextlib.suppress(OSError):
                once()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(20)
