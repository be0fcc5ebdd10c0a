# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from plugins.module_utils._errors import NotVerifiedError
from plugins.module_utils._haproxy.frontend import Taken, queued, reached
from plugins.module_utils._haproxy.pool import Look

BACKENDS = {"blue": "shop_blue", "green": "shop_green"}


def look(blue: int = 0, green: int = 0, nowhere: int = 0, refused: int = 0) -> Look:
    """``nowhere``: requests that came to blue and found no server; ``refused``: that one of its servers refused."""
    return Look(
        (),
        {"shop_blue/b1": {"econ": str(refused)}, "shop_green/g1": {"econ": "0"}},
        {
            "shop_blue": {"stot": str(blue), "econ": str(nowhere + refused)},
            "shop_green": {"stot": str(green), "econ": ""},
        },
    )


@pytest.mark.parametrize(
    ("now", "taken"),
    [(look(), None), (look(green=1), True), (look(blue=3), None), (look(blue=3, refused=3), None)],
)
def test_the_next_request_shows_which_backend_the_frontend_takes(now: Look, taken: bool | None) -> None:
    assert Taken(look(), BACKENDS).looked(lambda: now, "green") is taken


def test_one_that_came_to_the_other_backend_and_found_no_server_tells_what_to_write() -> None:
    with pytest.raises(NotVerifiedError) as caught:
        Taken(look(blue=5, nowhere=2), BACKENDS).looked(lambda: look(blue=6, nowhere=3), "green")
    assert "use_backend shop_green if { nbsrv(shop_green) gt 0 }" in caught.value.message


def one(blue: int = 0, green: int = 0, rate: int = 0) -> Look:
    servers = {"shop/blue1": {"stot": str(blue)}, "shop/green1": {"stot": str(green)}}
    return Look((), servers, {"shop": {"rate": str(rate)}})


@pytest.mark.parametrize(
    ("now", "is_reached"),
    [(one(7, 2), False), (one(7, 3), False), (one(8, 2), True), (one(8, 3), True), (Look((), {}, {}), False)],
)
def test_a_request_at_a_server_that_was_taken_out_is_seen(now: Look, is_reached: bool) -> None:
    assert reached(one(7, 2), now, lambda: now, ["shop/blue1"]) is is_reached


def test_where_requests_came_lately_the_next_one_is_waited_for() -> None:
    looks = iter([one(7, 2), one(8, 2)])
    assert reached(one(7, 2, rate=5), one(7, 2), lambda: next(looks), ["shop/blue1"])


def test_where_none_came_lately_nobody_waits() -> None:
    looks = iter([one(8, 2)])
    assert not reached(one(7, 2), one(7, 2), lambda: next(looks), ["shop/blue1"])


def test_requests_that_wait_are_counted_for_the_backend_and_for_its_servers() -> None:
    servers = {f"{name}/s1": {"pxname": name, "qcur": "2"} for name in ("shop_blue", "shop_green")}
    seen = Look((), servers, {name: {"pxname": name, "qcur": "3"} for name in ("shop_blue", "shop_green")})
    assert queued(seen, ["shop_blue"]) == 5
