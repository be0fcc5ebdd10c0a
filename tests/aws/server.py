# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server: faults, log and latency first, then moto, then the data plane is told."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from http.client import responses
from typing import Any

# Before moto is imported: its images of machines take longer to load than a test lasts.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import ThreadedWSGIServer

from . import admin, patches
from .call import Call, error_body, read_call
from .faults import Failure
from .state import LOCK, SETTINGS
from .world import World

LOG = logging.getLogger(__name__)
HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
MOVES = frozenset({"elbv2", "elb", "autoscaling", "ec2", "cloudformation"})
"""Services whose changes may move requests."""

Answer = tuple[int, list[tuple[str, str]], bytes]


class Handler(MotoRequestHandler):
    def log_request(self, *_: object) -> None:
        """The calls are in the log that tests read."""

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        """By a fault too; there is no other request on it."""
        self.close_connection = True


class Server(ThreadedWSGIServer):
    daemon_threads = True
    request_queue_size = 256

    def shutdown_request(self, request: Any) -> None:
        """Without a word of goodbye first, so that a connection that is to be reset is reset."""
        self.close_request(request)


class ConnectionEndedError(ConnectionError):
    """The connection of this call ends without an answer."""


class Application:
    def __init__(self, world: World) -> None:
        self.world = world
        self.moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        path = environ.get("PATH_INFO", "")
        if path.startswith(admin.PREFIX):
            status, content = admin.answer(self.world, environ["REQUEST_METHOD"], path, body)
            answer: Answer = (int(status), [("Content-Type", "application/json")], content)
        else:
            answer = self._call(environ)
        status_code, headers, content = answer
        start_response(f"{status_code} {responses.get(status_code, 'Unknown')}", _with_length(headers, content))
        return [content]

    def _call(self, environ: dict[str, Any]) -> Answer:
        call = read_call(environ)
        told = call.told()
        self.world.calls.append(told)
        if SETTINGS.latency_ms:
            time.sleep(SETTINGS.latency_ms / 1000)
        failure = self.world.faults.of(call)
        if failure:
            told["fault"] = failure.code or failure.kind
            return self._fail(failure, call, environ)
        answer = self._ask_moto(call, environ)
        told["status"] = answer[0]
        return answer

    def _fail(self, failure: Failure, call: Call, environ: dict[str, Any]) -> Answer:
        if failure.kind == "error":
            return _error(call, failure.status, failure.code, failure.message)
        if failure.kind == "html":
            return 502, [("Content-Type", "text/html")], HTML
        if failure.kind == "hang":
            self.world.faults.hang()
        if failure.kind == "after":
            self._ask_moto(call, environ)
        _reset(environ["werkzeug.socket"])
        raise ConnectionEndedError

    def _ask_moto(self, call: Call, environ: dict[str, Any]) -> Answer:
        with LOCK:
            try:
                answer = _collected(self.moto, environ)
            except Exception as error:
                LOG.exception("%s %s", call.service, call.action)
                return _error(call, 500, "InternalFailure", f"moto: {type(error).__name__}: {error}")
            if call.changes and call.service in MOVES:
                self.world.refresh()
        return answer


def _collected(application: Any, environ: dict[str, Any]) -> Answer:
    told: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> None:
        told[:] = [int(status.partition(" ")[0]), headers]

    pieces = application(environ, start_response)
    try:
        content = b"".join(pieces)
    finally:
        if hasattr(pieces, "close"):
            pieces.close()
    return told[0], told[1], content


def _error(call: Call, status: int, code: str, message: str) -> Answer:
    content_type, content = error_body(call, code, message)
    return status, [("Content-Type", content_type)], content


def _with_length(headers: list[tuple[str, str]], content: bytes) -> list[tuple[str, str]]:
    kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
    return [*kept, ("Content-Length", str(len(content)))]


def _reset(connection: socket.socket) -> None:
    """Closed later, it is reset then, whatever the other end has yet to say."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextlib.contextmanager
def serve() -> Iterator[int]:
    """On a free port of loopback, which it yields. Once a process: moto's state is the process's."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    patches.apply()
    world = World()
    server = Server("127.0.0.1", 0, Application(world), handler=Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="server")
    world.start()
    thread.start()
    try:
        yield server.port
    finally:
        world.faults.clear()
        server.shutdown()
        world.stop()
        server.server_close()
