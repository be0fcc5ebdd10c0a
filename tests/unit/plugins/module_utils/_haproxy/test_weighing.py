# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

import pytest

from plugins.module_utils._errors import UnsupportedError
from plugins.module_utils._haproxy import weighing
from plugins.module_utils._haproxy.members import DRAIN, Member

NOW = [Member("shop", f"blue{number}", "blue", from_dns=number < 5) for number in range(1, 6)]


def heavier(*names: str, **changes: int) -> list[Member]:
    return [replace(m, weight=9, **changes) if m.name in names else m for m in NOW]


def check(
    after: list[Member], *, static: bool = False, ignore_dns: bool = False, whole: bool = False
) -> tuple[str, str] | None:
    try:
        weighing.check(NOW, after, lambda _member: static, ignore_dns=ignore_dns, whole=whole)
    except UnsupportedError as error:
        return error.found, error.todo
    return None


def test_weights_that_stay_as_they_are_are_nobodys_question() -> None:
    assert check(NOW, static=True) is None
    assert check(heavier("blue1", admin=DRAIN), static=True) is None  # it takes no traffic


def test_weights_that_dns_would_take_back_are_refused() -> None:
    found, todo = check(heavier(*(m.name for m in NOW))) or ("", "")
    assert found.startswith("the weights of blue1, blue2, blue3 and 1 more come from SRV records")
    assert todo.startswith("Move all of the traffic at once, or add that")
    assert check(heavier("blue5")) is None
    assert check(heavier("blue1"), ignore_dns=True) is None


@pytest.mark.parametrize(
    ("whole", "todo"), [(False, "Move all of the traffic at once"), (True, "Give blue5 weights in the configuration")]
)
def test_weights_that_a_static_balance_does_not_take_are_refused(whole: bool, todo: str) -> None:
    found, what = check(heavier("blue5"), static=True, whole=whole) or ("", "")
    assert found.startswith("the balance of backend shop takes no weights at run time")
    assert what == f"{todo}, or change the balance"


def test_a_static_balance_takes_the_weights_of_the_configuration() -> None:
    assert check(heavier("blue5", initial=9), static=True) is None
