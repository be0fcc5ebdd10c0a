# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's Runtime API. Private to this collection.

Source: HAProxy Management Guide, section 9.3 "Unix Socket commands".
"""

from __future__ import annotations

import re
import socket
import threading
import time
import typing as t

from .._errors import (
    DeniedError,
    InvalidError,
    MissingError,
    TimeLimitError,
    UnreachableError,
    UnsupportedError,
)

OLDEST = (2, 4)
PROMPT = b"\n> "
PIPELINE = 200
"""Commands on their way at once: their answers must fit in the kernel's buffers."""

_WORD = re.compile(r"[A-Za-z0-9_.:/@%+\-\[\]]+")


def word(text: str, what: str) -> str:
    """One word of a command, or an error: nothing in it may end the word or the command."""
    if not _WORD.fullmatch(text):
        raise InvalidError(
            f"{what} {text!r} cannot be part of a HAProxy command",
            "letters, digits and _ . : / @ % + - [ ] only",
            "Rename it in the HAProxy configuration",
        )
    return text


def parse_address(text: str) -> str | tuple[str, int]:
    """A unix socket's path, or host and port, from ``/path``, ``unix@/path``, ``host:port``, ``ipv4@host:port``."""
    bare = re.sub(r"^(unix|ipv4|ipv6)@", "", text)
    if bare.startswith("/"):
        return bare
    host, colon, port = bare.rpartition(":")
    if not colon or not host or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise InvalidError(f"socket {text!r} is no address", "an absolute path or host:port")
    return host.strip("[]"), int(port)


class RuntimeApi:
    """A session for each call: after a reload a kept one would still be with the old worker.

    Few at a time, in the whole process: HAProxy has ten by default, C(stats maxconn), for everybody.
    ``timeout`` is in seconds, for each answer.
    """

    _free = threading.BoundedSemaphore(5)

    def __init__(self, address: str, timeout: float) -> None:
        self._address = parse_address(address)
        self._name = address
        self._timeout = timeout

    def ask(self, *commands: str) -> list[str]:
        """The answers to the commands, in order; sent together, so that they cost one round trip."""
        if not commands:
            return []
        verb = commands[0].split()[0]
        try:
            with self._free, _connect(self._address, self._name, self._timeout) as connection:
                session = _Session(connection, self._timeout)
                batches = [commands[start : start + PIPELINE] for start in range(0, len(commands), PIPELINE)]
                return [answer for batch in batches for answer in session.exchange(batch)]
        except socket.timeout as error:
            raise TimeLimitError(
                f"HAProxy at {self._name} did not answer {verb!r} within {self._timeout:g} s",
                "an answer of its runtime API",
                "See whether other programs, such as monitoring, keep all of its sessions busy: it has ten, unless "
                "'stats maxconn' in the global section says more. Else whether HAProxy hangs, or the address is not "
                "that of a stats socket",
            ) from error
        except (BrokenPipeError, ConnectionResetError, EOFError) as error:
            raise UnreachableError(
                f"HAProxy at {self._name} closed the session",
                "an answer of its runtime API",
                "See whether HAProxy runs, and whether the address is that of a stats socket",
            ) from error

    def ask_once(self, command: str) -> str:
        """Whatever HAProxy says until it ends the session; without a prompt, which a master changes as it likes."""
        words = b""
        try:
            with self._free, _connect(self._address, self._name, self._timeout) as connection:
                connection.sendall(f"{command}\n".encode())
                connection.shutdown(socket.SHUT_WR)
                while received := connection.recv(1 << 16):
                    words += received
        except ConnectionError:
            pass  # it ended the session without a word, as some versions do
        except socket.timeout as error:
            raise TimeLimitError(
                f"HAProxy at {self._name} did not answer {command!r} within {self._timeout:g} s"
            ) from error
        return words.decode(errors="replace")


class _Session:
    """A connection on which HAProxy shows where an answer ends."""

    def __init__(self, connection: socket.socket, timeout: float) -> None:
        self._connection, self._timeout = connection, timeout
        self._pending = b""
        self.exchange(["prompt"])

    def exchange(self, commands: t.Sequence[str]) -> list[str]:
        self._connection.sendall("".join(f"{command}\n" for command in commands).encode())
        return [self._answer() for _command in commands]

    def _answer(self) -> str:
        deadline = time.monotonic() + self._timeout  # for the whole answer: one that never ends is none
        while PROMPT not in self._pending:
            if time.monotonic() > deadline:
                raise socket.timeout
            received = self._connection.recv(1 << 16)
            if not received:
                raise EOFError
            self._pending += received
        answer, _prompt, self._pending = self._pending.partition(PROMPT)
        return answer.decode(errors="replace").strip("\n")


def _connect(address: str | tuple[str, int], name: str, timeout: float) -> socket.socket:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_UNSPEC
    try:
        if family != socket.AF_UNIX:
            return socket.create_connection(t.cast("tuple[str, int]", address), timeout)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        try:
            connection.connect(t.cast(str, address))
        except OSError:
            connection.close()
            raise
        return connection
    except FileNotFoundError as error:
        raise MissingError(
            f"there is no socket {name}",
            "HAProxy's stats socket",
            'See "stats socket" in the global section of its configuration, and that HAProxy runs',
        ) from error
    except PermissionError as error:
        raise DeniedError(
            f"the socket {name} may not be opened by this user",
            "read and write access to it",
            "Use become, or the socket's user, group and mode options",
        ) from error
    except socket.timeout as error:
        raise TimeLimitError(f"HAProxy at {name} took no connection within {timeout:g} s") from error
    except OSError as error:
        raise UnreachableError(
            f"HAProxy at {name} cannot be reached: {error.strerror or error}",
            "its stats socket",
            "See that HAProxy runs on this host",
        ) from error


def parse_version(info: str) -> tuple[int, ...]:
    """The version in the answer to ``show info``."""
    found = re.search(r"^Version: (\d+)\.(\d+)", info, re.MULTILINE)
    if not found:
        raise UnsupportedError(
            f"the socket answers {info[:60]!r} to 'show info'", "HAProxy", "Check the socket's address"
        )
    version = tuple(int(part) for part in found.groups())
    if version < OLDEST:
        raise UnsupportedError(
            f"HAProxy is version {found.group(1)}.{found.group(2)}",
            f"{OLDEST[0]}.{OLDEST[1]} or newer",
            "Upgrade HAProxy",
        )
    return version


def need_admin(level: str, socket_name: str) -> None:
    """``level`` is the answer to ``show cli level``."""
    if level.strip() != "admin":
        raise DeniedError(
            f"the socket {socket_name} has level {level.strip()[:20]!r}",
            "level admin",
            'Add "level admin" to its "stats socket" line',
        )
