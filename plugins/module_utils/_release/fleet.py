# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which load balancers an app has: an inventory that holds fewer would release to a part of them. Private.

Each release writes down the names it runs with. Whoever comes with fewer must say which of them are gone.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._errors import IncompleteError
from .record import Record

Names = t.Sequence[str]


def remembered(record: Record) -> list[str]:
    """The load balancers of the last release; of one that was begun before they were kept, those with routes."""
    if record.fleet:
        return record.fleet
    earlier: list[t.Any] = [each.get("routes") for each in record.history]
    found = [*earlier, record.release.routes if record.release else None]
    return next((sorted(map(str, routes)) for routes in reversed(found) if isinstance(routes, dict) and routes), [])


def missing(record: Record, names: Names | None, gone: Names) -> list[str]:
    """Who is neither in the inventory nor called gone. Without names nobody is missed."""
    return [] if names is None else [name for name in remembered(record) if name not in {*names, *gone}]


def with_fleet(record: Record, names: Names | None, gone: Names) -> Record:
    """The record of a release that begins with these load balancers. Raises ``incomplete``."""
    lost = missing(record, names, gone)
    if lost:
        raise IncompleteError(
            f"the inventory lacks {', '.join(lost)}, on which the last release of {record.app} ran",
            "every load balancer, since a part of them would move a part of the traffic",
            f"Take the whole inventory; if it is gone for good, name it with bluegreen_gone={','.join(lost)}",
        )
    return record if names is None else replace(record, fleet=sorted(names))
