# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The route53 provider: two weighted record sets of one DNS name. Private to this collection.

Source: docs.aws.amazon.com/Route53/latest/DeveloperGuide, "Weighted routing" and "Configuring failover".
"""

from __future__ import annotations

import json
import shlex
import typing as t

from .._aws.client import connect
from .._aws.hosted_zone import RecordSets, check_place, identifiers_of, trouble
from .._aws.records import FINEST, ttl_of
from .._aws.resolved import Resolvers
from .router import Activity, Capabilities, Router
from .split import Split, moved


class Route53(Router):
    """The weights of two record sets with the same name and type, aliases or not.

    DNS is no switch: who asked before keeps the answer for its TTL, and some programs for longer. When a TTL has
    run out is told, and nobody can be called back before.
    """

    caches_answers = True
    capabilities = Capabilities(finest_step=FINEST, sticky=False, counts_connections=False, survives_reload=True)

    def __init__(self, colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> None:
        check_place(options)
        identifiers_of(colours, options)
        self._aws, self._options, self._colours = connect(options), options, colours
        self._resolvers = Resolvers(options["resolvers"])
        self._found: RecordSets | None = None

    def read(self) -> Split:
        return self._sets().read().split()

    def drift(self) -> tuple[str, ...]:
        return self._sets().ever_read().drift()

    def check(self, wanted: Split) -> None:
        """Finds the zone, so that the record sets are read right before they are changed."""
        self._resolvers.check()
        self._sets()

    def apply(self, wanted: Split, expected: Split | None, live: str | None = None) -> None:
        group = self._sets().read_lately()
        found = group.split()
        if found != expected:
            raise moved(found, expected)
        if found != wanted or group.ttl_drift():
            self._sets().put(group.moves(wanted))

    def verify(self, wanted: Split) -> bool | None:
        """All servers of Route 53 have the change, and the weights are read back.

        None: nobody waits for them, or somebody else has a share.
        """
        known = self._sets().in_sync(self._options["wait_timeout"]) if self._options["wait"] else None
        if self.read() != wanted:
            return False
        return None if self._sets().ever_read().strangers() else known

    def by_hand(self, wanted: Split) -> str:
        upserts = [
            {"Action": "UPSERT", "ResourceRecordSet": after}
            for _before, after in self._sets().ever_read().moves(wanted)
        ]
        named = (("--region", "region"), ("--profile", "profile"), ("--endpoint-url", "endpoint_url"))
        where = [word for flag, name in named if self._options[name] for word in (flag, self._options[name])]
        what = ["--hosted-zone-id", self._sets().zone, "--change-batch", json.dumps({"Changes": upserts})]
        return shlex.join(["aws", *where, "route53", "change-resource-record-sets", *what])

    def observe(self) -> dict[str, Activity] | None:
        """By health checks of Route 53, where there are any. A record set without one always counts as healthy."""
        group = self._sets().ever_read()
        checks = {colour: group.of(colour).get("HealthCheckId") for colour in self._colours}
        if not any(checks.values()):
            return None
        found = {colour: trouble(self._aws, check) if check else "" for colour, check in checks.items()}
        seen = {
            colour: Activity(members=1, ready=0 if why else 1, unready=(why,) if why else ())
            for colour, why in found.items()
            if why is not None
        }
        return seen if len(seen) == len(found) else None

    def long_lived(self) -> dict[str, int] | None:
        return None

    def lingers(self, before: Split | None, after: Split) -> float | None:
        """The TTL of the colour that was lowered, from when all servers have the change."""
        raised = after.raised_from(before)
        if raised is None:
            return 0.0
        return self._sets().settles_in(ttl_of(self._sets().ever_read().of(after.other(raised))))

    def leads_to(self, colour: str) -> tuple[str, ...]:
        """What the resolvers that the user names answer now."""
        if not self._options["resolvers"]:
            return ()
        group = self._sets().ever_read()
        (other,) = (each for each in self._colours if each != colour)
        return self._resolvers.leading_to(group.of(colour), group.of(other))

    def shown(self, split: Split) -> dict[str, t.Any]:
        return {self._sets().what: self._sets().ever_read().shown(split)}

    def _sets(self) -> RecordSets:
        if self._found is None:
            self._found = RecordSets(self._aws, self._options, self._colours)
        return self._found
