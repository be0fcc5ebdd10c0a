# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What targets are taken out of: target groups and classic load balancers. Private to this collection.

Source: docs.aws.amazon.com/elasticloadbalancing/latest/APIReference, DeregisterTargets; the same of 2012-06-01 for
classic load balancers.
"""

from __future__ import annotations

import abc
import re
import typing as t
from dataclasses import dataclass

from .._errors import ConflictError, MissingError, NotReadyError
from .client import Aws, CodedError, Json, batches
from .forward import short
from .targets import look_at

AT_ONCE = 100
"""Targets in one call."""
DRAINING = "draining"
OUT = "unused"
"""Of a target that is not registered and not draining any more."""
UNKNOWN_INSTANCE = "InvalidInstance"

_LOWERED = re.compile(r"(\d+) lowered to (\d+)")


class Place(abc.ABC):
    """What targets are to be taken out of."""

    name: str
    before: dict[str, str]
    """The state of each target that is to leave, as it was found."""

    @property
    def registered(self) -> list[str]:
        """Who is to be deregistered."""
        return [name for name, state in self.before.items() if state not in (DRAINING, OUT)]

    @abc.abstractmethod
    def look(self) -> dict[str, str]:
        """The state of each target that is to leave, as it is now."""

    @abc.abstractmethod
    def take_out(self) -> None:
        """Those that are registered, all of them at once."""


@dataclass(frozen=True)
class Delay:
    """The deregistration delay of a target group, in seconds."""

    found: int | None
    """None: a group of this kind has none."""
    was: int | None = None
    """What it was before a drain lowered it that never put it back, or that is going on."""
    lowered: int | None = None
    """What that drain lowered it to."""

    @classmethod
    def of(cls, found: int | None, tag: str | None) -> Delay:
        told = _LOWERED.fullmatch(tag or "")
        return cls(found, int(told[1]), int(told[2])) if told else cls(found)

    @property
    def own(self) -> int | None:
        """What it is to be when nobody drains. Where somebody has changed it since it was lowered, theirs stays."""
        return self.was if self.was is not None and self.found == self.lowered else self.found

    def during(self, wanted: int | None) -> int | None:
        """What it is lowered to; None: it need not be."""
        return wanted if wanted is not None and self.own is not None and wanted < self.own else None


class TargetGroup(Place):
    def __init__(self, aws: Aws, arn: str, delay: Delay, wanted: t.Collection[str] | None) -> None:
        self._aws, self.arn, self.delay, self.name = aws, arn, delay, f"target group {short(arn)}"
        self._look = look_at(aws, arn)
        found = [each for each in self._look.again() if wanted is None or names_of(each) & {*wanted}]
        self._targets = {name_of(each): each["Target"] for each in found}
        there = {name for each in found for name in names_of(each)}
        self.before = {
            **{name_of(each): each["TargetHealth"]["State"] for each in found},
            **{name: OUT for name in wanted or () if name not in there},
        }

    def look(self) -> dict[str, str]:
        """One question for all of them: who is out is not told of any more."""
        found = {name_of(each): each["TargetHealth"]["State"] for each in self._look.again()}
        return {name: found.get(name, OUT) for name in self.before}

    def take_out(self) -> None:
        targets = [_sent(self._targets[name]) for name in self.registered]
        try:
            for some in batches(targets, AT_ONCE):
                self._aws.write("elbv2", "deregister_targets", self._is_in, TargetGroupArn=self.arn, Targets=some)
        finally:
            self._look.outdated()

    def _is_in(self) -> bool:
        """Whether any of them still is."""
        return any(state not in (DRAINING, OUT) for state in self.look().values())


def names_of(described: Json) -> set[str]:
    """All that a target may be called."""
    target = described["Target"]
    return {target["Id"], name_of(described), f"[{target['Id']}]:{target.get('Port')}"}


def name_of(described: Json) -> str:
    target = described["Target"]
    return f"{target['Id']}:{target['Port']}" if target.get("Port") else str(target["Id"])


def _sent(target: Json) -> Json:
    """An address outside the network was registered for all zones, and others for none."""
    zone = target.get("AvailabilityZone")
    keys = ("Id", "Port", "AvailabilityZone") if zone == "all" else ("Id", "Port")
    return {key: target[key] for key in keys if target.get(key)}


class Classic(Place):
    """A classic load balancer, which says itself when an instance has nothing in flight any more."""

    def __init__(self, aws: Aws, balancer: str, instances: t.Sequence[str], wanted: int | None) -> None:
        self._aws, self._balancer, self.name = aws, balancer, f"classic load balancer {balancer}"
        self._instances = instances
        self.draining = self._draining()
        self.wanted = self.draining if wanted is None else {"Enabled": True, "Timeout": wanted}
        try:
            self.before = self._states(self._health(instances))
        except CodedError as error:
            if error.told != UNKNOWN_INSTANCE:
                raise
            raise MissingError(error.found, "instances of this account and region", "See instances") from error

    def look(self) -> dict[str, str]:
        return self._states(self._health_of_the_living(self._instances))

    def take_out(self) -> None:
        """Draining is switched on before, or what is in flight would be cut."""
        if self.wanted != self.draining:
            attributes = {"ConnectionDraining": self.wanted}
            self._write("modify_load_balancer_attributes", self._is_not_so, LoadBalancerAttributes=attributes)
        if not self.registered:
            return
        instances = [{"InstanceId": name} for name in self.registered]
        self._write("deregister_instances_from_load_balancer", self._is_in, Instances=instances)

    def _is_in(self) -> bool:
        """Whether any of them still is."""
        return any(state not in (DRAINING, OUT) for state in self.look().values())

    def _is_not_so(self) -> bool:
        return self._draining() != self.wanted

    def check(self, unused: t.Collection[str]) -> None:
        """Refuse what would cut off requests, or leave nobody for those to come."""
        if not self.registered:
            return
        if not self.wanted["Enabled"]:
            raise NotReadyError(
                f"{self.name} has no connection draining, so that all that is in flight would be cut",
                "it to be on",
                "Set connection_draining",
            )
        if self._balancer not in unused and not self._others_in_service():
            raise ConflictError(
                f"{self.name} has no other instance in service than those that are to leave",
                "one that takes the traffic",
                "Nothing was changed. Register the other colour's first, or name the load balancer in unused",
            )

    def _others_in_service(self) -> bool:
        there = self._registered() - {*self._instances}
        found = self._call("describe_instance_health")["InstanceStates"]
        return any(each["State"] == "InService" for each in found if each["InstanceId"] in there)

    def _states(self, health: t.Mapping[str, Json]) -> dict[str, str]:
        """Who is terminated is not told of."""
        registered = self._registered()
        found = {name: _classic_state(each, name in registered) for name, each in health.items()}
        return {name: found.get(name, OUT) for name in self._instances}

    def _registered(self) -> set[str]:
        key = "LoadBalancerDescriptions"
        (found,) = self._aws.call("elb", "describe_load_balancers", LoadBalancerNames=[self._balancer])[key]
        return {each["InstanceId"] for each in found["Instances"]}

    def _health(self, instances: t.Sequence[str]) -> dict[str, Json]:
        asked = [{"InstanceId": each} for each in instances]
        found = self._call("describe_instance_health", Instances=asked)["InstanceStates"]
        return {each["InstanceId"]: each for each in found}

    def _health_of_the_living(self, instances: t.Sequence[str]) -> dict[str, Json]:
        """One that was terminated long enough ago is no instance any more: then each is asked for by itself."""
        try:
            return self._health(instances)
        except CodedError as error:
            if error.told != UNKNOWN_INSTANCE:
                raise
            if len(instances) == 1:
                return {}
        return {name: each for one in instances for name, each in self._health_of_the_living([one]).items()}

    def _draining(self) -> Json:
        found: Json = self._call("describe_load_balancer_attributes")["LoadBalancerAttributes"]["ConnectionDraining"]
        return {"Enabled": bool(found["Enabled"]), "Timeout": int(found.get("Timeout") or 0)}

    def _call(self, action: str, **asked: t.Any) -> Json:
        return self._aws.call("elb", action, LoadBalancerName=self._balancer, **asked)

    def _write(self, action: str, due: t.Callable[[], bool], **asked: t.Any) -> None:
        self._aws.write("elb", action, due, LoadBalancerName=self._balancer, **asked)


def _classic_state(told: Json, registered: bool) -> str:
    """docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_InstanceState.html"""
    if registered and "deregistration" not in told.get("Description", ""):
        return str(told["State"])
    return DRAINING if registered or told["State"] != "OutOfService" else OUT
