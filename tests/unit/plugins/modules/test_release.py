# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a process; two of them at the same moment, and what its store does when it fails, are in
tests/integration/targets/store."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest

from plugins.modules import release

from .process import as_spec, bare, documented_options, run_module

Call = t.Callable[..., dict[str, t.Any]]
BEGIN = {"action": "begin", "owner": "alice", "version": "2.4.0"}


@pytest.fixture
def call(tmp_path: Path) -> Call:
    def call(action: str = "read", **options: t.Any) -> dict[str, t.Any]:
        return run_module("release", app="shop", store={"path": str(tmp_path / "new")}, action=action, **options)

    return call


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_release_from_its_beginning_to_its_end(call: Call) -> None:
    nothing = call()
    assert [nothing[key] for key in ("changed", "record", "release", "token", "open")] == [
        False,
        None,
        None,
        None,
        False,
    ]

    begun = call(**BEGIN, **{"from": {"colour": "blue"}, "to": {"colour": "green"}, "routes": {"lb1": []}})
    assert (begun["changed"], begun["resumed"], begun["open"], begun["watchdog"]) == (True, False, True, None)
    assert re.fullmatch(r"shop-2\.4\.0-\d{8}T\d{6}Z-[0-9a-f]{4}", begun["release"]["id"])
    assert (begun["release"]["from"], begun["release"]["to"]) == ({"colour": "blue"}, {"colour": "green"})
    assert (begun["diff"]["before"]["lock"], begun["diff"]["after"]["lock"]) == (None, begun["lock"])
    assert "warnings" not in begun

    token = begun["token"]
    opened = call("step", token=token, stage="switch", next="all to green", intended={"split": {"green": 100}})
    assert [step["status"] for step in opened["release"]["steps"]] == ["intended"]
    done = call("step", token=token, step="all to green", passed=True, in_doubt=["lb1"], park=True)
    assert (done["release"]["steps"][0]["passed"], done["lock"]["parked"]) == (True, True)

    joined = call("begin", owner="bob", join=True)
    assert (joined["resumed"], joined["token"] > token, joined["lock"]["owner"]) == (True, True, "bob")
    stale = call("step", token=token)
    assert (stale["failed"], stale["failure"], stale["lock"]) == (True, {"code": "conflict"}, joined["lock"])

    over = call("finish", token=joined["token"], state="released", confirmation_period=60, routes={"lb1": []})
    assert (over["token"], over["lock"], over["open"], over["release"]["state"]) == (None, None, False, "released")
    assert 0 < over["confirmation_left"] <= 60
    read = call()
    assert (read["changed"], read["record"]) == (False, over["record"])


def test_what_refuses_a_release_has_a_code(call: Call) -> None:
    assert call("freeze", owner="carol", reason="Holidays", until="2999-01-01")["freeze"]["reason"] == "Holidays"
    again = call("freeze", owner="carol", reason="Holidays", until="2999-01-01")
    assert again["changed"] is False
    assert call(**BEGIN)["failure"] == {"code": "frozen"}
    assert call("thaw", owner="carol")["changed"] is True
    assert call("thaw", owner="carol")["changed"] is False
    begun = call(**BEGIN)
    locked = call(**BEGIN)
    assert (locked["failure"], locked["lock"]) == ({"code": "locked"}, begun["lock"])
    assert call(**BEGIN, id=begun["release"]["id"])["resumed"] is True
    taken = call(**BEGIN, take_over="dead job")
    assert taken["record"]["takeovers"][0]["reason"] == "dead job"
    assert call("abort", token=taken["token"], reason="dead job")["release"]["state"] == "aborted"


def test_check_mode_predicts_and_writes_nothing(call: Call, tmp_path: Path) -> None:
    predicted = call(**BEGIN, _ansible_check_mode=True)
    assert (predicted["changed"], predicted["token"], predicted["open"]) == (True, None, True)
    assert everything(tmp_path) == {}
    assert not (tmp_path / "new").exists()
    for action, options in (("step", {"next": "a"}), ("finish", {"state": "released"}), ("abort", {"reason": "why"})):
        blind = call(action, **options, _ansible_check_mode=True)
        assert (blind["changed"], blind["record"]) == (True, None)

    token = call(**BEGIN)["token"]
    before = everything(tmp_path)
    predicted = call("finish", token=token, state="released", _ansible_check_mode=True)
    assert (predicted["changed"], predicted["release"]["state"]) == (True, "released")
    assert call("step", token=token - 1, _ansible_check_mode=True)["failure"] == {"code": "conflict"}
    assert call(**BEGIN, _ansible_check_mode=True)["failure"] == {"code": "locked"}
    assert everything(tmp_path) == before


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_confirmation_without_a_store_only_disarms(tmp_path: Path, check_mode: bool) -> None:
    options = {"action": "step", "step": "confirmed", "token": 7, "state_dir": str(tmp_path)}
    result = run_module("release", app="shop", **options, _ansible_check_mode=check_mode)
    assert (result["changed"], result["watchdog"]) == (False, None if check_mode else {"armed": False, "was": "none"})
    assert "record" not in result


def test_a_confirmation_disarms_before_it_is_written_down(call: Call, tmp_path: Path) -> None:
    token = call(**BEGIN)["token"]
    told = call("step", token=token, step="confirmed", state_dir=str(tmp_path / "state"))
    assert (told["watchdog"]["was"], told["release"]["steps"][0]["step"]) == ("none", "confirmed")
    stale = call("step", token=token - 1, step="confirmed", state_dir=str(tmp_path / "state"))
    assert (stale["failure"], stale["watchdog"]["was"]) == ({"code": "conflict"}, "none")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"app": "../shop", "store": {}}, "app is '../shop'"),
        ({"app": "", "store": {}}, "app is ''"),
        ({"app": "shop"}, "there is no store"),
        ({"app": "shop", "store": {"path": "/nobody"}, "action": "begin"}, "owner"),
        ({"app": "shop", "store": {"path": "/nobody"}, "action": "begin", "owner": ""}, "owner is not set"),
        ({"app": "shop", "store": {"path": "/nobody"}, "action": "step"}, "token is not set"),
        ({"app": "shop", "store": {"path": "/nobody"}, "action": "finish", "token": 1}, "state"),
        ({"app": "shop", "store": {"path": "/nobody"}, "action": "abort", "token": 1}, "reason"),
        ({"app": "shop", "store": {"path": "/nobody"}, "action": "freeze", "owner": "a", "reason": "b"}, "until"),
        ({"app": "shop", "store": {"path": "/nobody"}, "action": "step", "token": 1, "passed": True}, "step"),
        ({"app": "shop", "store": {"path": "/nobody"}, "action": "step", "token": 1, "intended": {"a": 1}}, "next"),
        ({"app": "shop", "store": {"path": "/nobody"}, "state_dir": "/nobody"}, "state_dir is set"),
    ],
)
def test_options_that_cannot_be_right_are_invalid(options: dict[str, t.Any], says: str) -> None:
    result = run_module("release", **options)
    assert (result["failed"], result["failure"]) == (True, {"code": "invalid"})
    assert says in result["msg"]


@pytest.mark.parametrize(
    ("version", "id"),
    [
        ("2.4.0", "shop-2.4.0-20260301T100000Z"),
        (None, "shop-20260301T100000Z"),
        ("a/b c", "shop-a-b-c-20260301T100000Z"),
    ],
)
def test_an_id_is_made_of_the_app_the_version_and_the_time(version: str | None, id: str) -> None:  # noqa: A002
    made = [release.new_id("shop", version, 1772359200.9) for _unused in range(20)]
    assert all(re.fullmatch(f"{id}-[0-9a-f]{{4}}", each) for each in made)
    assert len(set(made)) > 1


def test_options_and_documentation_agree() -> None:
    assert as_spec(documented_options("release")) == bare(release.ARGUMENT_SPEC)
