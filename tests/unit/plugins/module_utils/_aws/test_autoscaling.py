# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned, and what is waited for, on answers as AWS documents them."""

from __future__ import annotations

import typing as t

import pytest

from plugins.module_utils._aws.autoscaling import (
    AT_ONCE,
    INTERVAL,
    LEAST_TAG,
    RESTING,
    SUSPENDED_TAG,
    AutoScaling,
    Plan,
    Wanted,
    alike,
    parse_group,
)
from plugins.module_utils._aws.client import CodedError, LostAnswerError
from plugins.module_utils._errors import (
    BlueGreenError,
    ConflictError,
    DeniedError,
    InvalidError,
    MissingError,
    NotReadyError,
    TimeLimitError,
    UnsupportedError,
)
from plugins.module_utils._wait import Clock
from tests.unit.plugins.module_utils._aws.fakes import Calls

Json = dict[str, t.Any]
TEMPLATE = "lt-0123456789abcdef0"


def instance(number: int = 1, state: str = "InService", version: str | None = "7", **more: t.Any) -> Json:
    template = {"LaunchTemplate": {"LaunchTemplateId": TEMPLATE, "LaunchTemplateName": "shop", "Version": version}}
    described = {"InstanceId": f"i-{number}", "LifecycleState": state, "HealthStatus": "Healthy"}
    return {**described, "ProtectedFromScaleIn": False, **(template if version else {}), **more}


def instances(*states: str) -> list[Json]:
    return [instance(number, state) for number, state in enumerate(states, start=1)]


def described(name: str = "shop", **more: t.Any) -> Json:
    """Two of one to four instances, all in service."""
    return {
        "AutoScalingGroupName": name,
        "MinSize": 1,
        "DesiredCapacity": 2,
        "MaxSize": 4,
        "Instances": instances("InService", "InService"),
        "SuspendedProcesses": [],
        "Tags": [],
        "LaunchTemplate": {"LaunchTemplateId": TEMPLATE, "LaunchTemplateName": "shop", "Version": "7"},
        **more,
    }


def tags(**values: str) -> list[Json]:
    keys = {"least": LEAST_TAG, "suspended": SUSPENDED_TAG}
    return [{"Key": keys.get(key, key), "Value": value} for key, value in values.items()]


def processes(*names: str) -> list[Json]:
    return [{"ProcessName": name, "SuspensionReason": f"{name} because of an alarm"} for name in names]


def activity(number: int, status: str, **more: t.Any) -> Json:
    told = {"Description": "Launching a new EC2 instance", "StatusMessage": "We have no capacity in this zone"}
    return {"ActivityId": f"a-{number}", "StatusCode": status, **told, **more}


class FakeAws(Calls):
    """Answers from lists, of which the last stays; notes what was asked."""

    def __init__(self, *groups: t.Any, activities: t.Sequence[t.Any] = ((),), **answers: t.Any) -> None:
        self.groups, self.activities, self.answers = [*groups], [*activities], answers
        self.calls: list[tuple[str, Json]] = []

    @staticmethod
    def _next(some: list[t.Any]) -> t.Any:
        return some.pop(0) if len(some) > 1 else some[0]

    def pages(self, service: str, action: str, key: str, **asked: t.Any) -> list[t.Any]:
        self.calls.append((action, asked))
        there = self._next(self.groups)
        wanted = asked["AutoScalingGroupNames"]
        return [each for each in there if each["AutoScalingGroupName"] in wanted]

    def call(self, service: str, action: str, **asked: t.Any) -> Json:
        if action == "describe_scaling_activities":
            return {"Activities": self._next(self.activities)}
        self.calls.append((action, asked))
        answer = self.answers.get(action, {})
        if isinstance(answer, list):
            answer = self._next(answer)
        if isinstance(answer, Exception):
            raise answer
        found: Json = answer
        return found

    @property
    def writes(self) -> list[tuple[str, Json]]:
        return [call for call in self.calls if not call[0].startswith("describe")]


class Time:
    """Sleeping is all that makes it go by."""

    def __init__(self) -> None:
        self.at = 0.0
        self.clock = Clock(lambda: self.at, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def planned(given: Json, capacity: int | None = None, **wanted: t.Any) -> Plan:
    return AutoScaling(t.cast(t.Any, FakeAws([]))).plan(parse_group(given), capacity, Wanted(**wanted))


def carried_out(aws: FakeAws, capacity: int | None = None, timeout: float = 60.0, **wanted: t.Any) -> Time:
    """On all groups that are there at first."""
    time = Time()
    service = AutoScaling(t.cast(t.Any, aws), time.clock)
    groups = service.read([each["AutoScalingGroupName"] for each in aws.groups[0]])
    service.carry_out([service.plan(group, capacity, Wanted(**wanted)) for group in groups], timeout)
    return time


# --- How many ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "capacity", "least", "desired", "least_was"),
    [
        (described(), None, 1, 2, None),
        (described(), 2, 1, 2, None),
        (described(), 4, 1, 4, None),
        (described(), 1, 1, 1, None),
        (described(), 0, 0, 0, 1),
        (described(MinSize=0), 0, 0, 0, None),
        (described(MinSize=2), 1, 1, 1, 2),
        # it is put back by a capacity that allows for it, and remembered until then
        (described(MinSize=0, Tags=tags(least="2 lowered to 0")), 2, 2, 2, None),
        (described(MinSize=0, Tags=tags(least="2 lowered to 0")), 4, 2, 4, None),
        (described(MinSize=0, Tags=tags(least="3 lowered to 0")), 2, 0, 2, 3),
        (described(MinSize=1, Tags=tags(least="3 lowered to 1")), 0, 0, 0, 3),
        (described(MinSize=0, Tags=tags(least="2 lowered to 0")), None, 0, 2, 2),
        # somebody else has changed it since
        (described(MinSize=1, Tags=tags(least="2 lowered to 0")), 4, 1, 4, None),
        (described(MinSize=1, Tags=tags(least="2 lowered to 0")), 0, 0, 0, 1),
        (described(MinSize=0, Tags=tags(least="nonsense")), 4, 0, 4, None),
    ],
)
def test_the_minimum_follows_and_is_put_back(
    given: Json, capacity: int | None, least: int, desired: int, least_was: int | None
) -> None:
    after = planned(given, capacity).after
    assert (after.least, after.desired, after.most, after.least_was) == (least, desired, 4, least_was)


@pytest.mark.parametrize(
    ("desired", "ratio", "many"),
    [(4, 1.0, 4), (4, 0.5, 2), (5, 0.5, 3), (30, 0.1, 3), (1, 0.01, 1), (0, 1.0, 0), (3, 1.34, 5), (3, 1 / 3, 1)],
)
def test_a_share_of_what_another_group_has_is_rounded_up(desired: int, ratio: float, many: int) -> None:
    assert alike(desired, ratio) == many


@pytest.mark.parametrize(
    ("given", "capacity", "wanted", "error", "said"),
    [
        (
            described(),
            5,
            {},
            InvalidError,
            "desired capacity 2 and maximum 4; expected a number from 0 to 4",
        ),
        (described(), -1, {}, InvalidError, "is to be -1"),
        (
            described(SuspendedProcesses=processes("Launch")),
            3,
            {},
            NotReadyError,
            "process Launch of group shop is suspended (Launch because of an alarm)",
        ),
        (described(SuspendedProcesses=processes("AddToLoadBalancer")), 3, {}, NotReadyError, "--scaling-processes Add"),
        (described(SuspendedProcesses=processes("Terminate")), 1, {}, NotReadyError, "process Terminate of group shop"),
        (
            described(Instances=[instance(1, ProtectedFromScaleIn=True), instance(2)]),
            0,
            {},
            NotReadyError,
            "i-1 of group shop are protected from scale in",
        ),
        (described(), None, {"version": "8"}, NotReadyError, "launches version 7 of launch template lt-"),
        (
            described(Instances=[instance(1, version="6"), instance(2, version=None)]),
            4,
            {"version": "7"},
            NotReadyError,
            "2 instances in service of another version: i-1 (version 6), i-2 (no version); expected version 7",
        ),
        (described(LaunchTemplate=None), None, {"version": "7"}, UnsupportedError, "has no launch template"),
        (described(), None, {"version": "newest"}, InvalidError, "is 'newest'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_changed(
    given: Json, capacity: int | None, wanted: Json, error: type[BlueGreenError], said: str
) -> None:
    with pytest.raises(error) as caught:
        planned(given, capacity, **wanted)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("given", "capacity"),
    [
        (described(SuspendedProcesses=processes("Launch")), 2),
        (described(SuspendedProcesses=processes("Launch", "AddToLoadBalancer")), 1),
        (described(SuspendedProcesses=processes("Terminate")), 3),
        (described(Instances=[instance(1, ProtectedFromScaleIn=True), instance(2)]), 1),
        (described(Instances=[instance(1, version="6"), instance(2)]), 1),  # it may be the one that goes
        (described(Instances=[instance(1, version="6"), instance(2)]), 0),
    ],
)
def test_what_does_not_stand_in_the_way_is_no_reason(given: Json, capacity: int) -> None:
    assert planned(given, capacity, version="7").after.desired == capacity


def test_a_version_by_a_word_is_what_it_is_now() -> None:
    versions = {"LaunchTemplateVersions": [{"VersionNumber": 7}]}
    aws = FakeAws([], describe_launch_template_versions=versions)
    service = AutoScaling(t.cast(t.Any, aws))
    for given in ("7", "$Latest"):
        template = {"LaunchTemplateId": TEMPLATE, "Version": given}
        mixed = {"LaunchTemplate": {"LaunchTemplateSpecification": template}}
        for group in (described(LaunchTemplate=template), described(LaunchTemplate=None, MixedInstancesPolicy=mixed)):
            assert service.plan(parse_group(group), 4, Wanted(version="$Latest")).version == "7"
    asked = {"LaunchTemplateId": TEMPLATE, "Versions": ["$Latest"]}
    assert aws.calls == [("describe_launch_template_versions", asked)]


# --- What rests --------------------------------------------------------------------------------------------

ALL = list(RESTING)


@pytest.mark.parametrize(
    ("suspended", "tag", "action", "after", "ours"),
    [
        ([], "", "suspend", ALL, ALL),
        (["Terminate"], "", "suspend", [*ALL, "Terminate"], ALL),
        (["AZRebalance"], "", "suspend", ALL, ["AlarmNotification", "InstanceRefresh", "ScheduledActions"]),
        (ALL, "", "suspend", ALL, []),
        (ALL, " ".join(ALL), "suspend", ALL, ALL),
        (["AlarmNotification"], "AlarmNotification", "suspend", ALL, ALL),
        ([], "AlarmNotification", "suspend", ALL, ALL),  # somebody has resumed it
        (ALL, " ".join(ALL), "resume", [], []),
        ([*ALL, "Launch"], "AZRebalance Launch", "resume", [*ALL[1:], "Launch"], []),  # Launch is none of ours
        (ALL, "", "resume", ALL, []),
        ([], " ".join(ALL), "resume", [], []),
        (ALL, "AZRebalance", None, ALL, ["AZRebalance"]),
    ],
)
def test_only_what_was_suspended_here_is_resumed(
    suspended: list[str], tag: str, action: str | None, after: list[str], ours: list[str]
) -> None:
    given = described(SuspendedProcesses=processes(*suspended), Tags=tags(suspended=tag))
    state = planned(given, processes=action).after
    assert (sorted(state.suspended), sorted(state.ours)) == (sorted(after), sorted(ours))


def test_the_tag_is_there_before_the_suspension_and_until_it_is_lifted() -> None:
    aws = FakeAws([described(SuspendedProcesses=processes("AZRebalance"))])
    carried_out(aws, timeout=0, processes="suspend")
    mine = ["AlarmNotification", "InstanceRefresh", "ScheduledActions"]
    tag = {"ResourceId": "shop", "ResourceType": "auto-scaling-group", "Key": SUSPENDED_TAG}
    assert aws.writes == [
        ("create_or_update_tags", {"Tags": [{**tag, "PropagateAtLaunch": False, "Value": " ".join(mine)}]}),
        ("suspend_processes", {"AutoScalingGroupName": "shop", "ScalingProcesses": mine}),
    ]
    there = described(SuspendedProcesses=processes("AZRebalance", *mine), Tags=tags(suspended=" ".join(mine)))
    aws = FakeAws([there])
    carried_out(aws, timeout=0, processes="resume")
    assert aws.writes == [
        ("resume_processes", {"AutoScalingGroupName": "shop", "ScalingProcesses": mine}),
        ("delete_tags", {"Tags": [tag]}),
    ]


def test_nothing_to_resume_resumes_nothing() -> None:
    """Without names, AWS would resume all."""
    aws = FakeAws([described(SuspendedProcesses=processes(*ALL))])
    carried_out(aws, processes="resume", timeout=0)
    assert aws.writes == []


# --- What is done ------------------------------------------------------------------------------------------


def test_one_call_changes_the_capacity_and_one_the_minimum_with_it() -> None:
    aws = FakeAws([described()], [described(DesiredCapacity=3, Instances=instances(*["InService"] * 3))])
    carried_out(aws, 3)
    assert aws.writes == [("set_desired_capacity", {"AutoScalingGroupName": "shop", "DesiredCapacity": 3})]
    empty = described(MinSize=0, DesiredCapacity=0, Instances=[], Tags=tags(least="1 lowered to 0"))
    aws = FakeAws([described()], [empty])
    carried_out(aws, 0)
    tag, size = aws.writes
    assert (tag[0], tag[1]["Tags"][0]["Value"]) == ("create_or_update_tags", "1 lowered to 0")
    assert size == (
        "update_auto_scaling_group",
        {"AutoScalingGroupName": "shop", "MinSize": 0, "DesiredCapacity": 0},
    )
    aws = FakeAws([empty], [described()])
    carried_out(aws, 2)
    size, untag = aws.writes
    assert size[1] == {"AutoScalingGroupName": "shop", "MinSize": 1, "DesiredCapacity": 2}
    assert (untag[0], untag[1]["Tags"][0]["Key"]) == ("delete_tags", LEAST_TAG)


def test_what_is_so_already_is_not_written_and_nobody_waits() -> None:
    aws = FakeAws([described()])
    time = carried_out(aws, 2)
    assert aws.calls == [("describe_auto_scaling_groups", {"AutoScalingGroupNames": ["shop"]})]
    assert time.at == 0


def test_many_groups_are_asked_for_in_parts() -> None:
    names = [f"shop-{number}" for number in range(120)]
    aws = FakeAws([described(name) for name in names])
    groups = AutoScaling(t.cast(t.Any, aws)).read(names)
    assert [group.name for group in groups] == names
    assert [len(asked["AutoScalingGroupNames"]) for _action, asked in aws.calls] == [AT_ONCE, AT_ONCE, 20]


def test_groups_that_are_not_there_are_named() -> None:
    aws = FakeAws([described("blue"), described("green", Status="Delete in progress")])
    with pytest.raises(MissingError, match="green, nobody are not there, or being deleted"):
        AutoScaling(t.cast(t.Any, aws)).read(["blue", "green", "nobody"])


@pytest.mark.parametrize("failing", range(4))
def test_who_cannot_be_changed_is_named_and_keeps_no_other_from_it(failing: int) -> None:
    names = [f"shop-{number}" for number in range(4)]
    answers: list[t.Any] = [{} for _name in names]
    answers[failing] = DeniedError("not authorized to perform: autoscaling:SetDesiredCapacity")
    aws = FakeAws([described(name) for name in names], set_desired_capacity=answers)
    with pytest.raises(DeniedError) as caught:
        carried_out(aws, 3)
    others = [name for name in names if name != names[failing]]
    assert caught.value.details == {"changed_groups": others, "failed_groups": [names[failing]]}
    assert caught.value.message.startswith(f"group shop-{failing}: not authorized")
    assert f"Changed: {', '.join(others)}; not changed: {names[failing]}. Run it again" in caught.value.message
    assert len(aws.writes) == 4


@pytest.mark.parametrize(("desired", "lost"), [(3, False), (2, True)])
def test_whether_a_write_without_an_answer_was_carried_out_is_looked_up(desired: int, lost: bool) -> None:
    now = described(DesiredCapacity=desired, Instances=instances(*["InService"] * desired))
    aws = FakeAws([described()], [now], set_desired_capacity=LostAnswerError("no answer"))
    if lost:
        with pytest.raises(LostAnswerError, match="group shop: no answer"):
            carried_out(aws, 3)
    else:
        carried_out(aws, 3)
    assert len(aws.writes) == 1


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (InvalidError("AutoScalingGroup name not found - no such group"), MissingError),
        (InvalidError("something else"), InvalidError),
        (CodedError("ScalingActivityInProgress", "Activity a-1 is in progress"), ConflictError),
        (CodedError("LimitExceeded", "too much"), CodedError),
    ],
)
def test_what_aws_says_to_a_change_has_a_code(told: BlueGreenError, error: type[BlueGreenError]) -> None:
    with pytest.raises(error) as caught:
        carried_out(FakeAws([described()], set_desired_capacity=told), 3)
    assert caught.value.__class__ is error


# --- What is waited for ------------------------------------------------------------------------------------


def at(desired: int, *states: str, **more: t.Any) -> list[Json]:
    return [described(DesiredCapacity=desired, Instances=instances(*states), **more)]


IN = "InService"
SICK = {"HealthStatus": "Unhealthy"}


@pytest.mark.parametrize(
    ("capacity", "looks"),
    [
        (3, [at(3, IN, IN), at(3, IN, IN, "Pending"), at(3, IN, IN, "Pending:Wait"), at(3, IN, IN, IN)]),
        (3, [at(3, IN, IN, "Warmed:Stopped"), at(3, IN, IN, "Pending:Proceed", "Warmed:Running"), at(3, IN, IN, IN)]),
        (3, [at(3, IN, IN, "Standby"), at(3, IN, IN, "Standby", IN)]),
        (3, [at(3, IN, IN, IN, "Terminating:Wait")]),  # one more that goes holds nobody up
        (3, [at(2, IN, IN), at(3, IN, IN, IN)]),  # an answer that is not the newest
        (3, [at(4, IN, IN, "Pending", "Pending"), at(4, IN, IN, IN, "Pending")]),  # a policy wants more
        (1, [at(2, IN, IN), at(1, IN, IN), at(1, IN, "Terminating:Wait"), at(1, IN)]),
        (0, [at(0, IN, IN), at(0, "Terminating", "Terminating:Wait"), at(0, "Standby", "Warmed:Stopped")]),
        (2, [[described(Instances=[instance(1), instance(2, **SICK)])], at(2, IN, "Pending"), at(2, IN, IN)]),
    ],
)
def test_it_waits_until_as_many_are_ready_and_the_others_gone(capacity: int, looks: list[t.Any]) -> None:
    first = looks[0] if capacity == 2 else at(2, IN, IN)
    aws = FakeAws(first, *looks)
    time = carried_out(aws, capacity, timeout=100)
    assert time.at == INTERVAL * (len(looks) - 1)
    assert len([call for call in aws.calls if call[0].startswith("describe")]) == 1 + len(looks)


def test_a_group_that_is_empty_is_waited_for_by_the_next_call_too() -> None:
    aws = FakeAws(at(0, "Terminating:Wait", MinSize=0), at(0, "Terminating:Wait", MinSize=0), at(0, MinSize=0))
    assert carried_out(aws, 0).at == INTERVAL


def test_weights_count() -> None:
    """Two of weight 3 are enough for 5, and more than that."""

    def heavy(*weights: str) -> list[Json]:
        some = [instance(number, WeightedCapacity=weight) for number, weight in enumerate(weights)]
        return [described(DesiredCapacity=5, MaxSize=9, Instances=some)]

    aws = FakeAws([described(MaxSize=9)], heavy("3"), heavy("3", "3"))
    assert carried_out(aws, 5).at == INTERVAL
    aws = FakeAws([described(MaxSize=9, DesiredCapacity=9)], heavy("3", "3", "3"), heavy("3", "3"))
    assert carried_out(aws, 5).at == INTERVAL


NEVER: list[tuple[int, list[Json], type[BlueGreenError], str]] = [
    (
        3,
        at(3, IN, IN, "Pending:Wait"),
        TimeLimitError,
        "these instances: 2 InService, 1 Pending:Wait; expected 3",
    ),
    (3, [described(DesiredCapacity=3, Instances=[instance(1, **SICK)])], TimeLimitError, "1 InService but unhealthy"),
    (0, at(0, IN, MinSize=0), TimeLimitError, "expected 0 in service and healthy, and no other"),
    (3, at(1, IN), ConflictError, "desired capacity 1; expected 3, as it is to be"),
    (0, at(1, IN, MinSize=0), ConflictError, "desired capacity 1; expected 0"),
    (3, [], MissingError, "shop is not there, or being deleted"),
]


@pytest.mark.parametrize("case", NEVER, ids=lambda case: case[3])
def test_what_does_not_come_to_an_end_is_named(
    case: tuple[int, list[Json], type[BlueGreenError], str],
) -> None:
    capacity, seen, error, said = case
    with pytest.raises(error) as caught:
        carried_out(FakeAws(at(2, IN, IN), seen), capacity, timeout=12)
    assert said in caught.value.message


def test_a_look_does_not_start_after_the_time_is_over() -> None:
    aws = FakeAws(at(2, IN, IN), at(3, IN, IN))
    with pytest.raises(TimeLimitError, match="after 12 s"):
        carried_out(aws, 3, timeout=12)
    assert len(aws.calls) == 1 + 1 + 4  # one to plan, one to change, and at 0, 5, 10 and 12 s


def test_instances_of_another_version_are_named_when_they_are_all_that_comes() -> None:
    seen = [described(DesiredCapacity=3, Instances=[instance(1), instance(2), instance(3, version="6")])]
    with pytest.raises(NotReadyError, match=r"another version: i-3 \(version 6\); expected version 7"):
        carried_out(FakeAws(at(2, IN, IN), seen), 3, version="7")


@pytest.mark.parametrize("status", ["Failed", "Cancelled"])
def test_launches_that_fail_again_and_again_end_the_wait_in_the_words_of_aws(status: str) -> None:
    old, *new = activity(1, "Failed", StatusMessage="old news"), *(activity(number, status) for number in (2, 3, 4))
    going = activity(2, "InProgress")
    aws = FakeAws(at(2, IN, IN), at(3, IN, IN), activities=[[old], [going, old], [*new, old]])
    with pytest.raises(NotReadyError) as caught:
        carried_out(aws, 3, timeout=1e6)
    assert f"Launching a new EC2 instance: We have no capacity in this zone ({status}), 3 times" in caught.value.message
    assert "describe-scaling-activities --auto-scaling-group-name shop" in caught.value.message


def test_one_launch_that_fails_is_made_good_in_another_zone() -> None:
    failed = activity(2, "Failed")
    aws = FakeAws(at(2, IN, IN), at(3, IN, IN), at(3, IN, IN, IN), activities=[[], [failed]])
    assert carried_out(aws, 3).at == INTERVAL


def test_what_failed_is_told_when_the_time_is_over() -> None:
    aws = FakeAws(at(2, IN, IN), at(3, IN, IN), activities=[[], [activity(2, "Failed")]])
    with pytest.raises(TimeLimitError, match="We have no capacity in this zone"):
        carried_out(aws, 3, timeout=12)


def test_what_aws_cancels_while_it_shrinks_is_no_failure() -> None:
    aws = FakeAws(at(4, IN, IN, "Pending"), at(1, IN, IN), at(1, IN), activities=[[], [activity(1, "Cancelled")]])
    assert carried_out(aws, 1).at == INTERVAL


def test_only_groups_that_are_late_are_asked_for_their_activities() -> None:
    ready, late = described("ready"), described("late", Instances=instances(IN, "Pending"))
    aws = FakeAws([ready, late], [ready, described("late")], activities=[[]])
    carried_out(aws, 2)
    assert aws.activities == [[]]
    names = [asked["AutoScalingGroupNames"] for action, asked in aws.calls]
    assert names == [["ready", "late"], ["late"]]
