# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What resolvers still answer keeps a colour alive, and one that keeps answers for too long is found before a release.

BIND stands for the servers of Route 53, since the test server has none, and for the resolver of the clients.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import pytest

from demo.rig import free_ports
from plugins.module_utils._aws.ttl import GRACE
from plugins.module_utils._dns import resolver
from plugins.module_utils._errors import MissingError, NotVerifiedError
from plugins.module_utils._traffic.switch import Order, switch
from tests.aws.handle import Aws
from tests.bind.servers import Dns
from tests.integration.balancer import GREEN
from tests.unit.plugins.modules.process import run_module

from .test_route53 import VALUES, FakeClock, Zone, alias, lowered, record

OLD = "Wait until those answers have run out"


@pytest.fixture(autouse=True)
def _quick(aws: Aws) -> None:
    aws.set(sync_scale=0.0)


@pytest.fixture
def zone(aws: Aws) -> Zone:
    made = Zone(aws)
    for each in made.of().values():
        made.change(("DELETE", each))
    return made


def moved(zone: Zone, name: str, *resolvers: str) -> list[dict[str, Any]]:
    """The route of a name, all of which has just been moved from blue to green."""
    zone.change(("CREATE", record("blue", 100, name)), ("CREATE", record("green", 0, name)))
    told = zone.traffic(more(name, *resolvers), to="green")
    assert told["changed"] is True, told
    return route(zone, name, *resolvers)


def more(name: str, *resolvers: str) -> dict[str, Any]:
    return {"record": f"{name}.example.com.", "resolvers": [*resolvers]}


def route(zone: Zone, name: str, *resolvers: str) -> list[dict[str, Any]]:
    return [{"name": "dns", "provider": "route53", "route53": zone.options(**more(name, *resolvers))}]


def drained(routes: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    return run_module("drain", routes=routes, colour="blue", **{"quiet": 0.1, "timeout": 0.2, **options})


def test_a_colour_is_drained_when_no_resolver_gives_it_any_more(zone: Zone, dns_servers: Dns) -> None:
    authority, cache = dns_servers.authority, dns_servers.resolver
    authority.put("kept", 12, "A", VALUES["blue"])
    resolver.parse(cache.address).ask("kept.example.com.", "A")
    routes = moved(zone, "kept", authority.address, cache.address)
    authority.put("kept", 12, "A", VALUES["green"])
    refused = drained(routes)
    assert refused["failure"]["code"] == "timeout"
    said = f"blue may still be reached: dns: {cache.address} gives kept.example.com. A 192.0.2.1, for "
    assert (said in refused["msg"], refused["msg"].endswith(OLD)) == (True, True), refused["msg"]
    done = drained(routes, timeout=30)
    assert (done["left"], done["not_counted"]) == ([], ["dns"]), done
    assert resolver.parse(cache.address).ask("kept.example.com.", "A").told() == VALUES["green"]


def test_who_asks_for_no_quiet_or_names_no_resolver_asks_nobody(zone: Zone, dns_servers: Dns) -> None:
    dns_servers.authority.put("free", 60, "A", VALUES["blue"])
    routes = moved(zone, "free", dns_servers.authority.address)
    assert "failure" in drained(routes)
    zone.aws.clear_calls()
    assert "failure" not in drained(routes, quiet=0)
    assert "failure" not in drained(route(zone, "free"))
    assert zone.aws.calls() == []


def test_aliases_are_told_apart_by_what_their_targets_have(zone: Zone, dns_servers: Dns) -> None:
    authority = dns_servers.authority
    for colour, value in VALUES.items():
        authority.put(f"lb-{colour}", 1, "A", value, f"{value}1")
    for colour, weight in (("blue", 0), ("green", 100)):
        made = alias(colour, weight, "aliased")
        made["AliasTarget"]["DNSName"] = f"lb-{colour}.example.com."
        zone.change(("CREATE", made))
    routes = route(zone, "aliased", authority.address)
    for values, passes in (((VALUES["green"],), True), ((VALUES["blue"], f"{VALUES['blue']}1"), False)):
        authority.put("aliased", 1, "A", *values)
        assert ("failure" not in drained(routes)) is passes, values


def test_an_answer_that_is_no_ones_and_a_resolver_that_gives_none_are_said(zone: Zone, dns_servers: Dns) -> None:
    authority = dns_servers.authority
    zone.change(("CREATE", record("blue", 0, "odd")), ("CREATE", record("green", 100, "odd")))
    authority.put("odd", 1, "A", "192.0.2.77")
    (closed,) = free_ports(1)
    for address, said in (
        (authority.address, f"{authority.address} gives odd.example.com. A 192.0.2.77, which is of neither colour"),
        (f"127.0.0.1:{closed}", f"127.0.0.1:{closed} cannot be asked: no answer within 2 s, 2 times"),
    ):
        told = drained(route(zone, "odd", address))
        assert (told["failure"]["code"], said in told["msg"]) == ("timeout", True), told["msg"]
    authority.put("odd", 1, "A")
    assert (
        f"{authority.address} gives odd.example.com. A nothing" in drained(route(zone, "odd", authority.address))["msg"]
    )


def test_a_resolver_that_answers_refused_is_said(zone: Zone, dns_servers: Dns) -> None:
    told = zone.client.create_hosted_zone(Name="example.org", CallerReference="other")
    zone.id = told["HostedZone"]["Id"].rpartition("/")[2]
    for colour, weight in (("blue", 0), ("green", 100)):
        zone.change(("CREATE", {**record(colour, weight), "Name": "www.example.org"}))
    options = zone.options(record="www.example.org.", resolvers=[dns_servers.authority.address])
    told = drained([{"name": "dns", "provider": "route53", "route53": options}])
    assert f"{dns_servers.authority.address} answers REFUSED" in told["msg"]


@pytest.mark.parametrize(("kept", "passes"), [(3, False), (1, True)])
def test_a_resolver_must_have_the_new_ttl_when_the_old_one_is_over(
    zone: Zone, dns_servers: Dns, kept: int, passes: bool
) -> None:
    """The server of the zone goes on with a longer one, as a resolver with a lower limit of its own would."""
    name, address = f"ttl-{kept}", dns_servers.authority.address
    zone.change(*(("CREATE", record(colour, 100, name)) for colour in VALUES))
    dns_servers.authority.put(name, kept, "A", VALUES["blue"])
    fake = FakeClock()
    with contextlib.nullcontext() if passes else pytest.raises(NotVerifiedError) as caught:
        lowered(zone, 1, fake, {"record": f"{name}.example.com."}, address)
    assert zone.of(name)["blue"]["TTL"] == 1
    assert (fake.time < 60 + GRACE) is passes
    if caught:
        assert caught.value.message.startswith(f"{address} keeps {name}.example.com. A for 3 s; expected no resolver")


def test_the_module_asks_the_resolvers(zone: Zone, dns_servers: Dns) -> None:
    zone.change(*(("CREATE", record(colour, 100, "asked", TTL=1)) for colour in VALUES))
    dns_servers.authority.put("asked", 30, "A", VALUES["blue"])
    assert zone.dns_ttl(30, more("asked", dns_servers.authority.address))["changed"] is True


def test_bad_input_and_a_missing_library_are_found_before_anything_moves(
    zone: Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone.change(("CREATE", record("blue", 100, "early")), ("CREATE", record("green", 0, "early")))
    there = zone.records()
    told = zone.traffic(more("early", "dns.example.com"), to="green")
    assert (told["failure"]["code"], "resolver dns.example.com is no address" in told["msg"]) == ("invalid", True)
    monkeypatch.setitem(sys.modules, "dns.query", None)
    for work in (
        lambda: switch([zone.route(**more("early", "192.0.2.53"))], Order(GREEN)),
        lambda: lowered(zone, 1, FakeClock(), more("early"), "192.0.2.53"),
    ):
        with pytest.raises(MissingError, match="the Python library dnspython cannot be imported"):
            work()
    assert zone.records() == there
