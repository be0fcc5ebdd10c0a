# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HAProxy in front of real apps: what the role sets up, and what an ops team may have written itself."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from demo import measure
from demo.rig import ROOT, Rig, free_ports, load_command, wait_until
from plugins.module_utils._haproxy.runtime_api import RuntimeApi
from plugins.module_utils._traffic.haproxy import PROVIDER
from plugins.module_utils._traffic.route import Route
from plugins.module_utils._traffic.router import Router
from plugins.module_utils._traffic.split import Split
from plugins.module_utils._traffic.switch import Order, switch
from tests.unit.plugins.modules.process import run_module

COLOURS = ("blue", "green")
BLUE, GREEN = Split.only(COLOURS, "blue"), Split.only(COLOURS, "green")
DEFAULTS = {name: option.get("default") for name, option in PROVIDER.spec["options"].items()}
FAST_CHECKS = "default-server check inter 100ms fastinter 50ms downinter 50ms fall 2 rise 1"

FOREIGN = """
# What follows was not written with this collection in mind.
global
    stats socket {home}/operator.sock mode 600 level operator
    stats socket ipv4@127.0.0.1:{tcp} level admin

frontend front_one
    bind 127.0.0.1:{one}
    default_backend one

backend one
    option httpchk GET /health
    {checks}
{one_servers}

frontend front_two
    bind 127.0.0.1:{two}
    use_backend two_green if {{ nbsrv(two_green) gt 0 }}
    default_backend two_blue

backend two_blue
    option httpchk GET /health
    {checks}
{blue_servers}

backend two_green
    option httpchk GET /health
    {checks}
{green_servers}

backend nobody

backend dead
    {checks}
    server dead1 127.0.0.1:{closed}
"""


def green(percent: float) -> Split:
    return Split.parse(COLOURS, {"green": percent})


class Balancer:
    """The load balancer ``lb1`` of a rig: how it is reached in each way, and what it holds now."""

    def __init__(self, directory: Path, binary: str) -> None:
        one, two, tcp, self.closed = free_ports(4)
        self.rig = Rig(directory, haproxy_binary=binary)
        self.home = self.rig.home("lb1")
        self.map = self.home / "bluegreen.map"
        self.socket, self.tcp = str(self.home / "admin.sock"), f"127.0.0.1:{tcp}"
        self.operator_socket = str(self.home / "operator.sock")
        self.fronts = {
            "map": self.rig.fronts["lb1"],
            "one": f"http://127.0.0.1:{one}",
            "two": f"http://127.0.0.1:{two}",
        }
        self.rig.role_options["haproxy_extra"] = FOREIGN.format(
            home=self.home,
            tcp=tcp,
            one=one,
            two=two,
            closed=self.closed,
            checks=FAST_CHECKS,
            one_servers=self._servers("blue", "green"),
            blue_servers=self._servers("blue"),
            green_servers=self._servers("green"),
        )

    def _servers(self, *colours: str) -> str:
        members = [member for colour in colours for member in self.rig.of(colour)]
        return "\n".join(f"    server {member.name} 127.0.0.1:{member.port}" for member in members)

    def start(self) -> None:
        self.rig.write_inventory()
        self.rig.deploy("blue", "1.0")
        self.rig.deploy("green", "1.1")
        self.rig.set_up_load_balancers()
        wait_until(lambda: "DOWN" in self.ask("show stat dead 4 -1")[0], 20, "HAProxy sees that a server is dead")

    # --- What the product is given ------------------------------------------------------------------------

    def options(self, way: str) -> dict[str, Any]:
        """The options of a route in that way, as an inventory has them."""
        ways: dict[str, dict[str, Any]] = {
            "map": {"map": str(self.map), "key": "shop"},
            "one": {"way": "servers", "backend": "one", "servers": {"blue": "blue.*", "green": "green.*"}},
            "two": {"way": "servers", "backends": {"blue": "two_blue", "green": "two_green"}},
        }
        return {"socket": self.socket, **ways[way]}

    def route(self, way: str = "map", name: str = "lb1", **more: Any) -> dict[str, Any]:
        return {"name": name, "provider": "haproxy", "haproxy": {**self.options(way), **more}}

    def router(self, way: str) -> Router:
        return PROVIDER.build(COLOURS, {**DEFAULTS, **self.options(way)})

    def move(self, wanted: Split, way: str = "map") -> None:
        switch([Route("lb1", self.router(way))], Order(wanted))

    def module(self, name: str, way: str = "map", **options: Any) -> dict[str, Any]:
        return run_module(name, **{"routes": [self.route(way)], **options})

    # --- What there is ------------------------------------------------------------------------------------

    def ask(self, *commands: str) -> list[str]:
        return RuntimeApi(self.socket, 20.0).ask(*commands)

    def entry(self) -> str:
        return self.ask(f"get map {self.map} shop")[0].split('value="')[1].split('"')[0]

    def states(self) -> dict[str, tuple[str, str]]:
        """The admin state and weight of each server."""
        lines = "\n".join(self.ask("show servers state")).splitlines()
        rows = [line.split() for line in lines if line[:1].isdigit() and " " in line]
        return {f"{row[1]}/{row[3]}": (row[6], row[7]) for row in rows}

    def everything(self) -> tuple[Any, ...]:
        """All that a switch may change."""
        names = sorted({p.name for p in self.home.iterdir()} - {f".bluegreen-{self.map.name}.lock"})
        return self.entry(), self.map.read_bytes(), names, self.states()

    def reset(self) -> None:
        """All traffic to blue in every way, and all servers up."""
        servers = [server for server in self.states() if not server.startswith("dead/")]
        orders = [f"set server {server} {verb}" for server in servers for verb in ("weight 100%", "state ready")]
        orders += [f"set server {server} state drain" for server in servers if server.startswith(("one/g", "two_g"))]
        text = "# One line is the whole routing state of an app\nshop blue:green:0\n"
        self.map.write_text(text)
        assert not any(self.ask(*orders, f"set map {self.map} shop blue:green:0"))
        wait_until(self._all_up, 20, "all servers are up")

    def _all_up(self) -> bool:
        lines = "\n".join(self.ask("show servers state")).splitlines()
        rows = [line.split() for line in lines if line[:1].isdigit() and " " in line]
        return all(row[5] == "2" for row in rows if row[1] != "dead")

    def fault(self, colour: str, **faults: Any) -> None:
        for member in self.rig.of(colour):
            with Client(member.url) as client:
                assert client.ask("POST", "/_ctl", body=json.dumps(faults)).status == 200

    # --- HAProxy's process --------------------------------------------------------------------------------

    def process(self, state: str) -> dict[str, Any]:
        hosts = json.loads(self.rig.inventory.read_text())["all"]["children"]["load_balancers"]["hosts"]["lb1"]
        return run_module(
            "haproxy_process",
            config=hosts["haproxy_config"],
            master_socket=hosts["haproxy_master_socket"],
            pid_file=hosts["haproxy_pid_file"],
            binary=hosts["haproxy_binary"],
            state=state,
        )


@dataclass(frozen=True)
class Reply:
    status: int
    colour: str
    cookie: str
    """What the answer sets, without its attributes."""


class Client:
    """A keep-alive connection. A context manager."""

    def __init__(self, url: str) -> None:
        host, _colon, port = url.removeprefix("http://").partition(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def ask(self, method: str = "GET", path: str = "/", body: str = "", **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body or None, named)
        answer = self.connection.getresponse()
        answer.read()
        cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
        return Reply(answer.status, answer.getheader("X-Colour") or "", cookie)


@dataclass
class Load:
    """The demo's live load on a front, until it is stopped. A context manager."""

    front: str
    out: Path
    more: tuple[str, ...] = ()
    last: dict[str, Any] = field(default_factory=lambda: {"requests": 0})
    head: dict[str, Any] = field(default_factory=dict)
    records: list[measure.Record] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            load_command(self.front, self.out, *self.more), cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        return self

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            self.last = json.loads(line)

    def wait_for(self, more: int) -> None:
        """Until so many more requests were answered."""
        wanted = self.last["requests"] + more
        wait_until(lambda: self.last["requests"] >= wanted, 60, f"{more} requests are answered")

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait()
            self._listener.join()
            if self._process.stdout:
                self._process.stdout.close()
        with self.out.open() as file:
            self.head, self.records = measure.parse(file)

    @property
    def losses(self) -> list[Mapping[str, Any]]:
        """What failed; a GET that lost a race and was repeated has not failed."""
        return [*self.head["failures"]] if self.head["failed"] or self.head["websockets"]["lost"] else []


@contextlib.contextmanager
def asking(front: str) -> Iterator[None]:
    """Requests one after the other, as long as the block takes."""
    done = threading.Event()

    def ask() -> None:
        with Client(front) as client:
            while not done.is_set():
                client.ask()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(30)


def playbook(rig: Rig, path: Path, tasks: list[dict[str, Any]], *more: str) -> subprocess.CompletedProcess[str]:
    """Run the tasks on the load balancer."""
    play = {"hosts": "lb1", "gather_facts": False, "tasks": tasks}
    path.write_text(json.dumps([play]))
    return subprocess.run(
        rig.command(str(path), *more), env=rig.environment(), capture_output=True, text=True, check=False, timeout=120
    )
