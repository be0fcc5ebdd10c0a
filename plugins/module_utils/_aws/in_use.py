# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who still sends a target group its traffic. Private to this collection."""

from __future__ import annotations

import typing as t

from .._errors import ConflictError
from .client import Aws, Json
from .forward import group_weights, short, sticky_seconds
from .listeners import balancer_of, listener_of, rules_of


def check_unused(aws: Aws, groups: t.Mapping[str, t.Sequence[str]], unused: t.Collection[str]) -> list[str]:
    """Refuse target groups that anything gives a share of its traffic; each with the load balancers it is behind.

    Returns a warning for whatever may still send it those who stick to it.
    """
    warnings: list[str] = []
    for balancer in sorted({each for balancers in groups.values() for each in balancers}):
        for arn, what, actions in _forwarders(aws, balancer):
            if not unused_by(arn, unused):
                warnings += _check_actions(groups, what, actions)
    return warnings


def unused_by(arn: str, unused: t.Collection[str]) -> bool:
    """Whether it was said to have no users: a rule by itself, or by its listener."""
    return arn in unused or (":listener-rule/" in arn and listener_of(arn) in unused)


def _forwarders(aws: Aws, balancer: str) -> t.Iterator[tuple[str, str, t.Sequence[Json]]]:
    """ARN, name and actions of each listener and rule. A network load balancer has no rules."""
    for listener in aws.pages("elbv2", "describe_listeners", "Listeners", LoadBalancerArn=balancer):
        arn = listener["ListenerArn"]
        name = balancer_of(arn).split("/")[-2]
        what = f"{listener.get('Protocol')} {listener.get('Port')} of load balancer {name}"
        yield arn, f"listener {what} ({arn})", listener.get("DefaultActions") or ()
        if ":loadbalancer/app/" in balancer:
            for rule in rules_of(aws, arn):
                if not rule.get("IsDefault"):
                    told = f"rule {rule['Priority']} of listener {what} ({rule['RuleArn']})"
                    yield rule["RuleArn"], told, rule.get("Actions") or ()


def _check_actions(groups: t.Collection[str], what: str, actions: t.Sequence[Json]) -> list[str]:
    warnings = []
    for action in actions:
        sticky = sticky_seconds(action)
        for arn, weight in group_weights(action).items():
            if arn in groups and weight:
                raise ConflictError(
                    f"{what} gives target group {short(arn)} weight {weight}",
                    "no traffic on it",
                    "Nothing was changed. Move the traffic first, or name it in unused if nobody uses it",
                )
            if arn in groups and sticky != 0:
                time = "for as long as they come back" if sticky is None else f"for {sticky:g} s"
                warnings.append(
                    f"{what} keeps clients with target group {short(arn)} {time}: who was sent there within that time "
                    "gets errors when it has no targets"
                )
    return warnings
