# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options as inventories, surveys and shells give them."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest

from plugins.module_utils._errors import InvalidError
from plugins.module_utils._options.table import OPTIONS, PREFIX, converted, wrong

ROOT = Path(__file__).parents[5]
NOTHING = ("", "  ", None, "None", "null", " ~\n")


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("canary_steps", "50", [50]),
        ("canary_steps", "[50]", [50]),
        ("canary_steps", "10, 50", [10, 50]),
        ("canary_steps", "['10', '50']", [10, 50]),
        ("canary_steps", ["10", 50.0], [10, 50]),
        ("canary_steps", 25, [25]),
        ("canary_steps", [0.01, 12.34, 99.99], [0.01, 12.34, 99.99]),
        ("canary_steps", [10, 100], [10]),
        ("canary_steps", [], []),
        ("canary_steps", "[]", []),
        ("hold", "30", 30),
        ("hold", " 0.5 ", 0.5),
        ("revert_after", "0", 0),
        ("min_requests", "50", 50),
        ("max_error_share", "0.5", 0.5),
        ("together", "false", False),
        ("together", "True", True),
        ("together", False, False),
        ("together", 0, False),
        ("on_partial", " keep ", "keep"),
        ("version", "1.10", "1.10"),
        ("version", 2, "2"),
        ("required_checks", "database, cache", ["database", "cache"]),
        ("gone", "lb3", ["lb3"]),
        ("front_paths", "/, /login", ["/", "/login"]),
        ("front_paths", "[]", []),
        ("gone", '["lb2", "lb3"]', ["lb2", "lb3"]),
        ("colours", "stable,next", ["stable", "next"]),
        ("smoke_commands", "curl -d a,b", ["curl -d a,b"]),
        ("deploy", "deploy.yml", ["deploy.yml"]),
        # what people type into a text area, and what becomes of several that were chosen
        ("canary_steps", "10\n50\n", [10, 50]),
        ("canary_steps", "- 10\n- 50", [10, 50]),
        ("gone", "lb2\r\nlb3\r\n", ["lb2", "lb3"]),
        ("gone", "[lb2, lb3]", ["lb2", "lb3"]),
        ("gone", "- 'lb2'\n- \"lb3\"\n", ["lb2", "lb3"]),
        ("gone", "lb2,\nlb3", ["lb2", "lb3"]),
        ("required_checks", "[]", []),
        ("smoke_commands", "curl -d a,b\nwget -q c\n", ["curl -d a,b", "wget -q c"]),
        ("smoke_commands", "- curl -d a,b\n- wget -q c", ["curl -d a,b", "wget -q c"]),
        ("deploy", "hooks/deploy.yml\nhooks/notify.yml", ["hooks/deploy.yml", "hooks/notify.yml"]),
        ("to", " green\n", "green"),
        ("release", "shop-1.1 ", "shop-1.1"),
    ],
)
def test_what_is_given_as_text_is_taken_as_what_it_means(name: str, given: t.Any, meant: t.Any) -> None:
    found = converted(name, given)
    assert (found, type(found)) == (meant, type(meant))


@pytest.mark.parametrize("name", sorted(OPTIONS))
@pytest.mark.parametrize("given", NOTHING)
def test_an_empty_field_of_a_survey_is_the_default(name: str, given: t.Any) -> None:
    assert converted(name, given, "the default") == "the default"


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        *(
            ("canary_steps", given, "rising percentages above 0")
            for given in ("half", [50, 10], [10, 10], [0, 50], [101], [True], [None], [[10]], [10.001], "10;50")
        ),
        ("canary_steps", "[50", "a list"),
        ("canary_steps", {"10": 50}, "a list"),
        ("hold", "half a minute", "seconds, 0 or more, such as 30"),
        *(("hold", given, "seconds") for given in (-1, "nan", "inf", True, [30])),
        ("watch_interval", 0, "seconds, more than 0"),
        ("min_requests", 1.5, "a whole number of 0 or more"),
        ("health_answers", 0, "a whole number of 1 or more"),
        ("max_error_share", 101, "percent, from 0 to 100"),
        ("together", "maybe", "true or false"),
        ("on_partial", "forward", "back or keep"),
        ("version", 1.1, "put it in quotes"),
        ("version", True, "put it in quotes"),
        ("colours", "blue", "two different names"),
        ("colours", ["blue", "blue"], "two different names"),
        ("gone", {"lb3": True}, "a list"),
        ("gone", "[lb2, [lb3]", "a list"),
        ("gone", "lb2,,lb3", "a list of texts"),
        ("front_paths", "login", "paths such as /"),
        ("canary_steps", "none", "or [] for no canary"),
        ("to", ["green"], "a text"),
        ("gone", [["lb3"]], "a list of texts"),
    ],
)
def test_what_cannot_be_meant_is_refused(name: str, given: t.Any, expected: str) -> None:
    with pytest.raises(InvalidError) as refused:
        converted(name, given)
    assert refused.value.message.startswith(f"bluegreen_{name} is ")
    assert expected in refused.value.message


def test_all_that_is_wrong_is_told_at_once() -> None:
    given = {"bluegreen_watch": "long", "bluegreen_hold": -1, "bluegreen_version": "1.1", "bluegreen_lead": ""}
    assert wrong(given) == [
        "bluegreen_hold is -1; expected seconds, 0 or more, such as 30",
        "bluegreen_watch is long; expected seconds, 0 or more, such as 30",
    ]


def test_a_long_value_is_cut() -> None:
    with pytest.raises(InvalidError) as refused:
        converted("hold", "x" * 1000)
    assert len(refused.value.message) < 150


def test_every_option_is_one_of_a_role_and_every_conversion_is_of_an_option() -> None:
    text = "".join(path.read_text() for path in ROOT.glob("roles/*/defaults/main.yml"))
    asked = dict.fromkeys(re.findall(rf"{PREFIX}(\w+) \|.*?deploy\.option\('(\w+)'", text))
    assert all(variable == name for variable, name in asked)
    assert {name for _variable, name in asked} == set(OPTIONS)
