# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The targets of a target group, as the load balancer sees them. Private to this collection.

Source: docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html, "Target health
status" and "Health check reason codes".
"""

from __future__ import annotations

import typing as t
from collections import Counter

from .client import Aws, Json
from .listeners import described_balancer

DRAINING = ("draining", "unhealthy.draining")
NOT_CHECKED = "Target.HealthCheckDisabled"
EVERYWHERE = "all"
CROSS_ZONE = "load_balancing.cross_zone.enabled"


def look_at(aws: Aws, group: str) -> t.Any:
    """At its targets, a description each; one question for all routes that have the group."""
    key = "TargetHealthDescriptions"
    return aws.look(
        "targets", group, ask=lambda: aws.call("elbv2", "describe_target_health", TargetGroupArn=group)[key]
    )


def members(targets: t.Sequence[Json]) -> list[Json]:
    """Those that are to serve: who is leaving is none."""
    return [each for each in targets if each["TargetHealth"]["State"] not in DRAINING]


def is_ready(target: Json) -> bool:
    """Whether it would be given a request: it is healthy, or nobody checks."""
    health = target["TargetHealth"]
    return bool(health["State"] == "healthy" or health.get("Reason") == NOT_CHECKED)


def trouble(target: Json) -> str:
    """Why it is not, in AWS's words."""
    health, port = target["TargetHealth"], target["Target"].get("Port")
    told = ", ".join(filter(None, (health.get("Description"), health.get("Reason"))))
    name = target["Target"]["Id"] + (f":{port}" if port else "")
    return f"target {name} is {health['State']}" + (f" ({told})" if told else "")


def keeps_clients(aws: Aws, group: str) -> bool:
    """Whether a client stays with the target that it got first.

    Source: docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html.
    """
    return _attributes(aws, group).get("stickiness.enabled") == "true"


def crosses_zones(aws: Aws, group: str, balancer: str) -> bool:
    """Whether requests that come in by one zone may go to targets of the group in another one.

    Source: docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html, "Cross-zone
    load balancing"; always on for an application load balancer, but where its target group says otherwise.
    """
    own = _attributes(aws, group).get(CROSS_ZONE, "use_load_balancer_configuration")
    if own != "use_load_balancer_configuration":
        return own == "true"
    if described_balancer(aws, balancer).once()["Type"] == "application":
        return True
    told = aws.call("elbv2", "describe_load_balancer_attributes", LoadBalancerArn=balancer)["Attributes"]
    return any(each["Key"] == CROSS_ZONE and each["Value"] == "true" for each in told)


def _attributes(aws: Aws, group: str) -> dict[str, str]:
    told = aws.call("elbv2", "describe_target_group_attributes", TargetGroupArn=group)["Attributes"]
    return {each["Key"]: each["Value"] for each in told}


def short_zones(aws: Aws, balancer: str, mine: t.Sequence[Json], theirs: t.Sequence[Json], least: int) -> list[str]:
    """The zones that a load balancer is enabled in and in which too few targets are ready, a sentence each.

    Enough are the least, or as many as the other ones are there. The load balancer is asked only where that matters.
    """
    ours, others = _ready_by_zone(aws, mine), _ready_by_zone(aws, theirs)

    def needed(zone: str) -> int:
        return min(least, _serving(others, zone))

    def short(zones: t.Iterable[str]) -> list[str]:
        return [zone for zone in zones if _serving(ours, zone) < needed(zone)]

    if not short({EVERYWHERE, *ours, *others}):
        return []
    return [
        f"zone {zone} has {_serving(ours, zone)} healthy targets, and {needed(zone)} are needed"
        for zone in short(_zones_of_balancer(aws, balancer))
    ]


def _serving(ready: Counter[str], zone: str) -> int:
    return ready[zone] + (ready[EVERYWHERE] if zone != EVERYWHERE else 0)


def _ready_by_zone(aws: Aws, targets: t.Sequence[Json]) -> Counter[str]:
    ready = [target for target in targets if is_ready(target)]
    homeless = sorted({target["Target"]["Id"] for target in ready if not _zone(target)} & _instances(ready))
    placed = _zones_of_instances(aws, homeless) if homeless else {}
    return Counter(_zone(target) or placed.get(target["Target"]["Id"], EVERYWHERE) for target in ready)


def _zones_of_balancer(aws: Aws, balancer: str) -> list[str]:
    return [zone["ZoneName"] for zone in described_balancer(aws, balancer).once()["AvailabilityZones"]]


def _zones_of_instances(aws: Aws, identities: t.Sequence[str]) -> dict[str, str]:
    def ask() -> dict[str, str]:
        found = aws.pages("ec2", "describe_instances", "Reservations", InstanceIds=[*identities])
        instances = [instance for reservation in found for instance in reservation["Instances"]]
        return {each["InstanceId"]: each["Placement"]["AvailabilityZone"] for each in instances}

    return t.cast("dict[str, str]", aws.look("zones of", *identities, ask=ask).once())


def _instances(targets: t.Sequence[Json]) -> set[str]:
    """An address outside the network has no zone, and serves all of them."""
    return {target["Target"]["Id"] for target in targets if target["Target"]["Id"].startswith("i-")}


def _zone(target: Json) -> str | None:
    zone = target["Target"].get("AvailabilityZone")
    return str(zone) if zone else None
