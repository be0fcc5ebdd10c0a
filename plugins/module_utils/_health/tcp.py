# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connecting within a time limit; a TCP endpoint is good when it takes a connection.

Private to this collection.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
import typing as t

from .probe import Answer

Address = t.Any
"""As socket.getaddrinfo gives it."""


class Deadline:
    """The end of one probe, whatever it is doing then."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left; never none: then it is over, and says so as a socket would."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise socket.timeout("the time is over")
        return left


def probe(host: str, port: int, limit: float) -> Answer:
    try:
        connect(host, port, Deadline(limit)).close()
    except socket.timeout:
        return Answer(problem=f"no connection within {round(limit, 2):g} s", late=True)
    except OSError as error:
        return Answer(problem=why(error))
    return Answer()


def connect(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A connection to the first of the host's addresses that takes it; each gets its share of the time."""
    problem = OSError("the name has no address")
    addresses = _resolve(host, port, deadline)
    for tried, address in enumerate(addresses):
        tie = _tie(address, deadline.left() / (len(addresses) - tried))
        if isinstance(tie, socket.socket):
            return tie
        problem = tie
    raise problem


def _tie(address: Address, limit: float) -> socket.socket | OSError:
    """A connection to this one address, or why there is none."""
    family, kind, protocol, _name, place = address
    try:
        with contextlib.ExitStack() as undo:
            sock = undo.enter_context(socket.socket(family, kind, protocol))
            sock.settimeout(limit)
            sock.connect(place)
            undo.pop_all()
            return sock
    except OSError as error:
        return error


def _resolve(host: str, port: int, deadline: Deadline) -> t.Sequence[Address]:
    with contextlib.suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    found: queue.SimpleQueue[list[Address] | OSError] = queue.SimpleQueue()
    # The system's look-up has no time limit: it is left behind when it takes too long.
    threading.Thread(target=_look_up, args=(host, port, found), daemon=True).start()
    try:
        answer = found.get(timeout=deadline.left())
    except queue.Empty as error:
        raise socket.timeout("the name look-up takes too long") from error
    if isinstance(answer, OSError):
        raise answer
    return answer


def _look_up(host: str, port: int, found: queue.SimpleQueue[t.Any]) -> None:
    try:
        found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except OSError as error:
        found.put(error)


def why(error: OSError) -> str:
    """The problem in our words or the system's, never in the server's."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionError):
        return "connection reset"
    if isinstance(error, socket.gaierror):
        return "the host's name is not known"
    return f"connection failed: {error.strerror or type(error).__name__}"
