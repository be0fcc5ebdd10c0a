# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alb provider: a listener or rule of an application or network load balancer. Private to this collection.

Source: docs.aws.amazon.com/elasticloadbalancing/latest/APIReference, ModifyListener, ModifyRule, DescribeTargetHealth.
"""

from __future__ import annotations

import json
import shlex
import typing as t

from .._aws.client import Aws, Json, connect
from .._aws.forward import Forward, group_weights, short
from .._aws.listeners import (
    balancer_of,
    find_groups,
    find_listener,
    find_rule,
    find_tagged_rule,
    listener_of,
    look_at_listeners,
    look_at_rules,
)
from .._aws.targets import crosses_zones, is_ready, keeps_clients, look_at, members, short_zones, trouble
from .._errors import ConflictError, InvalidError, MissingError, NotVerifiedError
from .router import Activity, Capabilities, Router
from .split import CHANGED, WHOLE, Split, describe, moved

MOST_REASONS = 5
"""Targets of which it is told why they are not healthy."""


class Action:
    """The actions of one listener or rule, with all else of it left as it is.

    AWS has no conditional write. What counts as expected is what was read a quarter of a second before at most.
    """

    def __init__(self, aws: Aws, listener: str, rule: str | None) -> None:
        self._aws, self.listener = aws, listener
        self.arn = rule or listener
        self.what = short(self.arn)
        self._look = look_at_rules(aws, listener) if rule else look_at_listeners(aws, balancer_of(listener))
        self._command, self._key, self._arn_key = (
            ("modify_rule", "Actions", "RuleArn") if rule else ("modify_listener", "DefaultActions", "ListenerArn")
        )
        self.known: list[Json] = []
        """As they were seen last."""

    def read(self) -> list[Json]:
        found = [each for each in self._look.again() if each[self._arn_key] == self.arn]
        if not found:
            raise MissingError(f"{self.what} is not there", "the one that is named", "See whether it was deleted")
        if found[0].get("IsDefault"):
            raise InvalidError(
                f"rule_arn is {self.arn}, the default rule, which AWS lets nobody modify",
                "a rule, or the listener whose default it is",
                f"Set listener_arn to {self.listener} instead of rule_arn",
            )
        self.known = found[0][self._key]
        return self.known

    def read_lately(self) -> list[Json]:
        return self.known if self.known and self._look.is_fresh() else self.read()

    def put(self, actions: list[Json]) -> None:
        """One atomic change. It is made again only if nothing was done, and what is there is still what was read."""
        before = self.known
        if actions == before:
            return

        def due() -> bool:
            self._look.outdated()
            now = self.read()
            if now == before:
                return True
            if weights(now) == weights(actions):
                return False
            found, expected = _words(weights(now)), _words(weights(before))
            raise ConflictError(
                f"{self.what} now forwards to {found}" + (", and something else of it differs" * (found == expected)),
                expected,
                CHANGED,
            )

        self._aws.write("elbv2", self._command, due, **{self._arn_key: self.arn, self._key: actions})
        self._look.outdated()

    def by_hand(self, actions: list[Json]) -> list[str]:
        flags = ("--rule-arn", "--actions") if self._key == "Actions" else ("--listener-arn", "--default-actions")
        return ["elbv2", self._command.replace("_", "-"), flags[0], self.arn, flags[1], json.dumps(actions)]


class Alb(Router):
    """The default action of a listener, or the action of one rule, whose two target groups are the colours."""

    capabilities = Capabilities(finest_step=10, sticky=False, counts_connections=False, survives_reload=True)

    def __init__(self, colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> None:
        _check_options(colours, options)
        self._aws, self._options, self._colours = connect(options), options, colours
        self._cut = False
        self._action: Action | None = None
        self._test_action: Action | None = None
        self._groups: dict[str, str] = {}
        self._looks: dict[str, t.Any] = {}
        self._targets: dict[str, list[Json]] = {}

    def read(self) -> Split | None:
        self._place().read()
        return self._forward().split()

    def drift(self) -> tuple[str, ...]:
        """A group that nothing forwards to has no health, so that nobody can know whether it is fit to serve."""
        forward = self._forward()
        missing = [
            f"{forward.what} does not forward to target group {short(forward.groups[colour])} of {colour}, which has "
            "no health as long as nothing does (on_drift: mend adds it with weight 0)"
            for colour in forward.unattached()
        ]
        sticky = self._sticky_targets(forward) if missing and not forward.is_sticky() else []
        return (*forward.strangers(), *missing, *sticky, *self._test_drift(forward))

    def _test_drift(self, forward: Forward) -> list[str]:
        test, live = self._test(), forward.split()
        if test is None or live is None or live.shared:
            return []
        test.read()
        led = self._forward(test).split()
        if led == _idle(live):
            return []
        return [f"{test.what}, the test listener, leads to {describe(led)} and not to {live.other(str(live.leader))}"]

    def _sticky_targets(self, forward: Forward) -> list[str]:
        """Two groups in one action take stickiness of targets only beside that of groups, as AWS has it."""
        return [
            f"target group {short(arn)} keeps clients with a target, so that AWS takes both groups only in an action "
            "with TargetGroupStickinessConfig, Enabled with DurationSeconds"
            for arn in forward.groups.values()
            if keeps_clients(self._aws, arn)
        ]

    def check(self, wanted: Split) -> None:
        """Looks at the targets first, so that the split is read right before it is changed."""
        self._look_at_targets(*self._colours)

    def apply(self, wanted: Split, expected: Split | None, live: str | None = None) -> None:
        self._place().read_lately()
        forward = self._forward()
        found = forward.split()
        if found != expected:
            raise moved(found, expected)
        self._cut = self.home and forward.is_sticky() and wanted.first_share in (0, WHOLE)
        self._place().put(forward.holding(wanted, only=self._cut))
        self._follow(wanted)

    def _follow(self, wanted: Split) -> None:
        """The test listener goes to the idle colour, once that is one without traffic."""
        test = self._test()
        if test and not wanted.shared:
            test.read_lately()
            test.put(self._forward(test).holding(_idle(wanted)))

    def verify(self, wanted: Split) -> bool | None:
        """The weights are read back, and the leading colour has a healthy target.

        None: it has none, and is to be gone to all the same: with all of its targets unhealthy AWS asks each of them.
        Or a target group of neither colour has a share.
        """
        found = self.read()
        if found is None:  # no member's state makes it so, as elsewhere: somebody has set it
            raise NotVerifiedError(
                f"all weights of {self._place().what} are 0",
                f"{wanted}",
                "See who has changed it, as in CloudTrail",
            )
        if found != wanted:
            return False
        if self._test_drift(self._forward()):
            return False
        if not wanted.leader:
            return True
        self._look_at_targets(wanted.leader)
        ready = self._activity(wanted.leader).ready > 0
        uncertain = self._forward().strangers() if ready else self.home or self.forced
        return None if uncertain else ready

    def by_hand(self, wanted: Split) -> str:
        named = (("--region", "region"), ("--profile", "profile"), ("--endpoint-url", "endpoint_url"))
        where = [word for flag, name in named if self._options[name] for word in (flag, self._options[name])]
        return shlex.join(["aws", *where, *self._place().by_hand(self._forward().holding(wanted))])

    def observe(self) -> dict[str, Activity] | None:
        if not all(colour in self._targets for colour in self._colours):  # verify looks at one colour
            self._look_at_targets(*self._colours)
        seen = {colour: self._activity(colour) for colour in self._colours}
        self._targets = {}  # the next one who asks wants to know how it is then
        return seen

    def long_lived(self) -> dict[str, int] | None:
        return None

    def lingers(self, before: Split | None, after: Split) -> float | None:
        """None: a network load balancer keeps a client for as long as it has the connection."""
        return 0.0 if self._cut or not self._forward().is_sticky() else self._forward().sticky_for()

    def shown(self, split: Split) -> dict[str, t.Any]:
        test = self._test()
        places = [(self._place(), split), *([(test, _idle(split))] if test and not split.shared else [])]
        held = {place.what: weights(self._forward(place).holding(led)) for place, led in places}
        return {what: {short(arn): many for arn, many in found.items()} for what, found in held.items()}

    def _place(self) -> Action:
        if self._action is None:
            self._action = _find(self._aws, self._options)
        return self._action

    def _test(self) -> Action | None:
        arn, port = self._options["test_listener_arn"], self._options["test_port"]
        if self._test_action is None and (arn or port):
            listener = arn or find_listener(self._aws, self._options["load_balancer"], port)
            balancer_of(listener)
            self._test_action = Action(self._aws, listener, None)
        return self._test_action

    def _forward(self, place: Action | None = None) -> Forward:
        """What was seen last, of the route or of its test listener."""
        place = place or self._place()
        return Forward(place.what, place.known or place.read(), self._group_arns()).check()

    def _group_arns(self) -> dict[str, str]:
        if not self._groups:
            named = self._options["target_groups"]
            self._groups = find_groups(self._aws, {colour: named[colour] for colour in self._colours})
        return self._groups

    def _look_at_targets(self, *colours: str) -> None:
        if not self._looks:
            self._looks = {colour: look_at(self._aws, arn) for colour, arn in self._group_arns().items()}
        self._targets = {colour: self._looks[colour].again() for colour in colours}

    def _activity(self, colour: str) -> Activity:
        there = members(self._targets[colour])
        unready = [trouble(target) for target in there if not is_ready(target)]
        return Activity(
            members=len(there),
            ready=len(there) - len(unready),
            unready=tuple(unready[:MOST_REASONS]),
            gaps=self._gaps(colour, there) if len(unready) < len(there) else (),
        )

    def _gaps(self, colour: str, there: t.Sequence[Json]) -> tuple[str, ...]:
        """Zones with fewer healthy targets than are needed; no more are than the other colour has there.

        Unless the user says how many, none is needed in a zone that the targets of another one serve as well.
        """
        (other,) = {*self._colours} - {colour}
        asked = self._options["healthy_per_zone"]
        least = 1 if asked is None else asked
        if least < 1 or other not in self._targets:
            return ()
        balancer = balancer_of(self._place().listener)
        short = short_zones(self._aws, balancer, there, members(self._targets[other]), least)
        if short and asked is None and crosses_zones(self._aws, self._group_arns()[colour], balancer):
            return ()
        return tuple(short)


def _check_options(colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> None:
    named = options["target_groups"]
    unnamed = [colour for colour in colours if not isinstance(named.get(colour), str) or not named[colour]]
    if unnamed or len(set(named.values())) != len(colours):
        raise InvalidError(f"target_groups is {named}", f"one of its own for {' and '.join(colours)}")
    ways = [name for name in ("listener_arn", "rule_arn", "load_balancer") if options[name]]
    if len(ways) != 1:
        raise InvalidError(f"{' and '.join(ways) or 'none'} of listener_arn, rule_arn and load_balancer is set", "one")
    if options["load_balancer"] and not options["port"]:
        raise InvalidError("load_balancer is set without port", "the port of its listener")
    if bool(options["rule_priority"]) + bool(options["rule_tags"]) + bool(options["rule_arn"]) > 1:
        raise InvalidError("more than one of rule_arn, rule_priority and rule_tags is set", "one of them at most")
    _check_test(options)


def _check_test(options: t.Mapping[str, t.Any]) -> None:
    arn, port = options["test_listener_arn"], options["test_port"]
    if arn and port:
        raise InvalidError("test_listener_arn and test_port are set", "one of them")
    if port and not options["load_balancer"]:
        raise InvalidError(
            "test_port is set without load_balancer", "the load balancer that has it, or test_listener_arn"
        )
    whole = not (options["rule_arn"] or options["rule_priority"] or options["rule_tags"])
    if whole and ((arn and arn == options["listener_arn"]) or (port and port == options["port"])):
        raise InvalidError("the test listener is the one with the traffic", "another one")


def _idle(split: Split) -> Split:
    """All to the colour without traffic."""
    return Split(split.first, split.second, WHOLE - split.first_share)


def _find(aws: Aws, options: t.Mapping[str, t.Any]) -> Action:
    if options["rule_arn"]:
        return Action(aws, listener_of(options["rule_arn"]), options["rule_arn"])
    listener = options["listener_arn"] or find_listener(aws, options["load_balancer"], options["port"])
    balancer_of(listener)
    priority, tags = options["rule_priority"], options["rule_tags"]
    rules = look_at_rules(aws, listener).once() if priority or tags else []
    rule = find_rule(rules, priority) if priority else find_tagged_rule(aws, rules, tags) if tags else None
    return Action(aws, listener, rule)


def weights(actions: t.Sequence[Json]) -> dict[str, int]:
    """By the ARN of the target group, of all actions."""
    return {arn: weight for action in actions for arn, weight in group_weights(action).items()}


def _words(found: t.Mapping[str, int]) -> str:
    return ", ".join(f"{short(arn)} with weight {weight}" for arn, weight in found.items()) or "nobody"
