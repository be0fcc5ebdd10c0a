# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

pytest.importorskip("ansible.errors")

from ansible import context
from ansible.errors import AnsibleFilterError

from plugins.filter.fleet import FilterModule

fleet = FilterModule().filters()["fleet"]

GROUPS = {"all": ["lb1", "lb2", "web1"], "edge": ["lb1", "lb2"], "web": ["web1"]}
PLAIN = {"all": ["lb1", "web1"], "load_balancers": ["lb1"]}


@pytest.fixture(autouse=True)
def command_line(monkeypatch):
    """A run without options; returns how to give it some."""

    def given(**options):
        monkeypatch.setattr(context, "CLIARGS", {"tags": ("all",), "skip_tags": (), **options})

    given()
    return given


def seen(*hosts, name="edge"):
    return {host: {"bluegreen_load_balancers": name} if host in hosts else {} for host in GROUPS["all"]}


@pytest.mark.parametrize("hosts", [("lb1", "lb2"), ("lb1", "lb2", "web1")])
def test_it_is_the_group_that_the_inventory_names_wherever_it_names_it(hosts):
    assert fleet(GROUPS, seen(*hosts)) == "edge"


def test_without_a_word_it_is_the_group_load_balancers():
    assert fleet(PLAIN, {"lb1": {}, "web1": {}}) == "load_balancers"
    assert fleet(PLAIN, {"lb1": {"bluegreen_load_balancers": ""}, "web1": {}}) == "load_balancers"


def test_what_is_named_for_all_goes_before_what_some_hosts_say():
    assert fleet(GROUPS, seen("lb1", "lb2", name="web"), "edge") == "edge"


@pytest.mark.parametrize("hostvars", [None, {}])
def test_before_the_first_play_of_a_run_hosts_have_no_variables(hostvars):
    assert fleet(PLAIN, hostvars) == "load_balancers"
    with pytest.raises(AnsibleFilterError, match="With --limit only -e can name it"):
        fleet(GROUPS, hostvars)


@pytest.mark.parametrize(("given", "hostvars"), [("core", seen()), ("", seen()), ("", seen("lb1", name="core"))])
def test_a_group_without_hosts_is_refused(given, hostvars):
    with pytest.raises(AnsibleFilterError, match=r"no host in the group (core|load_balancers)"):
        fleet(GROUPS, hostvars, given)


def test_a_load_balancer_that_does_not_see_the_name_is_named():
    with pytest.raises(AnsibleFilterError, match="is edge for web1, and not set for lb1, lb2"):
        fleet(GROUPS, seen("web1"))


def test_several_names_in_one_inventory_are_for_the_user_to_choose_from():
    both = {**seen("lb1", "lb2"), "web1": {"bluegreen_load_balancers": "web"}}
    with pytest.raises(AnsibleFilterError, match="edge and web; expected one for a run"):
        fleet(GROUPS, both)
    assert fleet(GROUPS, both, "web") == "web"


def test_an_empty_inventory_is_no_error_here():
    assert fleet({"all": [], "ungrouped": []}, {}) == "load_balancers"


@pytest.mark.parametrize("only", ["syntax", "listhosts", "listtasks", "listtags"])
def test_a_run_that_does_nothing_is_not_refused(command_line, only):
    command_line(**{only: True})
    assert fleet(GROUPS, None) == "load_balancers"


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"tags": ("switch",)}, "--tags=switch"),
        ({"tags": ("b", "a")}, "--tags=a,b"),
        ({"tags": ("tagged",)}, "--tags=tagged"),
        ({"start_at_task": "Prove it"}, "--start-at-task=Prove it"),
        ({"skip_tags": ("untagged",)}, "--skip-tags=untagged"),
        ({"skip_tags": ("all",)}, "--skip-tags=all"),
    ],
)
def test_a_part_of_the_tasks_is_refused(command_line, options, asked):
    command_line(**options)
    with pytest.raises(AnsibleFilterError) as refused:
        fleet(PLAIN, None)
    assert f"A part of the tasks is selected with {asked}; expected all of them" in str(refused.value)


@pytest.mark.parametrize(
    "options", [{"skip_tags": ("slow",)}, {"tags": ("all", "x")}, {"tags": ("untagged",)}, {"tags": None}]
)
def test_tags_that_leave_none_of_ours_out_are_fine(command_line, options):
    command_line(**options)
    assert fleet(PLAIN, None) == "load_balancers"


def test_what_is_no_dictionary_is_told():
    with pytest.raises(AnsibleFilterError, match="groups is no dictionary"):
        fleet(["lb1"], {})
