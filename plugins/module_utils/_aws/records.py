# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two colours' weights in the record sets of one name and type; pure functions. Private to this collection.

Source: docs.aws.amazon.com/Route53/latest/APIReference/API_ResourceRecordSet.html and
API_ChangeResourceRecordSets.html; the developer guide, "Values specific for weighted records".
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .._errors import DriftError, MissingError, UnsupportedError
from .._traffic.split import WHOLE, Split
from .client import Json

MOST_WEIGHT = 255
FINEST = WHOLE // 200
"""Every multiple of 0.5 % is held exactly by weights that add up to 200."""
BALANCER_TTL = 60
"""Seconds, "the TTL for load balancers", to which an alias may lead; API_ResourceRecordSet.html, "TTL"."""
LONGEST_TTL = 2_147_483_647

Move = tuple[Json, Json]
"""A record set as it was read, and as it is to be."""

_BALANCER = re.compile(r"\.elb(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?\.?$", re.IGNORECASE)
_ESCAPED = re.compile(r"\\([0-7]{3})")


def plain(name: str) -> str:
    """A DNS name in one form: lower case, with the last dot, and C(*) where Route 53 tells C(\\052)."""
    told = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), name)
    return told.lower().rstrip(".") + "."


def full_name(record: str, zone: str) -> str:
    """Of a record that is named in full or within its zone; C(@) is the zone itself."""
    if record == "@":
        return plain(zone)
    if record.endswith(".") or f".{plain(record)}".endswith(f".{plain(zone)}"):
        return plain(record)
    return plain(f"{record}.{zone}")


def ttl_of(record: Json) -> int | None:
    """Seconds for which an answer is kept. None: the target of the alias decides, and is not known to us."""
    if "AliasTarget" not in record:
        return int(record["TTL"])
    return BALANCER_TTL if _BALANCER.search(record["AliasTarget"]["DNSName"]) else None


def weights_of(wanted: Split) -> tuple[int, int]:
    """Of both colours."""
    return wanted.as_weights(MOST_WEIGHT, (100, 200))


def changes(moves: t.Sequence[Move]) -> list[Json]:
    """One batch: Route 53 refuses to delete what is not exactly so, and then does nothing of it."""
    return [
        *({"Action": "DELETE", "ResourceRecordSet": before} for before, _after in moves),
        *({"Action": "CREATE", "ResourceRecordSet": after} for _before, after in moves),
    ]


def told(records: t.Iterable[Json]) -> str:
    """Record sets for a message, without their values."""
    return ", ".join(_told(record) for record in records) or "nothing"


def _told(record: Json) -> str:
    weight = f" with weight {record['Weight']}" if "Weight" in record else ""
    ttl = f" and TTL {record['TTL']}" if "TTL" in record else ""
    return f"{record.get('SetIdentifier', 'a simple one')}{weight}{ttl}"


@dataclass(frozen=True)
class Group:
    """All record sets of one name and type, as they were read."""

    what: str
    found: t.Sequence[Json]
    identifiers: t.Mapping[str, str]
    """By colour."""

    def check(self) -> Group:
        """They must be weighted, and each colour be there."""
        if not self.found:
            raise MissingError(
                f"there is no record set {self.what}", "one for each colour", "See record, type and zone"
            )
        for record in self.found:
            if "Weight" not in record:
                raise UnsupportedError(
                    f"{self.what} is a DNS name without weights",
                    f"weighted record sets {' and '.join(self.identifiers.values())}",
                    "Make them, or name another record",
                )
            if "TrafficPolicyInstanceId" in record:
                raise UnsupportedError(
                    f"{self.what} belongs to a traffic policy, which alone may change it",
                    "weighted record sets of their own",
                )
        names = [record["SetIdentifier"] for record in self.found]
        for colour, name in self.identifiers.items():
            if name not in names:
                raise MissingError(
                    f"{self.what} has the record sets {', '.join(names)}, and none is {name} of {colour}",
                    "one, with weight 0 if it is idle",
                    "Make it, or name the one there is in set_identifiers",
                )
        return self

    def split(self) -> Split:
        """Of what the two colours have. Where all weights are 0, Route 53 gives equal shares."""
        first, second = (int(each["Weight"]) for each in self._ours().values())
        return Split.of_weights(self._colours(), first or not second, second or not first)

    def strangers(self) -> tuple[str, ...]:
        """Who else has a share, a sentence each."""
        return tuple(
            f"{self.what} gives a share to {each['SetIdentifier']}, which is neither colour's "
            "(on_drift: mend leaves it)"
            for each in self.found
            if each not in self._ours().values() and each["Weight"]
        )

    def drift(self) -> tuple[str, ...]:
        return (*self.strangers(), *self.ttl_drift())

    def ttl_drift(self) -> tuple[str, ...]:
        """Route 53 itself keeps the TTLs of plain record sets alike, but not those of a plain one and an alias."""
        ttls = {colour: ttl_of(record) for colour, record in self._ours().items()}
        if None in ttls.values() or len(set(ttls.values())) == 1:
            return ()
        found = " and ".join(f"{ttl} s for {colour}" for colour, ttl in ttls.items())
        why = "so that the shares are not those of the weights (on_drift: mend takes the shorter one)"
        return (f"the TTL of {self.what} is {found}, {why}",)

    def moves(self, wanted: Split) -> list[Move]:
        """Both colours' record sets with other weights, and all else as it is, but for a TTL that drifted."""
        moves = [(each, each) for each in self._ours().values()]
        if self.ttl_drift():
            level = min(ttl for ttl in map(ttl_of, self._ours().values()) if ttl is not None)
            moves = [(each, _lasting(each, level)) for each in self._plain_ones_too()]
        shares = {self.identifiers[colour]: many for colour, many in zip(self._colours(), weights_of(wanted))}
        return [
            (before, {**after, "Weight": shares.get(after["SetIdentifier"], after["Weight"])})
            for before, after in moves
        ]

    def with_ttl(self, ttl: int) -> list[Move]:
        """All of them that have one, since Route 53 wants it to be the same for all."""
        return [(each, _lasting(each, ttl)) for each in self.found if "AliasTarget" not in each]

    def shown(self, wanted: Split) -> dict[str, int]:
        """The weight of each colour's record set."""
        return dict(zip(self.identifiers.values(), weights_of(wanted)))

    def ttls(self) -> dict[str, int | None]:
        """By set identifier."""
        return {each["SetIdentifier"]: ttl_of(each) for each in self.found}

    def of(self, colour: str) -> Json:
        return self._ours()[colour]

    def _colours(self) -> tuple[str, str]:
        first, second = self.identifiers
        return first, second

    def _ours(self) -> dict[str, Json]:
        """By colour."""
        by_name: dict[str, Json] = {}
        for each in self.found:
            if each["SetIdentifier"] in by_name:  # a listing that a change of somebody else came in between
                raise DriftError(f"{self.what} has {each['SetIdentifier']} twice", "once", "Try again")
            by_name[each["SetIdentifier"]] = each
        return {colour: by_name[name] for colour, name in self.identifiers.items()}

    def _plain_ones_too(self) -> list[Json]:
        ours = list(self._ours().values())
        return [*ours, *(each for each in self.found if each not in ours and "AliasTarget" not in each)]


def _lasting(record: Json, ttl: int) -> Json:
    return {**record, "TTL": ttl} if "AliasTarget" not in record else record
