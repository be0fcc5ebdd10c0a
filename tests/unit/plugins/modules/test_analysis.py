# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What needs no load balancer; with a real one, see tests/integration/targets/haproxy."""

from __future__ import annotations

import typing as t

import pytest

from plugins.modules import analysis

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
        ({"routes": []}, "there are no routes; "),
        ({"duration": -1}, "a time to watch is not positive; "),
        ({"duration": "nan"}, "a time to watch is not positive; "),
        ({"interval": 0}, "a time to watch is not positive; "),
        ({"window": 0}, "a time to watch is not positive; "),
        ({"max_error_share": 101}, "max_error_share is 101; "),
        ({"max_latency_ms": -1}, "max_latency_ms is -1; "),
        ({"min_requests": 0}, "min_requests is 0; "),
    ],
)
def test_options_that_cannot_be_right_are_invalid(given: dict[str, t.Any], message: str) -> None:
    result = run_module("analysis", **{"routes": [ROUTE], "colour": "green", "duration": 1, **given})
    assert (result["failed"], result["failure"]) == (True, {"code": "invalid"})
    assert result["msg"].startswith(message)


def test_a_load_balancer_that_cannot_be_asked_is_blind_which_is_no_failure() -> None:
    result = run_module("analysis", routes=[ROUTE], colour="green", duration=0)
    assert (result["verdict"], result["blind_looks"], result["changed"]) == ("blind", 1, False)
    assert "there is no socket /nobody/admin.sock" in result["reason"]


def test_options_and_documentation_agree() -> None:
    assert as_spec(documented_options("analysis")) == bare(analysis.ARGUMENT_SPEC)
