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
import random
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from .._errors import (
    BlueGreenError,
    ConflictError,
    InvalidError,
    TimeLimitError,
    UndoFailedError,
    UnsupportedError,
)
from .._health.http_probe import Http, tls_context
from .._health.probe import Answer, Condition, Expectation, Target, judge, parse_condition, parse_target, shown
from .._wait import SYSTEM_CLOCK, Clock, until
from .client import Aws, Json, LostAnswerError
from .drain_places import (
    DRAINING,
    OUT,
    Classic,
    Delay,
    Place,
    TargetGroup,
)
from .forward import short
from .in_use import check_unused
from .listeners import AT_MOST, find_groups

DELAY = "deregistration_delay.timeout_seconds"
DELAY_TAG = "bluegreen.deploy/deregistration_delay"
LONGEST = 3600
"""Seconds, of a deregistration delay and of connection draining; AWS's limit."""
ASKED_AT_ONCE = 32
JITTER = 0.25
"""The part of an interval that is left to chance: AWS throttles many that ask at the same moment."""
MOST_NAMED = 5

Params = t.Mapping[str, t.Any]

# --- What is asked for ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InFlight:
    """Where the app tells how much it has in flight."""

    urls: tuple[Target, ...]
    query: Condition
    quiet: float
    timeout: float
    validate_certs: bool
    ca_path: str | None


@dataclass(frozen=True)
class Order:
    """What is to be taken out of what, and how long it may take."""

    groups: tuple[str, ...] = ()
    targets: tuple[str, ...] | None = None
    """None: all."""
    delay: int | None = None
    balancer: str | None = None
    instances: tuple[str, ...] = ()
    connection_draining: int | None = None
    unused: tuple[str, ...] = ()
    timeout: float = 600.0
    interval: float = 5.0
    in_flight: InFlight | None = None


def parse(params: Params) -> Order:
    """The options as values; raises before anybody is asked."""
    order = Order(
        groups=_texts(params, "target_groups") or (),
        targets=_texts(params, "targets"),
        delay=_whole(params, "deregistration_delay", 0),
        balancer=params["classic_load_balancer"],
        instances=_texts(params, "instances") or (),
        connection_draining=_whole(params, "connection_draining", 1),
        unused=_texts(params, "unused") or (),
        timeout=params["timeout"],
        interval=params["interval"],
    )
    if not 0 <= order.timeout < float("inf") or not 0 < order.interval < float("inf"):
        raise InvalidError(
            f"timeout is {order.timeout:g} and interval {order.interval:g}", "seconds, and an interval above 0"
        )
    if not order.groups and not order.balancer:
        raise InvalidError("target_groups and classic_load_balancer are empty", "one of them at least")
    return replace(order, in_flight=_in_flight(params["in_flight"], order.timeout))


def _texts(params: Params, name: str) -> tuple[str, ...] | None:
    """None: not given."""
    texts = params[name]
    if texts is None:
        return None
    if not texts or not all(texts) or len(set(texts)) < len(texts):
        raise InvalidError(f"{name} is {', '.join(texts) or 'empty'}", "at least one, no empty one, and none twice")
    return tuple(texts)


def _whole(params: Params, name: str, least: int) -> int | None:
    value: int | None = params[name]
    if value is not None and not least <= value <= LONGEST:
        raise InvalidError(f"{name} is {value}", f"seconds from {least} to {LONGEST}")
    return value


def _in_flight(options: Params | None, timeout: float) -> InFlight | None:
    if options is None:
        return None
    if not 0 < options["timeout"] < float("inf"):
        raise InvalidError(f"in_flight.timeout is {options['timeout']:g}", "a number of seconds above 0")
    if not 0 <= options["quiet"] < timeout:
        raise InvalidError(
            f"in_flight.quiet is {options['quiet']:g}", f"0 or more, and less than the timeout of {timeout:g} s"
        )
    try:
        urls = tuple(parse_target(url, number) for number, url in enumerate(options["urls"], 1))
        query = parse_condition(options["query"])
    except InvalidError as error:
        raise error.of("in_flight") from error
    strange = [target.url for target in urls if target.scheme == "tcp"]
    if strange or not urls or len({*urls}) < len(urls):
        raise InvalidError(
            f"in_flight.urls is {', '.join(shown(target.url) for target in urls) or 'empty'}",
            "http:// or https:// URLs, none of them twice",
        )
    return InFlight(urls, query, options["quiet"], options["timeout"], options["validate_certs"], options["ca_path"])


# --- What the app counts ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Count:
    url: str
    number: float | None
    """None: it gave none."""
    problem: str = ""

    def as_result(self) -> dict[str, t.Any]:
        return {"url": self.url, "in_flight": self.number, "problem": self.problem}


def count(url: str, answer: Answer, query: Condition) -> Count:
    """The number that the query gives."""
    found: list[t.Any] = []

    def search(document: t.Any) -> bool:
        found.append(query.search(document))
        return _is_number(found[0])

    problem = judge(answer, Expectation(condition=Condition(query.text, search))).reason
    if problem and found:
        problem = f"in_flight.query gives {shown(repr(found[0]))}, which is no number from 0 on"
    return Count(url, None if problem else found[0], problem)


def _is_number(value: t.Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


# --- The drain --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What was found, and what is to be done."""

    order: Order
    groups: tuple[TargetGroup, ...]
    classic: Classic | None
    warnings: tuple[str, ...] = ()

    @property
    def places(self) -> list[Place]:
        return [*self.groups, *([self.classic] if self.classic else [])]

    @property
    def changes(self) -> bool:
        before, after = self.diff()
        return before != after

    def during(self, group: TargetGroup) -> int | None:
        """The delay that the drain of a group gets; who has nothing to take out keeps the one there is."""
        return group.delay.during(self.order.delay) if group.registered else None

    def diff(self) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
        before: dict[str, t.Any] = {}
        after: dict[str, t.Any] = {}
        for group in self.groups:
            before[group.name] = {"registered": group.registered, "deregistration_delay": group.delay.found}
            after[group.name] = {"registered": [], "deregistration_delay": group.delay.own}
        if self.classic:
            before[self.classic.name] = {"registered": self.classic.registered, **_draining(self.classic.draining)}
            after[self.classic.name] = {"registered": [], **_draining(self.classic.wanted)}
        return before, after


def _draining(attributes: Json) -> dict[str, Json]:
    return {"connection_draining": {"enabled": attributes["Enabled"], "timeout": attributes["Timeout"]}}


@dataclass(frozen=True)
class Seen:
    """One look at everything."""

    states: tuple[t.Mapping[str, str], ...]
    """By target, for each place."""
    counts: tuple[Count, ...] = ()
    quiet: float | None = None
    """Seconds for which all of the app counted nothing. None: it does not, or it was not asked."""

    @property
    def out(self) -> bool:
        return {OUT}.issuperset(state for states in self.states for state in states.values())

    @property
    def leaving(self) -> bool:
        return {DRAINING, OUT}.issuperset(state for states in self.states for state in states.values())

    @property
    def busy(self) -> list[Count]:
        return [each for each in self.counts if each.number]

    def drained(self, quiet: float | None) -> bool:
        """Whether AWS says so and the app does not object, or the app has had nothing for so many seconds."""
        idle = quiet is not None and self.quiet is not None and self.quiet >= quiet
        return (self.leaving and idle) or (self.out and not self.busy)


class Draining:
    def __init__(self, aws: Aws, clock: Clock = SYSTEM_CLOCK) -> None:
        self._aws, self._clock = aws, clock

    def plan(self, order: Order) -> Plan:
        """Raises ``conflict`` where traffic still comes. Changes nothing."""
        arns = self._arns(order)
        balancers = self._balancers(arns)
        warnings = check_unused(self._aws, balancers, order.unused)
        tags = self._tags(arns)
        groups = tuple(TargetGroup(self._aws, arn, self._delay(arn, tags.get(arn)), order.targets) for arn in arns)
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
        with contextlib.closing(_Watch(plan, self._clock)) as watch:
            self._drain(plan, watch)
            return watch.result()

    def _drain(self, plan: Plan, watch: _Watch) -> None:
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
            self._aws.call("elbv2", "add_tags", ResourceArns=[group.arn], Tags=[{"Key": DELAY_TAG, "Value": told}])
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
        self._aws.call("elbv2", "remove_tags", ResourceArns=[group.arn], TagKeys=[DELAY_TAG])

    def _set_delay(self, arn: str, seconds: int) -> None:
        """If the answer is lost, the group tells whether it was carried out."""
        attributes = [{"Key": DELAY, "Value": str(seconds)}]
        try:
            self._aws.call("elbv2", "modify_target_group_attributes", TargetGroupArn=arn, Attributes=attributes)
        except LostAnswerError:
            if self._read_delay(arn) != seconds:
                raise

    def _arns(self, order: Order) -> list[str]:
        arns = list(find_groups(self._aws, {name: name for name in order.groups}).values())
        if len({*arns}) < len(arns):
            raise InvalidError(f"target_groups is {', '.join(order.groups)}", "none of them twice, by name and by ARN")
        return arns

    def _balancers(self, arns: t.Sequence[str]) -> dict[str, list[str]]:
        """The load balancers that each group is behind."""
        found: dict[str, list[str]] = {}
        for some in _some(arns, AT_MOST):
            told = self._aws.pages("elbv2", "describe_target_groups", "TargetGroups", TargetGroupArns=some)
            found.update({each["TargetGroupArn"]: each.get("LoadBalancerArns") or [] for each in told})
        return found

    def _tags(self, arns: t.Sequence[str]) -> dict[str, str]:
        """What each group remembers of a drain."""
        found: dict[str, str] = {}
        for some in _some(arns, AT_MOST):
            for each in self._aws.call("elbv2", "describe_tags", ResourceArns=some)["TagDescriptions"]:
                tags = {tag["Key"]: tag.get("Value", "") for tag in each["Tags"]}
                found.update({each["ResourceArn"]: tags[DELAY_TAG]} if DELAY_TAG in tags else {})
        return found

    def _delay(self, arn: str, tag: str | None) -> Delay:
        return Delay.of(self._read_delay(arn), tag)

    def _read_delay(self, arn: str) -> int | None:
        told = self._aws.call("elbv2", "describe_target_group_attributes", TargetGroupArn=arn)["Attributes"]
        return next((int(each["Value"]) for each in told if each["Key"] == DELAY), None)


def _some(items: t.Sequence[str], many: int) -> list[list[str]]:
    return [[*items[start : start + many]] for start in range(0, len(items), many)]


def _named(place: Place, work: t.Callable[[], None]) -> None:
    try:
        work()
    except BlueGreenError as error:
        raise error.of(place.name) from error


class _Watch:
    """Looks until it is drained, and knows what it has seen."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._plan, self._clock = plan, clock
        self._counting = plan.order.in_flight
        self._http: Http | None = None
        self._started = clock.now()
        self._idle_since: float | None = None
        self._took: list[dict[str, float]] = [{} for _place in plan.places]
        """Seconds until a target was out, by target."""
        self._left: list[set[str]] = [set() for _place in plan.places]
        """Who was seen to leave."""
        self.seen = Seen(tuple(place.before for place in plan.places))

    def wait(self) -> None:
        order, clock = self._plan.order, self._clock
        self._started = clock.now()
        quiet = self._counting.quiet if self._counting else None
        seen, drained = until(
            self._look,
            lambda seen: seen.drained(quiet),
            timeout=order.timeout,
            interval=order.interval * (1 - JITTER * random.random()),  # noqa: S311 -- no secret
            clock=clock,
        )
        if not drained:
            raise self._too_late(seen)

    def close(self) -> None:
        if self._http:
            self._http.close()

    def result(self) -> dict[str, t.Any]:
        """What it has come to, as far as it was seen."""
        plan, states = self._plan, self.seen.states
        told = [self._targets(number) for number in range(len(plan.places))]
        return {
            "target_groups": [
                {
                    "name": short(group.arn),
                    "arn": group.arn,
                    "deregistered": group.registered,
                    "deregistration_delay": {
                        "before": group.delay.found,
                        "during": plan.during(group),
                        "after": group.delay.own,
                    },
                    "targets": targets,
                }
                for group, targets in zip(plan.groups, told)
            ],
            "classic_load_balancer": self._classic(told[-1]) if plan.classic else None,
            "in_flight": [each.as_result() for each in self.seen.counts],
            "left": [
                {"from": place.name, "target": name, "state": state}
                for place, found in zip(plan.places, states)
                for name, state in found.items()
                if state != OUT
            ],
        }

    def _classic(self, targets: list[dict[str, t.Any]]) -> dict[str, t.Any]:
        classic = t.cast(Classic, self._plan.classic)
        before, after = (_draining(each)["connection_draining"] for each in (classic.draining, classic.wanted))
        return {
            "name": self._plan.order.balancer,
            "deregistered": classic.registered,
            "connection_draining": {"before": before, "after": after},
            "targets": targets,
        }

    def _targets(self, number: int) -> list[dict[str, t.Any]]:
        return [
            {"target": name, "state": state, "seconds": self._took[number].get(name)}
            for name, state in self.seen.states[number].items()
        ]

    def _look(self) -> Seen:
        began = self._clock.now()
        states = tuple(place.look() for place in self._plan.places)
        for number, found in enumerate(states):
            self._note(number, found)
        counts = self._ask()
        self.seen = Seen(states, counts)
        self.seen = replace(self.seen, quiet=self._quiet(self.seen, began))
        return self.seen

    def _note(self, number: int, found: t.Mapping[str, str]) -> None:
        """Who leaves, and since when who is out. One that comes back was registered by somebody else."""
        place, left, now = self._plan.places[number], self._left[number], self._clock.now()
        for name, state in found.items():
            if state in (DRAINING, OUT):
                left.add(name)
            elif name in left:
                raise ConflictError(
                    f"{place.name}: {name} is {state} after it had left",
                    "nobody to register it again",
                    "See who does, such as an Auto Scaling group or a deployment",
                )
            if state == OUT:
                self._took[number].setdefault(name, round(now - self._started, 3))

    def _ask(self) -> tuple[Count, ...]:
        """All URLs side by side."""
        counting = self._counting
        if counting is None:
            return ()
        if self._http is None:
            secure = any(target.scheme == "https" for target in counting.urls)
            self._http = Http({}, tls_context(counting.validate_certs, counting.ca_path) if secure else None)
        ask, query, limit = self._http, counting.query, counting.timeout
        with ThreadPoolExecutor(min(ASKED_AT_ONCE, len(counting.urls))) as pool:
            return tuple(pool.map(lambda target: count(target.url, ask(target, limit), query), counting.urls))

    def _quiet(self, seen: Seen, began: float) -> float | None:
        """From the end of the first look that saw nothing to the beginning of this one: that long for sure."""
        if not seen.counts or not seen.leaving or any(each.number != 0 for each in seen.counts):
            self._idle_since = None
            return None
        if self._idle_since is None:
            self._idle_since = self._clock.now()
        return max(0.0, began - self._idle_since)

    def _too_late(self, seen: Seen) -> TimeLimitError:
        order, told = self._plan.order, []
        for place, states in zip(self._plan.places, seen.states):
            late = [f"{name} ({state})" for name, state in states.items() if state != OUT]
            told += [f"{place.name} still has {_listed(late)}"] if late else []
        apps = [f"{shown(each.url)} ({_problem(each)})" for each in seen.counts if each.number or each.problem]
        told += [f"the app is not known to be idle: {_listed(apps)}"] if apps else []
        return TimeLimitError(
            f"after {order.timeout:g} s {'; '.join(told)}",
            "all of them out",
            "Run it again, which goes on waiting, or set timeout above the deregistration delay, or in_flight",
        )


def _problem(counted: Count) -> str:
    return counted.problem or f"{counted.number:g} in flight"


def _listed(names: t.Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def drain_targets(aws: Aws, order: Order, *, dry_run: bool, clock: Clock = SYSTEM_CLOCK) -> dict[str, t.Any]:
    """Take the targets out, and wait until nothing is in flight; ``dry_run``: tell what there is to do."""
    draining = Draining(aws, clock)
    plan = draining.plan(order)
    result = _Watch(plan, clock).result() if dry_run else draining.carry_out(plan)
    before, after = plan.diff()
    return {
        "changed": plan.changes,
        **result,
        "diff": {"before": before, "after": after},
        "warnings": list(plan.warnings),
    }
