# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random listeners of AWS, what is done to them, and a second writer: nothing is written over that was not seen, and
from every state there is a way home.

    BLUEGREEN_WORLDS=0-1000 python -m pytest tests/integration/targets/worlds/test_alb_worlds.py     as many
    BLUEGREEN_WORLD=123 python -m pytest tests/integration/targets/worlds/test_alb_worlds.py         the one
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from plugins.module_utils._aws import client, shared
from plugins.module_utils._errors import BlueGreenError
from plugins.module_utils._traffic.alb import PROVIDER
from plugins.module_utils._traffic.alb_router import weights
from plugins.module_utils._traffic.route import Route
from plugins.module_utils._traffic.split import Split
from plugins.module_utils._traffic.switch import Order, switch
from plugins.module_utils._wait import SYSTEM_CLOCK
from tests.aws.handle import REGION, SECRET, Aws
from tests.aws.scene import ZONES, Scene, forward
from tests.integration.balancer import COLOURS, green

ONE = os.environ.get("BLUEGREEN_WORLD")
FIRST, _dash, LAST = os.environ.get("BLUEGREEN_WORLDS", "30").rpartition("-")
SEEDS = [int(ONE)] if ONE else [*range(int(FIRST or 0), int(LAST))]
PORTS = {"blue": (8001, 8002), "green": (8003, 8004)}
WEIGHTS = ((100, 0), (0, 100), (90, 10), (50, 50), (1, 0), (0, 0), (100, None), (None, 1))
"""Of blue and green; None: it is not forwarded to."""
FAULTS = ("Throttling", "500", "reset", "after")


class Place(Scene):
    """A listener with the groups of both colours and one of somebody else."""

    def __init__(self, aws: Aws) -> None:
        super().__init__(aws)
        client._CLIENTS.clear()
        self.groups = {name: self.group(f"shop-{name}") for name in (*COLOURS, "other")}
        self.arn = self.listener(self.balancer(), {self.groups["blue"]: 1})
        for colour, ports in PORTS.items():
            for port, zone in zip(ports, ZONES, strict=True):
                self.register(self.groups[colour], port, zone=zone)
        keys = {"region": REGION, "access_key": "AKIDTEST", "secret_key": SECRET, "endpoint_url": aws.url}
        named = {colour: self.groups[colour] for colour in COLOURS}
        defaults = {name: option.get("default") for name, option in PROVIDER.spec["options"].items()}
        self.options = {**defaults, **keys, "target_groups": named, "listener_arn": self.arn}
        self.ours = client.connect(self.options)
        self.ours._clock = replace(SYSTEM_CLOCK, sleep=lambda _seconds: None)

    def put(self, actions: list[dict[str, Any]]) -> None:
        self.aws.client("elbv2").modify_listener(ListenerArn=self.arn, DefaultActions=actions)

    def actions(self) -> list[dict[str, Any]]:
        (found,) = self.aws.client("elbv2").describe_listeners(ListenerArns=[self.arn])["Listeners"]
        return list(found["DefaultActions"])


@pytest.fixture(scope="module")
def place(aws_server: Aws) -> Iterator[Place]:
    aws_server.reset()
    yield Place(aws_server)
    aws_server.reset()


class World:
    """One number makes it, the same each time."""

    def __init__(self, seed: int, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        self.random, self.place = random.Random(seed), place
        self.told: list[str] = []
        """What was done, for who looks into it."""
        self.theirs: list[dict[str, int]] = []
        """What the second writer has set while ours was at work."""
        self.second, self.faults, self.begun = -1, 0, 0
        self.strange = self.random.random() < 0.1
        self.ready = {colour: self.random.choice((0, 2, 2, 2)) for colour in COLOURS}
        monkeypatch.setattr(shared, "FRESH", -1.0)  # each look asks: what is seen is what is there
        for name in ("call", "pages", "_send"):
            monkeypatch.setattr(place.ours, name, self._wire(name, getattr(place.ours, name)))
        self._found()

    def _found(self) -> None:
        for colour, ports in PORTS.items():
            for port in ports:
                state = "healthy" if self.ready[colour] else "unhealthy"
                self.place.aws.force_health(self.place.groups[colour], "127.0.0.1", state, port=port)
        self.place.put(self._somehow(self.strange))
        self.told.append(f"ready {self.ready}, {weights(self.place.actions())}")

    def _somehow(self, strange: bool = False) -> list[dict[str, Any]]:
        chosen = zip(COLOURS, self.random.choice(WEIGHTS), strict=True)
        held = {self.place.groups[colour]: weight for colour, weight in chosen if weight is not None}
        if strange or self.random.random() < 0.2:
            held[self.place.groups["other"]] = 5 * strange
        return forward(held, self.random.choice((None, None, 60)))

    def _wire(self, name: str, really: Any) -> Any:
        """What happens right before one of our calls, and to it."""

        def call(service: str, action: str, *more: Any, **asked: Any) -> Any:
            self.begun += 1
            if name == "_send":
                self._unseen_is_not_written_over()
                if self.faults and self.random.random() < 0.6:
                    self.faults -= 1
                    fault = self.random.choice(FAULTS)
                    self.told.append(f"{fault} at our change")
                    self.place.aws.fail("elbv2", "ModifyListener", fault)
            elif self.begun >= self.second >= 0:
                self.second = -1
                self.place.put(self._somehow())
                self.theirs.append(weights(self.place.actions()))
                self.told.append(f"the second writer sets {self.theirs[-1]} before call {self.begun}, {action}")
            return really(service, action, *more, **asked)

        return call

    def _unseen_is_not_written_over(self) -> None:
        place = self.router._place()  # type: ignore[attr-defined]
        assert self.place.actions() == place.known, self.told

    def live(self) -> None:
        for _turn in range(self.random.randint(1, 3)):
            self._move()
        self._home(self.random.choice(COLOURS))

    def _switch(self, wanted: Split, **order: Any) -> None:
        self.router = PROVIDER.build(COLOURS, self.place.options)
        switch([Route("lb", self.router)], Order(wanted, mend_drift=True, verify_timeout=0.1, **order))

    def _move(self) -> None:
        before, wanted = weights(self.place.actions()), green(self.random.choice((0, 10, 50, 100)))
        order = {self.random.choice(("force", "all_or_nothing")): self.random.random() < 0.5}
        self.theirs, self.begun, self.faults = [], 0, self.random.choice((0, 0, 1, 2))
        self.second = self.random.choice((-1, self.random.randint(1, 12)))
        self.told.append(f"to {wanted} with {order}")
        try:
            self._switch(wanted, **order)
        except BlueGreenError as error:
            self._failed(error, before)
        else:
            seen = self.router._place().known  # type: ignore[attr-defined]
            assert self._split(seen) == wanted, self.told
            now = self.place.actions()
            assert now == seen or weights(now) in self.theirs, self.told  # set after the last look
        finally:
            self.second, self.faults = -1, 0

    def _failed(self, error: BlueGreenError, before: dict[str, int]) -> None:
        """As it was before, or as somebody else has left it; or it is told that it is not."""
        self.told.append(error.message)
        known = [shares(each, self.place) for each in (before, *self.theirs)]
        assert shares(weights(self.place.actions()), self.place) in known or error.code == "undo_failed", self.told

    def _home(self, colour: str) -> None:
        """Also where somebody else has a share, which is left; a dead colour beside a living one wants force."""
        wanted = Split.only(COLOURS, colour)
        self.told.append(f"home to {colour}")
        other = weights(self.place.actions()).get(self.place.groups["other"])
        dead = not self.ready[colour] and any(self.ready.values())
        for force in (False, True):
            try:
                self._switch(wanted, all_or_nothing=False, force=force)
            except BlueGreenError as error:
                self._refused(error, dead and not force)
            else:
                assert weights(self.place.actions()).get(self.place.groups["other"]) == other, self.told
                assert self._split(self.place.actions()) == wanted, self.told

    def _refused(self, error: BlueGreenError, rightly: bool) -> None:
        self.told.append(error.message)
        assert rightly, self.told

    def _split(self, actions: list[dict[str, Any]]) -> Split | None:
        found = weights(actions)
        first, second = (found.get(self.place.groups[colour], 0) for colour in COLOURS)
        return Split.of_weights(COLOURS, first, second) if first + second else None


def shares(found: dict[str, int], place: Place) -> tuple[Any, ...]:
    """How the two colours share: of 100 and of 1, and of a group that is not there and one of weight 0, it is the same.

    What somebody else has beside them is not ours to put back.
    """
    ours = [found.get(place.groups[colour], 0) for colour in COLOURS]
    return tuple(round(100 * weight / sum(ours)) if sum(ours) else 0 for weight in ours)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_unseen_is_written_over_and_there_is_a_way_home(
    seed: int, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    World(seed, place, monkeypatch).live()
