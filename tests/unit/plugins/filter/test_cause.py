# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

pytest.importorskip("ansible.errors")

from ansible.errors import AnsibleFilterError

from plugins.filter.cause import FilterModule

cause = FilterModule().filters()["cause"]


def failed(result: t.Any, **task: t.Any) -> dict[str, t.Any]:
    return {"ansible_failed_result": {"failed": True, **result}, "ansible_failed_task": {"name": "Try it", **task}}


@pytest.mark.parametrize(
    ("lb1", "lb2", "why"),
    [
        ({}, failed({"msg": "no room"}), "no room"),
        ({"ansible_failed_result": {}}, failed({"msg": "no room\n"}), "no room"),
        (failed({"msg": "no door"}), failed({"msg": "no room"}), "no door"),
        ({}, {}, "a task failed"),
        ({}, failed({}), "a task failed"),
        (
            failed(
                {
                    "msg": "One or more items failed",
                    "results": [{"msg": "fine"}, {"failed": True, "msg": "no"}, {"failed": True, "msg": "no"}],
                }
            ),
            {},
            "no",
        ),
        (failed({"msg": "One or more items failed", "results": [{"failed": True}]}), {}, "One or more items failed"),
        (
            failed({"msg": "hunter22", "_ansible_no_log": True}),
            {},
            "the task 'Try it' failed; what it says is not shown, as no_log is set",
        ),
        (
            failed({"msg": "hunter22"}, no_log=True),
            {},
            "the task 'Try it' failed; what it says is not shown",
        ),
    ],
)
def test_every_host_says_the_same(lb1: t.Any, lb2: t.Any, why: str) -> None:
    found = cause(["lb2", "lb1"], {"lb1": lb1, "lb2": lb2})
    assert found.startswith(why)
    assert "hunter22" not in found


def test_what_is_no_list_of_hosts_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="hosts is no list"):
        cause("lb1", {})
