# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import time
from pathlib import Path

from plugins.module_utils._files import LEFT_BEHIND, replace_file


def test_what_a_killed_process_has_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    old, new, other = (
        tmp_path / name for name in (".bluegreen-a[1].json-x", ".bluegreen-a[1].json-y", ".bluegreen-b-x")
    )
    for each in (old, new, other):
        each.touch()
    for each in (old, other):
        os.utime(each, (time.time() - LEFT_BEHIND - 1,) * 2)
    replace_file(str(tmp_path / "a[1].json"), b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a[1].json", new.name, other.name}
    assert (tmp_path / "a[1].json").read_bytes() == b"whole"
