# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in a configuration is tested with the configurations; here is what does not."""

from __future__ import annotations

import pytest

from plugins.module_utils._errors import InvalidError
from plugins.module_utils._haproxy import config_inputs as check


def test_a_file_that_stands_in_no_configuration_may_have_a_space_in_its_path() -> None:
    assert check.file("/opt/my tools/haproxy", "binary") == "/opt/my tools/haproxy"
    for bad in ("haproxy", "/opt/a\nb", "/opt/a\x00b"):
        with pytest.raises(InvalidError):
            check.file(bad, "binary")
