# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from plugins.module_utils._dns.resolver import Resolver, parse, values_of
from plugins.module_utils._errors import InvalidError


@pytest.mark.parametrize(
    ("text", "resolver", "told"),
    [
        ("192.0.2.53", Resolver("192.0.2.53", 53), "192.0.2.53"),
        ("192.0.2.53:5353", Resolver("192.0.2.53", 5353), "192.0.2.53:5353"),
        ("192.0.2.53:53", Resolver("192.0.2.53", 53), "192.0.2.53"),
        ("2001:db8::53", Resolver("2001:db8::53", 53), "2001:db8::53"),
        ("[2001:db8::53]", Resolver("2001:db8::53", 53), "2001:db8::53"),
        ("[2001:DB8:0::53]:5353", Resolver("2001:db8::53", 5353), "[2001:db8::53]:5353"),
    ],
)
def test_a_resolver_is_an_address_with_or_without_a_port(text: str, resolver: Resolver, told: str) -> None:
    assert parse(text) == resolver
    assert str(parse(text)) == told


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dns.example.com",
        "192.0.2",
        "192.0.2.53:",
        "192.0.2.53:0",
        "192.0.2.53:65536",
        "192.0.2.53:x",
        "[::1",
        ":53",
    ],
)
def test_nothing_else_is(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(text)
    assert caught.value.expected == "an IP address, or one with a port as in 192.0.2.53:5353"


@pytest.mark.parametrize(
    ("kind", "one", "other", "same"),
    [
        ("A", "192.0.2.1", "192.0.2.1", True),
        ("A", "192.0.2.1", "192.0.2.2", False),
        ("AAAA", "2001:db8::1", "2001:DB8:0:0::1", True),
        ("CNAME", "Blue.example.com", "blue.example.com.", True),
        ("MX", "10 mail.example.com", "10 mail.example.com.", True),
        ("MX", "10 mail.example.com", "20 mail.example.com.", False),
        ("TXT", '"a" "b"', '"a"  "b"', True),
        ("TXT", '"a"', '"A"', False),
    ],
)
def test_values_compare_as_dns_does(kind: str, one: str, other: str, same: bool) -> None:
    assert (values_of(kind, [one]) == values_of(kind, [other])) is same
