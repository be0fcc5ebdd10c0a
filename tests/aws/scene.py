# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What most tests begin with: a network, a load balancer, target groups, listeners."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from demo.rig import wait_until

from .handle import REGION, Aws

ZONES = (f"{REGION}a", f"{REGION}b")
PATIENCE = 30.0  # seconds, for what takes less than one on an idle machine


def forward(weights: Mapping[str, int], sticky: int | None = None) -> list[dict[str, Any]]:
    """The actions that forward to these target groups, by ARN."""
    groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights.items()]
    config: dict[str, Any] = {"TargetGroups": groups}
    if sticky is not None:
        config["TargetGroupStickinessConfig"] = {"Enabled": True, "DurationSeconds": sticky}
    return [{"Type": "forward", "ForwardConfig": config}]


class Scene:
    """Makes things in an empty account; each method gives the ARN or the id of what it has made."""

    def __init__(self, aws: Aws) -> None:
        self.aws = aws

    @cached_property
    def vpc(self) -> str:
        return self.new_vpc("10.0.0.0/16")

    @cached_property
    def subnets(self) -> list[str]:
        """One in each zone."""
        return self.new_subnets(self.vpc, "10.0")

    def new_vpc(self, block: str) -> str:
        return str(self.aws.client("ec2").create_vpc(CidrBlock=block)["Vpc"]["VpcId"])

    def new_subnets(self, vpc: str, block: str) -> list[str]:
        ec2 = self.aws.client("ec2")
        made = (
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"{block}.{number}.0/24", AvailabilityZone=zone)
            for number, zone in enumerate(ZONES)
        )
        return [each["Subnet"]["SubnetId"] for each in made]

    def balancer(self, name: str = "shop", kind: str = "application", **options: Any) -> str:
        asked = {"Name": name, "Subnets": self.subnets, "Type": kind, **options}
        return str(self.aws.client("elbv2").create_load_balancer(**asked)["LoadBalancers"][0]["LoadBalancerArn"])

    def group(self, name: str, *ports: int, zone: str | None = None, **options: Any) -> str:
        """A target group of HTTP servers on loopback, which are asked for /health every 5 s of AWS's time."""
        elbv2 = self.aws.client("elbv2")
        checks = {"HealthCheckPath": "/health", "HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2}
        asked = {"Name": name, "Protocol": "HTTP", "Port": 80, "VpcId": self.vpc, "TargetType": "ip", **checks}
        limits = {"HealthyThresholdCount": 2, "UnhealthyThresholdCount": 2}
        arn = str(elbv2.create_target_group(**{**asked, **limits, **options})["TargetGroups"][0]["TargetGroupArn"])
        if ports:
            self.register(arn, *ports, zone=zone)
        return arn

    def register(self, group: str, *ports: int, zone: str | None = None) -> None:
        where = {"AvailabilityZone": zone} if zone else {}
        targets = [{"Id": "127.0.0.1", "Port": port, **where} for port in ports]
        self.aws.client("elbv2").register_targets(TargetGroupArn=group, Targets=targets)

    def deregister(self, group: str, *ports: int) -> None:
        targets = [{"Id": "127.0.0.1", "Port": port} for port in ports]
        self.aws.client("elbv2").deregister_targets(TargetGroupArn=group, Targets=targets)

    def listener(
        self, balancer: str, weights: Mapping[str, int], port: int = 80, sticky: int | None = None, **options: Any
    ) -> str:
        actions = forward(weights, sticky)
        asked = {"LoadBalancerArn": balancer, "Protocol": "HTTP", "Port": port, "DefaultActions": actions, **options}
        return str(self.aws.client("elbv2").create_listener(**asked)["Listeners"][0]["ListenerArn"])

    def rule(self, listener: str, priority: int, conditions: list[dict[str, Any]], weights: Mapping[str, int]) -> str:
        asked = {"ListenerArn": listener, "Priority": priority, "Conditions": conditions, "Actions": forward(weights)}
        return str(self.aws.client("elbv2").create_rule(**asked)["Rules"][0]["RuleArn"])

    def split(self, listener: str, weights: Mapping[str, int], sticky: int | None = None) -> None:
        """The listener's default action, from now on."""
        self.aws.client("elbv2").modify_listener(ListenerArn=listener, DefaultActions=forward(weights, sticky))

    def states(self, group: str) -> dict[int, tuple[str, str | None]]:
        """State and reason of each target, by port."""
        told = self.aws.client("elbv2").describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return {
            each["Target"]["Port"]: (each["TargetHealth"]["State"], each["TargetHealth"].get("Reason")) for each in told
        }

    def wait_for(self, group: str, state: str) -> None:
        """Until there are targets, and all of them are in this state."""
        wait_until(lambda: {found for found, _why in self.states(group).values()} == {state}, PATIENCE, f"all {state}")
