# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking an HTTP endpoint, over a connection kept from round to round. Private to this collection."""

from __future__ import annotations

import http.client
import io
import re
import select
import socket
import ssl
import typing as t
from pathlib import Path

from .._errors import InvalidError
from . import tcp
from .door import Door
from .probe import BODY_LIMIT, Answer, Target, shown

KEPT = 128
"""So many connections are kept at most: a process may be allowed no more than 1024 files."""

_DEFAULTS = {
    "accept": ("Accept", "application/json, */*"),
    "accept-encoding": ("Accept-Encoding", "identity"),
    "user-agent": ("User-Agent", "bluegreen.deploy health_check"),
}
_OURS = frozenset({"connection", "content-length", "expect", "transfer-encoding", "upgrade"})
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def parse_headers(headers: object) -> dict[str, str]:
    """Header lines by name; a message never shows a value."""
    if not isinstance(headers, t.Mapping):
        raise InvalidError("headers is not a dictionary", todo="Give each header's value by its name.")
    parsed: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidError("headers has a name that no header can have", "letters, digits and dashes")
        if name.lower() in _OURS:
            raise InvalidError(f"the header {name} is set by the probe itself", todo="Leave it out.")
        if name.lower() in map(str.lower, parsed):
            raise InvalidError(f"the header {name} is given twice", todo="Leave one of them out.")
        parsed[name] = _value(name, value)
    return parsed


def _value(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        raise InvalidError(f"the header {name} has no plain value", "a text or a number")
    text = str(value)
    if any(not (" " <= char <= "~" or char == "\t") for char in text):
        raise InvalidError(
            f"the value of the header {name} has a line break, a control character or one outside ASCII",
            todo="Take it out; a secret read from a file often ends in a line break.",
        )
    return text


def tls_context(validate_certs: bool, ca_path: str | None) -> ssl.SSLContext:
    """One for all endpoints of a call: making it takes longer than a probe."""
    place = Path(ca_path) if ca_path else None
    try:
        context = ssl.create_default_context(
            cafile=ca_path if place and not place.is_dir() else None,
            capath=ca_path if place and place.is_dir() else None,
        )
    except (OSError, ValueError) as error:
        raise InvalidError(
            f"no certificates can be read from ca_path ({shown(str(ca_path))})",
            "a PEM file, or a directory of hashed ones, on the host that probes",
        ) from error
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Http:
    """The probe of HTTP and HTTPS endpoints. It goes no way round by a proxy, and follows no redirect."""

    def __init__(self, headers: t.Mapping[str, str], context: ssl.SSLContext | None, door: Door | None = None) -> None:
        self._context = context
        self._door = door or Door()
        self._kept: dict[Target, socket.socket] = {}
        named = {name: line for name, line in _DEFAULTS.items() if name not in map(str.lower, headers)}
        self._names_host = "host" in map(str.lower, headers)
        self._lines = "".join(f"{name}: {value}\r\n" for name, value in (*named.values(), *headers.items()))

    def __call__(self, target: Target, limit: float) -> Answer:
        try:
            return self._get(target, tcp.Deadline(limit))
        except socket.timeout:
            return Answer(problem=f"no whole answer within {round(limit, 2):g} s", late=True)
        except (OSError, http.client.HTTPException) as error:
            return Answer(problem=_why(error))

    def close(self) -> None:
        while self._kept:
            self._kept.popitem()[1].close()

    def _get(self, target: Target, deadline: tcp.Deadline) -> Answer:
        kept = self._kept.pop(target, None)
        if kept is not None and not _spoiled(kept):
            try:
                return self._ask(target, kept, deadline)
            except (ConnectionError, ssl.SSLError):
                pass  # the server closed it in between, which says nothing of its health
        elif kept is not None:
            kept.close()
        return self._ask(target, self._connect(target, deadline), deadline)

    def _connect(self, target: Target, deadline: tcp.Deadline) -> socket.socket:
        sock = tcp.connect(*self._door.place(target), deadline)
        if target.scheme != "https" or self._context is None:
            return sock
        try:
            sock.settimeout(deadline.left())
            return self._context.wrap_socket(sock, server_hostname=self._door.server_name(target))
        except OSError:
            sock.close()
            raise

    def _ask(self, target: Target, sock: socket.socket, deadline: tcp.Deadline) -> Answer:
        keep = False
        try:
            sock.settimeout(deadline.left())
            sock.sendall(self._request(target))
            reader = t.cast("socket.socket", _Reader(sock, deadline))
            response = http.client.HTTPResponse(reader, method="GET")
            response.begin()
            answer = _read(response)
            keep = not response.will_close and not answer.truncated and len(self._kept) < KEPT
            return answer
        finally:
            if keep:
                self._kept[target] = sock
            else:
                sock.close()

    def _request(self, target: Target) -> bytes:
        host = "" if self._names_host else f"Host: {self._door.authority(target)}\r\n"
        return f"GET {target.path} HTTP/1.1\r\n{host}{self._lines}\r\n".encode("ascii")


class _Reader(io.RawIOBase):
    """Reads a socket until the deadline, however small the pieces are in which the answer comes."""

    def __init__(self, sock: socket.socket, deadline: tcp.Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        """All that an HTTPResponse wants of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        self._sock.settimeout(self._deadline.left())
        return self._sock.recv_into(buffer)


def _read(response: http.client.HTTPResponse) -> Answer:
    """The status, and the body up to its limit."""
    try:
        body = response.read(BODY_LIMIT + 1)
    except (ConnectionError, ssl.SSLError) as error:
        raise http.client.IncompleteRead(b"") from error
    truncated = len(body) > BODY_LIMIT
    if response.length and not truncated:
        raise http.client.IncompleteRead(b"")
    return Answer(response.status, body[:BODY_LIMIT], truncated)


def _spoiled(sock: socket.socket) -> bool:
    """Has an idle connection something to say? Then it was closed, or holds what nobody asked for."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _why(error: Exception) -> str:
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer breaks off"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {shown(error.verify_message)}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or type(error).__name__).lower().replace('_', ' ')}"
    return tcp.why(error) if isinstance(error, OSError) else "the answer is not HTTP/1"
