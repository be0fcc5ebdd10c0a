# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HAProxy on loopback with as many servers as asked for. All servers of a colour share one address."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from demo.rig import COLOURS, find_haproxy, free_ports

from .bench import BrokenError, get, process
from .play import Task

PEER = "community.general.haproxy"
GLOBAL = """\
global
    stats socket {home}/admin.sock mode 600 level admin
    maxconn 1000

defaults
    mode http
    balance roundrobin
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    default-server check inter 10s
"""
ANSWERS = """
frontend answers_{colour}
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string {colour}
"""
MAP = """
frontend shop
    bind 127.0.0.1:{front}
    use_backend shop_%[str(shop),map({home}/shop.map),field(1,:)]

backend shop_blue
    server-template blue 1-{each} 127.0.0.1:{blue}

backend shop_green
    server-template green 1-{each} 127.0.0.1:{green}
"""
SERVERS = """
frontend shop
    bind 127.0.0.1:{front}
    default_backend pool

backend pool
    server-template blue 1-{each} 127.0.0.1:{blue}
    server-template green 1-{each} 127.0.0.1:{green}
"""


class Balancer:
    """One HAProxy with ``servers`` servers, half of them blue and half of them green. It starts on blue."""

    def __init__(self, home: Path, way: str, servers: int) -> None:
        self.home = home
        self.way = way
        self.each = servers // len(COLOURS)
        self.live, self.idle = COLOURS
        self._port, blue, green = free_ports(3)
        text = GLOBAL + {"map": MAP, "servers": SERVERS}[way]
        text += "".join(ANSWERS.format(colour=c, port=p) for c, p in zip(COLOURS, (blue, green), strict=True))
        home.mkdir()
        (home / "shop.map").write_text("shop blue:green:0\n")
        (home / "haproxy.cfg").write_text(
            text.format(home=home, front=self._port, each=self.each, blue=blue, green=green)
        )

    @classmethod
    @contextlib.contextmanager
    def running(cls, home: Path, way: str, servers: int) -> Iterator[Self]:
        balancer = cls(home, way, servers)
        command = [find_haproxy(), "-db", "-f", str(home / "haproxy.cfg")]
        with process(command, balancer._port, home / "haproxy.log"):
            if way == "servers":
                balancer._drain_idle()
            yield balancer

    @property
    def socket(self) -> str:
        return f"{self.home}/admin.sock"

    def _drain_idle(self) -> None:
        words = [f"set server pool/{self.idle}{n} state drain" for n in range(1, self.each + 1)]
        with socket.socket(socket.AF_UNIX) as api:
            api.settimeout(5)
            api.connect(self.socket)
            api.sendall(";".join(words).encode() + b"\n")
            while api.recv(4096):
                pass
        self.prove()

    def move(self, name: str) -> list[Task]:
        """Move all traffic to the idle colour with our module; and prove it, under a name of its own."""
        self.live, self.idle = self.idle, self.live
        haproxy: dict[str, Any] = {"socket": self.socket, "way": self.way}
        if self.way == "map":
            haproxy |= {"map": f"{self.home}/shop.map", "key": "shop"}
        else:
            haproxy |= {"backend": "pool", "servers": {colour: f"{colour}[0-9]+" for colour in COLOURS}}
        route = {"name": "lb", "provider": "haproxy", "haproxy": haproxy}
        return [{"name": name, "bluegreen.deploy.traffic": {"routes": [route], "to": self.live}}, self._proof()]

    def move_by_peer(self, name: str) -> list[Task]:
        """The same, server by server: enable the new ones, then drain the old ones."""
        old, new = self.live, self.idle
        self.live, self.idle = new, old
        loop = [(f"{new}{n}", "enabled") for n in range(1, self.each + 1)]
        loop += [(f"{old}{n}", "drain") for n in range(1, self.each + 1)]
        return [self.peer_task(name, loop), self._proof()]

    def peer_task(self, name: str, loop: list[tuple[str, str]]) -> Task:
        words = {"socket": self.socket, "backend": "pool", "host": "{{ item[0] }}", "state": "{{ item[1] }}"}
        return {"name": name, PEER: words, "loop": loop}

    def _proof(self) -> Task:
        """Ask at the front, and not the module that says it has moved the traffic."""
        fronts = ", ".join([f"'http://127.0.0.1:{self._port}/'"] * 4)
        that = f"query('ansible.builtin.url', {fronts}, use_proxy=false) | unique == ['{self.live}']"
        return {
            "name": "proof",
            "ansible.builtin.assert": {"that": that, "fail_msg": f"{self.home.name} is not on {self.live}"},
        }

    def prove(self) -> None:
        """Ask at the front until each server has had its turn."""
        colours = {get(self._port, "/") for _turn in range(2 * self.each)}
        if colours != {self.live}:
            raise BrokenError(f"{self.home.name} should be on {self.live}, and answers {' and '.join(colours)}")
