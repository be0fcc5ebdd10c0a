# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from ansible.errors import AnsibleFilterError

from plugins.filter.seconds_until import FilterModule, seconds_until


def test_how_long_it_is_until_a_moment() -> None:
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    assert 3500 < seconds_until(later.isoformat()) <= 3600
    assert seconds_until((later - timedelta(hours=2)).isoformat()) == 0.0
    assert seconds_until("") == 0.0
    assert FilterModule().filters()["seconds_until"] is seconds_until


@pytest.mark.parametrize("moment", ["soon", "2026-11-23T03:00:00"])
def test_what_is_no_moment_is_told(moment: str) -> None:
    with pytest.raises(AnsibleFilterError, match="is no moment"):
        seconds_until(moment)
