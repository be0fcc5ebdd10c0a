# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Once a release is taken over on a host, its predecessor cannot write there any more."""

from __future__ import annotations

import fcntl
import threading
import typing as t
from pathlib import Path

import pytest

from plugins.module_utils._errors import BlueGreenError, DeniedError, DriftError, InvalidError
from plugins.module_utils._files import HeldError
from plugins.module_utils._traffic import fence as fence_module
from plugins.module_utils._traffic.fence import Fence, StaleTokenError, held, locked, stem


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "made" / "state"


def fence(home: Path, token: int = 1) -> Fence:
    return Fence(str(home), "shop", token)


def fails(error: type[BlueGreenError], call: t.Callable[[], object]) -> BlueGreenError:
    with pytest.raises(BlueGreenError) as caught:
        call()
    assert caught.value.__class__ is error, caught.value.message
    return caught.value


def hold(one: Fence) -> None:
    with one.holding():
        pass


@pytest.mark.parametrize(
    ("raised", "token", "stale"), [([], 1, False), ([1], 1, False), ([1], 2, False), ([3, 7], 5, True), ([2], 1, True)]
)
def test_the_highest_token_is_kept_and_a_lower_one_is_refused(
    home: Path, raised: list[int], token: int, stale: bool
) -> None:
    for each in raised:
        fence(home, each).raise_up()
    ours = fence(home, token)
    if stale:
        for call in (ours.check, ours.raise_up, lambda: hold(ours)):
            error = fails(StaleTokenError, call)
            assert (error.code, "bluegreen.deploy.status" in error.todo) == ("conflict", True)
        assert (home / "shop.fence").read_text() == f"{max(raised)}\n"
    else:
        ours.check()
        ours.raise_up()
        hold(ours)
        assert (home / "shop.fence").read_text() == f"{token}\n"


def test_a_check_writes_nothing(home: Path) -> None:
    fence(home).check()
    assert not home.exists()


@pytest.mark.parametrize("place", ["/proc/bluegreen", "/sys/bluegreen/state"])
def test_a_check_finds_a_directory_in_which_no_file_can_be_made(place: str) -> None:
    """Also where one may do everything: these file systems take none."""
    denied = fails(DeniedError, Fence(place, "shop", 1).check)
    assert denied.message.startswith(f"{place} cannot be used: ")
    assert "another state_dir" in denied.message


def test_nobody_else_may_read_what_is_kept(home: Path) -> None:
    fence(home).raise_up()
    assert home.stat().st_mode & 0o777 == 0o700
    assert {p.name: p.stat().st_mode & 0o777 for p in home.iterdir()} == {"shop.fence": 0o600, "shop.fence.lock": 0o600}


@pytest.mark.parametrize(
    "text", ["", "\n", "7", "07\n", "-1\n", "0\n", "1.5\n", "7\n8\n", "seven\n", "\x00\n", "9" * 40]
)
def test_a_file_that_cannot_be_believed_is_never_reset(home: Path, text: str) -> None:
    home.mkdir(parents=True)
    (home / "shop.fence").write_text(text)
    ours = fence(home, 99)
    for call in (ours.check, ours.raise_up, lambda: hold(ours)):
        assert "last token of shop's record" in fails(DriftError, call).todo
    assert (home / "shop.fence").read_text() == text


def test_a_fence_that_has_lost_our_token_is_not_ours_to_pass(home: Path) -> None:
    fence(home, 2).raise_up()
    (home / "shop.fence").unlink()
    assert fails(DriftError, lambda: hold(fence(home, 2))).found.endswith("says 0")


def test_many_write_side_by_side_and_who_raises_the_fence_waits_for_them(home: Path) -> None:
    fence(home).raise_up()
    all_in, go_on, raised = threading.Barrier(21), threading.Event(), threading.Event()

    def write() -> None:
        with fence(home).holding():
            all_in.wait(20)
            assert go_on.wait(20)
            assert not raised.is_set()

    def take_over() -> None:
        fence(home, 2).raise_up()
        raised.set()

    writers = [threading.Thread(target=write) for _unused in range(20)]
    for writer in writers:
        writer.start()
    all_in.wait(20)
    successor = threading.Thread(target=take_over)
    successor.start()
    assert not raised.wait(0.05)
    go_on.set()
    successor.join(20)
    for writer in writers:
        writer.join(20)
    assert raised.is_set()
    fails(StaleTokenError, lambda: hold(fence(home)))


def test_a_change_that_does_not_end_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence_module, "PATIENCE", 0.05)
    fence(home).raise_up()
    with fence(home).holding():
        assert "shop.fence.lock" in fails(HeldError, fence(home, 2).raise_up).found
    assert (home / "shop.fence").read_text() == "1\n"


def test_the_lock_is_let_go_when_the_work_fails(home: Path) -> None:
    path = str(home / "lock")
    with pytest.raises(ZeroDivisionError), locked(path, fcntl.LOCK_EX, 1):
        raise ZeroDivisionError
    with locked(path, fcntl.LOCK_EX, 0):
        pass


def test_a_directory_that_cannot_be_made_is_denied(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert fails(DeniedError, fence(tmp_path / "file").raise_up).code == "denied"
    assert fails(DeniedError, fence(tmp_path / "file" / "below").raise_up).code == "denied"


@pytest.mark.parametrize(
    "app", ["", ".", "..", ".shop", "a/b", "/etc", "a b", "ä", "a\n", "a\x00", "shop.fence", "x.revert"]
)
def test_no_name_of_an_app_leads_out_of_the_directory(app: str) -> None:
    fails(InvalidError, lambda: stem("/var/lib/bluegreen", app))


@pytest.mark.parametrize("app", ["shop", "shop-2.eu_west", "_x", "-x", "7"])
def test_other_names_do(app: str) -> None:
    assert stem("/var/lib/bluegreen", app) == f"/var/lib/bluegreen/{app}"


@pytest.mark.parametrize(("state_dir", "token"), [("relative", 1), ("", 1), ("/x", 0), ("/x", -1)])
def test_what_cannot_be_right_is_invalid(state_dir: str, token: int) -> None:
    fails(InvalidError, lambda: Fence(state_dir, "shop", token))


def test_without_a_fence_nothing_is_held() -> None:
    with held(None):
        pass


@pytest.mark.parametrize("token", [0, -1, 2**63, 10**30])
def test_a_token_that_the_fence_could_not_hold_is_invalid(home: Path, token: int) -> None:
    fails(InvalidError, lambda: fence(home, token))
    assert not home.exists()


def test_a_token_before_its_time_is_no_release_that_has_taken_over(home: Path) -> None:
    """Tokens follow the clock: one that is years ahead was written by somebody, and is named as that."""
    fence(home, 2**62).raise_up()
    ours = fence(home, 1_800_000_000)
    for call in (ours.check, ours.raise_up, lambda: hold(ours)):
        error = fails(DriftError, call)
        assert "write 1800000000 there" in error.todo
        assert "shop.fence says 4611686018427387904" in error.found
