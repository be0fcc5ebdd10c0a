# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Auto Scaling groups of a colour: how many instances, and what rests during a switch. Private to this collection.

Source: docs.aws.amazon.com/autoscaling/ec2/userguide, "Suspend and resume Amazon EC2 Auto Scaling processes", "Amazon
EC2 Auto Scaling instance lifecycle"; docs.aws.amazon.com/autoscaling/ec2/APIReference, AutoScalingGroup and Activity.
"""

from __future__ import annotations

import math
import re
import typing as t
from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal

from .._errors import (
    BlueGreenError,
    ConflictError,
    InvalidError,
    MissingError,
    NotReadyError,
    TimeLimitError,
    UnsupportedError,
)
from .._wait import SYSTEM_CLOCK, Clock, until
from .client import Aws, CodedError, Json, batches
from .images import Images, check_image

RESTING = ("AZRebalance", "AlarmNotification", "InstanceRefresh", "ScheduledActions")
"""What starts and stops sound instances of its own accord. Who is broken is replaced during a switch, too."""
STARTING = ("Launch", "AddToLoadBalancer")
STOPPING = ("Terminate",)
SUSPENDED_TAG = "bluegreen.deploy/suspended"
LEAST_TAG = "bluegreen.deploy/min-size"
ASIDE = ("Warmed", "EnteringStandby", "Standby", "Detach", "Terminated")
"""Begins the states of instances that the desired capacity does not count."""
INTERVAL = 5.0
"""Seconds between two looks; AWS throttles who asks more often."""
AT_ONCE = 50
"""Groups that can be asked for by name at once; AWS's limit."""
SYMBOLIC = ("$Latest", "$Default")
GONE = "AutoScalingGroup name not found"
BUSY = "ScalingActivityInProgress"
MOST_NAMED = 5
MOST_FAILED = 3
"""Launches that fail while it is waited for, before no waiting helps any more."""

_LOWERED = re.compile(r"(\d+) lowered to (\d+)")


@dataclass(frozen=True)
class Instance:
    id: str
    state: str
    healthy: bool
    protected: bool
    units: int
    """Of the desired capacity: 1, but where the group gives weights to its types of instances."""
    template: str
    version: str

    @property
    def counts(self) -> bool:
        return not self.state.startswith(ASIDE)

    @property
    def in_service(self) -> bool:
        return self.state == "InService"

    @property
    def ready(self) -> bool:
        return self.in_service and self.healthy


@dataclass(frozen=True)
class State:
    """What a group is to have."""

    least: int
    desired: int
    most: int
    least_was: int | None
    """What its minimum was before it was lowered here."""
    suspended: tuple[str, ...]
    ours: tuple[str, ...]
    """Which of them were suspended here, and are to be resumed."""
    image: str | None = None
    """What its launch template launches; None where nobody has asked."""

    def as_result(self) -> dict[str, t.Any]:
        return {
            "desired": self.desired,
            "min": self.least,
            "max": self.most,
            "min_was": self.least_was,
            "suspended": list(self.suspended),
            "suspended_here": list(self.ours),
            "image_id": self.image,
        }

    def tags(self) -> dict[str, str | None]:
        """What the group itself is to remember, for whoever comes next."""
        lowered = None if self.least_was is None else f"{self.least_was} lowered to {self.least}"
        return {SUSPENDED_TAG: " ".join(self.ours) or None, LEAST_TAG: lowered}


@dataclass(frozen=True)
class Group:
    """As it was described."""

    name: str
    state: State
    instances: tuple[Instance, ...]
    why: t.Mapping[str, str]
    """By process that is suspended, why it is, where AWS says so."""
    template: str
    version: str
    """Of the launch template; empty where the group has none."""
    mixed: bool = False
    """Whether the template stands in a policy of mixed instances."""

    def units(self, counts: t.Callable[[Instance], bool]) -> int:
        return sum(each.units for each in self.instances if counts(each))

    @property
    def ready(self) -> int:
        return self.units(lambda each: each.ready)

    @property
    def settled(self) -> bool:
        """Whether no instance is left that is to go: without the smallest one they would be too few."""
        there = [each.units for each in self.instances if each.counts]
        return not there or sum(there) - min(there) < self.state.desired

    def others(self, version: str | None) -> list[Instance]:
        """Who is in service and not of this version of the launch template."""
        here = [each for each in self.instances if each.in_service] if version else []
        return [each for each in here if (each.template, each.version) != (self.template, version)]

    def progress(self) -> str:
        states = Counter(
            each.state if each.healthy or not each.in_service else "InService but unhealthy" for each in self.instances
        )
        told = ", ".join(f"{many} {state}" for state, many in sorted(states.items())) or "none"
        return f"desired capacity {self.state.desired} and these instances: {told}"


@dataclass(frozen=True)
class Wanted:
    """What all groups are to have; None: what they have."""

    processes: str | None = None
    """C(suspend) or C(resume)."""
    version: str | None = None
    image: str | None = None


@dataclass(frozen=True)
class Plan:
    group: Group
    after: State
    version: str | None

    @property
    def name(self) -> str:
        return self.group.name

    @property
    def lowers(self) -> bool:
        return self.after.desired < self.group.state.desired

    @property
    def changes(self) -> bool:
        return self.after != self.group.state

    @property
    def new_image(self) -> str | None:
        """What a version of the launch template is to be made for."""
        return self.after.image if self.after.image != self.group.state.image else None

    def reached_by(self, now: Group) -> bool:
        if not self._holds(now) or now.others(self.version):
            return False
        return self._enough(now)

    def check(self, now: Group) -> None:
        """Raise at once what no waiting mends."""
        found, wanted = now.state.desired, self.after.desired
        if not self._holds(now) and found != self.group.state.desired:
            raise ConflictError(
                f"group {self.name} has desired capacity {found}",
                f"{wanted}, as it is to be",
                "See who or what else scales it",
            )
        strangers = now.others(self.version)
        if strangers and self._enough(now):
            raise _of_another_version(now, strangers, str(self.version))

    def _holds(self, now: Group) -> bool:
        """Whether the desired capacity is the one that was set, or a policy has raised it since."""
        found, wanted, was = now.state.desired, self.after.desired, self.group.state.desired
        return found == wanted or (found > wanted > 0 and found != was)

    def _enough(self, now: Group) -> bool:
        """Those that are to go are gone, too, also where a call before this one has sent them."""
        ends = self.lowers or not self.after.desired
        return now.ready >= self.after.desired and (now.settled or not ends)


class AutoScaling:
    """All groups of one call: asked for together, changed one after the other."""

    def __init__(self, aws: Aws, clock: Clock = SYSTEM_CLOCK) -> None:
        self._aws, self._clock = aws, clock
        self._numbers: dict[tuple[str, str], str] = {}
        self._images = Images(aws)

    def read(self, names: t.Sequence[str]) -> list[Group]:
        """In the order of their names. Raises ``missing`` for those that are not there, or are being deleted."""
        groups, gone = self.look(names)
        if gone:
            raise not_there(gone)
        return groups

    def look(self, names: t.Sequence[str]) -> tuple[list[Group], list[str]]:
        """Those that are there, in the order of their names, and the names of those that are not."""
        found: dict[str, Json] = {}
        unique = [*dict.fromkeys(names)]
        for some in batches(unique, AT_ONCE):
            told = self._aws.pages(
                "autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", AutoScalingGroupNames=some
            )
            found.update({each["AutoScalingGroupName"]: each for each in told if not each.get("Status")})
        groups = {name: parse_group(each) for name, each in found.items()}
        return [groups[name] for name in names if name in groups], [name for name in unique if name not in groups]

    def plan(self, group: Group, capacity: int | None, wanted: Wanted, least: int = 0) -> Plan:
        """What the group would get; with a minimum of its own, or the ``least`` where that is more and fits.

        Raises for what it cannot have, or what could not come to an end.
        """
        if wanted.image:
            return self._plan_image(group, capacity, wanted, least)
        version = self._number(group, wanted.version) if wanted.version else None
        sizes = _sizes(group, capacity)
        sizes = replace(sizes, least=max(sizes.least, min(least, sizes.desired)))
        plan = Plan(group, _processes(sizes, wanted.processes), version)
        if capacity is not None:
            _check_capacity(group, capacity)
        if version and plan.after.desired:
            self._check_version(plan, version)
        return plan

    def _plan_image(self, group: Group, capacity: int | None, wanted: Wanted, least: int) -> Plan:
        """The version of the template follows from the image; for a new one it is made when it is carried out."""
        image = str(wanted.image)
        check_image(group.name, group.template, group.mixed, image)
        launched = self._images.of(group.template, group.version)
        known = replace(group, state=replace(group.state, image=launched))
        version = group.version if launched == image else None
        plan = self.plan(known, capacity, replace(wanted, image=None, version=version), least)
        if launched != image and plan.after.desired and not plan.lowers:
            refuse_others(known, image)
        return replace(plan, after=replace(plan.after, image=image))

    def carry_out(self, plans: t.Sequence[Plan], timeout: float) -> list[Group]:
        """Change what is to be changed, and wait for all of them, or with 0 for nobody; as they were seen last."""
        plans = [self._give_image(plan) for plan in plans]
        waiting = [plan for plan in plans if timeout > 0 and (plan.changes or not plan.reached_by(plan.group))]
        known = {plan.name: {each["ActivityId"] for each in self._failed(plan)} for plan in waiting}
        self._change_all(plans)
        seen = {plan.name: plan.group for plan in plans}
        if waiting:
            seen.update(self._wait(waiting, known, timeout))
        return [seen[plan.name] for plan in plans]

    def _give_image(self, plan: Plan) -> Plan:
        """Before it grows: what it then starts is of the version that has the image."""
        if not plan.new_image:
            return plan
        template = plan.group.template
        version = self._images.make(template, plan.group.version, plan.new_image)
        given = {"LaunchTemplateId": template, "Version": version}
        self._write(plan, "update_auto_scaling_group", lambda now: now.version == version, LaunchTemplate=given)
        return replace(plan, group=replace(plan.group, version=version), version=version)

    def _change_all(self, plans: t.Sequence[Plan]) -> None:
        """One that cannot be changed keeps no other from it."""
        done: list[str] = []
        failed: dict[str, BlueGreenError] = {}
        for plan in plans:
            try:
                self._change(plan)
            except BlueGreenError as error:
                failed[plan.name] = error
            else:
                done += [plan.name] if plan.changes else []
        if not failed:
            return
        name, first = next(iter(failed.items()))
        first.details.update({"changed_groups": done, "failed_groups": [*failed]})
        told = f"Changed: {named(done) or 'none'}; not changed: {named([*failed])}. Run it again"
        first.todo = f"{first.todo}. {told}" if first.todo else told
        raise first.of(f"group {name}")

    def _wait(
        self, plans: t.Sequence[Plan], known: t.Mapping[str, t.Collection[str]], timeout: float
    ) -> dict[str, Group]:
        def look() -> list[tuple[Plan, Group]]:
            """Who is not there yet. What no waiting mends is raised."""
            groups = self.read([plan.name for plan in plans])
            seen.update({group.name: group for group in groups})
            late = [(plan, group) for plan, group in zip(plans, groups) if not plan.reached_by(group)]
            for plan, group in late:
                plan.check(group)
                self._look_for_trouble(plan, known[plan.name])
            return late

        seen: dict[str, Group] = {}
        late, reached = until(look, lambda late: not late, timeout=timeout, interval=INTERVAL, clock=self._clock)
        if reached:
            return seen
        plan, group = late[0]
        failed = self._new_failures(plan, known[plan.name])
        raise TimeLimitError(
            f"after {timeout:g} s group {plan.name} has {group.progress()}"
            + (f"; {len(late) - 1} more are late" if late[1:] else "")
            + (f"; {_told(failed[0])}" if failed else ""),
            f"{plan.after.desired} in service and healthy" + ("" if plan.after.desired else ", and no other"),
            f"See aws autoscaling describe-scaling-activities --auto-scaling-group-name {plan.name}",
        )

    def _look_for_trouble(self, plan: Plan, known: t.Collection[str]) -> None:
        """One launch that fails, as where a zone has no capacity, AWS makes good in another one."""
        failed = self._new_failures(plan, known)
        if len(failed) >= MOST_FAILED:
            raise NotReadyError(
                f"group {plan.name}: {_told(failed[0])}, {len(failed)} times",
                "instances that start and stop",
                f"See aws autoscaling describe-scaling-activities --auto-scaling-group-name {plan.name}",
            )

    def _new_failures(self, plan: Plan, known: t.Collection[str]) -> list[Json]:
        return [each for each in self._failed(plan) if each["ActivityId"] not in known]

    def _failed(self, plan: Plan) -> list[Json]:
        """Its latest activities that failed. While it shrinks, AWS itself cancels what it had begun."""
        codes = ("Failed",) if plan.lowers else ("Failed", "Cancelled")
        asked = {"AutoScalingGroupName": plan.name, "MaxRecords": 100}
        found = self._aws.call("autoscaling", "describe_scaling_activities", **asked)["Activities"]
        return [each for each in found if each["StatusCode"] in codes]

    def _change(self, plan: Plan) -> None:
        """Tags are set before what they tell of is done, and taken off when it is undone: nobody forgets."""
        before, after = plan.group.state, plan.after
        known, tags = before.tags(), after.tags()
        self._tag(plan, {key: value for key, value in tags.items() if value and value != known[key]})
        self._suspend(plan, sorted({*after.suspended} - {*before.suspended}))
        self._resume(plan, sorted({*before.suspended} - {*after.suspended}))
        self._size(plan)
        self._untag(plan, [key for key, value in tags.items() if known[key] and not value])

    def _size(self, plan: Plan) -> None:
        before, after = plan.group.state, plan.after
        if (after.least, after.desired) == (before.least, before.desired):
            return
        action, least = "set_desired_capacity", {}
        if after.least != before.least:
            action, least = "update_auto_scaling_group", {"MinSize": after.least}
        self._write(
            plan,
            action,
            lambda now: (now.state.least, now.state.desired) == (after.least, after.desired),
            DesiredCapacity=after.desired,
            **least,
        )

    def _suspend(self, plan: Plan, names: list[str]) -> None:
        if names:
            reached = {*names}.issubset
            self._write(plan, "suspend_processes", lambda now: reached(now.state.suspended), ScalingProcesses=names)

    def _resume(self, plan: Plan, names: list[str]) -> None:
        if names:  # without names AWS would resume all
            reached = {*names}.isdisjoint
            self._write(plan, "resume_processes", lambda now: reached(now.state.suspended), ScalingProcesses=names)

    def _tag(self, plan: Plan, tags: t.Mapping[str, str]) -> None:
        if tags:
            where = {"ResourceId": plan.name, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False}
            self._call("create_or_update_tags", Tags=[{**where, "Key": k, "Value": v} for k, v in tags.items()])

    def _untag(self, plan: Plan, keys: t.Sequence[str]) -> None:
        if keys:
            where = {"ResourceId": plan.name, "ResourceType": "auto-scaling-group"}
            self._call("delete_tags", Tags=[{**where, "Key": key} for key in keys])

    def _write(self, plan: Plan, action: str, reached: t.Callable[[Group], bool], **asked: t.Any) -> None:
        def due() -> bool:
            now = self.read([plan.name])[0]
            if not reached(now) and _sized(now) != _sized(plan.group):
                raise ConflictError(
                    f"group {plan.name} has minimum {now.state.least} and desired capacity {now.state.desired}",
                    f"{plan.group.state.least} and {plan.group.state.desired}, as they were read",
                    "See who else scales it, and try again",
                )
            return not reached(now)

        self._call(action, due, AutoScalingGroupName=plan.name, **asked)

    def _call(self, action: str, due: t.Callable[[], bool] = lambda: True, **asked: t.Any) -> None:
        try:
            self._aws.write("autoscaling", action, due, **asked)
        except InvalidError as error:
            if GONE not in error.found:
                raise
            raise MissingError(error.found, "a group that stays", "See who deletes it") from error
        except CodedError as error:
            if error.told != BUSY:
                raise
            raise ConflictError(error.found, "a group that nothing else scales", "Try again when it is over") from error

    def _number(self, group: Group, version: str) -> str:
        """What a version that is given by a word is now."""
        if not group.template:
            raise UnsupportedError(
                f"group {group.name} has no launch template", "one", "Leave launch_template_version out, or give it one"
            )
        if version.isdecimal():
            return version
        if version not in SYMBOLIC:
            raise InvalidError(f"launch_template_version is {version!r}", f"a number, {' or '.join(SYMBOLIC)}")
        if (group.template, version) not in self._numbers:
            asked = {"LaunchTemplateId": group.template, "Versions": [version]}
            found = self._aws.call("ec2", "describe_launch_template_versions", **asked)["LaunchTemplateVersions"]
            self._numbers[group.template, version] = str(found[0]["VersionNumber"])
        return self._numbers[group.template, version]

    def _check_version(self, plan: Plan, version: str) -> None:
        group = plan.group
        launched = self._number(group, group.version)
        if launched != version:
            raise NotReadyError(
                f"group {group.name} launches version {launched} of launch template {group.template}",
                f"version {version}",
                "Give the group that version of its launch template first",
            )
        strangers = [] if plan.lowers else group.others(version)
        if strangers:
            raise _of_another_version(group, strangers, version)


def parse_group(described: Json) -> Group:
    tags = {tag["Key"]: tag.get("Value", "") for tag in described.get("Tags") or ()}
    suspended = {each["ProcessName"]: each.get("SuspensionReason") or "" for each in described["SuspendedProcesses"]}
    least = int(described["MinSize"])
    template, version = _template(described)
    state = State(
        least=least,
        desired=int(described["DesiredCapacity"]),
        most=int(described["MaxSize"]),
        least_was=_least_was(tags.get(LEAST_TAG, ""), least),
        suspended=tuple(sorted(suspended)),
        ours=tuple(name for name in RESTING if name in tags.get(SUSPENDED_TAG, "").split()),
    )
    instances = tuple(map(_instance, described.get("Instances") or ()))
    mixed = bool(described.get("MixedInstancesPolicy"))
    return Group(described["AutoScalingGroupName"], state, instances, suspended, template, version, mixed)


def _told(activity: Json) -> str:
    """In the words of AWS."""
    said = ": ".join(activity[key] for key in ("Description", "StatusMessage") if activity.get(key))
    return f"{said} ({activity['StatusCode']})"


def alike(desired: int, ratio: float) -> int:
    """So much of what another group has, rounded up; 0.1 is meant as it is written."""
    return math.ceil(desired * Decimal(str(ratio)))


def not_there(names: t.Sequence[str]) -> MissingError:
    return MissingError(
        f"{named(names)} {'is' if len(names) == 1 else 'are'} not there, or being deleted",
        "Auto Scaling groups of this account and region",
        "See groups, region and profile",
    )


def named(names: t.Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _least_was(tag: str, least: int) -> int | None:
    """None where somebody has changed the minimum since it was lowered: theirs stays."""
    told = _LOWERED.fullmatch(tag)
    return int(told[1]) if told and int(told[2]) == least else None


def _template(described: Json) -> tuple[str, str]:
    mixed = (described.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
    found = described.get("LaunchTemplate") or mixed.get("LaunchTemplateSpecification")
    return (found["LaunchTemplateId"], str(found.get("Version") or "$Default")) if found else ("", "")


def _instance(described: Json) -> Instance:
    template = described.get("LaunchTemplate") or {}
    return Instance(
        id=described["InstanceId"],
        state=described["LifecycleState"],
        healthy=described["HealthStatus"].lower() == "healthy",
        protected=bool(described.get("ProtectedFromScaleIn")),
        units=int(described.get("WeightedCapacity") or 1),
        template=template.get("LaunchTemplateId", ""),
        version=str(template.get("Version", "")),
    )


def _sizes(group: Group, capacity: int | None) -> State:
    """The minimum follows a capacity below it, and is put back by one that allows for it. The maximum stays."""
    state = group.state
    if capacity is None:
        return state
    least, was = state.least, state.least_was
    if capacity < least:
        least, was = capacity, least if was is None else was
    elif was is not None and capacity >= was:
        least, was = was, None
    return replace(state, least=least, desired=capacity, least_was=was)


def _processes(state: State, processes: str | None) -> State:
    """What others have suspended stays suspended."""
    suspended, ours = {*state.suspended}, {*state.ours}
    if processes == "suspend":
        ours |= {*RESTING} - suspended
        suspended |= {*RESTING}
    elif processes == "resume":
        suspended, ours = suspended - ours, set()
    return replace(state, suspended=tuple(sorted(suspended)), ours=tuple(sorted(ours)))


def _check_capacity(group: Group, capacity: int) -> None:
    state = group.state
    if not 0 <= capacity <= state.most:
        raise InvalidError(
            f"the capacity is to be {capacity}, and group {group.name} has minimum {state.least}, desired capacity "
            f"{state.desired} and maximum {state.most}",
            f"a number from 0 to {state.most}",
            "The maximum is not raised here: give the group another one, or lower the capacity",
        )
    there = group.units(lambda each: each.counts)
    needed = STARTING if capacity > group.ready else STOPPING if capacity < there else ()
    missing = [name for name in needed if name in group.why]
    if missing:
        reason = group.why[missing[0]]
        raise NotReadyError(
            f"process {missing[0]} of group {group.name} is suspended" + (f" ({reason})" if reason else ""),
            f"it to run, for a capacity of {capacity}",
            f"aws autoscaling resume-processes --auto-scaling-group-name {group.name} --scaling-processes {missing[0]}",
        )
    protected = [each for each in group.instances if each.protected and each.in_service]
    if sum(each.units for each in protected) > capacity:
        raise NotReadyError(
            f"{named([each.id for each in protected])} of group {group.name} are protected from scale in",
            f"at most {capacity} that are",
            "See aws autoscaling set-instance-protection",
        )


def refuse_shared(group: Group, other: Group) -> None:
    """A new version of a template is the latest one for whoever takes that, the live colour included."""
    if group.template == other.template and other.version == "$Latest":
        raise UnsupportedError(
            f"group {other.name} launches the latest version of launch template {group.template}, which is that of "
            f"{group.name}, too",
            "a launch template for each colour, or a version by its number",
            f"Give {other.name} the number of the version that it launches now",
        )


def refuse_others(group: Group, image: str) -> None:
    """Instances that were started before the image was given are of another one."""
    strangers = [each.id for each in group.instances if each.in_service]
    if strangers:
        raise NotReadyError(
            f"group {group.name} has {len(strangers)} instances in service of another image: {named(strangers)}",
            f"none that is not of {image}",
            "Give the group capacity 0 first",
        )


def _of_another_version(group: Group, strangers: t.Sequence[Instance], version: str) -> NotReadyError:
    told = [f"{each.id} ({f'version {each.version}' if each.version else 'no version'})" for each in strangers]
    return NotReadyError(
        f"group {group.name} has {len(strangers)} instances in service of another version: {named(told)}",
        f"version {version} of launch template {group.template}",
        "Give the group capacity 0 first, or wait for the end of an instance refresh",
    )


def _sized(group: Group) -> tuple[int, int]:
    return group.state.least, group.state.desired
