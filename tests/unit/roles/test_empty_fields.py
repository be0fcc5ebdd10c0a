# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A form gives all of its fields to a job: what was left empty arrives as an empty text, or as null."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

pytest.importorskip("ansible.plugins.loader")

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

try:
    from ansible.template import trust_as_template
except ImportError:  # before ansible-core 2.19 all text is a template

    def trust_as_template(text: str) -> str:
        return text


ROOT = Path(__file__).parents[3]
ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/defaults/main.yml"))
STAGES = [role for role in ROLES if role != "haproxy"]
NEEDED = {
    "bluegreen_app": "shop",
    "bluegreen_version": "1.1",
    "bluegreen_front": "http://shop.example",
    "bluegreen_routes": [],
}


@pytest.fixture(scope="module", autouse=True)
def _collections() -> None:
    init_plugin_loader()


def trusted(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {key: trusted(one) for key, one in value.items()}
    if isinstance(value, list):
        return [trusted(one) for one in value]
    return trust_as_template(value) if isinstance(value, str) else value


def rendered(role: str, **given: t.Any) -> dict[str, t.Any]:
    """All inputs of a role, as tasks get them."""
    defaults = trusted(yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text()))
    variables = {
        **defaults,
        **NEEDED,
        "groups": {"load_balancers": ["lb1"]},
        "inventory_hostname": "lb1",
        "record_outcome": "open",
        **given,
    }
    templar = Templar(loader=DataLoader(), variables=variables)
    return {name: templar.template(value) for name, value in defaults.items()}


@pytest.mark.parametrize("role", STAGES)
@pytest.mark.parametrize("empty", ["", None])
def test_a_field_that_was_left_empty_is_the_default(role: str, empty: str | None) -> None:
    text = (ROOT / "roles" / role / "defaults" / "main.yml").read_text()
    fields = dict.fromkeys({*re.findall(r"\bbluegreen_[a-z_]+\b(?!\.)", text)} - NEEDED.keys(), empty)
    assert rendered(role, **fields) == rendered(role)
