# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What needs no cluster; with a real one, see tests/integration/targets/kubernetes."""

from __future__ import annotations

import typing as t

import pytest

pytest.importorskip("kubernetes")

from plugins.modules import deployment, drift_info

from .process import as_spec, bare, documented_options


@pytest.mark.parametrize("module", [deployment, drift_info])
def test_options_and_documentation_agree(module: t.Any) -> None:
    assert as_spec(documented_options(module.__name__.rpartition(".")[2])) == bare(module.ARGUMENT_SPEC)
