# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listeners, rules and target groups by name, port, priority or tag. Private to this collection."""

from __future__ import annotations

import typing as t

from .._errors import InvalidError, MissingError
from .client import Aws, Json, batches
from .forward import short
from .shared import Look

AT_MOST = 20
"""Resources whose tags can be asked for at once; AWS's limit."""


def listener_of(rule: str) -> str:
    """The ARN of a rule holds that of its listener."""
    head, slash, _rule = rule.replace(":listener-rule/", ":listener/").rpartition("/")
    if ":listener-rule/" not in rule or not slash:
        raise InvalidError(f"rule_arn is {rule}", "the ARN of a rule, arn:…:listener-rule/…")
    return head


def balancer_of(listener: str) -> str:
    """The ARN of a listener holds that of its load balancer."""
    if ":listener/" not in listener:
        raise InvalidError(f"listener_arn is {listener}", "the ARN of a listener, arn:…:listener/…")
    return listener.replace(":listener/", ":loadbalancer/").rpartition("/")[0]


def rules_of(aws: Aws, listener: str) -> list[Json]:
    """All of them, its default one included."""
    return aws.pages("elbv2", "describe_rules", "Rules", ListenerArn=listener)


def look_at_rules(aws: Aws, listener: str) -> Look[list[Json]]:
    """One question for all routes that are among them."""
    return aws.look("rules", listener, ask=lambda: rules_of(aws, listener))


def look_at_listeners(aws: Aws, balancer: str) -> Look[list[Json]]:
    """Those of a load balancer, by its ARN; one question for all routes that are among them."""
    return aws.look(
        "listeners",
        balancer,
        ask=lambda: aws.pages("elbv2", "describe_listeners", "Listeners", LoadBalancerArn=balancer),
    )


def find_listener(aws: Aws, balancer: str, port: int) -> str:
    """By the name or ARN of its load balancer, and its port."""
    found = look_at_listeners(aws, balancer if balancer.startswith("arn:") else _balancer_named(aws, balancer)).once()
    there = [f"{each['Protocol']} {each['Port']}" for each in found]
    mine = [each["ListenerArn"] for each in found if each["Port"] == port]
    return _the_one(mine, f"listeners at port {port} of load balancer {balancer}", there)


def described_balancer(aws: Aws, arn: str) -> Look[Json]:
    """What of it does not change while a module runs."""

    def ask() -> Json:
        found: list[Json] = aws.call("elbv2", "describe_load_balancers", LoadBalancerArns=[arn])["LoadBalancers"]
        if not found:
            raise MissingError(f"there is no load balancer {arn}", "one")
        return found[0]

    return aws.look("balancer", arn, ask=ask)


def find_rule(rules: t.Sequence[Json], priority: int) -> str:
    there = [each["Priority"] for each in rules]
    mine = [each["RuleArn"] for each in rules if each["Priority"] == str(priority)]
    return _the_one(mine, f"rules of priority {priority}", there)


def find_tagged_rule(aws: Aws, rules: t.Sequence[Json], tags: t.Mapping[str, t.Any]) -> str:
    """The one that has all these tags."""
    wanted = {str(key): str(value) for key, value in tags.items()}
    arns = [each["RuleArn"] for each in rules if not each.get("IsDefault")]
    known: dict[str, dict[str, str]] = aws.look("tags of", *arns, ask=lambda: tags_of(aws, arns)).once()
    mine = [arn for arn, found in known.items() if wanted.items() <= found.items()]
    return _the_one(mine, f"rules with the tags {wanted}", [f"{len(arns)} rules"])


def tags_of(aws: Aws, arns: t.Sequence[str]) -> dict[str, dict[str, str]]:
    """By ARN, the tags of listeners, rules or target groups."""
    return {
        each["ResourceArn"]: {tag["Key"]: tag.get("Value", "") for tag in each["Tags"]}
        for some in batches(arns, AT_MOST)
        for each in aws.call("elbv2", "describe_tags", ResourceArns=some)["TagDescriptions"]
    }


def find_groups(aws: Aws, named: t.Mapping[str, str]) -> dict[str, str]:
    """The ARN of each colour's target group, given by ARN or name."""
    names = sorted({name for name in named.values() if not name.startswith("arn:")})

    def ask() -> list[Json]:
        return [
            each
            for some in batches(names, AT_MOST)
            for each in aws.call("elbv2", "describe_target_groups", Names=some)["TargetGroups"]
        ]

    found: list[Json] = aws.look("groups", *names, ask=ask).once() if names else []

    def one(name: str) -> str:
        mine = [each["TargetGroupArn"] for each in found if each["TargetGroupName"] == name]
        return _the_one(mine, f"target groups named {name}", [])

    return {colour: name if name.startswith("arn:") else one(name) for colour, name in named.items()}


def _balancer_named(aws: Aws, name: str) -> str:
    def ask() -> str:
        found = aws.call("elbv2", "describe_load_balancers", Names=[name])["LoadBalancers"]
        arn = _the_one([each["LoadBalancerArn"] for each in found], f"load balancers named {name}", [])
        aws.look("balancer", arn, ask=lambda: found[0]).once()  # whoever asks by its ARN has it, too
        return arn

    return t.cast(str, aws.look("balancer named", name, ask=ask).once())


def _the_one(mine: t.Sequence[str], what: str, there: t.Sequence[str]) -> str:
    if len(mine) == 1:
        return mine[0]
    if mine:
        listed = ", ".join(map(short, mine))
        raise InvalidError(f"there are {len(mine)} {what}: {listed}", "one", "Name it by its ARN")
    raise MissingError(f"there are no {what}" + (f", only {', '.join(there)}" if there else ""), "one")
