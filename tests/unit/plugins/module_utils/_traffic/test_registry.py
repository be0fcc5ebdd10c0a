# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
import sys
import typing as t

import pytest

from plugins.module_utils._errors import InvalidError
from plugins.module_utils._traffic.haproxy import PROVIDER
from plugins.module_utils._traffic.registry import PROVIDERS, ROUTES_SPEC, build_routes

DEFAULTS = {name: option.get("default") for name, option in PROVIDER.spec["options"].items()}


def haproxy(name: str, **options: t.Any) -> dict[str, t.Any]:
    at = {"socket": "/run/haproxy/admin.sock", "map": "/etc/haproxy/bluegreen.map", "key": "shop"}
    return {"name": name, "provider": "haproxy", "haproxy": {**DEFAULTS, **at, **options}}


def params(*routes: dict[str, t.Any], colours: t.Sequence[str] = ("blue", "green")) -> dict[str, t.Any]:
    return {"routes": list(routes), "colours": list(colours)}


def test_routes_are_built_in_their_order_and_nobody_is_contacted() -> None:
    colours, routes = build_routes(params(haproxy("lb2"), haproxy("lb1"), colours=["stable", "next"]))
    assert (colours, [route.name for route in routes]) == (("stable", "next"), ["lb2", "lb1"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (params(), "there are no routes; expected at least one"),
        (
            params(haproxy("lb1"), haproxy("lb1")),
            "two routes are named 'lb1'; expected a name of its own for each route",
        ),
        (params(haproxy("lb1"), colours=["blue", "blue"]), "colours is blue, blue; expected two different names"),
        (params(haproxy("lb1"), colours=[]), "colours is empty; expected two different names"),
        (
            params(haproxy("lb1"), haproxy("lb2", socket="nowhere")),
            "route lb2: socket 'nowhere' is no address; expected an absolute path or host:port",
        ),
    ],
)
def test_routes_that_cannot_be_right_are_invalid(given: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        build_routes(given)
    assert caught.value.message == message


def test_a_task_compiles_nothing_of_other_providers() -> None:
    """Each one does it anew, from a zip."""
    code = (
        "import sys, plugins.modules.traffic as traffic\n"
        f"traffic.build_routes({params(haproxy('lb1'))!r})\n"
        "print(*sorted(name.split('.')[2] for name in sys.modules if name.startswith('plugins.module_utils._')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "_haproxy" in done.stdout.split()
    assert done.stdout.split().count("_aws") <= 2  # its options
    assert done.stdout.split().count("_kubernetes") <= 2


def test_each_provider_has_a_dict_of_its_own() -> None:
    options = ROUTES_SPEC["routes"]["options"]
    assert options["provider"]["choices"] == list(PROVIDERS)
    assert all(options[name] is provider.spec for name, provider in PROVIDERS.items())
    assert ROUTES_SPEC["routes"]["required_if"] == [("provider", name, (name,)) for name in PROVIDERS]
