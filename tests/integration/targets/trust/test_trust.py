# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a local user without rights tries on a host where a release runs as root: two real users, a real HAProxy."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import json
import multiprocessing
import os
import pwd
import shutil
import signal
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.rig import wait_until
from plugins.module_utils._errors import BrokenRecordError, DeniedError
from plugins.module_utils._haproxy import config_map, config_state
from plugins.module_utils._haproxy.config_base import Base
from plugins.module_utils._haproxy.config_text import BASE, ConfigText
from plugins.module_utils._haproxy.map_file import MapFile
from plugins.module_utils._release import ledger
from plugins.module_utils._release.file import FileStore
from plugins.module_utils._release.ledger import Request
from plugins.module_utils._release.store import load, update
from plugins.module_utils._traffic import fence as fence_module
from plugins.module_utils._traffic import revert as revert_module
from plugins.module_utils._traffic.fence import Fence
from plugins.module_utils._traffic.revert import RevertFile, confirm, fire, status
from tests.integration.balancer import BLUE, GREEN, Balancer
from tests.unit.plugins.modules.process import run_module

EVE = 65534
"""Nobody, who may do nothing here."""
LONG = 60.0
FORK = multiprocessing.get_context("fork")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: needs root, to be two users")


def as_eve(work: Callable[[], object]) -> None:
    """Do it as another user, which must go well."""
    with eve_at(work) as child:
        child.join(LONG)
        assert child.exitcode == 0


@contextlib.contextmanager
def eve_at(work: Callable[[], object]) -> Iterator[Any]:
    """A process of another user's that does it, and that has ended afterwards."""

    def go() -> None:
        os.chdir("/")
        os.setgroups([])
        os.setresgid(EVE, EVE, EVE)
        os.setresuid(EVE, EVE, EVE)
        work()

    child = FORK.Process(target=go)
    child.start()
    try:
        yield child
    finally:
        child.kill()
        child.join(LONG)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of root's that everybody can look into."""
    found = Path(tempfile.mkdtemp(prefix="bluegreen-trust-"))
    found.chmod(0o755)
    try:
        yield found
    finally:
        shutil.rmtree(found)


@pytest.fixture
def eves(place: Path) -> Path:
    """A directory of Eve's in it."""
    found = place / "eves"
    found.mkdir()
    os.chown(found, EVE, EVE)
    return found


def refused(call: Callable[[], object], *words: str) -> str:
    with pytest.raises(DeniedError) as caught:
        call()
    assert all(word in caught.value.message for word in words), caught.value.message
    return caught.value.message


# --- Locks ------------------------------------------------------------------------------------------------


def hold_all(places: Sequence[Path], said: Any) -> None:
    held = []
    for place in places:
        inside = [*place.iterdir()] if os.access(place, os.R_OK) else []
        for path in (place, *inside):
            with contextlib.suppress(OSError):
                handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                held.append(handle)
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    said.send(len(held))
    signal.pause()


@contextlib.contextmanager
def holding_all_locks(*places: Path) -> Iterator[int]:
    """Eve has locked all that she can open; gives how many that are."""
    hears, says = FORK.Pipe(duplex=False)
    with eve_at(lambda: hold_all(places, says)):
        assert hears.poll(LONG)
        yield hears.recv()


def let_in(place: Path) -> None:
    for each in (place, *place.parents):
        if each != Path(tempfile.gettempdir()) and each.is_relative_to(tempfile.gettempdir()):
            each.chmod(each.stat().st_mode | 0o011)
    place.chmod(0o755)


def test_a_local_user_holds_up_neither_a_release_nor_its_watchdog(balancer: Balancer, place: Path) -> None:
    """A shared lock on the map's directory, which all may open, once did both."""
    state_dir = place / "state"
    options = {"routes": [balancer.route()], "app": "shop", "state_dir": str(state_dir)}
    assert balancer.module("traffic", **options, to="blue", token=1)["changed"] is False
    let_in(balancer.home)
    balancer.module("traffic", **options, to="green", token=1)
    balancer.module("traffic", **options, to="blue", token=1)  # all locks are there now
    with holding_all_locks(balancer.home, state_dir, place) as many:
        assert many >= 2
        done = balancer.module("traffic", **options, to="green", token=1, revert_after=8)
        assert done["watchdog"]["state"] == "armed"
        wait_until(lambda: RevertFile(str(state_dir), "shop").read().state == "fired", LONG, "the watchdog fires")
        assert balancer.router("map").read() == BLUE
    wait_until(lambda: not (state_dir / "shop.revert.pyz").exists(), LONG, "the watchdog has tidied up")
    assert {path.stat().st_mode & 0o777 for path in state_dir.iterdir()} == {0o600}


@pytest.mark.parametrize("which", ["shop.revert.lock", "shop.fence.lock", "map"])
def test_a_watchdog_that_cannot_have_a_lock_says_so_and_goes_on_until_it_has_it(
    balancer: Balancer, place: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """As while another process of root's hangs."""
    monkeypatch.setattr(revert_module, "SAYS_SO", 0.05)
    monkeypatch.setattr(fence_module, "PATIENCE", 0.05)
    state_dir = str(place / "state")
    route = balancer.route()
    route["haproxy"]["timeout"] = 2.0
    balancer.module("traffic", routes=[route], app="shop", state_dir=state_dir, to="green", token=1, revert_after=3600)
    file = RevertFile(state_dir, "shop")
    armed = file.read()
    assert armed
    lock = balancer.home / f".bluegreen-{balancer.map.name}.lock" if which == "map" else Path(state_dir, which)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        watchdog = threading.Thread(target=fire, args=(file, armed.serial))
        watchdog.start()
        try:
            wait_until(lambda: "goes on trying" in told(state_dir)["message"], LONG, "it says that it waits")
            assert told(state_dir)["state"] == ("armed" if which == "shop.revert.lock" else "firing")
            assert str(lock) in told(state_dir)["message"]
            assert balancer.router("map").read() == GREEN
        finally:
            fcntl.flock(held, fcntl.LOCK_UN)
            watchdog.join(LONG)
    assert (told(state_dir)["state"], balancer.router("map").read()) == ("fired", BLUE)
    assert told(state_dir)["message"] == f"lb1: put back to {BLUE}"
    wait_until(lambda: not (Path(state_dir) / "shop.revert.pyz").exists(), LONG, "the armed process has seen the end")


def told(state_dir: str) -> dict[str, Any]:
    found = status(state_dir, "shop")
    assert found
    return found


# --- The state directory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shop.fence.lock", "shop.fence", "shop.revert.lock", "shop.revert.json"])
def test_a_link_in_somebody_elses_state_dir_makes_root_create_nothing(place: Path, eves: Path, name: str) -> None:
    victim = place / "created"
    as_eve(lambda: (eves / name).symlink_to(victim))
    refused(lambda: Fence(str(eves), "shop", 7).raise_up(), str(eves), "nobody", "chown root")
    refused(lambda: confirm(str(eves), "shop", 7), str(eves))
    assert not victim.exists()
    assert {path.name for path in eves.iterdir()} == {name}


@pytest.mark.parametrize("name", ["shop.fence.lock", "shop.fence"])
def test_a_link_in_our_own_state_dir_is_not_followed(place: Path, name: str) -> None:
    state, victim = place / "state", place / "created"
    state.mkdir(mode=0o700)
    (state / name).symlink_to(victim)
    refused(lambda: Fence(str(state), "shop", 7).raise_up(), name, "a link", "remove it")
    assert not victim.exists()


def test_what_somebody_else_wants_sent_home_is_not(balancer: Balancer, place: Path, eves: Path) -> None:
    """A watchdog of root's once rewrote the file that was named here as a map."""
    ours = place / "state"
    balancer.module(
        "traffic", routes=[balancer.route()], app="shop", state_dir=str(ours), to="green", token=1, revert_after=3600
    )
    armed = RevertFile(str(ours), "shop").read()
    assert armed
    passwd = place / "passwd"
    shutil.copy("/etc/passwd", passwd)
    before = passwd.read_bytes()
    (home,) = armed.routes
    bent = {**home.options, "haproxy": {**home.options["haproxy"], "map_file": str(passwd)}}
    text = replace(armed, routes=(replace(home, options=bent),)).as_text()
    as_eve(lambda: (eves / "shop.revert.json").write_text(text))
    refused(lambda: fire(RevertFile(str(eves), "shop"), armed.serial), str(eves))
    refused(lambda: status(str(eves), "shop"), str(eves))
    # … and hers in ours, as from the time in which the directory was open
    as_eve(lambda: (eves / "bent").write_text(text))
    (eves / "bent").rename(ours / "shop.revert.json")
    refused(lambda: fire(RevertFile(str(ours), "shop"), armed.serial), "nobody's", "remove it")
    assert (passwd.read_bytes(), balancer.router("map").read()) == (before, GREEN)


BAD: dict[str, Callable[[Path], Path]] = {}
GOOD: dict[str, Callable[[Path], Path]] = {}


def layout(kind: dict[str, Callable[[Path], Path]]) -> Callable[[Callable[[Path], Path]], None]:
    return lambda make: kind.update({make.__name__: make})


def made(path: Path, mode: int = 0o755, owner: int = 0, group: int = 0) -> Path:
    path.mkdir()
    path.chmod(mode)
    os.chown(path, owner, group)
    return path


@layout(BAD)
def somebody_elses(place: Path) -> Path:
    return made(place / "a", owner=EVE)


@layout(BAD)
def open_to_all(place: Path) -> Path:
    return made(place / "a", 0o777)


@layout(BAD)
def open_to_a_group(place: Path) -> Path:
    return made(place / "a", 0o775, group=EVE)


@layout(BAD)
def like_tmp(place: Path) -> Path:
    return made(place / "a", 0o1777)


@layout(BAD)
def below_somebody_elses(place: Path) -> Path:
    return made(made(place / "a", owner=EVE) / "b")


@layout(BAD)
def below_one_open_to_all(place: Path) -> Path:
    return made(made(place / "a", 0o777) / "b")


@layout(BAD)
def somebody_elses_below_one_like_tmp(place: Path) -> Path:
    return made(made(place / "a", 0o1777) / "b", owner=EVE)


@layout(BAD)
def behind_somebody_elses_link(place: Path) -> Path:
    made(place / "real")
    link = made(place / "a", 0o1777) / "link"
    as_eve(lambda: link.symlink_to(place / "real"))
    return link


@layout(BAD)
def behind_a_link_in_somebody_elses(place: Path) -> Path:
    made(place / "real")
    link = made(place / "a", owner=EVE) / "link"
    link.symlink_to(place / "real")
    return link


@layout(BAD)
def behind_a_link_through_somebody_elses(place: Path) -> Path:
    made(made(place / "a", owner=EVE) / "real")
    (place / "link").symlink_to("a/real")
    return place / "link"


@layout(GOOD)
def ours(place: Path) -> Path:
    return made(place / "a")


@layout(GOOD)
def ours_below_one_like_tmp(place: Path) -> Path:
    return made(made(place / "a", 0o1777) / "b")


@layout(GOOD)
def open_to_the_group_of_root(place: Path) -> Path:
    return made(place / "a", 0o775)


@layout(GOOD)
def open_to_a_group_of_nobody(place: Path) -> Path:
    taken = {each.gr_gid for each in grp.getgrall()} | {each.pw_gid for each in pwd.getpwall()}
    return made(place / "a", 0o775, group=next(number for number in range(50_000, 60_000) if number not in taken))


@layout(GOOD)
def behind_our_own_links(place: Path) -> Path:
    made(made(place / "a") / "real")
    (place / "a" / "near").symlink_to("./../a/real")
    (place / "link").symlink_to(place / "a" / "near")
    return place / "link"


def naming(state_file: Path) -> ConfigText:
    """A configuration of ours with that server state file."""
    base = Base("/run/haproxy/admin.sock", state_file=str(state_file))
    return ConfigText.parse("").with_part(BASE, base.whole())


@pytest.mark.parametrize("name", BAD)
def test_a_directory_that_others_can_write_is_refused_all_the_way_up(place: Path, name: str) -> None:
    found = BAD[name](place)
    (found / "shop.map").write_text("shop blue:green:0\n")
    (found / "shop.json").write_text("{}")
    before = {path.name: path.read_bytes() for path in found.iterdir()}
    file = MapFile(str(found / "shop.map"))
    for call in (
        Fence(str(found), "shop", 7).check,
        Fence(str(found), "shop", 7).raise_up,
        lambda: load(FileStore("shop", str(found), 1.0)),
        lambda: FileStore("shop", str(found), 1.0).write({}, None),
        file.check_writable,
        lambda: file.get("shop"),
        lambda: file.set("shop", "green:blue:0"),
        lambda: file.locked(1.0).__enter__(),
        file.text,
        lambda: config_map.make(str(found / "new.map")),
        lambda: config_map.put_entry(str(found / "shop.map"), "blog", "blue:green:0", 1.0),
        lambda: config_state.make_state_file(naming(found / "server.state")),
        lambda: config_state.carried_over(naming(found / "server.state"), "").__enter__(),
    ):
        refused(call, "or choose another directory")
    assert {path.name: path.read_bytes() for path in found.iterdir()} == before


@pytest.mark.parametrize("name", GOOD)
def test_a_directory_of_ours_is_used_as_before(place: Path, name: str) -> None:
    found = GOOD[name](place)
    (found / "shop.map").write_text("shop blue:green:0\n")
    Fence(str(found), "shop", 7).raise_up()
    assert (found / "shop.fence").read_text() == "7\n"
    file = MapFile(str(found / "shop.map"))
    file.check_writable()
    with file.locked(1.0):
        file.set("shop", "green:blue:0")
    assert file.get("shop") == "green:blue:0"
    config_map.make(str(found / "new.map"))
    config_map.put_entry(str(found / "new.map"), "blog", "blue:green:0", 1.0)
    assert (found / "new.map").stat().st_mode & 0o777 == 0o644, "HAProxy may not be root"
    with config_state.carried_over(naming(found / "server.state"), ""):
        assert (found / "server.state").stat().st_mode & 0o777 == 0o644
    FileStore("shop", str(found), 1.0).write({}, None)


def allow_eve(path: Path, rights: int) -> bytes:
    """By an access list."""
    entries = [(1, 7, -1), (2, rights, EVE), (4, 5, -1), (16, 7, -1), (32, 5, -1)]  # owner, her, group, mask, others
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", packed)
    except OSError as error:
        pytest.skip(f"NOT TESTED: access lists, which the file system of {path} does not have: {error.strerror}")
    return packed


def test_a_map_keeps_the_access_list_that_lets_somebody_read_it(place: Path) -> None:
    file = place / "shop.map"
    file.write_text("shop blue:green:0\n")
    packed = allow_eve(file, 4)
    MapFile(str(file)).set("shop", "green:blue:0")
    assert (os.getxattr(file, "system.posix_acl_access"), file.read_text()) == (packed, "shop green:blue:0\n")


def test_a_directory_with_an_access_list_is_open_to_others(place: Path) -> None:
    found = made(place / "a")
    allow_eve(found, 7)
    refused(Fence(str(found), "shop", 7).raise_up, "can be written by others")


def test_another_user_has_a_state_dir_of_his_own_and_none_of_roots(place: Path, eves: Path) -> None:
    roots = made(place / "roots", 0o777)
    as_eve(Fence(str(eves / "state"), "shop", 7).raise_up)
    as_eve(lambda: refused(Fence(str(roots), "shop", 7).raise_up, "chmod go-w"))
    assert (eves / "state" / "shop.fence").stat().st_uid == EVE


# --- Maps -------------------------------------------------------------------------------------------------


def test_a_map_that_others_can_replace_is_refused_before_anything_moves(balancer: Balancer) -> None:
    balancer.home.chmod(0o777)
    try:
        result = balancer.module("traffic", routes=[balancer.route()], to="green")
        assert result["failure"]["code"] == "denied"
        assert f"Run 'chmod go-w {balancer.home}'" in result["msg"]
    finally:
        balancer.home.chmod(0o755)
    assert balancer.router("map").read() == BLUE


def test_a_map_is_resolved_once(place: Path) -> None:
    """What stands at its path when it is written is not what stood there when it was looked at."""
    first, second = made(place / "first"), made(place / "second")
    for each in (first, second):
        (each / "shop.map").write_text("shop blue:green:0\n")
    link = place / "link"
    link.symlink_to(first)
    file = MapFile(str(link / "shop.map"))
    with file.locked(LONG):
        link.unlink()
        link.symlink_to(second)
        first.rename(place / "moved")
        file.set("shop", "green:blue:0")
        assert file.get("shop") == "green:blue:0"
    assert (place / "moved" / "shop.map").read_text() == "shop green:blue:0\n"
    assert (second / "shop.map").read_text() == "shop blue:green:0\n"


def test_no_file_of_another_users_choice_becomes_roots(place: Path, eves: Path) -> None:
    """Her own map, in a directory that is not hers, stays hers; a link in its place is followed to ours alone."""
    found = made(place / "maps")
    map_file = found / "shop.map"
    map_file.write_text("shop blue:green:0\n")
    os.chown(map_file, EVE, EVE)
    MapFile(str(map_file)).set("shop", "green:blue:0")
    assert map_file.stat().st_uid == EVE
    secret = place / "shadow"
    secret.write_text("shop secret\n")
    secret.chmod(0o600)
    as_eve(lambda: (eves / "shop.map").symlink_to(secret))
    refused(lambda: MapFile(str(eves / "shop.map")).set("shop", "x"), str(eves))
    (found / "link.map").symlink_to(eves / "shop.map")
    refused(lambda: MapFile(str(found / "link.map")).set("shop", "x"), str(eves))
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("shop secret\n", 0o600)


def test_a_link_in_the_place_of_the_server_state_file_is_not_followed(place: Path) -> None:
    victim = place / "passwd"
    victim.write_text("root\n")
    (place / "server.state").symlink_to(victim)
    refused(lambda: config_state.make_state_file(naming(place / "server.state")), "a link")
    assert victim.read_text() == "root\n"


def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(place: Path) -> None:
    os.mkfifo(place / "shop.map")
    os.mkfifo(place / "shop.json")
    refused(lambda: MapFile(str(place / "shop.map")).get("shop"), "no file")
    refused(lambda: load(FileStore("shop", str(place), 1.0)), "no file")


def test_a_second_name_of_our_file_is_refused(place: Path) -> None:
    Fence(str(place), "shop", 7).raise_up()
    os.link(place / "shop.fence", place / "elsewhere")
    refused(Fence(str(place), "shop", 8).raise_up, "shop.fence", "1 elsewhere")


# --- Records ----------------------------------------------------------------------------------------------

TIME = "2026-01-01T00:00:00+00:00"
RELEASE = {"id": "shop-1", "state": "released", "owner": "alice", "started_at": TIME, "steps": []}


def record(**changes: Any) -> str:
    return json.dumps({"schema": 1, "app": "shop", "release": RELEASE, **changes})


DEEP = '{"a":' * 500 + "1" + "}" * 500
RUBBISH = {
    "a token of 31 digits": (record(token=10**30), "its record.token is 1000000"),
    "a token of 40 digits in the lock": (record(lock={"token": 10**39}), "its record.lock"),
    "a confirm_until that is a number": (
        record(history=[{**RELEASE, "confirm_until": 5}]),
        "its record.history[0].confirm_until is 5",
    ),
    "a release of the history that is a string": (record(history=["x"]), "its record.history[0] is 'x'"),
    "a history that is a string": (record(history="x"), "its record.history is 'x'"),
    "a side that is a string": (record(history=[{**RELEASE, "from": "blue"}]), "its record.history[0].from is 'blue'"),
    "a colour that is a list": (
        record(release={**RELEASE, "to": {"colour": []}}),
        "its record.release.to.colour is []",
    ),
    "routes that are a string": (
        record(release={**RELEASE, "routes": {"lb1": "x"}}),
        "its record.release.routes.lb1 is 'x'",
    ),
    "a split of words": (
        record(release={**RELEASE, "routes": {"lb1": [{"split": {"blue": "all"}}]}}),
        "split.blue is 'all'",
    ),
    "a session that is a string": (record(release={**RELEASE, "sessions": ["x"]}), "its record.release.sessions[0]"),
    "500 levels": (f'{{"schema": 1, "app": "shop", "more": {DEEP}}}', "nested more than 60 levels"),
    "500 levels of history": (f'{{"schema": 1, "app": "shop", "history": [{DEEP}]}}', "nested more than 60 levels"),
    "a number without an end": ('{"schema": 1, "app": "shop", "more": 1e999}', "1e999 is no number"),
    "a number of 5000 digits": (f'{{"schema": 1, "app": "shop", "more": {"9" * 5000}}}', "is no number"),
}


@pytest.mark.parametrize("what", RUBBISH)
def test_a_record_with_rubbish_in_it_is_named_and_breaks_nothing(place: Path, what: str) -> None:
    """The code is what lets bluegreen.deploy.recover go on without it."""
    text, named = RUBBISH[what]
    path = place / "shop.json"
    path.write_text(text)
    store = FileStore("shop", str(place), LONG)
    take = Request(id="shop-2", owner="alice", take_over="why")
    for call in (lambda: load(store), lambda: update(store, lambda record: ledger.begin(record, take, 0.0))):
        with pytest.raises(BrokenRecordError) as caught:
            call()
        assert named in caught.value.message, caught.value.message
        assert "bluegreen.deploy.recover" in caught.value.message
        assert len(caught.value.message) < 700
    assert path.read_text() == text


@pytest.mark.parametrize("what", ["500 levels", "a token of 31 digits"])
def test_the_module_says_what_is_broken(place: Path, what: str) -> None:
    (place / "shop.json").write_text(RUBBISH[what][0])
    for action, options in (("read", {}), ("begin", {"owner": "a", "take_over": "why"})):
        result = run_module("release", app="shop", store={"path": str(place)}, action=action, **options)
        assert (result["failed"], result["failure"]) == (True, {"code": "broken"})
        assert RUBBISH[what][1] in result["msg"]


def test_a_token_that_is_too_high_does_not_poison_the_fence(balancer: Balancer, place: Path) -> None:
    options = {"routes": [balancer.route()], "app": "shop", "state_dir": str(place / "state"), "to": "green"}
    result = balancer.module("traffic", **options, token=10**30)
    assert (result["failure"]["code"], balancer.router("map").read()) == ("invalid", BLUE)
    assert balancer.module("traffic", **options, token=1)["changed"]
