# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules against a real HAProxy, as processes that get JSON and, once for each, through ansible-playbook."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.app import TEXT, encode_frame, frames
from demo.rig import wait_until
from tests.integration.balancer import GREEN, Balancer, Client, asking, playbook

NEW_IN_A_RUN = {"committed_at": None, "took_ms": None, "verified": None}


def foretold(result: dict[str, Any]) -> dict[str, Any]:
    """What check mode can know of a result."""
    routes = [{**route, **NEW_IN_A_RUN} for route in result["routes"]]
    return {"changed": result["changed"], "diff": result["diff"], "routes": routes}


@pytest.mark.parametrize(
    ("way", "wanted"),
    [
        ("map", {"to": "green"}),
        ("map", {"split": {"blue": "99.99"}}),
        ("one", {"to": "green"}),
        ("one", {"split": {"green": 25}}),
        ("two", {"to": "green"}),
        ("two", {"split": {"green": 100, "blue": 0}}),
    ],
)
def test_check_mode_predicts_a_run_and_a_second_run_changes_nothing(
    balancer: Balancer, way: str, wanted: dict[str, Any]
) -> None:
    before = balancer.everything()
    predicted = balancer.module("traffic", way, **wanted, _ansible_check_mode=True)
    assert balancer.everything() == before
    done = balancer.module("traffic", way, **wanted)
    assert foretold(predicted) == foretold(done)
    seen = None if way == "two" else True  # only a request could show which of two backends the frontend takes
    assert (done["changed"], done["routes"][0]["verified"]) == (True, seen)
    after = balancer.everything()
    assert after != before
    for check in (True, False):
        again = balancer.module("traffic", way, **wanted, _ansible_check_mode=check)
        assert (again["changed"], again["routes"][0]["changed"]) == (False, False)
        assert again["diff"]["before"] == again["diff"]["after"] == done["diff"]["after"]
    assert balancer.everything() == after
    shown = balancer.module("traffic_info", way)
    assert (shown["changed"], shown["routes"][0]["split"]) == (False, done["routes"][0]["after"])


def test_through_ansible_it_is_the_same(balancer: Balancer, tmp_path: Path) -> None:
    """All modules, as a playbook runs them: packed, in check mode, with diff, and with a failure to decide on."""
    routes = [balancer.route()]

    def task(module: str, register: str, **options: Any) -> dict[str, Any]:
        words = {"check_mode": options.pop("check_mode", False), "register": register, "ignore_errors": True}
        return {"name": register, f"bluegreen.deploy.{module}": {"routes": routes, **options}, **words}

    names = ["predicted", "done", "again", "shown", "drained", "judged", "refused"]
    results = "{{ {" + ", ".join(f"'{name}': {name}" for name in names) + "} | to_json }}"
    tasks = [
        task("traffic", "predicted", to="green", check_mode=True),
        task("traffic", "done", to="green"),
        task("traffic", "again", to="green"),
        task("traffic_info", "shown"),
        task("drain", "drained", colour="blue", timeout=20),
        task("analysis", "judged", colour="green", duration=0),
        task("traffic", "refused", to="blue", expect={"blue": 50}),
        {"name": "Tell", "ansible.builtin.copy": {"dest": str(tmp_path / "results.json"), "content": results}},
    ]
    run = playbook(balancer.rig, tmp_path / "play.yml", tasks, "--diff")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    told = json.loads((tmp_path / "results.json").read_text())
    assert foretold(told["predicted"]) == foretold(told["done"])
    assert [told[name]["changed"] for name in names[:5]] == [True, True, False, False, False]
    assert (told["shown"]["live"], told["shown"]["routes"][0]["drift"]) == ("green", [])
    assert (told["drained"]["left"], told["judged"]["verdict"]) == (
        [{"route": "lb1", "requests": 0, "long_lived": 0, "new_requests": 0}],
        "inconclusive",
    )
    assert told["refused"]["failure"] == {"code": "conflict"}
    assert balancer.router("map").read() == GREEN


def test_a_socket_over_tcp_does_as_well(balancer: Balancer) -> None:
    result = balancer.module("traffic", routes=[balancer.route(socket=balancer.tcp)], to="green")
    assert (result["changed"], balancer.entry()) == (True, "green:blue:0")


def test_several_routes_are_one_decision(balancer: Balancer) -> None:
    """The last one cannot be prepared, then each can: all or none."""
    routes = [balancer.route("map", "r1"), balancer.route("one", "r2"), balancer.route("two", "r3")]
    before = balancer.everything()
    lost = balancer.route("two", "r4", socket="/nobody/admin.sock")
    result = balancer.module("traffic", routes=[*routes, lost], to="green")
    assert (result["failure"], [route["changed"] for route in result["routes"]]) == ({"code": "missing"}, [False] * 3)
    assert balancer.everything() == before
    result = balancer.module("traffic", routes=routes, to="green")
    assert [route["changed"] for route in result["routes"]] == [True] * 3
    assert [balancer.router(way).read() for way in ("map", "one", "two")] == [GREEN] * 3


def test_two_apps_in_one_map_file_are_switched_at_once(balancer: Balancer) -> None:
    """Two tasks of two releases, each writing the same file."""
    balancer.map.write_text(balancer.map.read_text() + "other blue:green:0\n")
    balancer.process("reloaded")
    other = balancer.route(name="other", key="other", backends={"blue": "shop_blue", "green": "shop_green"})
    results: list[dict[str, Any]] = []
    threads = [
        threading.Thread(
            target=lambda route=route: results.append(balancer.module("traffic", routes=[route], to="green"))
        )
        for route in (balancer.route(), other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result["changed"] for result in results] == [True, True]
    assert balancer.map.read_text().splitlines()[1:] == ["shop green:blue:0", "other green:blue:0"]


# --- Drift ------------------------------------------------------------------------------------------------


def edit_the_file(balancer: Balancer) -> None:
    balancer.map.write_text("shop green:blue:0\n")


def set_the_map(balancer: Balancer) -> None:
    balancer.ask(f"set map {balancer.map} shop blue:green:700")


def take_the_servers_out(balancer: Balancer) -> None:
    balancer.ask(*(f"set server shop_blue/{name} state maint" for name in ("blue1", "blue2")))


@pytest.mark.parametrize(
    ("drift", "sentence"),
    [
        (edit_the_file, "says 'green:blue:0', the running HAProxy 'blue:green:0'"),
        (set_the_map, "says 'blue:green:0', the running HAProxy 'blue:green:700'"),
        (take_the_servers_out, "sends traffic to blue, and each of its servers is in maintenance or drain"),
    ],
)
def test_drift_is_told_refused_and_mended_when_asked(balancer: Balancer, drift: Any, sentence: str) -> None:
    drift(balancer)
    before = balancer.everything()
    shown = balancer.module("traffic_info")
    assert [sentence in told for told in shown["routes"][0]["drift"]] == [True]
    refused = balancer.module("traffic", to="green")
    assert refused["failure"] == {"code": "drift"}
    assert sentence in refused["msg"]
    assert balancer.everything() == before
    options = {"to": "green", "on_drift": "mend"}
    predicted = balancer.module("traffic", **options, _ansible_check_mode=True)
    assert balancer.everything() == before
    mended = balancer.module("traffic", **options)
    assert foretold(predicted) == foretold(mended)
    assert sentence in mended["routes"][0]["drift"][0]
    assert balancer.module("traffic_info")["routes"][0]["drift"] == []
    assert balancer.module("traffic", to="green")["changed"] is False
    assert "shop green:blue:0" in balancer.map.read_text()


def test_a_file_alone_is_mended_to_what_is_in_force(balancer: Balancer) -> None:
    edit_the_file(balancer)
    mended = balancer.module("traffic", to="blue", on_drift="mend")
    assert (mended["changed"], balancer.entry()) == (True, "blue:green:0")
    assert "shop blue:green:0" in balancer.map.read_text()


# --- Drain ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def websockets(front: str, many: int) -> Iterator[list[socket.socket]]:
    host, _colon, port = front.removeprefix("http://").partition(":")
    request = (
        "GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection((host, int(port)), 20)) for _time in range(many)]
        for each in opened:
            each.sendall(request.encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += each.recv(1)
            assert head.startswith(b"HTTP/1.1 101")
        yield opened


def echo(each: socket.socket, payload: bytes) -> bytes:
    each.sendall(encode_frame(TEXT, payload, key=os.urandom(4)))
    buffer = bytearray()
    reader = frames(buffer)
    while (frame := next(reader)) is None:
        received = each.recv(65536)
        assert received, "the WebSocket was closed"
        buffer += received
    return frame.payload


@pytest.mark.parametrize("way", ["map", "one", "two"])
def test_websockets_are_counted_as_long_lived_and_left_open(balancer: Balancer, way: str) -> None:
    with websockets(balancer.fronts[way], 3) as opened:
        balancer.move(GREEN, way)
        shown = balancer.module("traffic_info", way)["routes"][0]["activity"]
        assert (shown["blue"]["long_lived"], shown["green"]["long_lived"]) == (3, 0)
        left = balancer.module("drain", way, colour="blue", long_lived="leave", timeout=20)
        assert left["left"] == [{"route": "lb1", "requests": 0, "long_lived": 3, "new_requests": 0}]
        late = balancer.module("drain", way, colour="blue", timeout=0)
        assert (late["failure"], late["left"]) == ({"code": "timeout"}, left["left"])
        assert "lb1: 0 requests, 3 long-lived connections" in late["msg"]
        assert [echo(each, b"still here") for each in opened] == [b"still here"] * 3
    assert balancer.module("drain", way, colour="blue", timeout=20)["left"][0]["long_lived"] == 0


@pytest.mark.parametrize("way", ["map", "one", "two"])
def test_drain_waits_for_a_request_in_flight(balancer: Balancer, way: str) -> None:
    replies = []

    def ask_slowly() -> None:
        with Client(balancer.fronts[way]) as client:
            replies.append(client.ask(path="/slow?ms=5000"))

    slow = threading.Thread(target=ask_slowly)
    slow.start()
    wait_until(lambda: balancer.router(way).observe()["blue"].counted.in_flight, 20, "the request is in flight")  # type: ignore[index]
    balancer.move(GREEN, way)
    assert balancer.module("drain", way, colour="blue", timeout=0)["failure"] == {"code": "timeout"}
    assert balancer.module("drain", way, colour="blue", timeout=20, interval=0.02)["left"][0]["requests"] == 0
    slow.join(20)  # HAProxy counts it as done when it has passed the answer on
    assert [(reply.status, reply.colour) for reply in replies] == [(200, "blue")]


@pytest.mark.parametrize("way", ["map", "one", "two"])
def test_drain_waits_until_no_new_request_comes(balancer: Balancer, way: str) -> None:
    """Health checks go on all the time, and are no requests."""
    with asking(balancer.fronts[way]):
        late = balancer.module("drain", way, colour="blue", allowed=99, quiet=0.5, timeout=1.5, interval=0.1)
        assert (late["failure"], late["left"][0]["new_requests"] > 0) == ({"code": "timeout"}, True), late
        assert f"blue was not quiet on lb1: {late['left'][0]['new_requests']} new requests in " in late["msg"]
        balancer.move(GREEN, way)
        left = balancer.module("drain", way, colour="blue", quiet=1, timeout=20, interval=0.1)
        assert (left.get("failure"), left["left"][0]["requests"]) == (None, 0), left
        late = balancer.module("drain", way, colour="green", allowed=99, quiet=0.5, timeout=1.5, interval=0.1)
        assert late["failure"] == {"code": "timeout"}


# --- Analysis ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["map", "one"])
@pytest.mark.parametrize(
    ("faults", "limits", "verdict"),
    [
        ({}, {"max_error_share": 1, "max_latency_ms": 5000}, "pass"),
        ({"fail_share": 0.3}, {"max_error_share": 1}, "fail"),
        ({"latency_ms": 30}, {"max_latency_ms": 10, "min_requests": 10}, "fail"),
        ({"fail_share": 0.3}, {"max_latency_ms": 5000}, "pass"),
    ],
)
def test_a_colour_is_judged_by_what_haproxy_counts(
    balancer: Balancer, way: str, faults: dict[str, float], limits: dict[str, float], verdict: str
) -> None:
    if "latency_ms" in faults:
        balancer.process("reloaded")  # the mean is over the last 1024 requests: forget the quick ones
    balancer.move(GREEN, way)
    balancer.fault("green", **faults)
    try:
        with asking(balancer.fronts[way]):
            result = balancer.module(
                "analysis", way, colour="green", duration=1.5, interval=0.1, **{"min_requests": 20, **limits}
            )
    finally:
        balancer.fault("green", fail_share=0.0, latency_ms=0.0)
    assert result["verdict"] == verdict, result
    assert result.get("failure") == ({"code": "threshold_exceeded"} if verdict == "fail" else None)
    assert result["requests"] >= limits.get("min_requests", 20)
    assert sum(sample["requests"] for sample in result["samples"]) == result["requests"]
    if "fail_share" in faults:
        assert 25 <= result["error_share"] <= 35
    else:
        assert result["errors"] == 0


def test_a_colour_without_traffic_is_not_judged(balancer: Balancer) -> None:
    result = balancer.module("analysis", colour="green", duration=0.2, interval=0.1, max_error_share=1)
    assert (result["verdict"], result["requests"]) == ("inconclusive", 0)
