# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Route 53: changes that take a while, batches that are whole, and records that are told apart by their identifier.

docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html and API_ResourceRecordSet.html
"""

from __future__ import annotations

import copy
import secrets
import string
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.route53.exceptions import InvalidInput, Route53ClientError
from moto.route53.models import FakeZone, RecordSet, Route53Backend, reverse_domain_name
from moto.route53.responses import Route53

from .patches import instead_of
from .state import SETTINGS

Original = Callable[..., Any]
Key = tuple[str, str, str | None]

IN_SYNC_AFTER = 30.0  # seconds; "within 60 seconds under normal conditions", says the page of GetChange
LETTERS = string.ascii_uppercase + string.digits
MOST_WEIGHT = 255
MOST_WEIGHTED = 100  # of one name and type; docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html
MOST_CHARACTERS = 32_000
MOST_LISTED = 300  # docs.aws.amazon.com/Route53/latest/APIReference/API_ListResourceRecordSets.html


def refused(*messages: str) -> Route53ClientError:
    return Route53ClientError("InvalidChangeBatch", f"[{', '.join(messages)}]")


# --- Changes ----------------------------------------------------------------------------------------------


@dataclass
class Change:
    """PENDING until its time has come, and at least for the first who asks."""

    id: str = field(default_factory=lambda: "C" + "".join(secrets.choice(LETTERS) for _each in range(20)))
    submitted: datetime = field(default_factory=utcnow)
    since: float = field(default_factory=time.monotonic)
    asked: int = 0

    def told(self) -> dict[str, Any]:
        done = self.asked > 1 and time.monotonic() - self.since >= IN_SYNC_AFTER * SETTINGS.sync_scale
        return {
            "Id": f"/change/{self.id}",
            "Status": "INSYNC" if done else "PENDING",
            "SubmittedAt": self.submitted,
        }


def _changes(backend: Route53Backend) -> dict[str, Change]:
    found: dict[str, Change] = backend.__dict__.setdefault("_bluegreen_changes", {})
    return found


def _remembered(original: Original, response: Route53) -> Any:
    answer, change = original(response), Change()
    _changes(response.backend)[change.id] = change
    answer.result["ChangeInfo"] = change.told()
    return answer


for _name in ("change_resource_record_sets", "create_hosted_zone", "delete_hosted_zone"):
    instead_of(Route53, _name)(_remembered)


@instead_of(Route53, "get_change")
def _get_change(_original: Original, response: Route53) -> ActionResult:
    wanted = str(response._get_param("Id")).removeprefix("/change/")
    change = _changes(response.backend).get(wanted)
    if change is None:
        raise Route53ClientError("NoSuchChange", f"Could not find resource with ID: {wanted}")
    change.asked += 1
    return ActionResult({"ChangeInfo": change.told()})


# --- A batch ----------------------------------------------------------------------------------------------


@instead_of(Route53Backend, "change_resource_record_sets")
def _change(_original: Original, backend: Route53Backend, zoneid: str, change_list: list[dict[str, Any]]) -> None:
    """All of it or nothing."""
    zone = backend.get_hosted_zone(zoneid)
    changes = [(change["Action"], _record(change, zone)) for change in change_list]
    characters = sum(
        len(value) * (2 if action == "UPSERT" else 1) for action, record in changes for value in record.records
    )
    if characters > MOST_CHARACTERS:
        raise refused(f"Number of characters limit of {MOST_CHARACTERS} exceeded")
    found = {_key(record): record for record in zone.rrsets}
    messages: list[str] = []
    for action, record in changes:
        messages.extend(_apply(found, action, record))
    messages.extend(_contradictions(found))
    if messages:
        raise refused(*messages)
    zone.rrsets = list(found.values())


def _key(record: RecordSet) -> Key:
    return record.name.lower(), str(record.type), record.set_identifier


def _record(change: dict[str, Any], zone: FakeZone) -> RecordSet:
    """As moto keeps it."""
    told = copy.deepcopy(change["ResourceRecordSet"])
    told["Name"] = told["Name"].lower().rstrip(".") + "."
    if not f".{told['Name']}".endswith(f".{zone.name.lower().rstrip('.')}."):
        raise refused(f"RRSet with DNS name {told['Name']} is not permitted in zone {zone.name}")
    told["ResourceRecords"] = [each["Value"] for each in told.get("ResourceRecords") or ()]
    if bool(told.get("AliasTarget")) == bool(told["ResourceRecords"] and told.get("TTL") is not None):
        where = f"Action={change['Action']}, Name={told['Name']}, Type={told['Type']}"
        raise InvalidInput(
            "Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], "
            f"or TrafficPolicyInstanceId] in Change with [{where}, SetIdentifier={told.get('SetIdentifier', 'null')}]"
        )
    _check_weight(told)
    return RecordSet(told)  # type: ignore[abstract]


def _check_weight(told: dict[str, Any]) -> None:
    if told.get("Weight") is None:
        return
    if not 0 <= int(told["Weight"]) <= MOST_WEIGHT:
        raise InvalidInput(
            f"Invalid XML ; Value '{told['Weight']}' is not between 0 and {MOST_WEIGHT} for type 'Weight'"
        )
    if not told.get("SetIdentifier"):
        raise InvalidInput("Invalid request: Missing field 'SetIdentifier' in Change")
    told["Weight"] = int(told["Weight"])


def _apply(found: dict[Key, RecordSet], action: str, record: RecordSet) -> Iterator[str]:
    """Yields what is wrong with it."""
    key, title = _key(record), _title(record)
    if action == "UPSERT" or (action == "CREATE" and key not in found):
        found[key] = record
    elif action == "CREATE":
        yield f"Tried to create resource record set {title} but it already exists"
    elif key not in found:
        yield f"Tried to delete resource record set {title} but it was not found"
    elif _values(found[key]) != _values(record):
        yield f"Tried to delete resource record set {title} but the values provided do not match the current values"
    else:
        del found[key]


def _title(record: RecordSet) -> str:
    which = f", set identifier='{record.set_identifier}'" if record.set_identifier else ""
    return f"[name='{record.name}', type='{record.type}'{which}]"


def _values(record: RecordSet) -> tuple[object, ...]:
    ttl = None if record.ttl is None else int(record.ttl)
    return ttl, sorted(record.records), record.weight, record.alias_target, record.health_check_id


def _contradictions(found: dict[Key, RecordSet]) -> Iterator[str]:
    """Between records of one name and type."""
    alike: dict[tuple[str, str], list[RecordSet]] = defaultdict(list)
    for (name, kind, _identifier), record in found.items():
        alike[name, kind].append(record)
    for (name, kind), records in alike.items():
        title = f"RRSet with DNS name {name}, type {kind}"
        if len({record.weight is None for record in records}) > 1:
            yield f"{title} cannot be both weighted and not"
        if any(record.weight is None and record.set_identifier is None for record in records) and len(records) > 1:
            yield f"{title} cannot be created as another RRSet exists with the same name and type"
        weighted = [record for record in records if record.weight is not None]
        if len(weighted) > MOST_WEIGHTED:
            yield f"{title} has more than {MOST_WEIGHTED} weighted records"
        if len({int(record.ttl) for record in weighted if record.ttl is not None}) > 1:
            yield f"{title} has weighted records with different TTLs"


# --- What is listed ---------------------------------------------------------------------------------------


@instead_of(Route53Backend, "create_hosted_zone")
def _create_hosted_zone(original: Original, backend: Route53Backend, *args: Any, **kwargs: Any) -> FakeZone:
    """moto tells the value of the SOA record as the text of a dictionary."""
    zone: FakeZone = original(backend, *args, **kwargs)
    for record in zone.rrsets:
        record.records = [each["Value"] if isinstance(each, dict) else each for each in record.records]
    return zone


@instead_of(Route53, "list_resource_record_sets")
def _list(_original: Original, response: Route53) -> ActionResult:
    """In pages that may end between two records of one name and type."""
    zone = response.backend.get_hosted_zone(response._get_param("HostedZoneId"))
    asked = [response._get_param(f"StartRecord{part}") for part in ("Name", "Type", "Identifier")]
    if (asked[1] and not asked[0]) or (asked[2] and not asked[1]):
        raise InvalidInput("The input is not valid")
    start = (reverse_domain_name(str(asked[0] or "").lower()), str(asked[1] or ""), str(asked[2] or ""))
    following = [record for record in sorted(zone.rrsets, key=_order) if _order(record) >= start]
    most = min(int(response._get_param("MaxItems") or MOST_LISTED), MOST_LISTED)
    result = {"ResourceRecordSets": following[:most], "IsTruncated": len(following) > most, "MaxItems": most}
    if len(following) > most:
        then = following[most]
        names = {"NextRecordName": then.name, "NextRecordType": then.type}
        result |= {**names, "NextRecordIdentifier": then.set_identifier}
    return ActionResult(result)


def _order(record: RecordSet) -> tuple[str, str, str]:
    return reverse_domain_name(record.name.lower()), str(record.type), record.set_identifier or ""
