# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The provider against a fake HAProxy that records every byte; the real one is in tests/integration/targets."""

from __future__ import annotations

import contextlib
import itertools
import shlex
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugins.module_utils._errors import (
    BlueGreenError,
    ConflictError,
    DeniedError,
    DriftError,
    InvalidError,
    MissingError,
    NotReadyError,
    NotVerifiedError,
    UnsupportedError,
)
from plugins.module_utils._traffic.haproxy import PROVIDER
from plugins.module_utils._traffic.haproxy_map import HAProxyMap, _entry
from plugins.module_utils._traffic.haproxy_servers import HAProxyServers
from plugins.module_utils._traffic.route import Route
from plugins.module_utils._traffic.split import WHOLE, Split
from plugins.module_utils._traffic.switch import Order, switch
from tests.unit.plugins.module_utils._haproxy.fakes import FakeHAProxy, FakeSocket, answering

from .fakes import BLUE, COLOURS, GREEN, green

DEFAULTS = {name: option.get("default") for name, option in PROVIDER.spec["options"].items()}
MAP = "/etc/haproxy/bluegreen.map"
PATTERNS = {"blue": "b[0-9]+", "green": "g[0-9]+"}
BACKENDS = {"blue": "shop_blue", "green": "shop_green"}
NASTY = [
    "a\nset map x y z",
    "a;b",
    "a b",
    "a\tb",
    "a\rb",
    "a\\b",
    'a"b',
    "a'b",
    "a#b",
    "a$b",
    "a<<b",
    "a\x00b",
    "ä",
    "",
]
MAP_WAY = {"map": MAP, "key": "shop", "persist": False}
ONE_BACKEND = {"way": "servers", "backend": "shop", "servers": PATTERNS}
TWO_BACKENDS = {"way": "servers", "backends": BACKENDS}


def build(**options: t.Any) -> t.Any:
    return PROVIDER.build(COLOURS, {**DEFAULTS, "socket": "/nobody.sock", **options})


@contextlib.contextmanager
def routed(fake: FakeHAProxy, **options: t.Any) -> t.Iterator[tuple[t.Any, FakeSocket]]:
    """A router of a fake HAProxy, and what it recorded."""
    with FakeSocket(answering(fake)) as socket:
        router = build(socket=socket.address, timeout=20.0, **options)
        yield router, socket


def one_backend(**servers: tuple[int, int]) -> FakeHAProxy:
    """A fake with the servers of both colours in one backend, each with (admin state, weight)."""
    fake = FakeHAProxy()
    fake.servers = {"shop": {name: list(state) for name, state in servers.items()}}
    return fake


def changes(socket: FakeSocket) -> list[str]:
    return [line for line in socket.lines if line.startswith("set ")]


def fails(error: type[BlueGreenError], call: t.Callable[[], object]) -> str:
    with pytest.raises(BlueGreenError) as caught:
        call()
    assert caught.value.__class__ is error
    assert "\n" not in caught.value.message
    return caught.value.message


# --- The map way ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "active", "entry"),
    [
        (BLUE, "blue", "blue:green:0"),
        (BLUE, "green", "blue:green:0"),
        (GREEN, "blue", "green:blue:0"),
        (green(10), "blue", "blue:green:1000"),
        (green(10), "green", "green:blue:9000"),
        (green(99.99), "blue", "blue:green:9999"),
        (green(50), "green", "green:blue:5000"),
    ],
)
def test_all_traffic_makes_a_colour_the_active_one_and_a_part_never_does(
    wanted: Split, active: str, entry: str
) -> None:
    assert _entry(wanted, active) == entry


@given(st.integers(0, WHOLE), st.sampled_from(COLOURS))
def test_an_entry_is_read_as_the_split_it_was_made_from(first: int, active: str) -> None:
    wanted = Split(*COLOURS, first)
    assert build(**MAP_WAY)._split(_entry(wanted, active)) == wanted


@pytest.mark.parametrize(
    "entry",
    [
        *("blue:green:", "blue:green:x", "blue:green:-1", "blue:green:10001"),
        *("blue:green:1.5", "red:green:0", "blue:red:1", ":green:0", "blue : green : 0"),
        "blue:green:1\n",
    ],
)
def test_an_entry_that_is_none_is_drift(entry: str) -> None:
    fails(DriftError, lambda: build(**MAP_WAY)._split(entry))


@pytest.mark.parametrize("entry", ["", "blue", "shop_blue", "blue:green", "blue:green:0:0"])
def test_an_entry_of_another_kind_is_not_to_be_put_right(entry: str) -> None:
    """Such as the name of a backend, which the configuration would find no more."""
    said = fails(UnsupportedError, lambda: build(**MAP_WAY)._split(entry))
    assert "Leave the entry as it is" in said
    assert "set map" not in said


@pytest.mark.parametrize(
    ("entry", "split", "live"),
    [
        ("blue:green:0", BLUE, "blue"),
        ("green:blue:0", GREEN, "green"),
        ("green:green:0", GREEN, "green"),
        ("green::0", GREEN, "green"),
        ("blue:green:6000", green(60), "blue"),
        ("blue:green:10000", GREEN, "blue"),
    ],
)
def test_the_live_colour_is_the_one_a_release_started_from(entry: str, split: Split, live: str) -> None:
    fake = FakeHAProxy()
    fake.map["shop"] = entry
    with routed(fake, **MAP_WAY) as (router, _socket):
        assert (router.read(), router.live()) == (split, live)


def test_one_command_is_the_switch() -> None:
    with routed(FakeHAProxy(), **MAP_WAY) as (router, socket):
        router.apply(green(10), BLUE)
        assert router.verify(green(10)) is True
        assert router.verify(GREEN) is False
    assert changes(socket) == [f"set map {MAP} shop blue:green:1000"]
    assert set(socket.lines) - set(changes(socket)) == {f"get map {MAP} shop"}


def test_a_file_is_written_before_the_running_entry_is_set(tmp_path: Path) -> None:
    path = tmp_path / "bluegreen.map"
    path.write_text("shop blue:green:0\n")
    fake, seen = FakeHAProxy(), []
    set_map = fake._set_map
    fake._set_map = lambda *words: (seen.append(path.read_text()), set_map(*words))[1]  # type: ignore[method-assign]
    with routed(fake, **{**MAP_WAY, "persist": True, "map_file": str(path)}) as (router, _socket):
        router.apply(GREEN, BLUE)
    assert seen == ["shop green:blue:0\n"]


@pytest.mark.parametrize("entry", ["blue:green:2500", "green:blue:7500", "blue:green:5000", "green:blue:0"])
@pytest.mark.parametrize("moved_to", [BLUE, GREEN, green(70)])
def test_the_way_back_restores_which_colour_was_active_too(entry: str, moved_to: Split) -> None:
    """Else a canary that is put back would be the other clients', and the wrong colour would be called live."""
    fake = FakeHAProxy()
    fake.map["shop"] = entry
    with routed(fake, **MAP_WAY) as (router, _socket):
        before = router.read()
        router.apply(moved_to, before)
        router.apply(before, moved_to)
    assert fake.map["shop"] == entry


@pytest.mark.parametrize(
    ("running", "wanted", "live", "entry"),
    [
        ("green:blue:0", green(10), "blue", "blue:green:1000"),
        ("green:blue:0", green(10), None, "green:blue:9000"),
        ("blue:green:0", green(50), "green", "green:blue:5000"),
        ("blue:green:1000", BLUE, "green", "blue:green:0"),
    ],
)
def test_who_knows_the_colour_that_was_live_may_say_so(
    running: str, wanted: Split, live: str | None, entry: str
) -> None:
    """As the watchdog does, which is not the process that read it."""
    fake = FakeHAProxy()
    fake.map["shop"] = running
    with routed(fake, **MAP_WAY) as (router, _socket):
        router.apply(wanted, router.read(), live)
    assert fake.map["shop"] == entry


# --- By hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/etc/haproxy/bluegreen.map", "/tmp/it's a map", '/tmp/a"b', "/tmp/$(id)", "/-e;ls"])
def test_a_command_by_hand_is_words_and_no_more(path: str) -> None:
    command = build(socket=path, map=MAP, key="a.b[1]+", map_file=path).by_hand(BLUE)
    write, set_map = [
        [*words] for last, words in itertools.groupby(shlex.split(command), lambda word: word == "&&") if not last
    ]
    change = r"s|^[[:space:]]*a\.b\[1]+[[:space:]].*|a.b[1]+ blue:green:0|"
    assert write == ["sed", "-i", "--follow-symlinks", "-e", change, "--", path]
    assert (set_map[:2], set_map[3:]) == ([sys.executable, "-c"], [path, f"set map {MAP} a.b[1]+ blue:green:0"])
    assert not set("'\"$`") & set(set_map[2])


def test_only_the_line_of_the_app_is_changed_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "the map"
    path.write_text("# a.b is an app\na.b blue:green:0\naxb blue:green:0\na.bc blue:green:0\n")
    link = tmp_path / "link"
    link.symlink_to(path)
    write = build(**{**MAP_WAY, "key": "a.b", "persist": True, "map_file": str(link)}).by_hand(GREEN).split(" && ")[0]
    subprocess.run(["/bin/sh", "-c", write], check=True)
    assert path.read_text() == "# a.b is an app\na.b green:blue:0\naxb blue:green:0\na.bc blue:green:0\n"
    assert link.is_symlink()


@pytest.mark.parametrize(
    ("socket", "opens", "where"),
    [
        ("unix@/run/a.sock", "socket.AF_UNIX", "/run/a.sock"),
        ("ipv4@127.0.0.1:9999", "create_connection", "127.0.0.1:9999"),
        ("[::1]:9999", "create_connection", "::1:9999"),
    ],
)
def test_a_command_by_hand_reaches_each_kind_of_socket(socket: str, opens: str, where: str) -> None:
    words = shlex.split(build(socket=socket, **MAP_WAY).by_hand(BLUE))
    assert (opens in words[2], words[3]) == (True, where)


def test_by_hand_servers_are_raised_before_others_are_lowered() -> None:
    with routed(one_backend(b1=(0, 1), g1=(8, 1)), **ONE_BACKEND) as (router, socket):
        router.check(GREEN)
        asked = len(socket.lines)
        words = shlex.split(router.by_hand(GREEN))
        assert len(socket.lines) == asked  # what was seen is enough, when nobody answers any more
    assert words[4:] == ["prompt", "set server shop/g1 state ready", "set server shop/b1 state drain", "quit"]


def test_a_foreign_change_is_a_conflict_and_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "bluegreen.map"
    path.write_text("shop blue:green:0\n")
    fake = FakeHAProxy()
    fake.map["shop"] = "blue:green:3000"
    with routed(fake, **{**MAP_WAY, "persist": True, "map_file": str(path)}) as (router, socket):
        assert fails(ConflictError, lambda: router.apply(GREEN, BLUE)).startswith("the split is blue 70 %, green 30 %")
    assert (changes(socket), path.read_text()) == ([], "shop blue:green:0\n")


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ({"set map": "Permission denied\n"}, DeniedError),
        ({"set map": ""}, NotVerifiedError),  # it says nothing, and does nothing
        ({"get map": "Unknown map identifier. Please use #<id> or <file>.\n"}, MissingError),
        ({"get map": "type=str, case=sensitive, found=no\n"}, MissingError),
        ({"get map": "rubbish"}, MissingError),
    ],
)
def test_whatever_haproxy_objects_is_an_error(says: dict[str, str], error: type[BlueGreenError]) -> None:
    fake = FakeHAProxy()
    fake.says = says
    with routed(fake, **MAP_WAY) as (router, _socket):
        fails(error, lambda: router.apply(GREEN, BLUE))


@pytest.mark.parametrize(("answer", "code"), [("", "not_verified"), ("Permission denied\n", "denied")])
def test_a_file_that_was_written_for_a_switch_that_was_not_made_is_put_back(
    answer: str, code: str, tmp_path: Path
) -> None:
    path = tmp_path / "route.map"
    path.write_text("shop blue:green:0\n")
    fake = FakeHAProxy()
    fake.says = {"set map": answer}
    options = {**MAP_WAY, "persist": True, "map_file": str(path)}
    with routed(fake, **options) as (router, _socket), pytest.raises(BlueGreenError) as caught:
        switch([Route("lb1", router)], Order(GREEN))
    told = caught.value.details["routes"][0]
    assert (caught.value.code, told["restored"], told["after"]) == (code, True, {"blue": 100, "green": 0})
    assert path.read_text() == "shop blue:green:0\n"


@pytest.mark.parametrize(
    ("fake", "error"),
    [
        (FakeHAProxy(version="2.0.33"), UnsupportedError),
        (FakeHAProxy(level="operator"), DeniedError),
        (FakeHAProxy(level="user"), DeniedError),
    ],
)
@pytest.mark.parametrize("way", [MAP_WAY, TWO_BACKENDS])
def test_what_cannot_be_written_is_refused_by_the_check(
    fake: FakeHAProxy, error: type[BlueGreenError], way: dict[str, t.Any]
) -> None:
    with routed(fake, **way) as (router, socket):
        fails(error, lambda: router.check(GREEN))
    assert changes(socket) == []


@pytest.mark.parametrize(
    ("entry", "written", "out", "found"),
    [
        ("blue:green:0", "blue:green:0", [], []),
        ("blue:green:0", "green:blue:0", [], ["the map file"]),
        ("blue:green:0", "blue:green:0", ["shop_green"], []),
        ("blue:green:0", "blue:green:0", ["shop_blue"], ["traffic to blue"]),
        ("blue:green:100", "blue:green:100", ["shop_green"], ["traffic to green"]),
        ("blue:green:0", "blue:green:1", ["shop_blue"], ["the map file", "traffic to blue"]),
    ],
)
def test_places_that_contradict_each_other_are_drift(
    tmp_path: Path, entry: str, written: str, out: list[str], found: list[str]
) -> None:
    path = tmp_path / "bluegreen.map"
    path.write_text(f"shop {written}\n")
    fake = FakeHAProxy()
    fake.map["shop"] = entry
    for backend in out:
        for server in fake.servers[backend].values():
            server[0] = 1
    with routed(fake, **{**MAP_WAY, "persist": True, "map_file": str(path)}) as (router, _socket):
        drift = router.drift()
    assert len(drift) == len(found)
    assert all(what in sentence for what, sentence in zip(found, drift))


# --- The servers way --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "wanted", "commands"),
    [
        (
            {"b1": (0, 1), "b2": (0, 1), "g1": (8, 1), "g2": (8, 1)},
            GREEN,
            ["g1 state ready", "g2 state ready", "b1 state drain", "b2 state drain"],
        ),
        (
            {"b1": (0, 3), "g1": (0, 1)},
            BLUE,
            ["b1 weight 1", "g1 state drain"],
        ),
        (  # the canary would get half of the traffic, were it let in before blue has its weight
            {"b1": (0, 1), "g1": (8, 1)},
            green(10),
            ["b1 weight 9", "g1 state ready"],
        ),
        ({"b1": (0, 9), "g1": (0, 1)}, green(25), ["b1 weight 3"]),
        (  # and three quarters, had it not its smaller weight before blue has
            {"b1": (0, 9), "g1": (0, 3)},
            green(50),
            ["g1 weight 1", "b1 weight 1"],
        ),
    ],
)
def test_the_new_is_raised_before_the_old_is_lowered_and_never_above_its_share(
    before: dict[str, tuple[int, int]], wanted: Split, commands: list[str]
) -> None:
    fake = one_backend(**before)
    shares: list[float] = []

    def watched(line: str) -> str:
        answer = fake(line)
        weights = {n[0]: 0 for n in fake.servers["shop"]}
        for name, (state, weight) in fake.servers["shop"].items():
            weights[name[0]] += 0 if state else weight
        shares.append(100 * weights["g"] / (weights["b"] + weights["g"]))
        return answer

    with FakeSocket(answering(watched)) as socket:
        router = build(socket=socket.address, timeout=20.0, **ONE_BACKEND)
        found = router.read()
        router.apply(wanted, found)
        assert router.read() == wanted
    assert changes(socket) == [f"set server shop/{command}" for command in commands]
    if not {found, wanted} & {BLUE, GREEN} or wanted not in (BLUE, GREEN):
        assert max(shares) <= wanted.share("green") / 100


def test_the_old_colour_is_not_lowered_before_the_new_one_is_up() -> None:
    fake = FakeHAProxy()
    fake.servers["shop_green"] = {"g1": [8, 1]}
    fake._state = lambda backend: FakeHAProxy._state(fake, backend).replace("g1 127.0.0.1 2", "g1 127.0.0.1 0")  # type: ignore[method-assign]
    with FakeSocket(answering(fake)) as socket:
        router = build(socket=socket.address, timeout=0.3, **TWO_BACKENDS)
        fails(NotReadyError, lambda: router.apply(GREEN, BLUE))
    assert [line for line in changes(socket) if "shop_blue" in line] == []


@pytest.mark.parametrize("lower_with", ["drain", "maint"])
def test_two_backends_are_switched_whole(lower_with: str) -> None:
    fake = FakeHAProxy()
    for server in fake.servers["shop_green"].values():
        server[0] = 8
    with routed(fake, lower_with=lower_with, **TWO_BACKENDS) as (router, socket):
        router.check(GREEN)
        router.apply(GREEN, BLUE)
        assert router.read() == GREEN
        assert router.observe()["green"].ready == 2
        fails(UnsupportedError, lambda: router.check(green(50)))
    assert changes(socket)[-2:] == [f"set server shop_blue/b{n} state {lower_with}" for n in (1, 2)]


@pytest.mark.parametrize(
    ("lower_with", "state", "ready"), [("drain", 8, 2), ("maint", 1, 2), ("maint", 8, 2), ("drain", 1, 0)]
)
def test_what_was_taken_out_as_we_do_it_is_ready(lower_with: str, state: int, ready: int) -> None:
    """And not what somebody else has put in maintenance."""
    fake = FakeHAProxy()
    for server in fake.servers["shop_green"].values():
        server[0] = state
    with routed(fake, lower_with=lower_with, **TWO_BACKENDS) as (router, _socket):
        assert router.observe()["green"].ready == ready


@pytest.mark.parametrize(
    ("servers", "options", "error"),
    [
        ({"b1": (0, 1)}, ONE_BACKEND, MissingError),
        ({"b1": (0, 1), "x1": (0, 1)}, ONE_BACKEND, MissingError),
        ({"b1": (0, 1), "g1": (0, 1)}, {**ONE_BACKEND, "servers": {"blue": ".*", "green": "g.*"}}, InvalidError),
        ({"b1": (0, 1), "g1": (0, 1)}, {**ONE_BACKEND, "backend": "other"}, MissingError),
    ],
)
def test_servers_that_belong_to_no_colour_or_to_both_are_refused(
    servers: dict[str, tuple[int, int]], options: dict[str, t.Any], error: type[BlueGreenError]
) -> None:
    with routed(one_backend(**servers), **options) as (router, socket):
        fails(error, lambda: router.check(GREEN))
    assert changes(socket) == []


def test_a_state_in_which_nobody_serves_is_read_and_left() -> None:
    with routed(one_backend(b1=(8, 1), g1=(1, 1)), **ONE_BACKEND) as (router, socket):
        assert router.read() is None
        assert "g1 is in maintenance" in fails(NotReadyError, lambda: router.check(GREEN))
        assert changes(socket) == []
        router.check(BLUE)
        router.apply(BLUE, None)
        assert router.read() == BLUE


@pytest.mark.parametrize(
    ("blue_weight", "green_weight", "percent"), [(256, 1, 1), (1, 256, 99), (200, 1, 1), (255, 1, 1)]
)
def test_a_colour_that_takes_some_traffic_never_reads_as_none(
    blue_weight: int, green_weight: int, percent: float
) -> None:
    with routed(one_backend(b1=(0, blue_weight), g1=(0, green_weight)), **ONE_BACKEND) as (router, _socket):
        assert 0 < router.read().share("green") < WHOLE
        assert abs(router.read().share("green") - percent * 100) <= 100


# --- Options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {**MAP_WAY, "backends": {"blue": "a"}},
        {**MAP_WAY, "backends": {"blue": "a", "green": "b", "red": "c"}},
        {**MAP_WAY, "backends": {"blue": "a", "green": 7}},
        {**MAP_WAY, "backends": {"blue": "same", "green": "same"}},
        {**MAP_WAY, "persist": True, "map": "relative.map"},
        {**MAP_WAY, "socket": "nowhere"},
        {**MAP_WAY, "timeout": 0.0},
        {**MAP_WAY, "timeout": -1.0},
        {**MAP_WAY, "timeout": float("nan")},
        {**MAP_WAY, "timeout": float("inf")},
        {"way": "servers"},
        {**TWO_BACKENDS, "backend": "shop", "servers": PATTERNS},
        {**TWO_BACKENDS, "backends": {"blue": "same", "green": "same"}},
        {**ONE_BACKEND, "servers": None},
        {**ONE_BACKEND, "servers": {}},
        {**ONE_BACKEND, "servers": {"blue": "b.*"}},
        {**ONE_BACKEND, "servers": {"blue": "b.*", "green": ""}},
        {**ONE_BACKEND, "servers": {"blue": "b.*", "green": "("}},
        {**ONE_BACKEND, "servers": {"blue": "b.*", "green": 7}},
        {**ONE_BACKEND, "servers": {"blue": "b.*", "green": ["g"]}},
        {**ONE_BACKEND, "servers": {"blue": "b.*", "green": "g{99999999999}"}},
    ],
)
def test_options_that_cannot_be_right_are_invalid(options: dict[str, t.Any]) -> None:
    fails(InvalidError, lambda: build(**options))


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize(
    "options",
    [
        lambda name: {**MAP_WAY, "key": name},
        lambda name: {**MAP_WAY, "map": name},
        lambda name: {**MAP_WAY, "backends": {"blue": name, "green": "b"}},
        lambda name: {**TWO_BACKENDS, "backends": {"blue": "a", "green": name}},
        lambda name: {**ONE_BACKEND, "backend": name},
    ],
)
def test_no_nasty_name_gets_as_far_as_a_route(name: str, options: t.Callable[[str], dict[str, t.Any]]) -> None:
    fails(InvalidError, lambda: build(**options(name)))


@pytest.fixture(scope="module")
def recorder() -> t.Iterator[FakeSocket]:
    with FakeSocket(answering(FakeHAProxy())) as socket:
        yield socket


NAMES = st.one_of(st.sampled_from(NASTY), st.text(max_size=6), st.text("ab1_.;\n\r <\\\"'#$", max_size=6))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES, NAMES, NAMES)
def test_no_name_of_an_inventory_smuggles_a_second_command(
    recorder: FakeSocket, map_name: str, key: str, backend: str
) -> None:
    """All that ever reaches the socket is the commands that were meant, to the byte."""
    recorder.received = b""
    try:
        router = build(
            socket=recorder.address,
            **{**MAP_WAY, "map": map_name, "key": key, "backends": {"blue": backend, "green": "g"}},
        )
    except InvalidError:
        assert recorder.received == b""
        return
    for ask in (router.read, router.observe, router.drift, router.long_lived):
        with contextlib.suppress(BlueGreenError):
            ask()
    lines = recorder.received.decode().split("\n")
    meant = {"prompt", "", f"get map {map_name} {key}", f"show stat {backend} 6 -1", "show stat g 6 -1"}
    assert set(lines) <= meant | {f"show servers state {backend}", "show servers state g", "show sess"}


@pytest.mark.parametrize("name", [name for name in NASTY if name.isprintable() and " " not in name and name])
def test_a_server_that_haproxy_itself_names_so_is_not_sent_back(name: str) -> None:
    fake = one_backend(b1=(0, 1))
    fake.servers["shop"][name] = [8, 1]
    with routed(fake, **{**ONE_BACKEND, "servers": {"blue": "b1", "green": "(?!b1$).*"}}) as (router, socket):
        fails(InvalidError, lambda: router.apply(GREEN, BLUE))
    assert changes(socket) == []


def test_each_way_makes_its_router() -> None:
    assert [type(build(**way)) for way in (MAP_WAY, ONE_BACKEND, TWO_BACKENDS)] == [
        HAProxyMap,
        HAProxyServers,
        HAProxyServers,
    ]
