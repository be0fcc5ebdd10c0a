# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What needs no load balancer; with a real one, see tests/integration/targets/haproxy."""

from __future__ import annotations

import typing as t

import pytest

from plugins.module_utils._errors import InvalidError
from plugins.module_utils._traffic.split import Split
from plugins.module_utils._traffic.switch import Order
from plugins.modules import traffic

from .process import as_spec, bare, documented_options, run_module

COLOURS = ("blue", "green")
PARAMS: dict[str, t.Any] = {
    "to": None,
    "split": None,
    "expect": None,
    "plan": [],
    "on_drift": "fail",
    "force": False,
    "verify": {"retries": 100, "timeout": 10.0},
    "commit_at": None,
    "on_partial": "back",
    "all_or_nothing": True,
    "revert_after": None,
    "watch": None,
}
ROUTE = {
    "name": "lb1",
    "provider": "haproxy",
    "haproxy": {"socket": "/nobody/admin.sock", "map": "/nobody/bluegreen.map", "key": "shop"},
}


@pytest.mark.parametrize(
    ("given", "order"),
    [
        ({"to": "green"}, Order(Split("blue", "green", 0))),
        ({"split": {"green": 10}}, Order(Split("blue", "green", 9000))),
        ({"to": "blue", "force": True}, Order(Split("blue", "green", 10000), force=True)),
        ({"to": "blue", "on_drift": "mend"}, Order(Split("blue", "green", 10000), mend_drift=True)),
        (
            {"to": "blue", "expect": {"green": 100}},
            Order(Split("blue", "green", 10000), expect=Split("blue", "green", 0)),
        ),
        (
            {"to": "blue", "verify": {"retries": 4, "timeout": 2.0}},
            Order(Split("blue", "green", 10000), verify_timeout=2.0, verify_interval=0.5),
        ),
        ({"to": "blue", "verify": {}}, Order(Split("blue", "green", 10000))),
        ({"to": "blue", "commit_at": 12.5}, Order(Split("blue", "green", 10000), commit_at=12.5)),
    ],
)
def test_options_become_an_order(given: dict[str, t.Any], order: Order) -> None:
    assert traffic.order({**PARAMS, **given}, COLOURS) == order


@pytest.mark.parametrize(
    "given",
    [
        {"to": "red"},
        {"to": ""},
        {"split": {}},
        {"split": {"red": 1}},
        {"to": "green", "expect": {}},
        {"to": "green", "expect": {"red": 1}},
        {"to": "green", "verify": {"retries": 0}},
        {"to": "green", "verify": {"retries": -1}},
        {"to": "green", "verify": {"timeout": 0.0}},
        {"to": "green", "verify": {"timeout": float("nan")}},
        {"to": "green", "verify": {"timeout": float("inf")}},
    ],
)
def test_an_order_that_cannot_be_right_is_invalid(given: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidError):
        traffic.order({**PARAMS, **given}, COLOURS)


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_load_balancer_that_is_not_there_is_an_error_with_a_code(check_mode: bool) -> None:
    result = run_module("traffic", routes=[ROUTE], to="green", _ansible_check_mode=check_mode)
    assert (result["failed"], result["failure"]) == (True, {"code": "missing"})
    assert result["msg"].startswith("route lb1: there is no socket /nobody/admin.sock; expected HAProxy's stats socket")


@pytest.mark.parametrize(
    "given",
    [
        {"token": 1},
        {"revert_after": 60},
        {"app": "../shop", "token": 1},
        {"app": "../shop", "revert_after": 60},
        {"app": "", "token": 1},
        {"app": "shop", "token": 0},
        {"app": "shop", "token": 1, "state_dir": "relative"},
        {"app": "shop", "revert_after": 0},
        {"app": "shop", "revert_after": "nan"},
        {"commit_at": 4e9},
        {"app": "shop", "all_or_nothing": False, "revert_after": 300},
        {"commit_at": "nan"},
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_options_that_keep_a_release_safe_are_checked_first(given: dict[str, t.Any], check_mode: bool) -> None:
    result = run_module("traffic", routes=[ROUTE], to="green", **given, _ansible_check_mode=check_mode)
    assert (result["failed"], result["failure"]) == (True, {"code": "invalid"})


def test_options_and_documentation_agree() -> None:
    assert as_spec(documented_options("traffic")) == bare(traffic.ARGUMENT_SPEC)


class Sticky:
    """A router whose clients may stay where they are, once all traffic has moved."""

    def caveats(self, wanted: Split) -> tuple[str, ...]:
        return ("clients stick",) if wanted == Split.only(COLOURS, "green") else ()


class Warned(list[str]):
    def warn(self, message: str) -> None:
        self.append(message)


def test_what_clients_may_get_otherwise_is_said_once_of_a_plan() -> None:
    said, green, route = Warned(), Split.only(COLOURS, "green"), traffic.Route("lb1", t.cast(t.Any, Sticky()))
    canary = Split.parse(COLOURS, {"green": 10})
    traffic.warn(t.cast(t.Any, said), [route], [canary, green, green])
    assert said == ["route lb1: clients stick"]
    traffic.warn(t.cast(t.Any, said), [route], [canary])
    assert len(said) == 1
