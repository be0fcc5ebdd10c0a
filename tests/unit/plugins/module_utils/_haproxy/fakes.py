# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stats sockets that record every byte, and that behave or misbehave as their script says."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import typing as t
from pathlib import Path

PROMPT = b"\n> "
STATE_COLUMNS = "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight"
STAT_COLUMNS = (
    "pxname,svname,status,scur,qcur,stot,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,econ,eresp,rtime,type,bck,algo"
)


class Talk:
    """One connection, seen from the server."""

    def __init__(self, server: FakeSocket, connection: socket.socket, number: int) -> None:
        self.server, self.connection, self.number = server, connection, number
        self.pending = b""

    def line(self) -> str:
        """The next line the client sent; EOFError when it has gone."""
        while b"\n" not in self.pending:
            received = self.connection.recv(65536)
            if not received:
                raise EOFError
            self.server.received += received
            self.pending += received
        line, _end, self.pending = self.pending.partition(b"\n")
        return line.decode()

    def say(self, *pieces: bytes) -> None:
        """Each piece in a packet of its own."""
        for piece in pieces:
            self.connection.sendall(piece)

    def greet(self) -> None:
        assert self.line() == "prompt"
        self.say(PROMPT)

    def hang(self) -> None:
        """Say nothing until the client has gone."""
        with contextlib.suppress(EOFError):
            while True:
                self.line()


Script = t.Callable[[Talk], object]


class FakeSocket:
    """A server in threads. ``path`` for a unix socket, else a port on loopback. A context manager."""

    def __init__(self, script: Script, path: str | None = None) -> None:
        self.script = script
        self.received = b""
        self.connections: list[socket.socket] = []
        self.errors: list[BaseException] = []
        self.stopping = threading.Event()
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            self.listener.listen()
            self.address = path
        else:
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.threads = [threading.Thread(target=self._accept)]

    @property
    def lines(self) -> list[str]:
        """The commands that came, without the one that opens a session."""
        return [line for line in self.received.decode().split("\n") if line not in ("", "prompt")]

    def __enter__(self) -> FakeSocket:
        self.threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for each in (self.listener, *self.connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(20)
        for each in (self.listener, *self.connections):
            each.close()
        assert not self.errors, self.errors

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self.listener.accept()
                self.connections.append(connection)
                talk = Talk(self, connection, len(self.connections))
                self.threads.append(threading.Thread(target=self._serve, args=(talk,)))
                self.threads[-1].start()

    def _serve(self, talk: Talk) -> None:
        try:
            self.script(talk)
        except (EOFError, OSError):
            pass  # the client, or the test, has ended it
        except BaseException as error:  # noqa: BLE001 -- a defect of the test, told at its end
            self.errors.append(error)
        with contextlib.suppress(OSError):
            talk.connection.shutdown(socket.SHUT_RDWR)


def answering(answer: t.Callable[[str], str]) -> Script:
    """A script that answers each line, as HAProxy does in a session with prompt."""

    def script(talk: Talk) -> None:
        talk.greet()
        while True:
            talk.say(answer(talk.line()).encode() + PROMPT)

    return script


class FakeHAProxy:
    """Enough of HAProxy for the provider: a map, and servers by backend with [admin state, weight]."""

    def __init__(self, version: str = "2.8.25", level: str = "admin") -> None:
        self.version, self.level = version, level
        self.initial = 1
        self.map = {"shop": "blue:green:0"}
        self.servers = {
            "shop_blue": {"b1": [0, 1], "b2": [0, 1]},
            "shop_green": {"g1": [0, 1], "g2": [0, 1]},
        }
        self.says: dict[str, str] = {}
        """Answers to commands that begin so, instead of the right ones."""

    def __call__(self, line: str) -> str:
        for start, answer in self.says.items():
            if line.startswith(start):
                return answer
        for pattern, handle in self._handlers().items():
            found = re.fullmatch(pattern, line)
            if found:
                return handle(*found.groups())
        return "Unknown command"

    def _handlers(self) -> dict[str, t.Callable[..., str]]:
        return {
            "show info": lambda: f"Name: HAProxy\nVersion: {self.version}\n",
            "show cli level": lambda: self.level,
            r"get map (\S+) (\S+)": self._get_map,
            r"set map (\S+) (\S+) (\S+)": self._set_map,
            r"show servers state (\S+)": self._state,
            r"show stat (\S+) 6 -1": self._stat,
            r"set server (\S+)/(\S+) weight (\S+)": self._weight,
            r"set server (\S+)/(\S+) state (\S+)": self._set_state,
            "show sess": lambda: "",
            "show table": lambda: "",
        }

    def _get_map(self, _map: str, key: str) -> str:
        if key not in self.map:
            return "type=str, case=sensitive, found=no"
        value = self.map[key]
        return f'type=str, case=sensitive, found=yes, idx=tree, key="{key}", value="{value}", type="str"'

    def _set_map(self, _map: str, key: str, value: str) -> str:
        self.map[key] = value
        return ""

    def _state(self, backend: str) -> str:
        if backend not in self.servers:
            return "Can't find backend.\n"
        rows = [
            f"{self._number(backend)} {backend} {number} {name} 127.0.0.1 2 {state} {weight} {self.initial}"
            for number, (name, (state, weight)) in enumerate(self.servers[backend].items())
        ]
        return "\n".join(["1", f"# {STATE_COLUMNS}", *rows, ""])

    def _number(self, backend: str) -> str:
        return str(3 + list(self.servers).index(backend))

    def _stat(self, proxy: str) -> str:
        """By number only: a frontend has the name of each backend, as is allowed, and it comes first."""
        backend = next((name for name in self.servers if self._number(name) == proxy), None)
        if backend is None:
            return f"# {STAT_COLUMNS}\n" if proxy in self.servers else "No such proxy.\n"
        status = {0: "UP", 8: "DRAIN", 1: "MAINT"}
        rows = [
            f"{backend},{n},{status[s]},1,0,10,9,0,0,1,0,0,0,5,2,0," for n, (s, _w) in self.servers[backend].items()
        ]
        return "\n".join(
            [f"# {STAT_COLUMNS}", f"{backend},BACKEND,UP,2,0,20,18,0,0,2,0,0,0,5,1,0,roundrobin", *rows, ""]
        )

    def _weight(self, backend: str, server: str, weight: str) -> str:
        self.servers[backend][server][1] = int(weight)
        return ""

    def _set_state(self, backend: str, server: str, state: str) -> str:
        self.servers[backend][server][0] = {"ready": 0, "drain": 8, "maint": 1}[state]
        return ""


class Processlist:
    """A C(/proc), in which a process sees our files or others."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._see("self", "ours")

    def start(self, pid: int, *words: str, sees: str = "ours", directory: str = "/", environment: str = "") -> None:
        self._see(str(pid), sees)
        (self.home / str(pid) / "cwd").symlink_to(directory)
        (self.home / str(pid) / "environ").write_text(environment)
        (self.home / str(pid) / "cmdline").write_text("".join(f"{word}\0" for word in words))

    def _see(self, name: str, files: str) -> None:
        namespace = self.home / files
        namespace.touch()
        (self.home / name / "ns").mkdir(parents=True)
        (self.home / name / "ns/mnt").symlink_to(namespace)
        (self.home / name / "ns/net").symlink_to(namespace)
