# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HAProxy with a configuration of the test's own, small members in this process, and clients that count."""

from __future__ import annotations

import contextlib
import csv
import http.client
import os
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from demo.rig import wait_until
from plugins.module_utils._haproxy.process import Master
from plugins.module_utils._haproxy.runtime_api import RuntimeApi
from plugins.module_utils._traffic.haproxy import PROVIDER
from plugins.module_utils._traffic.haproxy_servers import HAProxyServers
from plugins.module_utils._traffic.router import Router
from plugins.module_utils._traffic.split import Split

COLOURS = ("blue", "green")
BLUE, GREEN = Split.only(COLOURS, "blue"), Split.only(COLOURS, "green")
DEFAULTS = {name: option.get("default") for name, option in PROVIDER.spec["options"].items()}
ONE_BACKEND = {"way": "servers", "backend": "shop", "servers": {"blue": "blue.*", "green": "green.*"}}
TWO_BACKENDS = {"way": "servers", "backends": {"blue": "shop_blue", "green": "shop_green"}}
CHECKED = "check inter 100ms fastinter 50ms downinter 50ms fall 2 rise 1"

HEAD = """
global
    stats socket {home}/admin.sock mode 600 level admin
    maxconn 200
defaults
    mode http
    timeout connect 500ms
    timeout client 20s
    timeout server 5s
    timeout check 2s
    retries 0
"""

FRONTEND = """
frontend front
    bind 127.0.0.1:{front}
    default_backend shop
"""


def green(percent: float) -> Split:
    return Split.parse(COLOURS, {"green": percent})


class App:
    """A member: answers with its name or a status, once its gate is open; can be stopped and started on its port."""

    def __init__(self, name: str) -> None:
        self.name, self.status, self.seen = name, 200, 0
        self.server: ThreadingHTTPServer | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.port = 0
        self.start()

    def start(self) -> None:
        if self.server:
            return
        app = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                healthy = self.path == "/health"
                app.seen += not healthy
                assert healthy or app.gate.wait(60)
                body = app.name.encode()
                self.send_response(200 if healthy else app.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: object) -> None:
                pass  # a health check that only connects

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


class Site:
    """HAProxy and the members that its configuration names, C(blue1) as C(@blue1). A context manager."""

    def __init__(self, home: Path, configuration: str, binary: str, frontend: str = FRONTEND) -> None:
        self.home, self.binary = home, binary
        self.apps: dict[str, App] = {}
        self._place = socket.socket()
        """Keeps the port for HAProxy, which shares it, from all others."""
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._place.bind(("127.0.0.1", 0))
        self.front: int = self._place.getsockname()[1]
        self.configuration = HEAD + frontend + configuration
        self.process: subprocess.Popen[bytes] | None = None
        self.socket, self.master = str(home / "admin.sock"), str(home / "master.sock")

    def __enter__(self) -> Self:
        try:
            self.write(self.configuration)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._place.close()
        for app in self.apps.values():
            app.stop()

    def write(self, configuration: str) -> None:
        """The configuration file, with a member for each C(@name)."""
        text = configuration.format(home=self.home, front=self.front, checked=CHECKED)
        words = text.split("@")
        for index, word in enumerate(words[1:], 1):
            name = word.split(maxsplit=1)[0]
            app = self.apps.setdefault(name, App(name)) if name not in self.apps else self.apps[name]
            words[index] = f"127.0.0.1:{app.port}{word[len(name) :]}"
        (self.home / "haproxy.cfg").write_text("".join(words))

    def start(self) -> None:
        with (self.home / "haproxy.log").open("ab") as log:
            words = [self.binary, "-W", "-S", f"{self.master},mode,600", "-f", str(self.home / "haproxy.cfg")]
            self.process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        wait_until(self._answers, 30, f"HAProxy answers; see {self.home / 'haproxy.log'}")

    def kill(self) -> None:
        """At once, all of it."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def reload(self) -> None:
        """A new worker, which knows nothing of what was set at run time."""
        master = Master(self.master, 20.0)
        wait_until(master.running, 30, "the master answers")
        master.reload()
        wait_until(self._answers, 30, "the new worker answers")

    def _answers(self) -> bool:
        with contextlib.suppress(Exception):
            return "Uptime" in self.ask("show info")[0]
        return False

    def ask(self, *commands: str) -> list[str]:
        return RuntimeApi(self.socket, 20.0).ask(*commands)

    def set(self, *verbs: str) -> None:
        """C(shop/blue1 state maint), and so on."""
        answers = self.ask(*(f"set server {verb}" for verb in verbs))
        assert not any(answers), answers

    def states(self) -> dict[str, tuple[int, int]]:
        """What a command can set: maintenance and drain, and the weight."""
        lines = "\n".join(self.ask("show servers state")).splitlines()
        rows = [line.split() for line in lines if line[:1].isdigit() and " " in line]
        return {f"{row[1]}/{row[3]}": (int(row[6]) & 0x09, int(row[7])) for row in rows}

    def rows(self) -> list[dict[str, str]]:
        """What HAProxy counts."""
        return list(csv.DictReader(self.ask("show stat")[0].lstrip("# ").splitlines()))

    def queued(self, backend: str) -> int:
        return sum(int(row["qcur"] or 0) for row in self.rows() if row["pxname"] == backend)

    def wait_for(self, **up: bool) -> None:
        """Until HAProxy sees the named servers as up, or as down."""

        def seen() -> bool:
            status = {row["svname"]: row["status"].partition(" ")[0] for row in self.rows()}
            return all((status[name] != "DOWN") == is_up for name, is_up in up.items())

        wait_until(seen, 30, f"HAProxy sees {up}")

    def router(self, **options: Any) -> HAProxyServers:
        router = self.any_router(**(options or ONE_BACKEND))
        assert isinstance(router, HAProxyServers)
        return router

    def any_router(self, **options: Any) -> Router:
        return PROVIDER.build(COLOURS, {**DEFAULTS, "socket": self.socket, **options})

    # --- Clients ------------------------------------------------------------------------------------------

    def get(self, cookie: str = "") -> str:
        """One client: who answered, or the status, or C(none)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.front, timeout=20)
        try:
            connection.request("GET", "/", headers={"Cookie": cookie} if cookie else {})
            answer = connection.getresponse()
            body = answer.read().decode()
        except (OSError, http.client.HTTPException):
            return "none"
        finally:
            connection.close()
        return body if answer.status == 200 else str(answer.status)

    def clients(self, many: int = 40) -> Counter[str]:
        return Counter(self.get() for _time in range(many))

    def colours(self, many: int = 40) -> Counter[str]:
        """The same by colour."""
        return Counter(who.rstrip("0123456789") or who for who in self.clients(many).elements())

    @contextlib.contextmanager
    def load(self) -> Iterator[Counter[str]]:
        """Clients one after the other for as long as the block takes."""
        done, seen = threading.Event(), Counter[str]()

        def ask() -> None:
            while not done.is_set():
                seen[self.get()] += 1

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            wait_until(lambda: seen.total() > 2, 30, "clients ask")
            yield seen
            reached = seen.total() + 5
            wait_until(lambda: seen.total() >= reached, 60, "clients ask on")
        finally:
            done.set()
            thread.join(60)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
