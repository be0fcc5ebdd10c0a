# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Auto Scaling: limits that hold, groups that are not there, and targets that leave when their instance does."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup, InstanceState
from moto.autoscaling.responses import AutoScalingResponse
from moto.ec2.responses.launch_templates import LaunchTemplates

from .patches import instead_of, property_of

Original = Callable[..., Any]


def group_of(backend: AutoScalingBackend, name: str) -> FakeAutoScalingGroup:
    group = backend.autoscaling_groups.get(name)
    if group is None:
        raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    return group


def _knows_its_group(name: str) -> None:
    """moto answers 500 to a group that is not there."""

    @instead_of(AutoScalingBackend, name)
    def checked(original: Original, backend: AutoScalingBackend, *args: Any, **kwargs: Any) -> Any:
        asked = inspect.signature(original).bind(backend, *args, **kwargs).arguments
        group_of(backend, asked["group_name"])
        return original(backend, *args, **kwargs)


for _name in (
    "attach_instances",
    "attach_load_balancer_target_groups",
    "attach_load_balancers",
    "describe_load_balancer_target_groups",
    "describe_load_balancers",
    "describe_warm_pool",
    "detach_load_balancers",
    "enter_standby_instances",
    "exit_standby_instances",
    "put_warm_pool",
    "set_instance_protection",
    "suspend_processes",
):
    _knows_its_group(_name)


# --- Capacity ---------------------------------------------------------------------------------------------


@instead_of(AutoScalingResponse, "set_desired_capacity")
def _set_desired_capacity(original: Original, response: AutoScalingResponse) -> Any:
    """docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetDesiredCapacity.html"""
    group = group_of(response.autoscaling_backend, response._get_param("AutoScalingGroupName"))
    wanted = response._get_int_param("DesiredCapacity")
    text = f"New SetDesiredCapacity value {wanted} is"
    if wanted > int(group.max_size or 0):
        raise ValidationError(f"{text} above max value {group.max_size} for the AutoScalingGroup.")
    if wanted < int(group.min_size or 0):
        raise ValidationError(f"{text} below min value {group.min_size} for the AutoScalingGroup.")
    return original(response)


@instead_of(AutoScalingResponse, "delete_auto_scaling_group")
def _delete(original: Original, response: AutoScalingResponse) -> Any:
    """docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteAutoScalingGroup.html"""
    group = group_of(response.autoscaling_backend, response._get_param("AutoScalingGroupName"))
    if group.instance_states and not response._get_bool_param("ForceDelete"):
        raise AutoscalingClientError(
            "ResourceInUse",
            "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) "
            "still in the group.",
        )
    return original(response)


@instead_of(AutoScalingBackend, "create_auto_scaling_group")
def _create(original: Original, backend: AutoScalingBackend, *args: Any, **kwargs: Any) -> Any:
    asked = inspect.signature(original).bind(backend, *args, **kwargs).arguments
    _check_sizes(asked["min_size"], asked["max_size"], asked.get("desired_capacity"))
    return original(backend, *args, **kwargs)


@instead_of(AutoScalingBackend, "update_auto_scaling_group")
def _update(original: Original, backend: AutoScalingBackend, *args: Any, **kwargs: Any) -> Any:
    """docs.aws.amazon.com/autoscaling/ec2/APIReference/API_UpdateAutoScalingGroup.html"""
    asked = inspect.signature(original).bind(backend, *args, **kwargs).arguments
    group = group_of(backend, asked["name"])
    least = group.min_size if asked.get("min_size") is None else asked["min_size"]
    most = group.max_size if asked.get("max_size") is None else asked["max_size"]
    _check_sizes(least, most, asked.get("desired_capacity"))
    return original(backend, *args, **kwargs)


def _check_sizes(least: Any, most: Any, desired: Any) -> None:
    if int(least) > int(most):
        raise ValidationError(f"Max bound, {most}, must be greater than or equal to min bound, {least}")
    if desired is not None and not int(least) <= int(desired) <= int(most):
        raise ValidationError(
            f"Desired capacity:{desired} must be between the specified min size:{least} and max size:{most}"
        )


# --- Launch templates -------------------------------------------------------------------------------------


@instead_of(LaunchTemplates, "create_launch_template_version")
def _create_version(original: Original, response: LaunchTemplates) -> Any:
    """moto knows neither the version that another one begins with, nor the token of a request that is made again.

    docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplateVersion.html
    """
    asked, backend = response._get_param, response.ec2_backend
    name, token, source = asked("LaunchTemplateName"), asked("ClientToken"), asked("SourceVersion")
    found = (
        backend.get_launch_template_by_name(name) if name else backend.get_launch_template(asked("LaunchTemplateId"))
    )
    twin = next((each for each in found.versions if token and getattr(each, "token", None) == token), None)
    answer = original(response)
    made = twin or found.versions[-1]
    if twin:
        found.versions.pop()
    elif source:
        made.data = {**found.get_version(source).data, **made.data}
    made.token = token
    answer.result["LaunchTemplateVersion"].update(VersionNumber=made.number, LaunchTemplateData=made.data)
    return answer


@instead_of(InstanceState, "__init__")
def _remembers_its_version(original: Original, state: InstanceState, *args: Any, **kwargs: Any) -> None:
    """moto tells the default version of the template for all instances, whatever they were started with.

    docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Instance.html
    """
    original(state, *args, **kwargs)
    group = state.auto_scaling_group
    template = group.ec2_launch_template if group else None
    state.started_with = template and {
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "Version": str(template.get_version(group.launch_template_version).number),
    }


@property_of(InstanceState, "launch_template")
def _launch_template(state: InstanceState) -> Any:
    return state.started_with


# --- Target groups ----------------------------------------------------------------------------------------


@instead_of(AutoScalingBackend, "update_attached_target_groups")
def _update_targets(original: Original, backend: AutoScalingBackend, group_name: str) -> None:
    """Nobody is added while that is suspended; who is in standby, or gone, is not a target.

    docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html
    """
    group = group_of(backend, group_name)
    if _suspended(group, "AddToLoadBalancer"):
        return
    standby = [state for state in group.instance_states if state.lifecycle_state == "Standby"]
    everybody = group.instance_states
    try:
        group.instance_states = [state for state in everybody if state not in standby]
        original(backend, group_name)
    finally:
        group.instance_states = everybody
    _take_out(backend, group, {state.instance.id for state in standby})


@instead_of(FakeAutoScalingGroup, "set_desired_capacity")
def _scale(original: Original, group: FakeAutoScalingGroup, new_capacity: int | None) -> None:
    """While Launch or Terminate is suspended only the number is kept."""
    before = {state.instance.id for state in group.instance_states}
    wanted = int((group.min_size if new_capacity is None else new_capacity) or 0)
    have = len(group.active_instances())
    if (wanted > have and _suspended(group, "Launch")) or (wanted < have and _suspended(group, "Terminate")):
        group.desired_capacity = wanted
        return
    original(group, new_capacity)
    gone = before - {state.instance.id for state in group.instance_states}
    _take_out(group.autoscaling_backend, group, gone)


def _suspended(group: FakeAutoScalingGroup, process: str) -> bool:
    return any(each["ProcessName"] == process for each in group.suspended_processes)


@instead_of(AutoScalingBackend, "resume_processes")
def _resume(original: Original, backend: AutoScalingBackend, group_name: str, scaling_processes: list[str]) -> None:
    """What was put off is done then."""
    group = group_of(backend, group_name)
    original(backend, group_name, scaling_processes)
    group.set_desired_capacity(group.desired_capacity)


@instead_of(FakeAutoScalingGroup, "replace_autoscaling_group_instances")
def _launch(
    original: Original, group: FakeAutoScalingGroup, count_needed: int, propagated_tags: dict[str, str]
) -> None:
    """Spread over the zones; moto has all of them in one.

    docs.aws.amazon.com/autoscaling/ec2/userguide/auto-scaling-benefits.html
    """
    whole = group.vpc_zone_identifier
    subnets = [subnet for subnet in (whole or "").split(",") if subnet]
    if len(subnets) < 2:
        original(group, count_needed, propagated_tags)
        return
    try:
        for _each in range(count_needed):
            held = Counter(str(state.instance.subnet_id) for state in group.instance_states)
            group.vpc_zone_identifier = min(subnets, key=held.__getitem__)
            original(group, 1, propagated_tags)
    finally:
        group.vpc_zone_identifier = whole


@instead_of(AutoScalingBackend, "detach_instances")
def _detach(original: Original, backend: AutoScalingBackend, *args: Any, **kwargs: Any) -> Any:
    asked = inspect.signature(original).bind(backend, *args, **kwargs).arguments
    group = group_of(backend, asked["group_name"])
    activities = original(backend, *args, **kwargs)
    _take_out(backend, group, set(asked["instance_ids"]))
    return activities


@instead_of(AutoScalingBackend, "detach_load_balancer_target_groups")
def _detach_groups(
    _original: Original, backend: AutoScalingBackend, group_name: str, target_group_arns: list[str]
) -> None:
    group = group_of(backend, group_name)
    if strange := sorted(set(target_group_arns) - set(group.target_group_arns)):
        raise ValidationError(f"Trying to remove Target Groups that are not part of the group: {', '.join(strange)}")
    _take_out(backend, group, {state.instance.id for state in group.instance_states}, target_group_arns)
    group.target_group_arns = [arn for arn in group.target_group_arns if arn not in target_group_arns]


def _take_out(
    backend: AutoScalingBackend, group: FakeAutoScalingGroup, instances: set[str], arns: list[str] | None = None
) -> None:
    """Of the target groups that are still there."""
    known = backend.elbv2_backend.target_groups
    for arn in group.target_group_arns if arns is None else arns:
        if arn in known and instances:
            known[arn].deregister([{"Id": identity} for identity in sorted(instances)])
