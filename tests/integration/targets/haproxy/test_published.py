# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shapes of load balancers that people have published, each of which once did other than we said."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from demo.rig import wait_until
from plugins.module_utils._errors import NotReadyError, NotVerifiedError, UnsupportedError
from plugins.module_utils._haproxy import frontend
from tests.haproxies import every_haproxy, haproxy_binary
from tests.integration.haproxy_site import (
    BLUE,
    FRONTEND,
    GREEN,
    ONE_BACKEND,
    TWO_BACKENDS,
    Site,
    closed_port,
    green,
)
from tests.integration.set_ups import SiteMaker, agent, move, name_server, refused, site

__all__ = ["haproxy_binary", "site"]

MAINT = {**ONE_BACKEND, "lower_with": "maint"}

# --- Consul and Nomad: servers, ports and weights from SRV records ----------------------------------------

CONSUL = """
resolvers consul
    nameserver consul 127.0.0.1:{dns}
    accepted_payload_size 8192
    timeout resolve 100ms
    timeout retry 100ms
    hold valid 100ms
backend shop
    server-template blue 3 _http._blue.service.consul resolvers consul resolve-opts allow-dup-ip{more} init-addr none
    server-template green 3 _http._green.service.consul resolvers consul resolve-opts allow-dup-ip{more} init-addr none
backend apps
    server one @blue1
    server two @green1
"""


def consul(site: SiteMaker, dns: int, records: dict[str, list[int]], more: str = "") -> Site:
    lb = site(CONSUL.replace("{dns}", str(dns)).replace("{more}", more))
    records.update({f"_http._{colour}.service.consul": [lb.apps[f"{colour}1"].port] for colour in ("blue", "green")})
    wait_until(lambda: {*lb.clients(8)} == {"blue1", "green1"}, 30, "HAProxy has resolved both")
    return lb


@every_haproxy
def test_servers_of_srv_records_are_read_and_moved(site: SiteMaker) -> None:
    records: dict[str, list[int]] = {}
    with name_server(records) as dns:
        lb = consul(site, dns, records)
        assert lb.router().read() == green(50)
        for wanted in (BLUE, GREEN):
            assert move(lb.router(), wanted).verified is True
            assert lb.colours() == {wanted.leader: 40}
        said = refused(UnsupportedError, lambda: move(lb.router(), green(90), dry_run=True))
        assert "the weights of green1 come from SRV records" in said
        assert "ignore-weight" in said
        assert lb.colours() == {"green": 40}


def test_weights_that_are_not_taken_from_srv_records_hold_a_canary(site: SiteMaker) -> None:
    records: dict[str, list[int]] = {}
    with name_server(records) as dns:
        lb = consul(site, dns, records, more=",ignore-weight")
        move(lb.router(), BLUE)
        assert move(lb.router(**ONE_BACKEND, ignore_weight=True), green(10)).verified is True
        assert abs(lb.colours(100)["green"] - 10) <= 3


# --- Hashes -----------------------------------------------------------------------------------------------

HASHED = """
backend shop
    balance {balance}
    server blue1 @blue1 {{checked}} weight 8
    server blue2 @blue2 {{checked}} weight 4
    server green1 @green1 {{checked}} weight {weight}
"""


@every_haproxy
def test_a_canary_by_a_hash_is_refused_beforehand(site: SiteMaker) -> None:
    refuses_a_canary(site(HASHED.format(balance="source", weight=16)))


@pytest.mark.parametrize("balance", ["hdr(host)", "uri", "static-rr"])
def test_a_canary_by_another_balance_that_takes_no_weights_is_refused_beforehand(site: SiteMaker, balance: str) -> None:
    refuses_a_canary(site(HASHED.format(balance=balance, weight=16)))


def refuses_a_canary(lb: Site) -> None:
    lb.set("shop/green1 state drain")
    before = lb.states()
    for dry_run in (True, False):
        said = refused(UnsupportedError, lambda dry_run=dry_run: move(lb.router(), green(10), dry_run=dry_run))
        assert "takes no weights" in said or "knows no weights" in said
        assert lb.states() == before
    for wanted in (GREEN, BLUE):
        assert move(lb.router(), wanted).verified is True
        assert lb.colours() == {wanted.leader: 40}


def test_an_idle_colour_of_weight_0_behind_a_hash_is_refused_beforehand(site: SiteMaker) -> None:
    lb = site(HASHED.format(balance="source", weight=0))
    before = lb.states()
    assert "Give green1 weights" in refused(UnsupportedError, lambda: move(lb.router(), GREEN, dry_run=True))
    assert lb.states() == before


def test_a_canary_by_a_consistent_hash_is_made_and_not_called_proven(site: SiteMaker) -> None:
    lb = site(HASHED.format(balance="uri\n    hash-type consistent", weight=16))
    lb.set("shop/green1 state drain")
    assert move(lb.router(), green(10)).verified is None


# --- Clients who are led elsewhere ------------------------------------------------------------------------

TABLE = """
backend {table}
    stick-table type ip size 10k{store}
backend shop
    {rule}
    server blue1 @blue1 {{checked}} on-marked-down shutdown-sessions
    server green1 @green1 {{checked}} on-marked-down shutdown-sessions
"""


def test_with_a_stick_table_of_another_section_a_drained_colour_is_not_called_proven(site: SiteMaker) -> None:
    lb = site(TABLE.format(table="sourceip", store="", rule="stick on src table sourceip"))
    lb.set("shop/green1 state drain")
    assert lb.clients(4) == {"blue1": 4}
    assert move(lb.router(), GREEN).verified is None
    assert lb.clients(4) == {"blue1": 4}  # nobody has moved
    move(lb.router(), BLUE)
    assert move(lb.router(**MAINT), GREEN).verified is True
    assert lb.clients(4) == {"green1": 4}


def test_a_table_that_only_counts_requests_keeps_nobody(site: SiteMaker) -> None:
    lb = site(
        TABLE.format(table="rates", store=" store http_req_rate(10s)", rule="http-request track-sc0 src table rates")
    )
    lb.set("shop/green1 state drain")
    assert move(lb.router(), GREEN).verified is True
    assert lb.clients(4) == {"green1": 4}


USE_SERVER = """
backend shop
    mode tcp
    use-server blue1 if {{ srv_is_up(blue1) }}
    server blue1 @blue1 {checked}
    use-server green1 if {{ srv_is_up(green1) }}
    server green1 @green1 {checked}
"""


def test_a_colour_that_a_rule_of_the_backend_still_leads_to_is_not_called_proven(
    site: SiteMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontend, "PATIENCE", 30.0)  # for the next request, on a busy machine
    lb = site(USE_SERVER, FRONTEND + "    mode tcp\n")
    lb.set("shop/green1 state drain")
    with lb.load():
        assert move(lb.router(), GREEN).verified is None
    assert lb.clients(4) == {"blue1": 4}
    with lb.load():
        move(lb.router(), BLUE)
        assert move(lb.router(**MAINT), GREEN).verified is True
    assert lb.clients(4) == {"green1": 4}


BY_STATE = """
frontend front
    bind 127.0.0.1:{front}
    use_backend shop_green if {{ srv_is_up(shop_green/g1) }} !{{ srv_is_up(shop_blue/b1) }}
    default_backend shop_blue
"""


def test_a_frontend_that_asks_srv_is_up_is_told_to_use_maintenance(
    site: SiteMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontend, "PATIENCE", 30.0)
    lb = site(
        "backend shop_blue\n    server b1 @blue1 {checked}\nbackend shop_green\n    server g1 @green1 {checked}\n",
        BY_STATE,
    )
    lb.set("shop_green/g1 state drain")
    with lb.load():
        said = refused(NotVerifiedError, lambda: move(lb.router(**TWO_BACKENDS), GREEN))
    assert "set lower_with to maint" in said
    assert lb.colours() == {"blue": 40}
    lb.set("shop_green/g1 state maint")
    for wanted in (GREEN, BLUE):
        with lb.load() as got:
            assert move(lb.router(**TWO_BACKENDS, lower_with="maint"), wanted).verified is True
        assert {*got} <= {"blue1", "green1"}
        assert lb.colours() == {wanted.leader: 40}


def test_what_an_agent_may_change_at_any_time_is_not_called_proven(site: SiteMaker) -> None:
    with agent("up") as port:
        options = f"{{checked}} weight 100 agent-check agent-inter 100ms agent-addr 127.0.0.1 agent-port {port}"
        lb = site(f"backend shop\n    server blue1 @blue1 {options}\n    server green1 @green1 {options}\n")
        assert move(lb.router(), GREEN).verified is None
        assert lb.colours() == {"green": 40}


# --- Servers that nobody has checked yet ------------------------------------------------------------------

SLOTS = """
backend shop
    server blue1 @blue1 {checked}
    server green1 @green1 {checked} disabled
    server green2 @green2 {checked} disabled
    server-template green 3-6 127.0.0.1:{nobody} {checked} disabled
"""


@pytest.mark.parametrize("lower_with", ["drain", "maint"])
def test_slots_that_are_disabled_until_they_have_a_server_fail_nobody(site: SiteMaker, lower_with: str) -> None:
    lb = site(SLOTS.replace("{nobody}", str(closed_port())))
    for wanted in (GREEN, BLUE):
        with lb.load() as got:
            assert move(lb.router(**ONE_BACKEND, lower_with=lower_with), wanted).verified is True
        assert {*got} <= {"blue1", "green1", "green2"}
        assert lb.colours() == {wanted.leader: 40}


def test_a_colour_that_fails_its_first_check_gets_nobody_and_is_back_in_maintenance(site: SiteMaker) -> None:
    lb = site(
        "backend shop\n    server blue1 @blue1 {checked}\n    server green1 @green1 {checked} weight 7 disabled\n"
    )
    lb.apps["green1"].stop()
    before = lb.states()
    with lb.load() as got:
        refused(NotReadyError, lambda: move(lb.router(**ONE_BACKEND, timeout=0.5), GREEN))
    assert {*got} == {"blue1"}
    assert lb.states() == before


def test_servers_without_checks_are_raised_beside_one_that_fails_its_own(site: SiteMaker) -> None:
    lb = site(
        "backend shop\n    server blue1 @blue1 {checked}\n"
        "    server green1 @green1 disabled\n    server green2 @green2 {checked} disabled\n"
    )
    lb.apps["green2"].stop()
    with lb.load() as got:
        assert move(lb.router(**MAINT), GREEN).verified is True
    assert {*got} == {"blue1", "green1"}
    assert lb.colours() == {"green": 40}


# --- Requests that wait for a server ----------------------------------------------------------------------

LIMITED = """
backend shop_blue
    timeout queue 60s
    server b1 @blue1 {checked} maxconn 1
backend shop_green
    timeout queue 60s
    server g1 @green1 {checked} maxconn 1
"""
BY_NUMBER = """
frontend front
    bind 127.0.0.1:{front}
    use_backend shop_green if {{ nbsrv(shop_green) gt 0 }}
    default_backend shop_blue
"""


def test_requests_that_are_queued_in_the_other_backend_are_served_before_it_is_lowered(site: SiteMaker) -> None:
    lb = site(LIMITED, BY_NUMBER)
    lb.set("shop_green/g1 state drain")
    lb.apps["blue1"].gate.clear()
    with ThreadPoolExecutor() as pool:
        early = [pool.submit(lb.get) for _client in range(3)]
        wait_until(lambda: lb.queued("shop_blue") == 2, 30, "two of them wait")
        moved = pool.submit(move, lb.router(**TWO_BACKENDS, timeout=60.0), GREEN)
        wait_until(lambda: lb.states()["shop_green/g1"] == (0, 1), 30, "green is raised")
        assert lb.get() == "green1"
        assert lb.states()["shop_blue/b1"] == (0, 1)
        lb.apps["blue1"].gate.set()
        assert [client.result() for client in early] == ["blue1"] * 3
        assert moved.result().changed
    assert lb.colours() == {"green": 40}
