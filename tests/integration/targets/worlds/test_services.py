# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody's change of a Service is overwritten without a word, and from every state there is a way home: asked of random
Services, with pods in every state, while somebody else writes at any instant.

    BLUEGREEN_WORLDS=0-1000 python -m pytest tests/integration/targets/worlds/test_services.py
"""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from plugins.module_utils._errors import BlueGreenError, ConflictError, MissingError, UndoFailedError
from plugins.module_utils._kubernetes.client import MANAGER
from plugins.module_utils._traffic import kubernetes_router
from plugins.module_utils._traffic.kubernetes import PROVIDER
from plugins.module_utils._traffic.route import Outcome, Route
from plugins.module_utils._traffic.split import Split
from plugins.module_utils._traffic.switch import Order, switch
from plugins.module_utils._wait import SYSTEM_CLOCK
from tests.cluster.current import CurrentApi, pod, service
from tests.integration.balancer import BLUE, COLOURS, GREEN
from tests.integration.targets.worlds.test_worlds import SEEDS
from tests.unit.plugins.module_utils._kubernetes.fakes import Time

SELECTORS: list[dict[str, str]] = [
    {"app": "shop", "version": "blue"},
    {"app": "shop", "version": "green"},
    {"app": "shop", "version": "red"},
    {"app": "shop"},
    {},
]
OPTIONS = {name: option.get("default") for name, option in PROVIDER.spec["options"].items()}


class Shop:
    """A random one."""

    def __init__(self, seed: int) -> None:
        self.dice = dice = random.Random(seed)
        self.preview = dice.random() < 0.5
        found = {"shop": service("shop", dice.choice([*SELECTORS[:2] * 3, *SELECTORS]))}
        if self.preview:
            found["preview"] = service("preview", dice.choice(SELECTORS[:4]))
        self.api = CurrentApi(found, [])
        self.overlap = 1.0 if dice.random() < 0.2 else 0.0
        self.come_and_go()

    def come_and_go(self) -> None:
        """Pods of each colour, and some of neither; seldom more than a slice holds."""
        dice, states = self.dice, ["ready"] * 5 + ["unready", "leaving"]
        self.api.pods = [
            pod(f"{colour}-{dice.random()}", {"app": "shop", "version": colour}, dice.choice(states))
            for colour, most in (("blue", 4), ("green", 4), ("red", 1))
            for _each in range(120 if dice.random() < 0.05 else dice.randint(0, most))
        ]
        self.api.reconcile()

    @property
    def selector(self) -> dict[str, str]:
        return dict(self.api.services["shop"]["spec"]["selector"])

    def router(self) -> Any:
        told = {"service": "shop", "preview_service": "preview" if self.preview else None, "namespace": "shop"}
        return PROVIDER.build(COLOURS, {**OPTIONS, **told, "overlap": self.overlap})

    def meddle_at(self, instant: int | None) -> None:
        """Somebody else sets the selector of the live Service, just before that question is answered."""
        other = self.dice.choice(SELECTORS[:4])

        def meddle(asked: int) -> None:
            if asked == instant:
                self.api.write("shop", other, "somebody")

        self.api.meddle = meddle

    def live(self) -> None:
        for _each in range(self.dice.randint(1, 5)):
            if self.dice.random() < 0.4:
                self.come_and_go()
            self.move(self.dice.choice([BLUE, GREEN]))
        self.go_home()

    def move(self, wanted: Split) -> None:
        api, dice = self.api, self.dice
        api.controller_away = dice.random() < 0.1
        api.lose = dice.choice([None] * 8 + ["before", "after"])
        found, before = self.selector, self.router().read()
        api.written.clear()
        api.lost = None
        instant = api.asked + dice.randint(1, 12) if dice.random() < 0.4 else None
        quiet = not (instant or api.lose or api.controller_away or self.overlap)
        self.meddle_at(instant)
        order = Order(wanted, expect=before, mend_drift=dice.random() < 0.5, force=dice.random() < 0.2)
        try:
            (outcome,) = switch([Route("shop", self.router())], order)
        except BlueGreenError as error:
            self.failed(error, found, quiet and order.mend_drift and bool(self.ready(wanted.leader or "")))
        else:
            self.arrived(outcome, wanted, before)
        api.meddle, api.lose, api.controller_away = (lambda _asked: None), None, False
        api.reconcile()

    def ready(self, colour: str) -> int:
        def gets_requests(one: dict[str, Any]) -> bool:
            ready = one["status"]["conditions"][0]["status"] == "True"
            return (
                one["metadata"]["labels"]["version"] == colour and ready and "deletionTimestamp" not in one["metadata"]
            )

        return sum(map(gets_requests, self.api.pods))

    def arrived(self, outcome: Outcome, wanted: Split, expected: Split | None) -> None:
        """Somebody else's change is only replaced where it was found, nothing was expected, and it is told."""
        live = [(who, before, now) for who, name, before, now in self.api.written if name == "shop"]
        for (writer, _before, theirs), (who, _theirs, _ours) in itertools.pairwise(live):
            if (writer, who) == ("somebody", MANAGER) and theirs != self.api.lost:
                assert expected is None, f"it was overwritten without a word: {self.api.written}"
                assert outcome.before == self.split(theirs), "and what was found is not told"
        theirs_last = bool(live) and live[-1][0] == "somebody"  # after our last look at it
        if outcome.changed and outcome.verified and not theirs_last:
            assert self.selector == {"app": "shop", "version": wanted.leader}

    def split(self, selector: dict[str, str]) -> Split | None:
        colours = {"blue": BLUE, "green": GREEN}
        both = Split.of_weights(COLOURS, 1, 1) if selector == {"app": "shop"} and self.api.pods else None
        return colours.get(selector.get("version", "")) or both

    def failed(self, error: BlueGreenError, found: dict[str, str], can: bool) -> None:
        """What somebody else has set is only replaced by what was found, and that is an error."""
        assert not (found and can), f"{error.code}: {error.message}"
        live = [(who, now) for who, name, _before, now in self.api.written if name == "shop"]
        if not live or isinstance(error, UndoFailedError):
            return
        who, now = live[-1]
        known = all(key in found for key in ("app", "version"))
        if who == MANAGER and known and found["version"] in COLOURS:
            assert now == found, f"{error.code}: {error.message}"
        if isinstance(error, ConflictError):
            assert [one for one, _now in live if one == "somebody"], error.message

    def go_home(self) -> None:
        """Blue is ready; that is all it takes."""
        found = self.selector
        self.api.pods = [pod(f"blue-{n}", {"app": "shop", "version": "blue"}, "ready") for n in range(2)]
        self.api.reconcile()
        order = Order(BLUE, mend_drift=True, all_or_nothing=False)
        try:
            (outcome,) = switch([Route("shop", self.router())], order)
        except MissingError:
            assert not found, "only a Service without a selector is for a person to mend"
            return
        assert outcome.verified is not False
        assert self.selector == {"app": "shop", "version": "blue"}


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_is_overwritten_and_there_is_always_a_way_home(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(seed)
    monkeypatch.setattr(kubernetes_router, "connect_in", lambda options: (shop.api, options))
    time = Time()  # which goes on by sleeping only
    monkeypatch.setitem(vars(SYSTEM_CLOCK), "now", time.now)
    monkeypatch.setitem(vars(SYSTEM_CLOCK), "sleep", time.sleep)
    shop.live()
