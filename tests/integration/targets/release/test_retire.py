# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a colour may be stopped and when not, and what a freeze lets through."""

from __future__ import annotations

import contextlib
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from demo.rig import TEST_TOKEN, wait_until

from .conftest import Books

BLUE, GREEN = {"lb1": 0, "lb2": 0}, {"lb1": 100, "lb2": 100}
STOP = """
- name: Stop the members of {{ bluegreen_retired }}
  ansible.builtin.shell: kill $(cat {{ demo_directory }}/{{ bluegreen_retired }}?.pid)
  run_once: true
"""
QUICK = {"bluegreen_retire_quiet": 1, "bluegreen_retire_timeout": 3}


@pytest.fixture
def released(books: Books) -> Iterator[Books]:
    """1.1 went live on green, and its confirmation period is over."""
    books.forget()
    books.rig.deploy("blue", "1.0")
    books.finish(books.begin(), "released")
    books.move(**GREEN)
    yield books
    books.rig.deploy("blue", "1.0")


@contextlib.contextmanager
def asking(books: Books, colour: str) -> Iterator[None]:
    """Somebody who keeps asking for a colour at the front door, whatever the split says."""
    over = threading.Event()
    request = urllib.request.Request(
        books.rig.fronts["lb1"] + "/version", headers={"X-BlueGreen-Colour": colour, "X-BlueGreen-Token": TEST_TOKEN}
    )

    def ask() -> None:
        while not over.wait(0.2):
            with urllib.request.urlopen(request, timeout=5) as answer:
                answer.read()

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield
    finally:
        over.set()
        asker.join(10)


class Retirement:
    """The playbook, with a hook that stops the colour."""

    def __init__(self, books: Books) -> None:
        self.books = books
        hook = books.rig.directory / "stop.yml"
        hook.write_text(STOP)
        self.variables = {**QUICK, "bluegreen_retire": [str(hook)]}

    def is_refused(self, said: str, **variables: Any) -> None:
        done = self.books.rig.play("retire", **{**self.variables, **variables})
        assert done.returncode == 2, done.stdout
        assert said in done.stdout
        assert all(instance.pid_file.exists() for instance in self.books.rig.instances)

    def is_done(self) -> None:
        done = self.books.rig.play("retire", **self.variables)
        assert done.returncode == 0, done.stdout


def test_what_may_still_be_needed_is_not_stopped(released: Books) -> None:
    retire = Retirement(released)
    token = released.begin(id="shop-1.2")
    retire.is_refused("Release shop-1.2 is open; expected none")
    released.finish(token, "released", confirmation_period=3600)
    released.move(lb2=0)
    recovered = released.rig.play("recover", bluegreen_recover_to="green")
    assert recovered.returncode == 0, recovered.stdout
    status = released.rig.play("status").stdout
    for line in ("last release: shop-1.2, released", "from blue (1.0) to green (1.1)", "sent all traffic to green at"):
        assert line in status
    retire.is_refused("The confirmation period runs for another 3")
    released.move(lb1=0, lb2=0)
    assert released.rig.play("rollback").returncode == 2
    assert set(released.green().values()) == {0}, "it was back already"
    released.move(**GREEN)
    released.finish(released.begin(id="shop-1.3"), "released", confirmation_period=0)

    released.move(lb1=90)
    retire.is_refused("expected one live colour, nothing on blue, and no drift")
    released.move(lb1=100)
    map_file = released.rig.home("lb2") / "bluegreen.map"
    whole = map_file.read_text()
    map_file.write_text(whole.replace("shop green:blue:0", "shop blue:green:0"))
    retire.is_refused("expected one live colour, nothing on blue, and no drift")
    map_file.write_text(whole)
    retire.is_refused("nothing on green", bluegreen_retire_colour="green")
    retire.is_refused("expected your task files in bluegreen_retire", bluegreen_retire=[])

    with asking(released, "blue"):
        retire.is_refused("was not quiet on lb1")
    record = released.record()
    assert (record["release"]["state"], record["lock"]) == ("failed", None)
    assert "was not quiet" in record["release"]["why"]

    released.record_file.unlink()
    retire.is_refused("The record knows of no release")


def test_what_nothing_reaches_is_stopped(released: Books) -> None:
    retire = Retirement(released)
    planned = released.rig.play("retire", "--check", **retire.variables)
    assert planned.returncode == 0, planned.stdout
    assert released.record()["release"]["id"] == "shop-1.1"
    retire.is_done()
    wait_until(lambda: not any(one.pid_file.exists() for one in released.rig.of("blue")), 15, "blue has ended")
    record = released.record()
    assert (record["release"]["state"], record["lock"]) == ("retired", None)
    assert '"shop: green (1.1) is live, blue (1.0) is not"' in released.rig.play("status").stdout
    assert released.green() == GREEN

    for playbook in ("rollback", "recover"):
        back = released.rig.play(playbook, bluegreen_rollback_to="blue", bluegreen_recover_to="blue")
        assert back.returncode == 2, back.stdout
        told = " ".join(back.stdout.split())
        assert f"blue was stopped when {record['release']['id']} retired it: start it, and try again" in told
        assert f"bluegreen_{playbook}_force" in told
        assert released.record()["release"]["state"] == "retired", "no release was begun"
        assert released.green() == GREEN


def test_a_freeze_stops_what_is_new_and_no_way_back(released: Books) -> None:
    rig, retire = released.rig, Retirement(released)
    assert "bluegreen_freeze_reason is not set" in rig.play("freeze", bluegreen_freeze_until="2099-01-02").stdout
    frozen = rig.play("freeze", bluegreen_freeze_reason="Holidays", bluegreen_freeze_until="2099-01-02T06:00:00Z")
    assert frozen.returncode == 0, frozen.stdout
    assert "until 2099-01-02 06:00:00 UTC: Holidays" in rig.play("status").stdout
    refused = rig.play("pre_deploy", bluegreen_version="1.2", bluegreen_deploy=[])
    assert refused.returncode == 2, refused.stdout
    assert "until 2099-01-02T06:00:00.000000+00:00: Holidays" in refused.stdout
    retire.is_refused("Holidays")

    back = rig.play("rollback", bluegreen_rollback_fails=False)
    assert back.returncode == 0, back.stdout
    assert released.green() == BLUE
    forward = rig.play("recover", bluegreen_recover_to="green")
    assert forward.returncode == 0, forward.stdout
    assert released.green() == GREEN

    thawed = rig.play("freeze", bluegreen_thaw=True, bluegreen_freeze_reason="It snows")
    assert thawed.returncode == 0, thawed.stdout
    assert released.record()["freeze"]["thawed"]["reason"] == "It snows"
    begun = rig.play("pre_deploy", bluegreen_version="1.0", bluegreen_to="blue", bluegreen_deploy=[])
    assert begun.returncode == 0, begun.stdout
