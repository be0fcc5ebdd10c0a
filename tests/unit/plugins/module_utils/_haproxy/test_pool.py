# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from plugins.module_utils._errors import MissingError
from plugins.module_utils._haproxy.pool import Pool, Server, activity, all_out
from plugins.module_utils._haproxy.runtime_api import RuntimeApi
from plugins.module_utils._traffic.router import Activity, Counted

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


def server(admin_state: int, op_state: int = 2) -> Server:
    row = {"be_name": "b", "srv_name": "s", "srv_uweight": "7"}
    return Server.of({**row, "srv_op_state": str(op_state), "srv_admin_state": str(admin_state)})


@pytest.mark.parametrize(
    ("admin_state", "is_out"),
    [
        (0x00, False),
        (0x01, True),  # forced maintenance
        (0x02, True),  # maintenance inherited from the server it tracks
        (0x04, False),  # was "disabled" in the configuration, which says nothing about now
        (0x05, True),
        (0x08, True),  # forced drain
        (0x10, True),  # drain inherited
        (0x20, True),  # maintenance because its name does not resolve
    ],
)
def test_a_server_is_out_in_maintenance_or_drain_only(admin_state: int, is_out: bool) -> None:
    assert server(admin_state).is_out is is_out


@pytest.mark.parametrize(("op_state", "is_up"), [(0, False), (1, True), (2, True), (3, True)])
def test_a_server_is_up_unless_its_checks_say_otherwise(op_state: int, is_up: bool) -> None:
    assert server(0, op_state).is_up is is_up


@pytest.mark.parametrize(("states", "out"), [([], False), ([8], True), ([8, 1], True), ([8, 0], False)])
def test_no_servers_are_not_all_out(states: list[int], out: bool) -> None:
    assert all_out([server(state) for state in states]) is out


def test_connections_that_no_answer_will_end_are_found() -> None:
    with FakeSocket(answering(lambda line: SESSIONS if line == "show sess" else "")) as haproxy:
        api = RuntimeApi(haproxy.address, LONG)
        found = Pool(api, ["shop_blue", "shop_green"]).long_lived()
    assert [each for each in found if each[0] != "<NONE>"] == [("shop_blue", "b1"), ("shop_green", "g1")]


def test_servers_and_counters_are_read() -> None:
    fake = FakeHAProxy()
    fake.servers["shop_green"]["g2"] = [8, 37]
    with FakeSocket(answering(fake)) as haproxy:
        api = RuntimeApi(haproxy.address, LONG)
        pool = Pool(api, ["shop_blue", "shop_green", "shop_blue"])
        assert pool.servers()[2:] == [
            Server("shop_green", "g1", is_up=True, is_out=False, weight=1),
            Server("shop_green", "g2", is_up=True, is_out=True, weight=37),
        ]
        servers, backends = pool.statistics()
    assert [row["svname"] for row in servers] == ["b1", "b2", "g1", "g2"]
    assert [row["pxname"] for row in backends] == ["shop_blue", "shop_green"]


@pytest.mark.parametrize("ask", [Pool.servers, Pool.statistics])
def test_a_backend_that_is_not_there_is_missing(ask: object) -> None:
    with FakeSocket(answering(FakeHAProxy())) as haproxy:
        api = RuntimeApi(haproxy.address, LONG)
        with pytest.raises(MissingError) as caught:
            ask(Pool(api, ["shop_blue", "nobody"]))  # type: ignore[operator]
    assert caught.value.found.startswith("HAProxy has no backend 'nobody'")


def test_latency_is_the_mean_over_requests() -> None:
    rows = [
        {"status": "UP", "scur": "1", "qcur": "2", "stot": "30", "hrsp_5xx": "3", "rtime": "10"},
        {"status": "UP 1/2", "scur": "0", "qcur": "", "stot": "10", "hrsp_5xx": "", "rtime": "50"},
        {"status": "DOWN", "scur": "0", "stot": "0"},
    ]
    assert activity(rows, rows, ("UP",)) == Activity(3, 2, Counted(3, 40, 3, 20.0))
    assert activity([], [], ("UP",)) == Activity(0, 0, Counted(0, 0, 0, 0.0))
