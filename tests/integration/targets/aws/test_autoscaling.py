# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Auto Scaling groups of the colours, by the module; what instances go through is in the unit tests."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from demo.rig import COLOURS, wait_until
from plugins.module_utils._aws.autoscaling import LEAST_TAG, RESTING, SUSPENDED_TAG
from plugins.modules import autoscaling
from tests.aws.handle import REGION, SECRET, Aws
from tests.aws.scene import PATIENCE, Scene
from tests.unit.plugins.modules.process import as_spec, bare, documented_options, run_module

MINE = sorted(RESTING)


class Shop(Scene):
    """Blue has all traffic and four instances, green has none and nothing; each from one to six if there are any."""

    def __init__(self, aws: Aws) -> None:
        super().__init__(aws)
        self.client = aws.client("autoscaling")
        self.groups = {colour: self.group(colour, TargetType="instance") for colour in COLOURS}
        blue, green = self.groups.values()
        self.arn = self.listener(self.balancer(), {blue: 100, green: 0})
        self.templates = {colour: self.template(f"shop-{colour}") for colour in COLOURS}
        self.fleet("shop-blue", "blue", least=1, desired=4)
        self.fleet("shop-green", "green", least=0, desired=0)
        aws.clear_calls()

    def template(self, name: str) -> str:
        data = {"ImageId": "ami-12345678", "InstanceType": "t3.micro"}
        made = self.aws.client("ec2").create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
        return str(made["LaunchTemplate"]["LaunchTemplateId"])

    def fleet(self, name: str, colour: str, least: int, desired: int) -> None:
        self.client.create_auto_scaling_group(
            AutoScalingGroupName=name,
            MinSize=least,
            MaxSize=6,
            DesiredCapacity=desired,
            LaunchTemplate={"LaunchTemplateId": self.templates[colour], "Version": "1"},
            VPCZoneIdentifier=",".join(self.subnets),
            TargetGroupARNs=[self.groups[colour]],
            Tags=[{"Key": "team", "Value": "shop", "PropagateAtLaunch": True}],
        )

    def described(self, name: str = "shop-green") -> dict[str, Any]:
        (found,) = self.client.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
        return dict(found)

    def sizes(self, name: str = "shop-green") -> tuple[int, int, int]:
        """Minimum, desired capacity, and instances."""
        found = self.described(name)
        return found["MinSize"], found["DesiredCapacity"], len(found["Instances"])

    def suspended(self, name: str = "shop-green") -> list[str]:
        return sorted(each["ProcessName"] for each in self.described(name)["SuspendedProcesses"])

    def tags(self, name: str = "shop-green") -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in self.described(name)["Tags"]}

    def writes(self) -> list[str]:
        return [each.action for each in self.aws.calls("autoscaling") if not each.action.startswith("Describe")]

    def scale(self, region: str = REGION, **options: Any) -> dict[str, Any]:
        keys = {"region": REGION, "access_key": "AKIDTEST", "secret_key": SECRET, "endpoint_url": self.aws.url}
        way = {"listener_arn": self.arn, "target_groups": {colour: colour for colour in COLOURS}, **keys}
        given = {"routes": [{"name": "shop", "provider": "alb", "alb": way}], "aws": {**keys, "region": region}}
        self.aws.clear_calls()
        return run_module("autoscaling", **{**given, "colour": "green", "groups": ["shop-green"], **options})

    def refused(self, code: str, said: str, **options: Any) -> dict[str, Any]:
        told = self.scale(**options)
        assert (told["failure"]["code"], said in told["msg"]) == (code, True), told["msg"]
        return told


@pytest.fixture
def shop(aws: Aws) -> Shop:
    return Shop(aws)


def test_options_and_documentation_agree() -> None:
    assert as_spec(documented_options("autoscaling")) == bare(autoscaling.ARGUMENT_SPEC)


# --- Capacity ----------------------------------------------------------------------------------------------


def test_check_mode_shows_the_change_and_the_run_is_exactly_that(shop: Shop) -> None:
    wanted = {"like": ["shop-blue"], "capacity_ratio": 0.7, "_ansible_diff": True}
    planned = shop.scale(**wanted, _ansible_check_mode=True)
    assert (shop.sizes(), shop.writes()) == ((0, 0, 0), [])
    done = shop.scale(**wanted)
    least = shop.described("shop-blue")["MinSize"]  # so that it is no worse off once it is live
    assert shop.sizes() == (least, 3, 3)
    assert shop.writes() == ["UpdateAutoScalingGroup"]
    assert planned["diff"] == done["diff"]
    nothing = {"max": 6, "min_was": None, "suspended": [], "suspended_here": [], "image_id": None}
    before, after = {"min": 0, "desired": 0, **nothing}, {"min": least, "desired": 3, **nothing}
    assert done["groups"] == [{"name": "shop-green", "before": before, "after": after, "ready": 3}]
    assert (shop.scale(**wanted)["changed"], shop.writes()) == (False, [])


def test_a_colour_goes_to_zero_and_gets_its_minimum_back(shop: Shop) -> None:
    shop.client.update_auto_scaling_group(AutoScalingGroupName="shop-green", MinSize=2, DesiredCapacity=2)
    done = shop.scale(capacity=0)
    (group,) = done["groups"]
    assert (group["before"]["min"], group["after"]["min"], group["after"]["min_was"]) == (2, 0, 2)
    assert shop.sizes() == (0, 0, 0)
    assert shop.tags() == {"team": "shop", LEAST_TAG: "2 lowered to 0"}
    assert shop.scale(capacity=0)["changed"] is False
    assert shop.scale(capacity=1)["changed"]
    assert shop.sizes() == (0, 1, 1)
    (group,) = shop.scale(like=["shop-blue"])["groups"]
    assert (group["before"]["min_was"], group["after"]["min"], group["after"]["min_was"]) == (2, 2, None)
    assert (shop.sizes(), shop.tags()) == ((2, 4, 4), {"team": "shop"})


@pytest.mark.parametrize(("blue", "green"), [(100, 0), (99, 1)])
def test_a_colour_with_traffic_cannot_be_scaled(shop: Shop, blue: int, green: int) -> None:
    shop.split(shop.arn, {shop.groups["blue"]: blue, shop.groups["green"]: green})
    before = shop.described("shop-blue")
    for options in ({"capacity": 0}, {"like": ["shop-green"]}, {"capacity": 4}):
        shop.refused("conflict", "expected no traffic on blue", colour="blue", groups=["shop-blue"], **options)
    assert shop.described("shop-blue") == before
    assert shop.writes() == []
    gate = shop.scale(colour="blue", groups=["shop-blue"])
    assert (gate["changed"], gate["groups"][0]["ready"]) == (False, 4)


def test_what_it_cannot_have_is_refused_and_nothing_is_changed(shop: Shop) -> None:
    cases: Sequence[tuple[str, str, dict[str, Any]]] = [
        ("invalid", "minimum 0, desired capacity 0 and maximum 6; expected a number from 0 to 6", {"capacity": 7}),
        ("invalid", "is to be -1", {"capacity": -1}),
        ("invalid", "like names 0 groups, and groups 1", {"like": []}),
        ("invalid", "capacity_ratio is 0", {"like": ["shop-blue"], "capacity_ratio": 0}),
        ("invalid", "groups is empty", {"groups": []}),
        ("invalid", "colour 'red' is not known", {"colour": "red"}),
        ("invalid", "mutually exclusive", {"capacity": 1, "like": ["shop-blue"]}),
        ("missing", "nobody is not there", {"groups": ["shop-green", "nobody"], "capacity": 1}),
        ("missing", "nobody is not there", {"like": ["nobody"]}),
        ("missing", "See groups, region and profile", {"region": "eu-west-1"}),
        ("invalid", "launch_template_version is 'new'", {"capacity": 1, "launch_template_version": "new"}),
        ("invalid", "image_id is 'latest'", {"capacity": 1, "image_id": "latest"}),
    ]
    for code, said, options in cases:
        shop.refused(code, said, **options)
        assert (shop.sizes(), shop.writes()) == ((0, 0, 0), [])


def test_a_suspended_launch_is_told_before_anybody_waits(shop: Shop) -> None:
    shop.client.suspend_processes(AutoScalingGroupName="shop-green", ScalingProcesses=["Launch"])
    shop.refused("not_ready", "process Launch of group shop-green is suspended", capacity=2)
    assert (shop.sizes(), shop.writes()) == ((0, 0, 0), [])


def test_it_waits_until_they_are_healthy(shop: Shop) -> None:
    shop.scale(capacity=2)
    (sick, _other) = [each["InstanceId"] for each in shop.described()["Instances"]]
    shop.client.set_instance_health(InstanceId=sick, HealthStatus="Unhealthy")
    shop.refused("timeout", "1 InService, 1 InService but unhealthy; expected 2", capacity=2, wait_timeout=0.5)
    assert shop.scale(capacity=2, wait_timeout=0)["groups"][0]["ready"] == 1
    ended: list[dict[str, Any]] = []
    waiting = threading.Thread(target=lambda: ended.append(shop.scale(wait_timeout=PATIENCE)))
    waiting.start()
    looked = ("autoscaling", "DescribeScalingActivities")
    wait_until(lambda: len(shop.aws.calls(*looked)) > 1, PATIENCE, "it has looked")
    shop.client.set_instance_health(InstanceId=sick, HealthStatus="Healthy")
    waiting.join(2 * PATIENCE)
    assert [(told["changed"], told["groups"][0]["ready"]) for told in ended] == [(False, 2)]


def test_only_the_version_of_the_release_goes_into_service(shop: Shop) -> None:
    ec2, template = shop.aws.client("ec2"), shop.templates["green"]
    shop.scale(capacity=2, launch_template_version="1")
    assert shop.sizes() == (0, 2, 2)
    data = {"ImageId": "ami-87654321", "InstanceType": "t3.micro"}
    ec2.create_launch_template_version(LaunchTemplateId=template, LaunchTemplateData=data)
    for version in ("2", "$Latest"):
        shop.refused("not_ready", "shop-green launches version 1", capacity=3, launch_template_version=version)
    new = {"LaunchTemplateId": template, "Version": "2"}
    shop.client.update_auto_scaling_group(AutoScalingGroupName="shop-green", LaunchTemplate=new)
    for options in ({"capacity": 3}, {}):
        shop.refused("not_ready", "in service of another version: i-", launch_template_version="2", **options)
    assert shop.sizes() == (0, 2, 2)
    assert shop.scale(capacity=0, launch_template_version="2")["changed"]
    assert shop.scale(capacity=3, launch_template_version="$Latest")["groups"][0]["ready"] == 3


def test_a_version_is_delivered_by_its_image(shop: Shop) -> None:
    """In a version of the launch template that differs in the image alone; the live colour's is not touched."""
    ec2, template, image = shop.aws.client("ec2"), shop.templates["green"], "ami-87654321"
    wanted = {"like": ["shop-blue"], "image_id": image}
    planned = shop.scale(**wanted, _ansible_check_mode=True)
    assert (planned["changed"], planned["groups"][0]["after"]["image_id"], shop.writes()) == (True, image, [])
    assert len(ec2.describe_launch_template_versions(LaunchTemplateId=template)["LaunchTemplateVersions"]) == 1
    done = shop.scale(**wanted)
    assert "failure" not in done, done["msg"]
    assert done["changed"]
    found = ec2.describe_launch_template_versions(LaunchTemplateId=template)["LaunchTemplateVersions"]
    assert {str(each["VersionNumber"]): each["LaunchTemplateData"] for each in found} == {
        "1": {"ImageId": "ami-12345678", "InstanceType": "t3.micro"},
        "2": {"ImageId": image, "InstanceType": "t3.micro"},
    }
    group = shop.described()
    assert (group["LaunchTemplate"]["Version"], shop.sizes()) == ("2", (1, 4, 4))
    assert {each["LaunchTemplate"]["Version"] for each in group["Instances"]} == {"2"}
    assert shop.described("shop-blue")["LaunchTemplate"]["Version"] == "1"
    assert (shop.scale(**wanted)["changed"], shop.writes()) == (False, [])
    shop.refused(
        "not_ready", "4 instances in service of another image: i-", like=["shop-blue"], image_id="ami-12345678"
    )
    assert shop.described()["LaunchTemplate"]["Version"] == "2"


def test_the_live_colour_gets_no_image(shop: Shop) -> None:
    told = shop.scale(colour="blue", groups=["shop-blue"], image_id="ami-87654321")
    assert (told["failure"]["code"], shop.writes()) == ("conflict", []), told["msg"]


def test_a_template_of_which_the_live_colour_takes_the_latest_version_gets_no_other_image(shop: Shop) -> None:
    shared = {"LaunchTemplateId": shop.templates["green"], "Version": "$Latest"}
    shop.client.update_auto_scaling_group(AutoScalingGroupName="shop-blue", LaunchTemplate=shared)
    shop.refused("unsupported", "shop-blue launches the latest version", like=["shop-blue"], image_id="ami-87654321")
    found = shop.aws.client("ec2").describe_launch_template_versions(LaunchTemplateId=shop.templates["green"])
    assert len(found["LaunchTemplateVersions"]) == 1


def test_a_version_whose_answer_was_lost_is_made_once(shop: Shop) -> None:
    shop.aws.fail("ec2", "CreateLaunchTemplateVersion", "after", times=1)
    assert shop.scale(like=["shop-blue"], image_id="ami-87654321")["changed"]
    found = shop.aws.client("ec2").describe_launch_template_versions(LaunchTemplateId=shop.templates["green"])
    assert len(found["LaunchTemplateVersions"]) == 2


def test_many_groups_are_all_looked_at(shop: Shop) -> None:
    names = [f"shop-green-{number:02}" for number in range(60)]
    for name in names:
        shop.fleet(name, "green", least=0, desired=0)
    done = shop.scale(groups=names, capacity=1)
    assert [group["name"] for group in done["groups"]] == names
    assert [group["ready"] for group in done["groups"]] == [1] * 60
    assert {shop.sizes(name) for name in names} == {(0, 1, 1)}


# --- Processes ---------------------------------------------------------------------------------------------


def test_what_others_have_suspended_stays_suspended(shop: Shop) -> None:
    both = ["shop-blue", "shop-green"]
    shop.client.suspend_processes(AutoScalingGroupName="shop-blue", ScalingProcesses=["AZRebalance", "HealthCheck"])
    planned = shop.scale(groups=both, processes="suspend", _ansible_check_mode=True)
    done = shop.scale(groups=both, processes="suspend")
    assert planned["diff"] == done["diff"]
    blue, green = (group["after"] for group in done["groups"])
    assert (blue["suspended"], green["suspended"]) == (sorted([*MINE, "HealthCheck"]), MINE)
    assert (blue["suspended_here"], green["suspended_here"]) == (MINE[1:], MINE)
    assert (shop.suspended("shop-blue"), shop.suspended()) == (blue["suspended"], green["suspended"])
    assert shop.tags("shop-blue") == {"team": "shop", SUSPENDED_TAG: " ".join(MINE[1:])}
    assert shop.scale(groups=both, processes="suspend")["changed"] is False

    assert shop.scale(groups=both, processes="resume")["changed"]
    assert (shop.suspended("shop-blue"), shop.suspended()) == (["AZRebalance", "HealthCheck"], [])
    assert [shop.tags(name) for name in both] == [{"team": "shop"}] * 2
    assert (shop.scale(groups=both, processes="resume")["changed"], shop.writes()) == (False, [])


def test_they_are_suspended_before_the_capacity_is_changed(shop: Shop) -> None:
    assert shop.scale(capacity=2, processes="suspend")["changed"]
    assert shop.writes() == ["CreateOrUpdateTags", "SuspendProcesses", "SetDesiredCapacity"]
    assert (shop.sizes(), shop.suspended()) == ((0, 2, 2), MINE)


def test_a_suspension_that_got_stuck_half_way_is_resumed_by_whoever_comes(shop: Shop) -> None:
    """A later job knows no more than what the groups tell."""
    both = ["shop-blue", "shop-green"]
    shop.aws.fail("autoscaling", "SuspendProcesses", "AccessDenied", AutoScalingGroupName="shop-green", times=None)
    told = shop.scale(groups=both, processes="suspend")
    assert (told["failure"]["code"], told["changed_groups"], told["failed_groups"]) == (
        "denied",
        ["shop-blue"],
        ["shop-green"],
    )
    assert [shop.suspended(name) for name in both] == [MINE, []]
    shop.aws.clear_faults()
    assert shop.scale(groups=both, processes="resume")["changed"]
    assert [(shop.suspended(name), shop.tags(name)) for name in both] == [([], {"team": "shop"})] * 2


def test_a_group_that_is_gone_keeps_no_other_from_being_resumed(shop: Shop) -> None:
    shop.scale(groups=["shop-blue", "shop-green"], processes="suspend")
    shop.client.delete_auto_scaling_group(AutoScalingGroupName="shop-blue", ForceDelete=True)
    shop.refused("missing", "shop-blue is not there", groups=["shop-blue", "shop-green"], processes="resume")
    assert (shop.suspended(), shop.tags()) == ([], {"team": "shop"})


def test_processes_need_no_look_at_the_routes_and_no_sound_instances(shop: Shop) -> None:
    (sick, *_others) = [each["InstanceId"] for each in shop.described("shop-blue")["Instances"]]
    shop.client.set_instance_health(InstanceId=sick, HealthStatus="Unhealthy")
    shop.aws.fail("elbv2", None, "AccessDenied", times=None)
    for processes in ("suspend", "resume"):
        assert shop.scale(colour="blue", groups=["shop-blue"], processes=processes)["changed"]
    assert shop.aws.calls("elbv2") == []


# --- Faults ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_an_error_at_any_group_is_named_and_another_run_ends_it(shop: Shop, failing: int) -> None:
    names = ["shop-green", "workers-green", "jobs-green"]
    for name in names[1:]:
        shop.fleet(name, "green", least=0, desired=0)
    shop.aws.fail("autoscaling", "SetDesiredCapacity", "AccessDenied", nth=failing)
    told = shop.refused("denied", f"group {names[failing - 1]}: ", groups=names, capacity=2)
    assert told["failed_groups"] == [names[failing - 1]]
    assert told["changed_groups"] == [name for name in names if name != names[failing - 1]]
    assert shop.scale(groups=names, capacity=2)["changed"]
    assert [shop.sizes(name) for name in names] == [(0, 2, 2)] * 3


@pytest.mark.parametrize("fault", ["Throttling", "500", "html", "reset", "after"])
@pytest.mark.parametrize("action", ["DescribeAutoScalingGroups", "UpdateAutoScalingGroup"])
def test_a_call_that_fails_once_is_repeated(shop: Shop, action: str, fault: str) -> None:
    shop.client.update_auto_scaling_group(AutoScalingGroupName="shop-green", MinSize=1, DesiredCapacity=1)
    shop.aws.fail("autoscaling", action, fault)
    assert shop.scale(capacity=0)["changed"]
    assert shop.sizes() == (0, 0, 0)


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("ExpiredToken", "denied", "They may have expired"),
        ({"code": "ValidationError", "message": "AutoScalingGroup name not found - gone"}, "missing", "who deletes it"),
        ({"code": "ScalingActivityInProgress", "message": "Activity a-1"}, "conflict", "Try again when it is over"),
    ],
)
def test_what_aws_refuses_has_a_code_and_no_secret(shop: Shop, fault: Any, code: str, said: str) -> None:
    shop.aws.fail("autoscaling", "SetDesiredCapacity", fault, times=None)
    told = shop.refused(code, said, capacity=2, _ansible_verbosity=4)
    assert told["msg"].startswith("group shop-green: autoscaling set_desired_capacity: ")
    assert SECRET not in str(told)
    assert shop.sizes() == (0, 0, 0)
