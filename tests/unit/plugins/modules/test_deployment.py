# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What needs no cluster; with a real one, see tests/integration/targets/kubernetes."""

from __future__ import annotations

import pytest

pytest.importorskip("kubernetes")

from plugins.modules import deployment

from .process import as_spec, bare, documented_options


def test_options_and_documentation_agree() -> None:
    assert as_spec(documented_options("deployment")) == bare(deployment.ARGUMENT_SPEC)
