# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random load balancers, and what people do to them. One number makes each of them, the same each time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.integration.haproxy_site import COLOURS, FRONTEND

BY_NUMBER = """
frontend front
    bind 127.0.0.1:{front}
    use_backend shop_green if {{ nbsrv(shop_green) gt 0 }}
    default_backend shop_blue
"""
NAMELESS = """
resolvers nobody
    nameserver none 127.0.0.1:9
    resolve_retries 1
    timeout retry 100ms
    timeout resolve 100ms
"""


@dataclass
class Server:
    """A line of the configuration, and what was done to it at run time."""

    name: str
    colour: str | None
    weight: int | None = None
    backup: bool = False
    disabled: bool = False
    checked: bool = True
    tracks: str = ""
    agent: str = ""
    """What its agent says."""
    alive: bool = True
    repaired: bool = False
    """In maintenance by hand."""
    set_weight: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether nothing speaks against it but its weight."""
        return not (self.disabled or self.tracks or self.agent or self.repaired) and self.alive

    def line(self, cookies: bool) -> str:
        health = f"track {self.tracks}" if self.tracks else "{checked}" if self.checked else ""
        words = [f"server {self.name} @{self.name}", health]
        words += [f"weight {self.weight}"] if self.weight is not None else []
        words += [f"agent-check agent-port {self.agent} agent-inter 100ms"] if self.agent else []
        words += ["backup"] if self.backup else []
        words += ["disabled"] if self.disabled else []
        words += [f"cookie {self.name}"] if cookies else []
        return f"    {' '.join(word for word in words if word)}"


@dataclass
class World:
    seed: int
    two_backends: bool
    lower_with: str
    balance: str
    cookies: bool
    sticks: bool
    all_backups: bool
    slots: str
    """The colour that has template slots without an address."""
    servers: list[Server]
    acts: list[tuple[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, seed: int, agents: dict[str, int]) -> World:
        """``agents``: what they say, and on which port."""
        dice = random.Random(seed)
        two = dice.random() < 0.3
        servers = [
            server
            for colour in COLOURS
            for server in _of_colour(
                dice, colour, dice.choice((0, 1, 1, 2, 2, 2, 3, 3) if not two else (1, 2, 2)), agents
            )
        ]
        if not two and dice.random() < 0.1:
            servers.append(Server("typo1", None, checked=False, backup=dice.random() < 0.5))
        dice.shuffle(servers)
        servers.sort(key=lambda server: bool(server.tracks))
        world = cls(
            seed=seed,
            two_backends=two,
            lower_with=dice.choice(("drain", "drain", "maint")),
            balance=dice.choice(("roundrobin",) * 6 + ("leastconn", "static-rr", "source")),
            cookies=dice.random() < 0.1,
            sticks=dice.random() < 0.05,
            all_backups=dice.random() < 0.3,
            slots=dice.choice((*COLOURS, *[""] * 10)),
            servers=servers,
        )
        world.acts = [*_prepared(dice, world), *_acts(dice, world)]
        return world

    def backend(self, colour: str | None) -> str:
        return f"shop_{colour}" if self.two_backends else "shop"

    def of_colour(self, colour: str) -> list[Server]:
        return [server for server in self.servers if server.colour == colour]

    @property
    def options(self) -> dict[str, Any]:
        ways: dict[str, Any] = (
            {"backends": {colour: f"shop_{colour}" for colour in COLOURS}}
            if self.two_backends
            else {"backend": "shop", "servers": {colour: f"{colour}.*" for colour in COLOURS}}
        )
        return {"way": "servers", "lower_with": self.lower_with, "timeout": 2.0, **ways}

    @property
    def frontend(self) -> str:
        return BY_NUMBER if self.two_backends else FRONTEND

    @property
    def configuration(self) -> str:
        backends = [self.backend(colour) for colour in COLOURS] if self.two_backends else ["shop"]
        return NAMELESS + "\n".join(self._backend(backend) for backend in backends) + "\n"

    def _backend(self, backend: str) -> str:
        lines = [f"backend {backend}", f"    balance {self.balance}"]
        lines += ["    cookie SRV insert indirect"] if self.cookies else []
        lines += ["    stick-table type ip size 1k", "    stick on src"] if self.sticks else []
        lines += ["    option allbackups"] if self.all_backups else []
        lines += [s.line(self.cookies) for s in self.servers if self.backend(s.colour) == backend]
        if self.slots and self.backend(self.slots) == backend:
            lines += [f"    server-template {self.slots}9 2 nowhere.invalid:80 resolvers nobody init-addr none"]
        return "\n".join(lines)

    def can_serve(self, colour: str) -> bool:
        """Whether a plain member of the colour could surely serve; false where that is not sure."""
        mine = self.of_colour(colour)
        weights = [_now(server) for server in mine]
        static = self.balance in ("static-rr", "source")
        idle = not any(weights)
        return any(
            server.is_plain and (weight or (idle and not static)) and not (static and server.set_weight is not None)
            for server, weight in zip(mine, weights, strict=True)
        )

    def hides_dead(self, colour: str) -> bool:
        """Whether HAProxy cannot know that one of the colour is dead, whose weight may be 256 of 257."""
        return any(not (server.alive or server.checked) for server in self.of_colour(colour))

    def is_healthy(self, colour: str) -> bool:
        """Whether nothing of the colour could fail a request."""
        return all(server.is_plain and server.checked for server in self.of_colour(colour))


def _now(server: Server) -> int:
    return server.set_weight if server.set_weight is not None else 1 if server.weight is None else server.weight


def _of_colour(dice: random.Random, colour: str, many: int, agents: dict[str, int]) -> Iterator[Server]:
    weights: tuple[int | None, ...] = dice.choice(((None,), (None,), (100,), (0,), (0, 100), (1, 256), (5, 7)))
    backups = dice.random() < 0.15
    for number in range(1, many + 1):
        yield Server(
            f"{colour}{number}",
            colour,
            weight=dice.choice(weights),
            backup=backups or dice.random() < 0.05,
            disabled=dice.random() < 0.08,
            checked=dice.random() < 0.8,
            tracks="",
            agent=str(agents[dice.choice([*agents])]) if dice.random() < 0.06 else "",
            alive=dice.random() < 0.9,
        )


def _prepared(dice: random.Random, world: World) -> Iterator[tuple[str, Any]]:
    """Somebody has put the idle colour aside, mostly; and this and that."""
    if dice.random() < 0.7:
        yield "lower", dice.choice(COLOURS)
    for server in world.servers:
        if server.colour and dice.random() < 0.06:
            yield "repair", server.name
        if server.colour and dice.random() < 0.06 and world.balance not in ("static-rr", "source"):
            # in maintenance, weight 0 is the mark of who was lowered
            yield "weigh", (server.name, dice.choice((0, 1, 30, 256) if world.lower_with == "drain" else (1, 30, 256)))


def _acts(dice: random.Random, world: World) -> Iterator[tuple[str, Any]]:
    for _time in range(dice.randint(2, 4)):
        between = dice.random()
        if between < 0.1:
            yield "reload", None
        elif between < 0.15:
            yield "kill", None
        elif between < 0.22 and world.servers:
            yield dice.choice(("stop", "start", "repair")), dice.choice(world.servers).name
        yield dice.choice(("move", "move", "move", "force", "fail", "back")), _share(dice)


def _share(dice: random.Random) -> int:
    """Of green."""
    return dice.choice((0, 0, 100, 100, 100, 10, 50))
