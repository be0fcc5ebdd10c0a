# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from plugins.module_utils._errors import DeniedError, InvalidError
from plugins.module_utils._report.files import write_report


@pytest.fixture
def write(tmp_path):
    def call(*, dry_run=False, diff=False, **more):
        given = {
            "app": "shop",
            "outcome": "released",
            "dest": str(tmp_path / "reports"),
            "load_balancers": {},
        }
        return write_report({**given, **more}, dry_run=dry_run, diff=diff)

    return call


def mode(path):
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_both_files_are_written_once(write, tmp_path):
    result = write()
    folder = tmp_path / "reports"
    assert (result["json"], result["markdown"]) == (str(folder / "shop.json"), str(folder / "shop.md"))
    assert (folder / "shop.md").read_text(encoding="utf-8") == result["text"]
    assert result["changed"]
    assert not write()["changed"]
    assert sorted(path.name for path in folder.iterdir()) == ["shop.json", "shop.md"]


def test_a_dry_run_predicts_and_writes_nothing(write, tmp_path):
    predicted = write(dry_run=True)
    assert not list(tmp_path.iterdir())
    assert predicted == write()


def test_only_what_differs_is_written(write):
    result = write()
    before = Path(result["json"]).stat().st_ino
    Path(result["markdown"]).write_text("a note", encoding="utf-8")
    assert write()["changed"]
    assert Path(result["json"]).stat().st_ino == before
    assert Path(result["markdown"]).read_text(encoding="utf-8") == result["text"]


def test_the_diff_is_of_the_page(write):
    first = write(diff=True)
    second = write(diff=True, reason="new")
    assert first["diff"]["before"] == ""
    assert second["diff"]["before"] == first["text"]
    assert second["diff"]["after"] == second["text"]
    assert second["diff"]["after_header"] == second["markdown"]
    assert "diff" not in write()


def test_the_umask_hides_no_report(write, tmp_path):
    umask = os.umask(0o077)
    try:
        result = write()
    finally:
        os.umask(umask)
    assert mode(tmp_path / "reports") == 0o755
    assert mode(result["markdown"]) == 0o644


def test_the_mode_of_a_file_that_is_there_stays(write, tmp_path):
    result = write()
    (tmp_path / "reports").chmod(0o700)
    Path(result["json"]).chmod(0o600)
    write(reason="new")
    assert (mode(tmp_path / "reports"), mode(result["json"])) == (0o700, 0o600)


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "a\\b", "a\n", "x" * 201])
def test_a_name_that_leads_elsewhere_is_refused(write, tmp_path, name):
    with pytest.raises(InvalidError, match="no path separator and no dot in front"):
        write(name=name)
    assert not list(tmp_path.iterdir())


def test_a_name_of_ones_own(write):
    assert write(name="release 1")["json"].endswith("/release 1.json")


def test_no_dest(write):
    with pytest.raises(InvalidError, match="dest is empty"):
        write(dest="")


def test_a_file_in_place_of_the_directory(write, tmp_path):
    (tmp_path / "reports").write_text("")
    with pytest.raises(DeniedError, match=r"shop\.json cannot be read: Not a directory"):
        write()


def test_a_directory_in_place_of_a_file(write, tmp_path):
    (tmp_path / "reports" / "shop.md").mkdir(parents=True)
    with pytest.raises(DeniedError, match="Is a directory"):
        write()


def test_a_write_that_fails_leaves_the_old_file_and_no_other(write, tmp_path, monkeypatch):
    result = write()

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DeniedError, match="cannot be written: No space left on device"):
        write(reason="new")
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == ["shop.json", "shop.md"]
    assert Path(result["markdown"]).read_text(encoding="utf-8") == result["text"]
