# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from plugins.module_utils._errors import MissingError
from plugins.module_utils._haproxy.members import Member
from plugins.module_utils._haproxy.pool import Pool
from plugins.module_utils._haproxy.runtime_api import RuntimeApi

from .fakes import FakeHAProxy, FakeSocket, answering

LONG = 20.0
IDLE = "rq[f=848000h,i=0,an=1000h,ax=] rp[f=80008000h,i=0,an=00h,ax=]"
TUNNEL = "rq[f=4c8202h,i=0,an=00h,ax=] rp[f=804c8202h,i=0,an=00h,ax=] scf=[8,200h,fd=15] scb=[8,1h,fd=16]"
SESSIONS = f"""\
0x1: proto=tcpv4 src=127.0.0.1:1 fe=shop be=<NONE> srv=<none> ts=00 age=1s calls=1 {IDLE} exp=5s
0x2: proto=tcpv4 src=127.0.0.1:2 fe=shop be=shop_blue srv=b1 ts=00 age=1m2s calls=3 {TUNNEL} exp=59m
0x3: proto=tcpv4 src=127.0.0.1:3 fe=shop be=shop_green srv=g1 ts=00 age=1s calls=3 {TUNNEL} exp=59m
0x4: proto=tcpv4 src=127.0.0.1:4 fe=shop be=shop_blue srv=b2 ts=00 age=1s rq[an=00h] rp[an=600000h] exp=9s
0x5: proto=unix_stream src=unix:1 fe=GLOBAL be=<NONE> srv=<none> ts=00 rq[an=00h] rp[an=00h] exp=9s
"""


def belongs(backend: str, _server: str) -> str:
    return backend.removeprefix("shop_")


def test_connections_that_no_answer_will_end_are_found() -> None:
    with FakeSocket(answering(lambda line: SESSIONS if line == "show sess" else "")) as haproxy:
        api = RuntimeApi(haproxy.address, LONG)
        found = Pool(api, ["shop_blue", "shop_green"], belongs).long_lived()
    assert [each for each in found if each[0] != "<NONE>"] == [("shop_blue", "b1"), ("shop_green", "g1")]


def test_servers_and_counters_are_read() -> None:
    fake = FakeHAProxy()
    fake.servers["shop_green"]["g2"] = [8, 37]
    with FakeSocket(answering(fake)) as haproxy:
        pool = Pool(RuntimeApi(haproxy.address, LONG), ["shop_blue", "shop_green", "shop_blue"], belongs)
        look = pool.look()
    assert look.of("green") == [
        Member("shop_green", "g1", "green"),
        Member("shop_green", "g2", "green", admin=8, weight=37),
    ]
    assert [*look.servers] == ["shop_blue/b1", "shop_blue/b2", "shop_green/g1", "shop_green/g2"]
    assert [*look.backends] == ["shop_blue", "shop_green"]


def test_a_second_look_asks_once_and_one_after_another_configuration_was_loaded_asks_anew() -> None:
    fake = FakeHAProxy()
    with FakeSocket(answering(fake)) as haproxy:
        pool = Pool(RuntimeApi(haproxy.address, LONG), ["shop_blue", "shop_green"], belongs)
        first = pool.look()
        asked = len(haproxy.connections)
        assert pool.look() == first
        assert len(haproxy.connections) == asked + 1
        fake.servers = {"new": {"n1": [0, 1]}, **fake.servers}
        assert pool.look() == first


def test_the_stick_tables_that_hold_servers_are_found() -> None:
    tables = "# table: rates, type: ip, size:10240, used:0\n\n# table: peers/one, type: string, size:1, used:0\n"

    def answer(line: str) -> str:
        if line.startswith("show table rates "):
            return "Filter entry #1: Data type not stored in this table"
        return tables if line == "show table" else f"# table: {line.split()[2]}, type: string"

    with FakeSocket(answering(answer)) as haproxy:
        assert Pool(RuntimeApi(haproxy.address, LONG), ["shop"], belongs).sticky_tables() == ["peers/one"]


@pytest.mark.parametrize(
    ("answer", "is_static"),
    [
        ("Backend must use a dynamic load balancing to support dynamic servers.", True),
        ("'server' expects <name> and <addr>[:<port>] as arguments.", False),
        ("Unknown command", False),
    ],
)
def test_a_balance_that_takes_no_weights_at_run_time_is_known_by_its_taking_no_servers(
    answer: str, is_static: bool
) -> None:
    with FakeSocket(answering(lambda _line: answer)) as haproxy:
        pool = Pool(RuntimeApi(haproxy.address, LONG), ["shop"], belongs)
        assert pool.is_static(Member("shop", "blue1")) is is_static
    assert haproxy.lines == ["add server shop/blue1"]


def test_a_backend_that_is_not_there_is_missing() -> None:
    with FakeSocket(answering(FakeHAProxy())) as haproxy:
        pool = Pool(RuntimeApi(haproxy.address, LONG), ["shop_blue", "nobody"], belongs)
        with pytest.raises(MissingError) as caught:
            pool.look()
    assert caught.value.found.startswith("HAProxy has no backend 'nobody'")
