# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What needs no load balancer; with a real one, see tests/integration/targets/haproxy."""

from __future__ import annotations

import typing as t

import pytest

from plugins.modules import drain

from .process import as_spec, bare, documented_options, run_module

ROUTE = {
    "name": "lb1",
    "provider": "haproxy",
    "haproxy": {"socket": "/nobody/admin.sock", "map": "/nobody/bluegreen.map", "key": "shop"},
}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"colour": "red"}, "colour 'red' is not known; "),
        ({"colours": ["blue", "blue"]}, "colours is blue, blue; "),
        ({"routes": []}, "there are no routes; "),
        ({"timeout": -1}, "a time to wait is not positive; "),
        ({"timeout": "nan"}, "a time to wait is not positive; "),
        ({"timeout": "inf"}, "a time to wait is not positive; "),
        ({"interval": 0}, "a time to wait is not positive; "),
        ({"interval": "nan"}, "a time to wait is not positive; "),
        ({"allowed": -1}, "allowed is -1; "),
        ({"quiet": -1}, "quiet is -1; expected 0 or more, and less than the timeout of 60 s"),
        ({"quiet": "nan"}, "quiet is nan; "),
        ({"quiet": "inf"}, "quiet is inf; "),
        ({"quiet": 60}, "quiet is 60; "),
        ({"quiet": 5, "timeout": 5}, "quiet is 5; expected 0 or more, and less than the timeout of 5 s"),
    ],
)
def test_options_that_cannot_be_right_are_invalid(given: dict[str, t.Any], message: str) -> None:
    result = run_module("drain", **{"routes": [ROUTE], "colour": "blue", **given})
    assert (result["failed"], result["failure"]) == (True, {"code": "invalid"})
    assert result["msg"].startswith(message)


def test_a_load_balancer_that_is_not_there_is_an_error_with_a_code() -> None:
    result = run_module("drain", routes=[ROUTE], colour="blue")
    assert (result["failed"], result["failure"]) == (True, {"code": "missing"})


def test_options_and_documentation_agree() -> None:
    assert as_spec(documented_options("drain")) == bare(drain.ARGUMENT_SPEC)
