# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server of a zone, which stands for those of Route 53, and a resolver that asks it and keeps its answers."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.update

from demo.rig import free_ports, wait_until
from tests.cluster.process import end, with_parent

from .program import Program

ZONE = "example.com"
START = 30.0
OPTIONS = """
options {
  directory "%(folder)s"; session-keyfile "%(folder)s/session.key"; pid-file none;
  listen-on port %(port)d { 127.0.0.1; }; listen-on-v6 { none; };
  dnssec-validation no; empty-zones-enable no; notify no; %(more)s
};
controls { };
"""
PRIMARY = 'zone "%s" { type primary; file "zone.db"; allow-update { 127.0.0.1; }; };'
EMPTY = "$TTL 1\n@ SOA ns hostmaster 1 60 60 60 1\n@ NS ns\nns A 127.0.0.1\n"


@dataclass(frozen=True)
class Server:
    port: int

    @property
    def address(self) -> str:
        """As the option ``resolvers`` takes it."""
        return f"127.0.0.1:{self.port}"

    def answers(self) -> bool:
        with contextlib.suppress(OSError, dns.exception.DNSException):
            question = dns.message.make_query(f"ns.{ZONE}", "A")
            return dns.query.udp(question, "127.0.0.1", 1.0, self.port).rcode() == dns.rcode.NOERROR
        return False

    def put(self, name: str, ttl: int, kind: str, *values: str) -> None:
        """What the server of the zone answers from now on."""
        update = dns.update.Update(ZONE)
        update.delete(f"{name}.{ZONE}.")
        if values:
            update.add(f"{name}.{ZONE}.", ttl, kind, *values)
        assert dns.query.tcp(update, "127.0.0.1", 5.0, self.port).rcode() == dns.rcode.NOERROR


@dataclass(frozen=True)
class Dns:
    authority: Server
    resolver: Server


@contextlib.contextmanager
def running(program: Program, folder: Path) -> Iterator[Dns]:
    ports = free_ports(2)
    forward = f"recursion yes; forward only; forwarders {{ 127.0.0.1 port {ports[0]}; }};"
    with (
        _named(program, folder / "authority", ports[0], "recursion no;", PRIMARY % ZONE) as authority,
        _named(program, folder / "resolver", ports[1], forward) as resolver,
    ):
        yield Dns(authority, resolver)


@contextlib.contextmanager
def _named(program: Program, folder: Path, port: int, more: str, zones: str = "") -> Iterator[Server]:
    folder.mkdir(parents=True)
    settings = folder / "named.conf"
    settings.write_text(OPTIONS % {"folder": folder, "port": port, "more": more} + zones)
    (folder / "zone.db").write_text(EMPTY)
    server, log = Server(port), folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            with_parent([program.path, "-g", "-n", "1", "-c", str(settings)]),
            env=program.environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        wait_until(lambda: process.poll() is not None or server.answers(), START, f"BIND answers on port {port}")
        if process.poll() is not None:
            raise RuntimeError(f"BIND ended: {log.read_text()[-2000:]}")
        yield server
    finally:
        end(process, 10)
