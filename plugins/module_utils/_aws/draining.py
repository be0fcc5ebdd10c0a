# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking targets out of their load balancer, and waiting until nothing is in flight. Private to this collection.

Source: docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html, "Deregistration
delay"; docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-conn-drain.html;
docs.aws.amazon.com/elasticloadbalancing/latest/APIReference, DeregisterTargets, DescribeTargetHealth.
"""

from __future__ import annotations

import contextlib
import typing as t

from .._errors import BlueGreenError, ConflictError, InvalidError, UndoFailedError, UnsupportedError
from .._wait import SYSTEM_CLOCK, Clock
from .client import Aws, batches
from .drain_order import Order
from .drain_places import Classic, Delay, Place, TargetGroup
from .drain_watch import Plan, Watch
from .in_use import check_unused
from .listeners import AT_MOST, find_groups, tags_of

DELAY = "deregistration_delay.timeout_seconds"
DELAY_TAG = "bluegreen.deploy/deregistration_delay"


class Draining:
    def __init__(self, aws: Aws, clock: Clock = SYSTEM_CLOCK) -> None:
        self._aws, self._clock = aws, clock

    def plan(self, order: Order) -> Plan:
        """Raises ``conflict`` where traffic still comes. Changes nothing."""
        arns = self._arns(order)
        balancers = self._balancers(arns)
        warnings = check_unused(self._aws, balancers, order.unused)
        tags = tags_of(self._aws, arns)
        groups = tuple(
            TargetGroup(self._aws, arn, self._delay(arn, tags.get(arn, {}).get(DELAY_TAG)), order.targets)
            for arn in arns
        )
        for group in groups:
            if order.delay is not None and group.delay.found is None:
                raise UnsupportedError(f"{group.name} has no deregistration delay", "one", "Leave it out")
        classic = None
        if order.balancer:
            classic = Classic(self._aws, order.balancer, order.instances, order.connection_draining)
            classic.check(order.unused)
        return Plan(order, groups, classic, tuple(warnings))

    def carry_out(self, plan: Plan) -> dict[str, t.Any]:
        """Take them out and wait; the delays are put back in every outcome."""
        with contextlib.closing(Watch(plan, self._clock)) as watch:
            self._drain(plan, watch)
            return watch.result()

    def _drain(self, plan: Plan, watch: Watch) -> None:
        begun: list[tuple[TargetGroup, Delay]] = []
        failed: BlueGreenError | None = None
        try:
            for group in plan.groups:
                self._begin(plan, group, begun)
            for place in plan.places:
                _named(place, place.take_out)
            watch.wait()
        except BlueGreenError as error:
            failed = error
            raise
        finally:
            self._end(begun, failed, watch.result())

    def _begin(self, plan: Plan, group: TargetGroup, begun: list[tuple[TargetGroup, Delay]]) -> None:
        """What a killed drain left is put back first. The group remembers what its delay is before it is lowered."""
        during = plan.during(group)

        def lower() -> None:
            if group.delay.was is not None:
                self._put_back(group, group.delay)
            if during is None:
                return
            told = f"{group.delay.own} lowered to {during}"
            tags = [{"Key": DELAY_TAG, "Value": told}]
            self._aws.write("elbv2", "add_tags", lambda: True, ResourceArns=[group.arn], Tags=tags)
            begun.append((group, Delay.of(during, told)))
            self._set_delay(group.arn, during)

        _named(group, lower)

    def _end(
        self, begun: t.Sequence[tuple[TargetGroup, Delay]], failed: BlueGreenError | None, result: dict[str, t.Any]
    ) -> None:
        """One that cannot be put back keeps no other from it."""
        lost: list[str] = []
        for group, delay in begun:
            try:
                self._put_back(group, delay)
            except BlueGreenError as error:
                lost.append(f"{group.name} may still have deregistration delay {delay.lowered} s ({error.found})")
        if failed:
            failed.details.update({**result, **failed.details})
        if lost:
            raise UndoFailedError(
                "; ".join([*([failed.found] if failed else []), *lost]),
                "the delay that it had before",
                f"Run it again: the tag {DELAY_TAG} tells what to put back",
                **(failed.details if failed else result),
            )

    def _put_back(self, group: TargetGroup, delay: Delay) -> None:
        """The tag is taken off when the delay is back, so that nobody forgets."""
        if delay.was is not None and self._read_delay(group.arn) == delay.lowered:
            self._set_delay(group.arn, delay.was)
        self._aws.write("elbv2", "remove_tags", lambda: True, ResourceArns=[group.arn], TagKeys=[DELAY_TAG])

    def _set_delay(self, arn: str, seconds: int) -> None:
        before, attributes = self._read_delay(arn), [{"Key": DELAY, "Value": str(seconds)}]

        def due() -> bool:
            now = self._read_delay(arn)
            if now not in (before, seconds):
                raise ConflictError(f"the deregistration delay is now {now} s", f"{before} s", "See who changes it")
            return now != seconds

        self._aws.write("elbv2", "modify_target_group_attributes", due, TargetGroupArn=arn, Attributes=attributes)

    def _arns(self, order: Order) -> list[str]:
        arns = list(find_groups(self._aws, {name: name for name in order.groups}).values())
        if len({*arns}) < len(arns):
            raise InvalidError(f"target_groups is {', '.join(order.groups)}", "none of them twice, by name and by ARN")
        return arns

    def _balancers(self, arns: t.Sequence[str]) -> dict[str, list[str]]:
        """The load balancers that each group is behind."""
        found: dict[str, list[str]] = {}
        for some in batches(arns, AT_MOST):
            told = self._aws.pages("elbv2", "describe_target_groups", "TargetGroups", TargetGroupArns=some)
            found.update({each["TargetGroupArn"]: each.get("LoadBalancerArns") or [] for each in told})
        return found

    def _delay(self, arn: str, tag: str | None) -> Delay:
        return Delay.of(self._read_delay(arn), tag)

    def _read_delay(self, arn: str) -> int | None:
        told = self._aws.call("elbv2", "describe_target_group_attributes", TargetGroupArn=arn)["Attributes"]
        return next((int(each["Value"]) for each in told if each["Key"] == DELAY), None)


def _named(place: Place, work: t.Callable[[], None]) -> None:
    try:
        work()
    except BlueGreenError as error:
        raise error.of(place.name) from error


def drain_targets(aws: Aws, order: Order, *, dry_run: bool, clock: Clock = SYSTEM_CLOCK) -> dict[str, t.Any]:
    """Take the targets out, and wait until nothing is in flight; ``dry_run``: tell what there is to do."""
    draining = Draining(aws, clock)
    plan = draining.plan(order)
    result = Watch(plan, clock).result() if dry_run else draining.carry_out(plan)
    before, after = plan.diff()
    return {
        "changed": plan.changes,
        **result,
        "diff": {"before": before, "after": after},
        "warnings": list(plan.warnings),
    }
