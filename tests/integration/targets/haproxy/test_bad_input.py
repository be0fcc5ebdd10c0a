# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input: one clear line with a code, no traceback, and nothing changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.balancer import Balancer, playbook
from tests.unit.plugins.module_utils._haproxy.fakes import FakeHAProxy, FakeSocket, Talk, answering
from tests.unit.plugins.modules.process import run_module

NASTY = ["a\nset map x y z", "a;b", "a b", 'a"b', "a\\b", "a$b", "a\tb", "ä", ""]


@pytest.fixture
def fakes() -> Iterator[Callable[..., str]]:
    """Starts fake stats sockets, which are stopped in every outcome; gives their addresses."""
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(FakeSocket(script)).address


def lb(kind: str = "map", **options: Any) -> Callable[[Balancer], dict[str, Any]]:
    """The options of a call with one route."""

    def given(balancer: Balancer) -> dict[str, Any]:
        whole = balancer.route(kind)
        whole["haproxy"].update(options)
        return {"routes": [whole]}

    return given


def route(**parts: Any) -> Callable[[Balancer], dict[str, Any]]:
    """The same, with other parts of the route itself."""
    return lambda balancer: {"routes": [{**balancer.route(), **parts}]}


def instead(**options: Any) -> Callable[[Balancer], dict[str, Any]]:
    """The same, with other options of the module."""
    return lambda balancer: {**lb()(balancer), "to": None, **options}


def hanging(talk: Talk) -> None:
    talk.hang()


Options = Callable[[Balancer], dict[str, Any]]

BAD: dict[str, tuple[Options, str, str]] = {
    # what is wanted
    "unknown colour": (instead(to="red"), "invalid", "colour 'red' is not known; expected blue or green"),
    "unknown colour in a split": (instead(split={"red": 1}), "invalid", "colour 'red' is not known"),
    "shares that do not add up": (instead(split={"blue": 90, "green": 20}), "invalid", "adds up to 110 %"),
    "negative share": (instead(split={"green": -1}), "invalid", "share of green is -1 %"),
    "share of more than all": (instead(split={"green": "9e999999"}), "invalid", "share of green is 9e999999 %"),
    "share that is no number": (instead(split={"green": "ten\nof them"}), "invalid", "share of green is 'ten"),
    "share finer than a map holds": (instead(split={"green": 0.001}), "invalid", "a multiple of 0.01 %"),
    "share finer than weights hold": (
        lambda balancer: {**lb("one")(balancer), "to": None, "split": {"green": 12.5}},
        "unsupported",
        "the split blue 87.5 %, green 12.5 % is too fine; expected multiples of 1 %",
    ),
    "share that two backends cannot hold": (
        lambda balancer: {**lb("two")(balancer), "to": None, "split": {"green": 10}},
        "unsupported",
        "two backends cannot hold the split blue 90 %, green 10 %",
    ),
    "empty split": (instead(split={}), "invalid", "the split is empty"),
    "split that is no dict": (instead(split=[1, 2]), "invalid", "split"),
    "to and split": (instead(to="green", split={"green": 10}), "invalid", "mutually exclusive: to|split"),
    "neither to nor split": (instead(), "invalid", "one of the following is required: to, split"),
    "live and idle the same": (instead(to="blue", colours=["blue", "blue"]), "invalid", "colours is blue, blue"),
    "three colours": (instead(to="blue", colours=["blue", "green", "red"]), "invalid", "expected two different names"),
    "unexpected state": (instead(to="green", expect={"blue": 50}), "conflict", "the split is blue 100 %, green 0 %"),
    "bad expectation": (instead(to="green", expect={"red": 1}), "invalid", "colour 'red' is not known"),
    "no time to verify": (instead(to="green", verify={"retries": 0}), "invalid", "verify has no time to look"),
    "unknown option": (instead(to="green", colour="green"), "invalid", "Unsupported parameters"),
    # which routes
    "no routes": (lambda _balancer: {"routes": []}, "invalid", "there are no routes; expected at least one"),
    "routes missing": (lambda _balancer: {}, "invalid", "missing required arguments: routes"),
    "unknown provider": (route(provider="pigeon"), "invalid", ", got: pigeon"),
    "provider without its dict": (route(haproxy=None), "invalid", "route lb1: haproxy is empty; expected a value"),
    "provider not named": (route(provider=None), "invalid", "value of provider must be one of: "),
    "route without a name": (route(name=None), "invalid", "name is empty; expected a value"),
    "route that is none": (lambda _balancer: {"routes": [None]}, "invalid", "routes"),
    "options of another way": (lb(way="servers"), "invalid", "both or none of backend and backends"),
    "two routes of one name": (
        lambda balancer: {"routes": [balancer.route(), balancer.route("one")]},
        "invalid",
        "two routes are named 'lb1'",
    ),
    # the socket
    "missing socket": (lb(socket="/nobody/admin.sock"), "missing", "there is no socket /nobody/admin.sock"),
    "socket that is no address": (lb(socket="admin.sock"), "invalid", "socket 'admin.sock' is no address"),
    "socket that nobody serves": (
        lambda balancer: lb(socket=f"127.0.0.1:{balancer.closed}")(balancer),
        "unreachable",
        "cannot be reached: Connection refused",
    ),
    "socket that is a web server": (
        lambda balancer: lb(socket=balancer.fronts["map"].removeprefix("http://"), timeout=20)(balancer),
        "unreachable",
        "closed the session",
    ),
    "socket without admin rights": (
        lambda balancer: lb(socket=balancer.operator_socket)(balancer),
        "denied",
        "has level 'operator'; expected level admin",
    ),
    "socket without admin rights, servers": (
        lambda balancer: lb("one", socket=balancer.operator_socket)(balancer),
        "denied",
        "has level 'operator'; expected level admin",
    ),
    "timeout that is none": (lb(timeout=0), "invalid", "timeout is 0; expected a number of seconds above 0"),
    # the map
    "map entry missing": (lb(key="nobody"), "missing", "the running HAProxy has no entry 'nobody' in the map"),
    "map unknown": (
        lambda balancer: lb(map="/nobody/other.map", map_file=str(balancer.map))(balancer),
        "missing",
        "the running HAProxy has no map '/nobody/other.map'",
    ),
    "map file missing": (lb(map_file="/nobody/other.map"), "missing", "there is no map file /nobody/other.map"),
    "map file relative": (lb(map_file="other.map"), "invalid", "the map file 'other.map' is no absolute path"),
    "map not named": (lb(map=None), "invalid", "map '' cannot be part of"),
    "key not named": (lb(key=None), "invalid", "map key '' cannot be part of"),
    "socket not named": (lb(socket=None), "invalid", "socket '' is no address"),
    # backends and servers
    "backend missing": (
        lb(backends={"blue": "shop_blue", "green": "missing"}),
        "missing",
        "HAProxy has no backend 'missing'",
    ),
    "backend missing, servers": (lb("one", backend="missing"), "missing", "HAProxy has no backend 'missing'"),
    "one backend for both": (lb(backends={"blue": "shop_blue", "green": "shop_blue"}), "invalid", "for both colours"),
    "backend of a third colour": (lb(backends={"blue": "a", "green": "b", "red": "c"}), "invalid", "backends names"),
    "idle colour with no members": (
        lb(backends={"blue": "shop_blue", "green": "nobody"}),
        "not_ready",
        "green has 0 members and none is ready",
    ),
    "idle colour with no members, servers": (
        lb("two", backends={"blue": "two_blue", "green": "nobody"}),
        "missing",
        "no server of nobody belongs to green",
    ),
    "idle colour with none ready": (
        lb(backends={"blue": "shop_blue", "green": "dead"}),
        "not_ready",
        "green has 1 members and none is ready",
    ),
    "pattern that matches nothing": (
        lb("one", servers={"blue": "blue.*", "green": "nobody"}),
        "missing",
        "no server of one belongs to green",
    ),
    "patterns that match one server": (
        lb("one", servers={"blue": ".*", "green": "green.*"}),
        "invalid",
        "matches the patterns of both colours",
    ),
    "pattern that does not compile": (
        lb("one", servers={"blue": "blue.*", "green": "("}),
        "invalid",
        "a pattern of servers does not parse",
    ),
    "pattern that is no text": (lb("one", servers={"blue": "blue.*", "green": ["g"]}), "invalid", "no pattern for"),
    "no patterns": (lb("one", servers=None), "invalid", "there is no pattern for the servers of blue"),
    "neither backend nor backends": (lb("one", backend=None), "invalid", "both or none of backend and backends"),
    **{f"key {name!r}": (lb(key=name), "invalid", "map key") for name in NASTY},
    **{f"map {name!r}": (lb(map=name or "\n"), "invalid", "map") for name in NASTY},
    **{
        f"backend {name!r}": (lb(backends={"blue": "shop_blue", "green": name}), "invalid", "backend name")
        for name in NASTY
    },
}


def check(result: dict[str, Any], code: str, message: str) -> None:
    assert (result["failed"], result["failure"]) == (True, {"code": code}), result["msg"]
    assert message in result["msg"]
    assert len(result["msg"].splitlines()) == 1
    assert not any(route["changed"] for route in result.get("routes", []))


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_with_a_code_and_changes_nothing(balancer: Balancer, name: str) -> None:
    options, code, message = BAD[name]
    before = balancer.everything()
    given = {name: value for name, value in {"to": "green", **options(balancer)}.items() if value is not None}
    for check_mode in (True, False):
        check(run_module("traffic", **given, _ansible_check_mode=check_mode), code, message)
    assert balancer.everything() == before


@pytest.mark.parametrize(
    ("script", "code", "message"),
    [
        (hanging, "timeout", "did not answer 'show' within 0.3 s"),
        (lambda talk: talk.greet(), "unreachable", "closed the session"),
        (answering(FakeHAProxy(version="2.0.33")), "unsupported", "HAProxy is version 2.0; expected 2.4 or newer"),
        (answering(lambda _line: "500 what?"), "unsupported", "the socket answers '500 what?' to 'show info'"),
        (answering(FakeHAProxy(level="user")), "denied", "has level 'user'; expected level admin"),
    ],
    ids=["hangs", "hangs up", "too old", "no HAProxy", "a user's"],
)
def test_a_bad_socket_beside_a_good_one_stops_both(
    balancer: Balancer, fakes: Callable[..., str], script: Callable[[Talk], object], code: str, message: str
) -> None:
    before = balancer.everything()
    bad = balancer.route(name="bad", socket=fakes(script), persist=False, timeout=0.3)
    result = balancer.module("traffic", routes=[balancer.route(), bad], to="green")
    check(result, code, message)
    assert result["msg"].startswith("route bad: ")
    assert [route["name"] for route in result["routes"]] == ["lb1"]
    assert balancer.everything() == before


def test_through_ansible_it_is_the_same(balancer: Balancer, tmp_path: Path) -> None:
    """A few of each kind; the others differ in nothing that Ansible has a part in."""
    names = ["unknown colour", "to and split", "unknown provider", "missing socket", "key 'a\\nset map x y z'"]
    before = balancer.everything()
    tasks: list[dict[str, Any]] = []
    for number, name in enumerate(names):
        options = {key: value for key, value in {"to": "green", **BAD[name][0](balancer)}.items() if value is not None}
        tasks.append(
            {"name": name, "bluegreen.deploy.traffic": options, "register": f"r{number}", "ignore_errors": True}
        )
    dump = "{{ [" + ", ".join(f"r{number}" for number in range(len(names))) + "] | to_json }}"
    out = tmp_path / "results.json"
    tasks.append({"name": "Tell", "ansible.builtin.copy": {"dest": str(out), "content": dump}})
    run = playbook(balancer.rig, tmp_path / "play.yml", tasks)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    for name, result in zip(names, json.loads(out.read_text()), strict=True):
        check(result, *BAD[name][1:])
    assert balancer.everything() == before
