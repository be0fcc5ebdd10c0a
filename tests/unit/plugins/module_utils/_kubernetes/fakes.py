# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP server that answers as a script says: for what a sound API server does not do on demand."""

from __future__ import annotations

import json
import threading
import typing as t
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Say:
    """One answer. ``then``: "end" as HTTP has it, "cut" the connection, or "hang"."""

    body: t.Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    then: str = "end"

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def refusal(status: int, message: str, **headers: str) -> Say:
    """As the API server refuses: a Status object."""
    return Say({"kind": "Status", "status": "Failure", "message": message, "code": status}, status, headers)


def events(*lines: t.Any, then: str = "end") -> Say:
    return Say(b"".join(json.dumps(line).encode() + b"\n" for line in lines), then=then)


class Server:
    """Answers each request with the next of ``script``; ``asked`` holds method, path, headers and body of each."""

    def __init__(self, *script: Say) -> None:
        self.script = list(script)
        self.asked: list[tuple[str, str, dict[str, str], t.Any]] = []
        self._over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: t.Any) -> None:
                pass

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.asked.append((self.command, self.path, headers, json.loads(body) if body else None))
                say = outer.script.pop(0)
                if say.then == "hang" and say.body is None:
                    outer._over.wait(20)
                elif say.body is not None:
                    self.say(say)
                self.close_connection = say.then != "end"

            def say(self, say: Say) -> None:
                content = say.content()
                self.send_response(say.status)
                for name, value in say.headers.items():
                    self.send_header(name.replace("_", "-"), value)
                if say.then == "end":
                    self.send_header("content-length", str(len(content)))
                else:  # the last chunk is never sent
                    self.send_header("transfer-encoding", "chunked")
                    content = b"%x\r\n%s\r\n" % (len(content), content)
                self.end_headers()
                self.wfile.write(content)
                self.wfile.flush()
                if say.then == "hang":
                    outer._over.wait(20)

            do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815 -- http.server asks for these names

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(20)


class Time:
    """A clock that goes on by sleeping only."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.passed += seconds
