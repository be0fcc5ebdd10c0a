# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this is the inventory, and the record, of the release that moved the load balancers last. Private.

Pure: what each load balancer remembers goes in, a sentence comes out.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._traffic.known_fleet import KnownFleet


@dataclass(frozen=True)
class Here:
    """What this run has: the host of its record, the latest token in it, its load balancers, and those called gone."""

    record_host: str
    token: int
    load_balancers: t.Collection[str]
    gone: t.Collection[str] = ()


def elsewhere(remembered: t.Mapping[str, KnownFleet], here: Here) -> str:
    """What the load balancers remember and this run does not have, as found, expected and what to do; or nothing.

    A record that has given out their token is theirs, wherever it lies now, and knows the fleet better than they.
    """
    newer = {name: one for name, one in remembered.items() if one.token > here.token}
    hosts = sorted({one.record_host for one in newer.values()} - {here.record_host, *here.gone})
    fleet = {each for one in newer.values() for each in one.load_balancers}
    lacking = sorted(fleet - {*here.load_balancers, *here.gone})
    if not hosts and not lacking:
        return ""
    found = [f"its record is on {' and '.join(hosts)}, and not on {here.record_host}"] if hosts else []
    found += [f"the inventory lacks {', '.join(lacking)}, which it moved, too"] if lacking else []
    absent = sorted({*lacking, *hosts} - {*here.load_balancers})
    todo = ["Take the whole inventory"]
    todo += [f"set bluegreen_record_host={hosts[0]} where that is not the first load balancer"] if hosts else []
    todo += [f"what is gone for good, name with bluegreen_gone={','.join(absent)}"] if absent else []
    return (
        f"{', '.join(sorted(newer))} knows of a release that the record on {here.record_host} does not know: "
        f"{'; '.join(found)}; expected that record and every load balancer, since a part of them would move a part of "
        f"the traffic. {'; '.join(todo)}."
    )
