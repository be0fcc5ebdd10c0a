# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
import threading
import typing as t
from pathlib import Path

import pytest

from plugins.module_utils._errors import (
    BlueGreenError,
    DeniedError,
    DriftError,
    InvalidError,
    MissingError,
)
from plugins.module_utils._files import HeldError
from plugins.module_utils._haproxy.map_file import MapFile

LONG = 20.0
NOBODY = 65534
MAP = """\
# shop green:blue:0 is only a comment
shop blue:green:0
shopping blue:green:7
  indented\tgreen:blue:0

other green:blue:0
last blue:green:0"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: needs root")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "bluegreen.map"
    path.parent.mkdir()
    path.write_text(MAP)
    return path


@contextlib.contextmanager
def as_nobody() -> t.Iterator[None]:
    """Files are reached without root's rights; as root only."""
    os.setresgid(NOBODY, NOBODY, 0)
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


def lock_of(path: Path) -> Path:
    return path.parent / f".bluegreen-{path.name}.lock"


def fails(error: type[BlueGreenError], call: t.Callable[[], object]) -> BlueGreenError:
    with pytest.raises(BlueGreenError) as caught:
        call()
    assert caught.value.__class__ is error
    assert "\n" not in caught.value.message
    return caught.value


# --- Entries ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [("shop", "blue:green:0"), ("shopping", "blue:green:7"), ("indented", "green:blue:0"), ("last", "blue:green:0")],
)
def test_an_entry_is_read_and_replaced_and_all_else_is_kept(path: Path, key: str, value: str) -> None:
    file = MapFile(str(path))
    assert file.get(key) == value
    file.set(key, "green:blue:2500")
    assert file.get(key) == "green:blue:2500"
    before, after = MAP.splitlines(), path.read_text().splitlines()
    assert [line for line in after if line not in before] == [f"{key} green:blue:2500"]
    assert len(after) == len(before)
    file.set(key, value)
    assert [line.split() for line in path.read_text().splitlines()] == [line.split() for line in before]


@pytest.mark.parametrize("key", ["sho", "SHOP", "#", "nobody"])
def test_an_entry_that_is_not_there_is_missing(path: Path, key: str) -> None:
    assert f"has no entry '{key}'" in fails(MissingError, lambda: MapFile(str(path)).get(key)).message


def test_two_entries_of_one_key_are_drift(path: Path) -> None:
    path.write_text(MAP + "\nshop green:blue:0\n")
    assert "has 2 entries 'shop'" in fails(DriftError, lambda: MapFile(str(path)).get("shop")).message


def test_a_file_that_is_not_there_is_missing(path: Path) -> None:
    path.unlink()
    fails(MissingError, lambda: MapFile(str(path)).get("shop"))
    assert list(path.parent.iterdir()) == []


def test_bytes_of_other_encodings_and_line_ends_are_kept(path: Path) -> None:
    path.write_bytes(b"# caf\xe9 \xe2\x80\xa8 \x0b\r\nother a:b:0\r\nshop blue:green:0\n\x0c")
    MapFile(str(path)).set("shop", "green:blue:0")
    assert path.read_bytes() == b"# caf\xe9 \xe2\x80\xa8 \x0b\r\nother a:b:0\r\nshop green:blue:0\n\x0c"


# --- The file ---------------------------------------------------------------------------------------------


def test_a_reader_sees_the_old_file_or_the_new_one(path: Path) -> None:
    with path.open() as old:
        MapFile(str(path)).set("shop", "green:blue:0")
        assert old.read() == MAP
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o664])
def test_the_mode_is_kept(path: Path, mode: int) -> None:
    path.chmod(mode)
    MapFile(str(path)).set("shop", "green:blue:0")
    assert path.stat().st_mode & 0o7777 == mode


@needs_root
def test_the_owner_is_kept(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY)
    MapFile(str(path)).set("shop", "green:blue:0")
    assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)


def test_a_link_to_the_file_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.map"
    link.symlink_to(path)
    MapFile(str(link)).set("shop", "green:blue:0")
    assert link.is_symlink()
    assert MapFile(str(path)).get("shop") == "green:blue:0"


@pytest.mark.parametrize("name", ["bluegreen.map", "maps/bluegreen.map", ""])
def test_a_path_that_depends_on_where_we_are_is_invalid(name: str) -> None:
    fails(InvalidError, lambda: MapFile(name))


@needs_root
def test_a_directory_that_may_not_be_written_is_denied_and_nothing_is_changed(path: Path) -> None:
    for each in path.parents:
        if each.is_relative_to(tempfile.gettempdir()) and each != Path(tempfile.gettempdir()):
            each.chmod(0o755)
    with as_nobody():
        file = MapFile(str(path))
        assert file.get("shop") == "blue:green:0"
        fails(DeniedError, file.check_writable)
        fails(DeniedError, lambda: file.set("shop", "green:blue:0"))
        path_mode = path.stat().st_mode
    path.chmod(0)
    with as_nobody():
        fails(DeniedError, lambda: file.get("shop"))
    path.chmod(path_mode)
    path.parent.chmod(0)
    with as_nobody():
        fails(DeniedError, lambda: file.get("shop"))
        fails(DeniedError, file.check_writable)
    path.parent.chmod(0o755)
    assert path.read_text() == MAP
    MapFile(str(path)).check_writable()


@needs_root
def test_a_file_of_somebody_else_in_our_directory_is_left_as_it_is(path: Path) -> None:
    """Replaced by us, it would belong to us, and its owner could write it no more."""
    for each in path.parents:
        if each.is_relative_to(tempfile.gettempdir()) and each != Path(tempfile.gettempdir()):
            each.chmod(0o755)
    os.chown(path.parent, NOBODY, NOBODY)
    with as_nobody():
        fails(DeniedError, lambda: MapFile(str(path)).set("shop", "green:blue:0"))
    assert path.read_text() == MAP
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.fixture
def full_disk(tmp_path: Path) -> t.Iterator[Path]:
    place = tmp_path / "full"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k,mode=755", "none", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"NOT TESTED: a full disk, because a small one cannot be mounted: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_an_error_and_nothing_is_changed(full_disk: Path) -> None:
    path = full_disk / "bluegreen.map"
    text = MAP + "\n#" + "x" * 4500
    path.write_text(text)
    error = fails(DeniedError, lambda: MapFile(str(path)).set("shop", "green:blue:0"))
    assert error.found == f"the map file {path} cannot be written: No space left on device"
    assert path.read_text() == text
    assert [each.name for each in full_disk.iterdir()] == [path.name]


# --- Alone with the file ----------------------------------------------------------------------------------


def test_a_lock_that_another_process_holds_runs_out_of_time(path: Path) -> None:
    script = f"exec 9>{lock_of(path)}; flock -x 9; echo held; read _"
    lock_of(path).touch(0o600)
    holder = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        error = fails(HeldError, lambda: MapFile(str(path)).locked(0.05).__enter__())
        assert error.found == f"another process has held {lock_of(path)} for 0.05 s"
    finally:
        holder.communicate("\n", timeout=LONG)
    with MapFile(str(path)).locked(LONG):
        pass


def test_the_lock_is_given_back_in_every_outcome(path: Path) -> None:
    file = MapFile(str(path))
    with contextlib.suppress(RuntimeError), file.locked(LONG):
        raise RuntimeError
    with lock_of(path).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_writers_of_different_keys_lose_nothing(path: Path) -> None:
    keys = [f"app{number}" for number in range(8)]
    path.write_text("".join(f"{key} 0\n" for key in keys))
    all_are_there = threading.Barrier(len(keys))

    def count_up(key: str) -> None:
        file = MapFile(str(path))
        all_are_there.wait(LONG)
        for _time in range(10):
            with file.locked(LONG):
                file.set(key, str(int(file.get(key)) + 1))

    threads = [threading.Thread(target=count_up, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == "".join(f"{key} 10\n" for key in keys)
