# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One load balancer of a fleet is lost, at each moment; never silence, never a half-moved fleet that nobody named."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .fleet import FULL, Fleet, OneHost
from .meddler import Meddler

MOMENTS = {
    "prepare": "Each is reachable",
    "commit": "Send 50 % to",
    "verify": "Read what the load balancer has counted",
}
FAULTS = ("stopped", "hung", "unreachable", "no rights")
TRICKS = ("commit", "lost", "verify")


class Three(Fleet):
    """Three load balancers, of which lb2 is lost. The record is kept by another."""

    def __init__(self, directory: Path) -> None:
        self.cut = directory / "cut"
        super().__init__(directory, load_balancers=3)

    def _load_balancer(self, name: str) -> dict[str, Any]:
        lost = {"ansible_connection": "breakable", "breakable_file": str(self.cut)} if name == "lb2" else {}
        return {**super()._load_balancer(name), **lost}

    def route(self, name: str) -> dict[str, Any]:
        route = super().route(name)
        return {**route, "haproxy": {**route["haproxy"], "timeout": 1.0}}

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(ANSIBLE_CONNECTION_PLUGINS=str(Path(__file__).parent / "connections"), **more)

    def lose(self, how: str) -> str:
        """The shell command that does it."""
        home = self.home("lb2")
        pid = (home / "haproxy.pid").read_text().split()[0]
        return {
            "stopped": f"pkill -KILL -P {pid}; kill -KILL {pid}",
            "hung": f"pkill -STOP -P {pid}",
            "unreachable": f"touch {self.cut}",
            "no rights": f"sed -i 's/level admin/level operator/' {home}/haproxy.cfg && kill -USR2 {pid}",
        }[how]

    def heal(self, how: str) -> None:
        self.cut.unlink(missing_ok=True)
        if how == "hung":
            pid = (self.home("lb2") / "haproxy.pid").read_text().split()[0]
            subprocess.run(["pkill", "-CONT", "-P", pid], check=True)
        else:
            self.set_up_load_balancers()

    def only_lb2(self, path: Path, **variables: Any) -> str:
        """An inventory that says something else of lb2."""
        path.write_text(json.dumps({"all": {"hosts": {"lb2": variables}}}))
        return str(path)

    def others(self) -> dict[str, Any]:
        return {name: self.router(name).read().percents() for name in self.names if name != "lb2"}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    with Three(tmp_path_factory.mktemp("three")) as three:
        yield three


def assert_home_and_named(three: Three, live: str) -> None:
    whole = {"blue": 0, "green": 0, live: 100}
    assert three.others() == dict.fromkeys(three.others(), whole), three.said()
    assert "lb2" in three.said()


def recovered(three: Three, live: str) -> None:
    done = three.recover()
    assert done.returncode in {0, 2}, done.stdout
    try:
        assert three.assert_whole() == live
    except AssertionError as error:
        raise AssertionError(three.said() + done.stdout) from error


@pytest.mark.parametrize("moment", MOMENTS if FULL else ["commit"])
@pytest.mark.parametrize("how", FAULTS if FULL else ["unreachable"])
def test_the_others_go_back_and_it_is_named(three: Three, how: str, moment: str, tally: Callable[..., None]) -> None:
    live = three.live()
    lose = three.at(MOMENTS[moment], do=three.lose(how), event="start", nth=0)
    release = three.start_release(environment=lose)
    assert release.wait(300) == 2, three.said()
    assert_home_and_named(three, live)
    three.heal(how)
    recovered(three, live)
    tally(lost=1)


@pytest.mark.parametrize("partial", ["back", "keep"] if FULL else ["keep"])
@pytest.mark.parametrize("trick", TRICKS if FULL else ["lost"])
def test_its_socket_goes_dead_within_the_change(
    three: Three, trick: str, partial: str, tally: Callable[..., None]
) -> None:
    live, to = three.live(), three.idle()
    home = three.home("lb2")
    with Meddler(home / "meddler.sock", home / "admin.sock") as meddler:
        meddler.trick = trick
        route = three.route("lb2")
        route["haproxy"]["socket"] = str(meddler.path)
        meddled = three.directory / "meddled.json"
        release = three.start_release(
            "-i",
            three.only_lb2(meddled, bluegreen_routes=[route]),
            bluegreen_on_partial=partial,
            bluegreen_canary_steps=[],
        )
        assert release.wait(300) == 2, three.said()
        meddler.heal()
    assert "lb2" in three.said()
    if partial == "keep":
        assert "In doubt: lb2" in three.said()
        assert three.record()["release"]["in_doubt"] == ["lb2"]
        assert set(map(str, three.others().values())) == {str({"blue": 0, "green": 0, to: 100})}
        forward = three.recover(bluegreen_recover_to="forward")
        assert forward.returncode == 0, forward.stdout
        assert three.assert_whole() == to
    else:
        assert_home_and_named(three, live)
        recovered(three, live)
    tally(lost=1)


def test_routes_of_one_call_are_kept_or_put_back_alike(tmp_path: Path, tally: Callable[..., None]) -> None:
    """All load balancers reached from one host, behind one barrier."""
    with OneHost(tmp_path, load_balancers=3) as fleet:
        home = fleet.home("lb2")
        for partial, everywhere in (("back", "blue"), ("keep", "green")):
            with Meddler(home / "meddler.sock", home / "admin.sock") as meddler:
                meddler.trick = "lost"
                routes = [fleet.route(name) for name in fleet.names]
                routes[1]["haproxy"] |= {"socket": str(meddler.path), "timeout": 1.0}
                release = fleet.start_release(
                    bluegreen_routes=routes, bluegreen_on_partial=partial, bluegreen_canary_steps=[]
                )
                assert release.wait(300) == 2, fleet.said()
            splits = {name: split for name, split in fleet.splits().items() if name != "lb2"}
            whole = {"blue": 0, "green": 0, everywhere: 100}
            assert splits == dict.fromkeys(splits, whole), fleet.said()
            assert "route lb2" in fleet.said()
            if partial == "keep":
                assert "In doubt: lb2" in fleet.said()
                assert fleet.record()["release"]["in_doubt"] == ["lb2"]
            assert fleet.recover().returncode == 2
            assert fleet.assert_whole() == "blue"
            tally(lost=1)
