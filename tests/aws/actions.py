# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Actions of listeners and rules: what AWS refuses, and how it tells what it has taken.

docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ForwardActionConfig.html and its neighbours.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from moto.elbv2.exceptions import ValidationError

Action = dict[str, Any]

MOST_GROUPS = 5  # docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
MOST_WEIGHT = 999
MOST_STICKY = 604_800  # seconds


def normalised(actions: Iterable[Action]) -> list[Action]:
    """Checked, and as AWS tells them.

    A forward to one group has both TargetGroupArn and ForwardConfig, to several the latter only; each has its Order.
    """
    found = [copy.deepcopy(dict(action)) for action in actions]
    for number, action in enumerate(found, start=1):
        action["Order"] = int(action.get("Order") or number)
        if action.get("Type") == "forward":
            _forward(action)
        if action.get("Type") == "authenticate-oidc":
            _oidc(action["AuthenticateOidcConfig"])
    return found


def _oidc(config: dict[str, Any]) -> None:
    """The secret is needed, or the word that the one that is there stays; it is never told.

    docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_AuthenticateOidcActionConfig.html
    """
    known = str(config.pop("UseExistingClientSecret", False)).lower() == "true"
    if not config.pop("ClientSecret", None) and not known:
        raise ValidationError("You must specify a client secret, or that the existing client secret is used")


def groups_of(actions: Iterable[Action]) -> list[str]:
    """The ARNs that normalised actions forward to."""
    configs = (action.get("ForwardConfig") or {} for action in actions if action.get("Type") == "forward")
    return [group["TargetGroupArn"] for config in configs for group in config.get("TargetGroups") or ()]


def _forward(action: Action) -> None:
    config = dict(action.get("ForwardConfig") or {})
    arn = action.pop("TargetGroupArn", None)
    groups = [dict(group) for group in config.get("TargetGroups") or ()]
    if arn and groups and [group.get("TargetGroupArn") for group in groups] != [arn]:
        raise ValidationError(
            "If you specify both a target group ARN and a forward config, you can specify only one target group, "
            "and it must be the same"
        )
    groups = groups or ([{"TargetGroupArn": arn}] if arn else [])
    if not groups:
        raise ValidationError("A target group ARN must be specified")
    if len(groups) > MOST_GROUPS:
        raise ValidationError(f"A forward action can have at most {MOST_GROUPS} target groups")
    for group in groups:
        group["Weight"] = _weight(group)
    config["TargetGroups"] = groups
    config["TargetGroupStickinessConfig"] = _stickiness(config.get("TargetGroupStickinessConfig") or {})
    action["ForwardConfig"] = config
    if len(groups) == 1:
        action["TargetGroupArn"] = groups[0]["TargetGroupArn"]


def _weight(group: dict[str, Any]) -> int:
    weight = int(group.get("Weight", 1))
    if not 0 <= weight <= MOST_WEIGHT:
        raise ValidationError("The weight for each target group must be between 0 and 999, inclusive")
    return weight


def _stickiness(wanted: dict[str, Any]) -> dict[str, Any]:
    """The duration is demanded where it is switched on.

    docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupStickinessConfig.html
    """
    on = str(wanted.get("Enabled", False)).lower() == "true"
    seconds = wanted.get("DurationSeconds")
    if on and seconds is None:
        raise ValidationError("You must specify a stickiness duration when enabling target group stickiness")
    if seconds is None:
        return {"Enabled": on}
    if not 1 <= int(seconds) <= MOST_STICKY:
        raise ValidationError(f"The stickiness duration must be between 1 and {MOST_STICKY} seconds, inclusive")
    return {"Enabled": on, "DurationSeconds": int(seconds)}


def conditions_told(conditions: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Values of a host or path are told twice, as AWS does."""
    names = {"host-header": "HostHeaderConfig", "path-pattern": "PathPatternConfig"}
    found = [copy.deepcopy(dict(condition)) for condition in conditions]
    for condition in found:
        if name := names.get(condition.get("Field", "")):
            values = condition.get("Values") or (condition.get(name) or {}).get("Values") or []
            condition["Values"], condition[name] = values, {**(condition.get(name) or {}), "Values": values}
    return found
