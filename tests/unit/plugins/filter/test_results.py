# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With plain dictionaries; in a playbook, see test_failures."""

from __future__ import annotations

import typing as t

import pytest

pytest.importorskip("ansible.errors")

from ansible.errors import AnsibleFilterError

from plugins.filter.results import FilterModule, results


@pytest.mark.parametrize(
    ("variables", "keys", "expected"),
    [
        ({"done": {"a": 1, "b": 2, "c": 3}}, ["a", "c"], {"a": 1, "c": 3}),
        ({"done": {"a": None}}, ["a"], {"a": None}),
        ({"done": {"a": 1}}, ["b"], {}),
        ({"done": {"a": 1}}, [], {}),
        ({"done": {"a": 1}}, ("a",), {"a": 1}),
        ({"done": {"failed": True, "msg": "no", "a": 1}}, ["a", "msg"], {"a": 1, "msg": "no"}),
        ({"done": {"skipped": True}}, ["a", "skipped"], {"skipped": True}),
        ({"done": {"unreachable": True, "a": 1}}, ["a"], None),
        ({"done": "odd"}, ["a"], None),
        ({"done": ["a"]}, ["a"], None),
        ({"done": None}, ["a"], None),
        ({"other": {"a": 1}}, ["a"], None),
        ("variables", ["a"], None),
        (None, ["a"], None),
    ],
)
def test_the_keys_of_each_result_that_is_there(variables: t.Any, keys: t.Any, expected: t.Any) -> None:
    hostvars = {"lb1": variables} if variables is not None else {}
    assert results(["lb1"], hostvars, "done", keys) == ({} if expected is None else {"lb1": expected})


def test_hosts_are_sorted() -> None:
    hostvars = {name: {"done": {"a": name}} for name in ("lb3", "lb1", "lb2", "lb4")}
    assert list(results(["lb3", "lb1", "lb2", "lb3"], hostvars, "done", ["a"])) == ["lb1", "lb2", "lb3"]


@pytest.mark.parametrize(
    ("hosts", "hostvars", "keys", "message"),
    [
        ("lb1", {}, ["a"], "hosts is no list"),
        (["lb1"], {}, "a", "keys is no list"),
        (["lb1"], {}, None, "keys is no list"),
        (["lb1"], [], ["a"], "hostvars is no dictionary"),
    ],
)
def test_what_cannot_be_right_is_refused(hosts: t.Any, hostvars: t.Any, keys: t.Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        results(hosts, hostvars, "done", keys)


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"results": results}
