# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from plugins.module_utils._fleet.way_back import Sight, why_unfit

DEAD = [{"endpoint": f"http://{name}/health", "healthy": False, "reason": "refused"} for name in ("one", "two")]
HALF = [DEAD[0], {**DEAD[1], "healthy": True}]
STRANGE = [DEAD[0], {**DEAD[1], "status": 404, "reason": "status 404"}]


def route(share: float = 100, /, **ready: int) -> dict[str, t.Any]:
    told = {c: {"members": 2, "ready": n, "unready": [] if n else [f"{c}1 is down"]} for c, n in ready.items()}
    return {"split": {"blue": 100 - share, "green": share}, "activity": told or None}


@pytest.mark.parametrize(
    ("what", "sight", "expected"),
    [
        ("all well", Sight([route(blue=2, green=2)], HALF, HALF), []),
        ("nobody could ask", Sight([route()]), []),
        ("nothing was read", Sight([], DEAD, HALF), []),
        (
            "a dead target, which the load balancer takes for up",
            Sight([route(blue=2, green=2)], DEAD, HALF),
            ["lb1: no member of blue out of 2 answers (http://one/health: refused)"],
        ),
        ("an older version, which has no such page", Sight([route(blue=2, green=2)], STRANGE, HALF), []),
        (
            "the load balancer alone knows",
            Sight([route(blue=0, green=1)]),
            ["lb1 sees 2 members of blue, and none is ready (blue1 is down)"],
        ),
        ("the other colour is dead, too", Sight([route(blue=0, green=2)], DEAD, DEAD), []),
        ("so says the load balancer", Sight([route(blue=0, green=0)], DEAD), []),
        ("it is there already", Sight([route(0, blue=0, green=2)], DEAD, HALF), []),
        (
            "a canary",
            Sight([route(10, blue=1, green=1)], DEAD, HALF),
            ["lb1: no member of blue out of 2 answers (http://one/health: refused)"],
        ),
    ],
)
def test_whether_a_colour_can_take_the_traffic(what: str, sight: Sight, expected: list[str]) -> None:
    assert why_unfit("blue", {"lb1": sight}) == expected, what


def test_all_load_balancers_are_named() -> None:
    dead = Sight([route(blue=2, green=2)], DEAD, HALF)
    (said,) = why_unfit("blue", {"lb2": dead, "lb1": dead})
    assert said.startswith("lb1, lb2: no member of blue")
