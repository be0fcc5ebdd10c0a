# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is refused, is refused before anything moves; whatever fails, comes home; whatever is down, can be brought
up: asked of the clients of random load balancers.

    BLUEGREEN_WORLDS=2000 python -m pytest tests/integration/targets/worlds     as many, or from one to another: 40-2000
    BLUEGREEN_WORLD=1234 python -m pytest tests/integration/targets/worlds      the one with this number
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.rig import find_haproxy, wait_until
from plugins.module_utils._errors import BlueGreenError, NotVerifiedError, UndoFailedError
from plugins.module_utils._traffic.haproxy_servers import HAProxyServers
from plugins.module_utils._traffic.route import Route
from plugins.module_utils._traffic.split import Split
from plugins.module_utils._traffic.switch import Order, switch
from tests.integration.haproxy_site import COLOURS, Site, green
from tests.integration.worlds import World

ONE = os.environ.get("BLUEGREEN_WORLD")
FIRST, _dash, LAST = os.environ.get("BLUEGREEN_WORLDS", "100").rpartition("-")
SEEDS = [int(ONE)] if ONE else [*range(int(FIRST or 0), int(LAST))]
FEW = 8


@pytest.fixture(scope="module")
def agents() -> Iterator[dict[str, int]]:
    """Agents of HAProxy, which say one thing each."""
    listeners = {said: socket.create_server(("127.0.0.1", 0)) for said in ("up", "50%", "drain")}

    def answer(said: str, listener: socket.socket) -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(f"{said}\n".encode())

    threads = [threading.Thread(target=answer, args=each, daemon=True) for each in listeners.items()]
    for thread in threads:
        thread.start()
    yield {said: listener.getsockname()[1] for said, listener in listeners.items()}
    for listener in listeners.values():
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


class Life:
    """A world while things are done to it, and what its clients may then get."""

    def __init__(self, world: World, site: Site) -> None:
        self.world, self.site = world, site

    def live(self) -> None:
        for server in self.world.servers:
            if not server.alive:
                self.site.apps[server.name].stop()
        for act, what in self.world.acts:
            self.settle()
            getattr(self, act)(what)

    # --- What others do -----------------------------------------------------------------------------------

    def lower(self, colour: str) -> None:
        for server in self.world.of_colour(colour):
            if not server.disabled:
                self.site.set(f"{self.place(server.name)} state {self.world.lower_with}")

    def repair(self, name: str) -> None:
        server = self.server(name)
        if server.colour and self.world.lower_with == "drain":  # with maintenance it looks like ours
            self.site.set(f"{self.place(name)} state maint")
            server.repaired = True

    def weigh(self, what: tuple[str, int]) -> None:
        name, weight = what
        self.site.set(f"{self.place(name)} weight {weight}")
        self.server(name).set_weight = weight

    def stop(self, name: str) -> None:
        self.site.apps[name].stop()
        self.server(name).alive = False

    def start(self, name: str) -> None:
        self.site.apps[name].start()
        self.server(name).alive = True

    def reload(self, _what: None) -> None:
        self.site.reload()
        self.forget()

    def kill(self, _what: None) -> None:
        self.site.kill()
        self.site.start()
        self.forget()

    def forget(self) -> None:
        for server in self.world.servers:
            server.repaired, server.set_weight = False, None

    # --- What we do ---------------------------------------------------------------------------------------

    def move(self, percent: int, **order: Any) -> None:
        wanted = green(percent)
        states, got = self.site.states(), set(self.site.colours(FEW))
        router = self.router()
        split = router.read()
        try:
            with self.site.load() as seen:
                (outcome,) = switch([Route("lb", router)], self.order(wanted, **order))
        except BlueGreenError as error:
            self.failed(error, wanted, states, got, split)
            return
        if outcome.changed and split and self.is_fine(split) and self.is_fine(wanted):
            assert not {who for who in seen if who.isdecimal() or who == "none"}, seen
        self.arrived(wanted, outcome.verified, order.get("force", False))

    def force(self, percent: int) -> None:
        self.move(percent, force=True)
        for server in self.world.servers:  # who was in maintenance may have been raised
            server.repaired = server.repaired and bool(self.site.states()[self.place(server.name)][0] & 1)

    def back(self, percent: int) -> None:
        self.move(percent, all_or_nothing=False)

    def fail(self, percent: int) -> None:
        """A change that is not seen in force in the end."""
        states, got = self.site.states(), set(self.site.colours(FEW))
        router = Broken(self.router())
        split = router.read()
        try:
            (outcome,) = switch([Route("lb", router)], self.order(green(percent)))  # type: ignore[arg-type]
        except BlueGreenError as error:
            self.failed(error, green(percent), states, got, split)
        else:
            assert not outcome.changed

    # --- What must hold -----------------------------------------------------------------------------------

    def failed(
        self,
        error: BlueGreenError,
        wanted: Split,
        states: dict[str, tuple[int, int]],
        got: set[str],
        split: Split | None,
    ) -> None:
        """Home again, or never gone: for those who look, and for clients."""
        if isinstance(error, UndoFailedError):
            assert any(server.agent for server in self.world.servers), error.message  # home may be drained meanwhile
            return
        if split is not None:
            for place, state in self.ours(states).items():
                assert self.site.states()[place] == state, error.message
            new = set(self.site.colours(FEW)) - got if self.is_steady() else set()
            assert not {colour for colour in new if colour in COLOURS and not split.share(colour)}, error.message
            assert not {who for who in new if who.isdecimal()} or not self.is_fine(split), error.message
        if isinstance(self.router(), HAProxyServers) and not self.is_odd():
            whole = wanted.leader and wanted.share(wanted.leader) == 10000
            unverified = error.code == "not_verified" and "Broken" in error.message
            assert unverified or not (whole and self.world.can_serve(wanted.leader or "")), error.message

    def arrived(self, wanted: Split, verified: bool | None, forced: bool) -> None:
        if any(server.agent for server in self.world.servers):
            return  # which say something else the moment after
        if forced and self.router().read() is None:
            return  # as was ordered
        assert self.router().read() == wanted
        if not verified or not self.is_steady():
            return
        self.settle()  # who comes out of maintenance is taken for up until the first check
        got = self.site.colours(3 * FEW)
        for colour in COLOURS:
            if not wanted.share(colour):
                assert not got[colour], got
        leader = wanted.leader
        if leader and wanted.share(leader) == 10000 and self.world.can_serve(leader):
            assert got[leader] or self.world.hides_dead(leader), got
        if self.is_fine(wanted) and not leader:
            assert abs(got["blue"] - got["green"]) <= FEW, got

    def is_fine(self, split: Split) -> bool:
        return all(self.world.is_healthy(colour) for colour in COLOURS if split.share(colour)) and self.is_steady()

    def is_steady(self) -> bool:
        """Whether two looks at the clients are to show the same."""
        return not (self.world.cookies or self.world.sticks or any(s.agent for s in self.world.servers))

    def is_odd(self) -> bool:
        """Whether there is a reason to refuse that is none of the colour's own."""
        named = {server.colour for server in self.world.servers} | {self.world.slots or None}
        foreign = any(server.colour is None for server in self.world.servers)
        return foreign or not {*COLOURS} <= named or any(server.agent for server in self.world.servers)

    def ours(self, states: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        """But those that agents change."""
        theirs = {self.place(server.name) for server in self.world.servers if server.agent}
        return {place: state for place, state in states.items() if place not in theirs}

    # --- Helpers ------------------------------------------------------------------------------------------

    def order(self, wanted: Split, **more: Any) -> Order:
        return Order(wanted, mend_drift=True, **{"verify_timeout": 0.5, **more})

    def router(self) -> HAProxyServers:
        return self.site.router(**self.world.options)

    def server(self, name: str) -> Any:
        return next(server for server in self.world.servers if server.name == name)

    def place(self, name: str) -> str:
        return f"{self.world.backend(self.server(name).colour)}/{name}"

    def settle(self) -> None:
        """Until HAProxy's checks know who is alive."""

        def seen() -> bool:
            rows = [line.split(",") for line in self.site.ask("show stat")[0].splitlines()]
            column = rows[0].index("status")
            status = {row[1]: row[column].partition(" ")[0] for row in rows[1:] if len(row) > column}
            return all(
                (status[server.name] != "DOWN") == server.alive
                for server in self.world.servers
                if server.checked and not server.tracks and status[server.name] in ("UP", "DOWN", "DRAIN")
            )

        wait_until(seen, 30, "HAProxy knows who is alive")


class Broken:
    """A router whose change is not seen in force; its way back is."""

    def __init__(self, router: HAProxyServers) -> None:
        self._router, self._fails = router, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._router, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("home", "forced"):
            setattr(self._router, name, value)
        else:
            super().__setattr__(name, value)

    def apply(self, *asked: Any) -> None:
        self._router.apply(*asked)
        self._fails = not self._router.home

    def verify(self, wanted: Split) -> bool | None:
        if self._fails:
            self._fails = False
            raise NotVerifiedError("Broken")
        return self._router.verify(wanted)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_done_to_it_clients_are_never_lost(seed: int, agents: dict[str, int], tmp_path: Path) -> None:
    world = World.of(seed, agents)
    with Site(tmp_path, world.configuration, find_haproxy(), world.frontend) as site:
        try:
            Life(world, site).live()
        except BaseException:
            print(f"BLUEGREEN_WORLD={seed}: {world}\n{world.configuration}")  # noqa: T201 -- for who looks into it
            raise
