# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record sets of one name and type in a hosted zone, read and changed. Private to this collection.

Source: docs.aws.amazon.com/Route53/latest/APIReference, ListResourceRecordSets, ChangeResourceRecordSets, GetChange;
the developer guide, "How Amazon Route 53 determines whether a health check is healthy".
"""

from __future__ import annotations

import threading
import typing as t

from .._errors import BlueGreenError, ConflictError, InvalidError, MissingError, NotVerifiedError
from .._wait import SYSTEM_CLOCK, Clock, until
from .client import Aws, CodedError, Json, LostAnswerError
from .records import Group, Move, changes, full_name, plain, told
from .shared import Look, Shared

PAGE = "100"
"""Record sets asked for at once; Route 53 allows as many weighted ones of one name and type."""
POLL = 2.0
"""Seconds between two looks at a change: an account may make five calls a second, all its programs together."""
PROPAGATION = 60.0
"""Seconds within which a change is "generally" with all servers; API_ChangeResourceRecordSets.html."""
HEALTHY = 0.18
"""Of its health checkers more than this must say so."""
ENDPOINT_CHECKS = ("HTTP", "HTTPS", "HTTP_STR_MATCH", "HTTPS_STR_MATCH", "TCP")
"""Health checks whose status the API tells."""


class RecordSets:
    """Those of one route, with all else in the zone left as it is."""

    def __init__(
        self, aws: Aws, options: t.Mapping[str, t.Any], colours: tuple[str, str], clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._aws, self._kind, self._clock = aws, options["type"], clock
        self._identifiers = identifiers_of(colours, options)
        self.zone, self._name = _locate(aws, options)
        self.what = f"{self._name} {self._kind}"
        self._look = Look(Shared(self._list))  # of nobody else: no two routes have the same record sets
        self._known: list[Json] = []
        self._change: str | None = None
        self._untold = False
        """The last change was made, and nobody knows its id."""
        self.in_sync_at: float | None = None
        """When the last change was seen to be with all servers, by the clock."""

    def read(self) -> Group:
        self._known = self._look.again()
        return self.known()

    def read_lately(self) -> Group:
        return self.known() if self._known and self._look.is_fresh() else self.read()

    def known(self) -> Group:
        """As they were seen last."""
        return Group(self.what, self._known, self._identifiers).check()

    def ever_read(self) -> Group:
        return self.known() if self._known else self.read()

    def put(self, moves: t.Sequence[Move]) -> bool:
        """One atomic change, made only if the record sets are still exactly those that were read.

        Returns whether there was anything to change. Raises ``conflict``.
        """
        if all(before == after for before, after in moves):
            return False
        self._change, self._untold, self.in_sync_at = None, False, None
        try:
            with _turn(self.zone):  # Route 53 takes one change of a zone at a time
                answer = self._aws.call(
                    "route53",
                    "change_resource_record_sets",
                    HostedZoneId=self.zone,
                    ChangeBatch={"Comment": "bluegreen.deploy", "Changes": changes(moves)},
                )
            self._change = answer["ChangeInfo"]["Id"]
        except LostAnswerError as error:
            self._look_after(error, moves)
        except CodedError as error:
            if error.told != "InvalidChangeBatch":
                raise
            self._look_after(error, moves)
        self._look.outdated()
        return True

    def in_sync(self, timeout: float) -> bool | None:
        """Waits until the change that was made here is with all servers of Route 53. None: cannot tell."""
        change = self._change
        if change is None:
            return None if self._untold else True
        status, done = until(
            lambda: self._aws.call("route53", "get_change", Id=change)["ChangeInfo"]["Status"],
            lambda seen: bool(seen == "INSYNC"),
            timeout=timeout,
            interval=POLL,
            clock=self._clock,
        )
        if not done:
            raise NotVerifiedError(
                f"after {timeout:g} s change {change.rpartition('/')[2]} of {self.what} is {status}",
                "INSYNC",
                "Raise wait_timeout, and see status.aws.amazon.com",
            )
        self._change, self.in_sync_at = None, self._clock.now()
        return True

    def settles_in(self, ttl: int | None) -> float | None:
        """Seconds until nobody has an answer from before the last change any more. None: cannot tell."""
        if ttl is None:
            return None
        if self.in_sync_at is None:
            return PROPAGATION + ttl
        return max(0.0, self.in_sync_at + ttl - self._clock.now())

    def _list(self) -> list[Json]:
        """Not the whole zone: from the first of them to the last."""
        start: Json = {"StartRecordName": self._name, "StartRecordType": self._kind}
        found: list[Json] = []
        while True:
            page = self._aws.call(
                "route53", "list_resource_record_sets", HostedZoneId=self.zone, MaxItems=PAGE, **start
            )
            ours = [each for each in page["ResourceRecordSets"] if self._is_ours(each["Name"], each["Type"])]
            found.extend(ours)
            if not page["IsTruncated"] or not self._is_ours(page["NextRecordName"], page["NextRecordType"]):
                return found
            named = ("Name", "Type", "Identifier")
            start = {f"StartRecord{part}": page[f"NextRecord{part}"] for part in named if f"NextRecord{part}" in page}

    def _is_ours(self, name: str, kind: str) -> bool:
        return plain(name) == self._name and kind == self._kind

    def _look_after(self, error: BlueGreenError, moves: t.Sequence[Move]) -> None:
        """What is there tells whether the change was made: by us, if its answer was lost and it was sent again."""
        self._look.outdated()
        now = self._look.again()
        if all(after in now for _before, after in moves):
            self._known, self._untold = now, True
            return
        if all(before in now for before, _after in moves):
            if isinstance(error, CodedError):
                raise InvalidError(error.found) from error
            raise error
        self._known = now
        raise ConflictError(
            f"{self.what} is {told(now)} now",
            f"{told(before for before, _after in moves)}, as it was read, with the same values",
            "It has changed since it was read, and nothing was done: see who changes it, a person or a program",
        ) from error


def identifiers_of(colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The set identifier of each colour."""
    named = options["set_identifiers"] or dict(zip(colours, colours))
    wrong = [name for name in named.values() if not isinstance(name, str) or not name]
    if wrong or set(named) != {*colours} or len(set(named.values())) != len(colours):
        raise InvalidError(f"set_identifiers is {named}", f"one of its own for {' and '.join(colours)}")
    return {colour: named[colour] for colour in colours}


def check_place(options: t.Mapping[str, t.Any]) -> None:
    """Asks nobody."""
    if bool(options["zone_id"]) == bool(options["zone"]):
        raise InvalidError(f"{'both' if options['zone'] else 'none'} of zone_id and zone is set", "one of them")
    if options["zone_id"] and options["private_zone"] is not None:
        raise InvalidError("private_zone is set with zone_id", "it with zone, which it tells apart")
    if not options["record"]:
        raise InvalidError("record is empty", "a DNS name, or @ for the zone itself")
    if not 0 < options["wait_timeout"] < float("inf"):
        raise InvalidError(f"wait_timeout is {options['wait_timeout']:g}", "a number of seconds above 0")


def _locate(aws: Aws, options: t.Mapping[str, t.Any]) -> tuple[str, str]:
    """The id of the zone and the full name of the record."""
    check_place(options)
    record = options["record"]
    if options["zone_id"] and record.endswith("."):
        return _bare(options["zone_id"]), plain(record)
    zone = _zone_with(aws, options["zone_id"]) if options["zone_id"] else _zone_named(aws, options)
    name = full_name(record, zone["Name"])
    if not f".{name}".endswith(f".{plain(zone['Name'])}"):
        raise InvalidError(f"record {record} is not in zone {zone['Name']}", f"a name that ends in .{zone['Name']}")
    return _bare(zone["Id"]), name


def _zone_with(aws: Aws, identity: str) -> Json:
    def ask() -> Json:
        found: Json = aws.call("route53", "get_hosted_zone", Id=identity)["HostedZone"]
        return found

    return t.cast(Json, aws.look("zone", identity, ask=ask).once())


def _zone_named(aws: Aws, options: t.Mapping[str, t.Any]) -> Json:
    name, private = plain(options["zone"]), options["private_zone"]

    def ask() -> list[Json]:
        listed: list[Json] = aws.call("route53", "list_hosted_zones_by_name", DNSName=name)["HostedZones"]
        return listed

    listed = aws.look("zones", name, ask=ask).once()
    found = [zone for zone in listed if plain(zone["Name"]) == name and private in (None, _is_private(zone))]
    kind = {None: "", True: "private ", False: "public "}[private]
    if not found:
        raise MissingError(f"there is no {kind}hosted zone {name}", "one", "See zone and private_zone, and the account")
    if len(found) > 1:
        each = ", ".join(f"{_bare(zone['Id'])} ({'private' if _is_private(zone) else 'public'})" for zone in found)
        raise InvalidError(
            f"there are {len(found)} {kind}hosted zones {name}: {each}",
            "one",
            "Name it in zone_id, or set private_zone",
        )
    return t.cast(Json, found[0])


def _is_private(zone: Json) -> bool:
    return bool(zone.get("Config", {}).get("PrivateZone", False))


def _bare(identity: str) -> str:
    return identity.rpartition("/")[2]


def trouble(aws: Aws, check: str) -> str | None:
    """Why Route 53 would give nobody a record set with this health check; empty: it would. None: it does not tell."""
    config = aws.call("route53", "get_health_check", HealthCheckId=check)["HealthCheck"]["HealthCheckConfig"]
    inverted = config.get("Inverted", False)
    if config.get("Disabled", False):
        return f"health check {check} is disabled and inverted" if inverted else ""
    if config["Type"] not in ENDPOINT_CHECKS:
        return None
    seen = aws.call("route53", "get_health_check_status", HealthCheckId=check)["HealthCheckObservations"]
    words = [one["StatusReport"]["Status"] for one in seen]
    good = [status for status in words if status.startswith("Success")]
    if not words:
        return None
    if (len(good) > HEALTHY * len(words)) != inverted:
        return ""
    bad = next((status for status in words if status not in good), words[0])
    turned = ", and is inverted" if inverted else ""
    return f"health check {check} passes for {len(good)} of {len(words)} health checkers{turned} ({bad})"


def _turn(zone: str) -> threading.Lock:
    with _GIVING:
        return _TURNS.setdefault(zone, threading.Lock())


_TURNS: dict[str, threading.Lock] = {}
_GIVING = threading.Lock()
