# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Application and Network Load Balancers: what moto's answers lack of AWS's."""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Callable, Iterator
from typing import Any

from moto.elbv2.exceptions import (
    DuplicateListenerError,
    ELBClientError,
    InvalidTargetError,
    ResourceInUseError,
    TargetGroupNotFoundError,
    TargetNotRunning,
    ValidationError,
)
from moto.elbv2.models import ELBv2Backend, FakeAction, FakeLoadBalancer, FakeRule, FakeTargetGroup, elbv2_backends
from moto.elbv2.responses import ELBV2Response

from .actions import conditions_told, groups_of, normalised
from .patches import instead_of, property_of
from .state import SETTINGS
from .target import NOT_IN_USE, NOT_REGISTERED, UNCHECKED, Health, Target

Original = Callable[..., Any]
Key = tuple[str, int]

MOST_TAGGED = 20  # docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html
DELAY = "deregistration_delay.timeout_seconds"
LONGEST_DELAY = 3600  # seconds
SLOW_START = "slow_start.duration_seconds"
OPTIONS = frozenset(
    {
        DELAY,
        SLOW_START,
        "load_balancing.algorithm.type",
        "deregistration_delay.connection_termination.enabled",
        "lambda.multi_value_headers.enabled",
        "load_balancing.algorithm.anomaly_mitigation",
        "load_balancing.cross_zone.enabled",
        "preserve_client_ip.enabled",
        "proxy_protocol_v2.enabled",
        "stickiness.app_cookie.cookie_name",
        "stickiness.app_cookie.duration_seconds",
        "stickiness.enabled",
        "stickiness.lb_cookie.duration_seconds",
        "stickiness.type",
        "target_failover.on_deregistration",
        "target_failover.on_unhealthy",
        "target_group_health.dns_failover.minimum_healthy_targets.count",
        "target_group_health.dns_failover.minimum_healthy_targets.percentage",
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
        "target_health_state.unhealthy.connection_termination.enabled",
        "target_health_state.unhealthy.draining_interval_seconds",
        "waf.fail_open.enabled",
    }
)
"""docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html"""


# --- What there is ----------------------------------------------------------------------------------------


def backends() -> Iterator[ELBv2Backend]:
    """Of every account and region that was spoken to."""
    for account in list(elbv2_backends.values()):
        yield from list(account.values())


def groups() -> Iterator[FakeTargetGroup]:
    for backend in backends():
        yield from list(backend.target_groups.values())


def groups_in_use() -> Iterator[tuple[FakeTargetGroup, list[Target]]]:
    for group in groups():
        if group.load_balancer_arns:
            yield group, list(members(group).values())


def members(group: FakeTargetGroup) -> dict[Key, Target]:
    """What is registered or draining, by id and port. moto knows a target by its id alone."""
    found: dict[Key, Target] = group.__dict__.setdefault("_bluegreen_members", {})
    return found


def actions_of(balancer: FakeLoadBalancer) -> list[dict[str, Any]]:
    rules = [rule for listener in balancer.listeners.values() for rule in listener.rules.values()]
    return [action.data for rule in rules for action in rule.actions]


_known_users: dict[str, list[str]] | None = None
"""None: to be found out anew."""


def forget_users() -> None:
    global _known_users  # noqa: PLW0603 -- one server a process, and moto's own state is global too
    _known_users = None


def users(group_arn: str) -> list[str]:
    """The load balancers that refer to the group now."""
    global _known_users  # noqa: PLW0603
    if _known_users is None:
        _known_users = {}
        for backend in backends():
            for balancer in backend.load_balancers.values():
                for arn in dict.fromkeys(groups_of(actions_of(balancer))):
                    _known_users.setdefault(arn, []).append(balancer.arn)
    return list(_known_users.get(group_arn, ()))


@property_of(FakeTargetGroup, "load_balancer_arns")
def _load_balancer_arns(group: FakeTargetGroup) -> list[str]:
    return users(group.arn)


def _changed(original: Original, *args: Any, **kwargs: Any) -> Any:
    """Called as it is; who uses which group may have changed by it."""
    try:
        return original(*args, **kwargs)
    finally:
        forget_users()


for _name in ("delete_load_balancer", "delete_listener"):
    instead_of(ELBv2Backend, _name)(_changed)


# --- Targets ----------------------------------------------------------------------------------------------


def sweep() -> None:
    """What has drained is gone; what comes into use, or into use again, is checked from the beginning."""
    now = time.monotonic()
    for group in groups():
        used, found = bool(group.load_balancer_arns), members(group)
        for key, target in list(found.items()):
            if target.ends is not None and target.ends <= now:
                del found[key]
            elif used and not group.__dict__.get("_bluegreen_used") and target.registered:
                target.begin()
        group.__dict__["_bluegreen_used"] = used


def _key(group: FakeTargetGroup, told: dict[str, Any]) -> Key:
    """A function has no port."""
    return str(told["Id"]), int(told.get("Port") or group.port or 0)


def _tell_moto(group: FakeTargetGroup) -> None:
    registered = [target for target in members(group).values() if target.registered]
    group.targets = {target.id: {"Id": target.id, "Port": target.port} for target in registered}


@instead_of(FakeTargetGroup, "register")
def _register(_original: Original, group: FakeTargetGroup, targets: list[dict[str, Any]]) -> None:
    for told in targets:
        if group.target_type != "instance":
            continue
        instance = group.ec2_backend.get_instance_by_id(told["Id"])
        if instance is None:
            raise InvalidTargetError
        if instance.state != "running":
            raise TargetNotRunning(instance_id=told["Id"])
    found = members(group)
    for told in targets:
        key = _key(group, told)
        if key not in found:
            found[key] = Target(*key, told.get("AvailabilityZone"))
        elif found[key].draining:
            found[key].begin()
    _tell_moto(group)


@instead_of(FakeTargetGroup, "deregister")
def _deregister(_original: Original, group: FakeTargetGroup, targets: list[dict[str, Any]]) -> None:
    """What is not registered is passed over.

    docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DeregisterTargets.html
    """
    for told in targets:
        _let_go(group, _key(group, told))
    _tell_moto(group)


@instead_of(FakeTargetGroup, "deregister_terminated_instances")
def _terminated(_original: Original, group: FakeTargetGroup, instance_ids: list[str]) -> None:
    for key in list(members(group)):
        if key[0] in instance_ids:
            _let_go(group, key)
    _tell_moto(group)


def _let_go(group: FakeTargetGroup, key: Key) -> None:
    """It shows as draining for the whole delay, even when it is idle, where its group is in use.

    docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html
    """
    found = members(group)
    if key in found and group.load_balancer_arns:
        found[key].drain(float(str(group.attributes[DELAY])) * SETTINGS.drain_scale)
    else:
        found.pop(key, None)


def health_of(group: FakeTargetGroup, target: Target) -> Health:
    if target.forced or target.draining:
        return target.health
    if not group.load_balancer_arns:
        return NOT_IN_USE
    instance = group.ec2_backend.get_instance_by_id(target.id) if target.id.startswith("i-") else None
    if instance and instance.state != "running":
        return Health("unused", "Target.InvalidState", f"Target is in the {instance.state} state")
    return target.health


@instead_of(ELBv2Backend, "describe_target_health")
def _describe_target_health(
    _original: Original, backend: ELBv2Backend, target_group_arn: str, targets: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    sweep()
    group = backend.target_groups.get(target_group_arn)
    if group is None:
        raise TargetGroupNotFoundError
    found = members(group)
    keys = [_key(group, told) for told in targets] or list(found)
    return [_told(group, key, found.get(key)) for key in keys]


def _told(group: FakeTargetGroup, key: Key, target: Target | None) -> dict[str, Any]:
    health = health_of(group, target) if target else NOT_REGISTERED
    if group.target_type == "lambda":
        return {"Target": {"Id": key[0]}, "TargetHealth": (UNCHECKED if target else NOT_REGISTERED).told()}
    where = {"AvailabilityZone": target.zone} if target and target.zone else {}
    port = group.health_check_port
    return {
        "Target": {"Id": key[0], "Port": key[1], **where},
        "HealthCheckPort": str(key[1]) if port == "traffic-port" else port,
        "TargetHealth": health.told(),
    }


# --- Listeners and rules ----------------------------------------------------------------------------------


def _checked(backend: ELBv2Backend, balancer: FakeLoadBalancer, actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = normalised(actions)
    for arn in groups_of(found):
        group = backend.target_groups.get(arn)
        if group is None:
            raise TargetGroupNotFoundError
        if set(users(arn)) - {balancer.arn}:
            raise ELBClientError(
                "TargetGroupAssociationLimit",
                f"The following target groups cannot be associated with more than one load balancer: {arn}",
            )
        if group.vpc_id and group.vpc_id != balancer.vpc_id:
            raise ELBClientError(
                "InvalidConfigurationRequest",
                f"The following target groups are not in the VPC of load balancer '{balancer.arn}': {arn}",
            )
        _check_protocol(balancer, group)
    for action in found:
        _check_stickiness(backend, action)
    return found


def _check_stickiness(backend: ELBv2Backend, action: dict[str, Any]) -> None:
    """docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-listeners.html, "Forward actions" """
    groups = groups_of([action])
    sticky = [arn for arn in groups if backend.target_groups[arn].attributes.get("stickiness.enabled") == "true"]
    on = len(groups) < 2 or action["ForwardConfig"]["TargetGroupStickinessConfig"]["Enabled"]
    if sticky and not on:
        raise ELBClientError(
            "InvalidConfigurationRequest",
            "Target group stickiness must be enabled on an action with several target groups, as one of them has "
            f"stickiness enabled: {sticky[0]}",
        )


@instead_of(ELBv2Backend, "_validate_actions")
def _validate_actions(original: Original, backend: ELBv2Backend, actions: list[FakeAction]) -> None:
    """moto does not know that of a token.

    docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_JwtValidationActionConfig.html
    """
    original(backend, [action for action in actions if action.type != "jwt-validation"])


def _check_protocol(balancer: FakeLoadBalancer, group: FakeTargetGroup) -> None:
    """docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateListener.html, IncompatibleProtocols."""
    if group.protocol and (group.protocol in ("HTTP", "HTTPS")) != (balancer.type == "application"):
        raise ELBClientError(
            "IncompatibleProtocols", "The specified configuration is not valid with this protocol: " + group.protocol
        )


def _free_port(balancer: FakeLoadBalancer, port: Any, but: str = "") -> None:
    if not 1 <= int(port) <= 65_535:
        raise ValidationError(f"Port '{port}' must be between 1 and 65535, inclusive")
    if any(int(each.port) == int(port) and each.arn != but for each in balancer.listeners.values()):
        raise DuplicateListenerError


@instead_of(ELBv2Backend, "create_load_balancer")
def _create_load_balancer(original: Original, backend: ELBv2Backend, *args: Any, **kwargs: Any) -> FakeLoadBalancer:
    """A network load balancer says so in its ARN."""
    balancer: FakeLoadBalancer = original(backend, *args, **{**kwargs, "tags": None})
    if balancer.type == "network":
        del backend.load_balancers[balancer.arn]
        balancer.arn = balancer.arn.replace(":loadbalancer/app/", ":loadbalancer/net/")
        backend.load_balancers[balancer.arn] = balancer
    backend.tagging_service.tag_resource(balancer.arn, kwargs.get("tags") or [])
    return balancer


def _named(original: Original, backend: ELBv2Backend, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by name; those that come from a CloudFormation template have none."""
    found = dict(inspect.signature(original).bind(backend, *args, **kwargs).arguments)
    del found["self"]
    return found


@instead_of(ELBv2Backend, "create_listener")
def _create_listener(original: Original, backend: ELBv2Backend, *args: Any, **kwargs: Any) -> Any:
    asked = _named(original, backend, args, kwargs)
    balancer = backend.load_balancers.get(asked["load_balancer_arn"])
    if balancer is not None:
        if asked.get("port") is not None:
            _free_port(balancer, asked["port"])
        asked["actions"] = _checked(backend, balancer, asked["actions"])
    listener = _changed(original, backend, **asked)
    if listener.protocol not in ("HTTPS", "TLS"):
        listener.ssl_policy = None
    return listener


@instead_of(ELBv2Backend, "modify_listener")
def _modify_listener(original: Original, backend: ELBv2Backend, *args: Any, **kwargs: Any) -> Any:
    """Checked as a whole, before anything is changed."""
    asked = _named(original, backend, args, kwargs)
    listener = backend.describe_listeners(None, [asked["arn"]])[0]
    balancer = backend.load_balancers[listener.load_balancer_arn]
    if asked.get("port") is not None:
        _free_port(balancer, asked["port"], but=listener.arn)
    found = _checked(backend, balancer, asked.get("actions") or [])
    backend._validate_actions([FakeAction(copy.deepcopy(action)) for action in found])
    return _changed(original, backend, **{**asked, "actions": found, "certificates": asked.get("certificates") or []})


@instead_of(ELBv2Backend, "create_rule")
def _create_rule(original: Original, backend: ELBv2Backend, *args: Any, **kwargs: Any) -> Any:
    asked = _named(original, backend, args, kwargs)
    balancer = _balancer_of(backend, asked["listener_arn"])
    _check_priority(asked["priority"])
    rules = sum(len(listener._non_default_rules) for listener in balancer.listeners.values())
    if rules >= SETTINGS.rules_per_load_balancer:
        raise ELBClientError("TooManyRules", "You've reached the limit on the number of rules per load balancer")
    asked["actions"] = _checked(backend, balancer, asked["actions"])
    rule = _changed(original, backend, **asked)
    rule.conditions = conditions_told(rule.conditions)
    return rule


@instead_of(ELBv2Backend, "modify_rule")
def _modify_rule(
    original: Original,
    backend: ELBv2Backend,
    rule_arn: str,
    conditions: list[dict[str, Any]] | None = None,
    actions: list[dict[str, Any]] | None = None,
) -> Any:
    rule = backend.describe_rules(None, [rule_arn])[0]
    _refuse_default(rule)
    found = _checked(backend, _balancer_of(backend, rule.listener_arn), actions or [])
    changed = _changed(original, backend, rule_arn=rule_arn, conditions=conditions or [], actions=found)
    changed.conditions = conditions_told(changed.conditions)
    return changed


@instead_of(ELBv2Backend, "delete_rule")
def _delete_rule(original: Original, backend: ELBv2Backend, arn: str) -> None:
    _refuse_default(backend.describe_rules(None, [arn])[0])
    _changed(original, backend, arn)


@instead_of(ELBv2Backend, "set_rule_priorities")
def _set_rule_priorities(_original: Original, backend: ELBv2Backend, rule_priorities: list[dict[str, Any]]) -> Any:
    """All at once, so that two rules may change places."""
    wanted = {each["RuleArn"]: int(each["Priority"]) for each in rule_priorities}
    rules = backend.describe_rules(None, list(wanted))
    if len(set(wanted.values())) < len(rule_priorities):
        raise ValidationError("A rule or a priority was provided multiple times")
    for rule in rules:
        _refuse_default(rule)
        _check_priority(wanted[rule.arn])
        others = backend.describe_rules(rule.listener_arn, None)
        if any(other.priority == wanted[rule.arn] and other.arn not in wanted for other in others):
            raise ELBClientError("PriorityInUse", f"Priority '{wanted[rule.arn]}' is currently in use")
    for rule in rules:
        rule.priority = wanted[rule.arn]
    return rules


@instead_of(ELBv2Backend, "describe_rules")
def _describe_rules(
    original: Original, backend: ELBv2Backend, listener_arn: str | None, rule_arns: list[str] | None
) -> list[Any]:
    """By priority, the default rule last."""
    rules: list[Any] = original(backend, listener_arn, rule_arns)
    return sorted(rules, key=lambda rule: (bool(rule.is_default), 0 if rule.is_default else int(rule.priority)))


def _balancer_of(backend: ELBv2Backend, listener_arn: str) -> FakeLoadBalancer:
    return backend.load_balancers[backend.describe_listeners(None, [listener_arn])[0].load_balancer_arn]


def _refuse_default(rule: FakeRule) -> None:
    """docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ModifyRule.html"""
    if rule.is_default:
        raise ELBClientError("OperationNotPermitted", f"Default rule '{rule.arn}' cannot be modified or deleted")


def _check_priority(priority: Any) -> None:
    """docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateRule.html"""
    if not 1 <= int(priority) <= 50_000:
        raise ValidationError(f"Rule priority '{priority}' must be between 1 and 50000, inclusive")


@instead_of(ELBv2Backend, "convert_and_validate_properties")
def _from_template(original: Original, backend: ELBv2Backend, properties: dict[str, Any]) -> list[dict[str, Any]]:
    """The default actions of a listener in a CloudFormation template, weights and all."""
    return backend.convert_and_validate_action_properties({"Actions": properties["DefaultActions"]})


# --- Target groups ----------------------------------------------------------------------------------------


@instead_of(ELBv2Backend, "modify_target_group_attributes")
def _modify_attributes(
    original: Original, backend: ELBv2Backend, target_group_arn: str, attributes: dict[str, Any]
) -> None:
    if strange := sorted(set(attributes) - OPTIONS):
        raise ValidationError(f"Target group attribute key '{strange[0]}' is not recognized")
    slow = int(attributes.get(SLOW_START) or 0)
    if slow and not 30 <= slow <= 900:
        raise ValidationError(f"'{SLOW_START}' value '{slow}' must be 0, or between 30 and 900 inclusive")
    longest = str(attributes.get(DELAY)) == str(LONGEST_DELAY)  # which moto takes for too long
    original(backend, target_group_arn, {**attributes, **({DELAY: LONGEST_DELAY - 1} if longest else {})})
    backend.target_groups[target_group_arn].attributes.update(attributes)


@instead_of(ELBv2Backend, "delete_target_group")
def _delete_target_group(original: Original, backend: ELBv2Backend, target_group_arn: str) -> Any:
    if users(target_group_arn):
        raise ResourceInUseError(f"Target group '{target_group_arn}' is currently in use by a listener or a rule")
    return original(backend, target_group_arn)


# --- Pages ------------------------------------------------------------------------------------------------


def _page(response: ELBV2Response, everything: list[Any]) -> tuple[list[Any], str | None]:
    """One page of it, and the marker of the next."""
    size = int(response._get_param("PageSize") or SETTINGS.page_size)
    arns, marker = [each.arn for each in everything], response._get_param("Marker")
    if marker and marker not in arns:
        raise ValidationError(f"Invalid marker '{marker}'")
    start = arns.index(marker) + 1 if marker else 0
    page = everything[start : start + size]
    return page, page[-1].arn if start + size < len(everything) else None


def _paged(action: str, member: str) -> None:
    """Answer what the action of moto answers, but page by page."""

    @instead_of(ELBV2Response, action)
    def paged(original: Original, response: ELBV2Response) -> Any:
        params, asked = response.params, dict(response.params)
        try:
            response.params = {name: asked[name] for name in asked if name not in ("Marker", "PageSize")}
            response.params["PageSize"] = 1_000_000
            answer = original(response)
        finally:
            response.params = params
        page, marker = _page(response, list(answer.result[member]))
        answer.result.update({member: page, "NextMarker": marker})
        return answer


for _action, _member in (
    ("describe_listeners", "Listeners"),
    ("describe_load_balancers", "LoadBalancers"),
    ("describe_rules", "Rules"),
    ("describe_target_groups", "TargetGroups"),
):
    _paged(_action, _member)


@instead_of(ELBV2Response, "describe_tags")
def _describe_tags(original: Original, response: ELBV2Response) -> Any:
    arns = response._get_param("ResourceArns", [])
    if len(arns) > MOST_TAGGED:
        raise ValidationError(f"Up to {MOST_TAGGED} resource ARNs can be specified in a single call")
    for arn in arns:
        response.elbv2_backend._get_resource_by_arn(arn)
    return original(response)
