# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With a real HAProxy, see the integration test of a load balancer that is built anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.module_utils._errors import DriftError
from plugins.module_utils._haproxy.map_entry import running, value, written

FOUND = 'type=str, case=sensitive, found=yes, idx=tree, key="shop", value="blue:green:0", type="str"'


def test_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "bluegreen.map"
    assert written(str(tmp_path / "nowhere" / "bluegreen.map"), "shop") is None
    assert written(str(path), "shop") is None
    path.write_text("other green:blue:0\n")
    assert written(str(path), "shop") is None
    path.write_text("shop blue:green:0\n")
    assert written(str(path), "shop") == "blue:green:0"
    path.write_text("shop blue:green:0\nshop green:blue:0\n")
    with pytest.raises(DriftError):
        written(str(path), "shop")


def test_where_no_haproxy_runs_none_is_running(tmp_path: Path) -> None:
    assert running(str(tmp_path / "admin.sock"), "/etc/haproxy/bluegreen.map", "shop", 5.0) is None


@pytest.mark.parametrize(
    ("answer", "entry"),
    [(FOUND, "blue:green:0"), ("type=str, case=sensitive, found=no", None), ("Unknown map identifier.", None)],
)
def test_what_haproxy_answers(answer: str, entry: str | None) -> None:
    assert value(answer) == entry
