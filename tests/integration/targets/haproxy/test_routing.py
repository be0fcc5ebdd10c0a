# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which colour a request reaches, in the configuration that the role writes."""

from __future__ import annotations

from collections import Counter
from math import sqrt

import pytest

from demo.rig import TEST_TOKEN
from tests.integration.balancer import BLUE, GREEN, Balancer, Client, green

REQUESTS = 2000
CLIENTS = 400
SIGMAS = 5  # one false alarm in a million runs


def is_about(found: int, of: int, percent: float) -> bool:
    share = percent / 100
    return abs(found - of * share) <= SIGMAS * sqrt(of * share * (1 - share))


@pytest.mark.parametrize("percent", [0, 1, 10, 50, 100])
def test_a_colour_gets_its_share_of_new_clients(balancer: Balancer, percent: float) -> None:
    if percent:
        balancer.move(green(percent))
    with Client(balancer.fronts["map"]) as client:
        counts = Counter(client.ask().colour for _time in range(REQUESTS))
    assert sum(counts.values()) == counts["blue"] + counts["green"] == REQUESTS
    assert is_about(counts["green"], REQUESTS, percent), counts


def test_weights_give_a_colour_its_share_too(balancer: Balancer) -> None:
    balancer.move(green(10), "one")
    with Client(balancer.fronts["one"]) as client:
        counts = Counter(client.ask().colour for _time in range(REQUESTS))
    assert is_about(counts["green"], REQUESTS, 10), counts


def test_a_client_that_saw_green_stays_on_green_as_the_share_grows(balancer: Balancer) -> None:
    cookies = [""] * CLIENTS
    on_green: set[int] = set()
    with Client(balancer.fronts["map"]) as connection:
        for percent in (10, 25, 50, 100):
            balancer.move(green(percent))
            for _twice in range(2):
                now = set()
                for number in range(CLIENTS):
                    sent = {"Cookie": cookies[number]} if cookies[number] else {}
                    reply = connection.ask(**sent)
                    assert not (reply.cookie and cookies[number]), "a cookie is given once"
                    cookies[number] = cookies[number] or reply.cookie
                    if reply.colour == "green":
                        now.add(number)
                assert on_green <= now
                on_green = now
            assert is_about(len(on_green), CLIENTS, percent)
            assert all(cookies), "who took part in a canary has a cookie"


@pytest.mark.parametrize("cookie", ["abc", "-1", "12345", "1;2", "", "٣"])
def test_a_cookie_that_is_none_of_ours_is_replaced(balancer: Balancer, cookie: str) -> None:
    balancer.move(green(50))
    with Client(balancer.fronts["map"]) as client:
        reply = client.ask(Cookie=f"bluegreen_shop={cookie}".encode().decode("latin-1"))
    if cookie == "1;2":  # two cookies, of which the first one is a bucket
        assert (reply.status, reply.cookie) == (200, "")
    else:
        assert (reply.status, reply.cookie.partition("=")[0]) == (200, "bluegreen_shop")


def test_without_a_canary_there_is_no_cookie(balancer: Balancer) -> None:
    with Client(balancer.fronts["map"]) as client:
        assert client.ask().cookie == ""
        balancer.move(GREEN)
        assert client.ask().cookie == ""


@pytest.mark.parametrize(
    ("colour", "token", "reached"),
    [
        ("green", TEST_TOKEN, "green"),
        ("blue", TEST_TOKEN, "blue"),
        ("green", "wrong", "blue"),
        ("green", TEST_TOKEN + "x", "blue"),
        ("green", TEST_TOKEN.upper(), "blue"),
        ("green", "", "blue"),
        ("green", None, "blue"),
        ("red", TEST_TOKEN, "blue"),
        ("GREEN", TEST_TOKEN, "blue"),
        ("green,blue", TEST_TOKEN, "blue"),
        (None, TEST_TOKEN, "blue"),
    ],
)
def test_only_a_header_with_the_right_token_chooses_the_colour(
    balancer: Balancer, colour: str | None, token: str | None, reached: str
) -> None:
    headers = {"X_BlueGreen_Colour": colour, "X_BlueGreen_Token": token}
    with Client(balancer.fronts["map"]) as client:
        replies = {client.ask(**{k: v for k, v in headers.items() if v is not None}).colour for _time in range(3)}
    assert replies == {reached}


def test_test_traffic_reaches_the_idle_colour_whichever_that_is(balancer: Balancer) -> None:
    balancer.move(GREEN)
    with Client(balancer.fronts["map"]) as client:
        assert client.ask(X_BlueGreen_Colour="blue", X_BlueGreen_Token=TEST_TOKEN).colour == "blue"
        assert client.ask().colour == "green"
    balancer.move(BLUE)
