# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load balancer remembers of the release that moved it last. Private to this collection.

A record in a file lies on one host. An inventory without that host would find none on another one, and take a part of
the load balancers for all of them; so each of them knows where its record is, and who else belongs to the fleet.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import asdict, dataclass

from .._errors import DriftError
from .._files import replace_ours
from .._json import TOO_HIGH, parse_json

MOST = 10_000
"""Load balancers of one app, and characters of one's name."""


@dataclass(frozen=True)
class KnownFleet:
    """Who moved this load balancer: its token, the host of its record, and the load balancers it had."""

    token: int
    record_host: str
    load_balancers: tuple[str, ...]

    def as_dict(self) -> dict[str, t.Any]:
        return {**asdict(self), "load_balancers": list(self.load_balancers)}

    @classmethod
    def of(cls, given: t.Any) -> KnownFleet:
        """Of plain data. Raises ``ValueError`` or ``TypeError`` for what it is not."""
        if not isinstance(given, dict):
            raise TypeError("it is no object")
        token, host, names = (given.get(name) for name in ("token", "record_host", "load_balancers"))
        if not isinstance(token, int) or isinstance(token, bool) or not 1 <= token < TOO_HIGH:
            raise ValueError("token is no whole number of 1 or more")
        if not _is_name(host):
            raise ValueError("record_host is no name")
        if not isinstance(names, list) or len(names) > MOST or not all(map(_is_name, names)):
            raise ValueError("load_balancers is no list of names")
        return cls(int(token), str(host), tuple(map(str, names)))


def _is_name(given: t.Any) -> bool:
    return isinstance(given, str) and 0 < len(given) <= MOST


def recall(path: str, content: str | None) -> KnownFleet | None:
    """What the file at the path says. None: nobody has written it. Raises ``drift``."""
    if content is None:
        return None
    try:
        return KnownFleet.of(parse_json(content))
    except (ValueError, TypeError) as error:
        raise DriftError(
            f"{path} cannot be believed: {error}",
            "what a release of this collection writes",
            "See who changes files there; remove it if every load balancer of the app is in the inventory",
        ) from error


def remember(path: str, fleet: KnownFleet) -> None:
    replace_ours(path, (json.dumps(fleet.as_dict()) + "\n").encode())
