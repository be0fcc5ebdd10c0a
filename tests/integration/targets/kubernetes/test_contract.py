# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Service keeps what the engine takes for granted of every provider."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.balancer import green
from tests.integration.contract import WHOLE_SPLITS, Case, Contract

WAYS: dict[str, dict[str, Any]] = {"with preview": {}, "without": {"preview_service": None}}


@pytest.fixture(params=WAYS)
def case(request: pytest.FixtureRequest, shop: Any) -> Case:
    way = WAYS[request.param]
    left = {"neither colour is selected": lambda: shop.select("purple", "green")}
    if not way:
        left["nor is the preview's"] = lambda: shop.select("purple", "purple")
        left["both select the same"] = lambda: shop.select("green", "green")
    return Case(shop.router(**way), shop.specs, WHOLE_SPLITS, (green(10), green(50), green(0.5)), left)


class TestService(Contract):
    """With and without a preview."""
