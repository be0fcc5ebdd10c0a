# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from plugins.module_utils._errors import InvalidError
from plugins.module_utils._health.check import parse
from plugins.module_utils._health.door import Door, merged, parse_door
from plugins.module_utils._health.probe import parse_target

SITE = parse_target("https://shop.example.com/health", 1)


@pytest.mark.parametrize(
    ("options", "place", "authority", "server_name"),
    [
        ({}, ("shop.example.com", 443), "shop.example.com", "shop.example.com"),
        ({"host": "", "sni": "", "address": ""}, ("shop.example.com", 443), "shop.example.com", "shop.example.com"),
        ({"address": "10.0.0.1"}, ("10.0.0.1", 443), "shop.example.com", "shop.example.com"),
        ({"address": "lb1.lan:8443"}, ("lb1.lan", 8443), "shop.example.com", "shop.example.com"),
        ({"address": "fd00::1"}, ("fd00::1", 443), "shop.example.com", "shop.example.com"),
        ({"address": "[fd00::1]:8443"}, ("fd00::1", 8443), "shop.example.com", "shop.example.com"),
        # the site that is asked for is the one that must prove who it is
        ({"host": "www.example.com:8443"}, ("shop.example.com", 443), "www.example.com:8443", "www.example.com"),
        ({"host": "www.example.com", "sni": "a.b"}, ("shop.example.com", 443), "www.example.com", "a.b"),
        ({"sni": "a.b", "address": "10.0.0.1"}, ("10.0.0.1", 443), "shop.example.com", "a.b"),
    ],
)
def test_whom_to_connect_to_and_what_to_ask_for(
    options: dict[str, str], place: tuple[str, int], authority: str, server_name: str
) -> None:
    door = parse_door(options)
    assert (door.place(SITE), door.authority(SITE), door.server_name(SITE)) == (place, authority, server_name)


@pytest.mark.parametrize("option", ["host", "address"])
@pytest.mark.parametrize(
    "value",
    [
        "http://10.0.0.1",
        "10.0.0.1/x",
        "a b",
        "a:0",
        "a:99999",
        "a:",
        "a:b",
        "[::1",
        "[x]",
        "u@a",
        "a\r\nX: y",
        "a?b",
        "é",
    ],
)
def test_what_is_no_host_is_refused(option: str, value: str) -> None:
    with pytest.raises(InvalidError, match=f"{option} is .*expected a host or host:port"):
        parse_door({option: value})


@pytest.mark.parametrize("value", ["a:443", "http://a", "a b", "a\r\nb"])
def test_what_is_no_name_for_tls_is_refused(value: str) -> None:
    with pytest.raises(InvalidError, match="sni is"):
        parse_door({"sni": value})


def test_the_site_is_named_once() -> None:
    with pytest.raises(InvalidError, match="host and a header Host are given"):
        parse_door({"host": "a", "secret_headers": {"HOST": "b"}})


def test_what_stands_in_the_door_is_an_option_like_any_other() -> None:
    door = {
        "host": "shop.example.com",
        "sni": "",
        "address": None,
        "ca_path": "/ca.pem",
        "validate_certs": False,
        "headers": {"A": "1"},
        "secret_headers": {"B": "2"},
    }
    found = merged({"ca_path": None, "validate_certs": True, "headers": {"C": "3"}, "secret_headers": {}, "door": door})
    plan = parse({**found, "endpoints": ["https://10.0.0.1/health"], "door": door})
    assert plan.door == Door(host="shop.example.com")
    assert (plan.ca_path, plan.validate_certs) == ("/ca.pem", False)
    assert plan.headers == {"A": "1", "C": "3", "B": "2"}


def test_a_message_says_what_the_url_does_not() -> None:
    assert str(Door()) == ""
    door = parse_door({"host": "shop", "address": "[fd00::1]:8443", "sni": "a.b"})
    assert str(door) == "connected to [fd00::1]:8443, asked for the site shop, with TLS for a.b"
