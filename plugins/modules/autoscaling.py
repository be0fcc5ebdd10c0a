#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: autoscaling
short_description: Scale the Auto Scaling groups of the idle colour, and let what scales them rest during a switch
version_added: 0.1.0
description:
  - Changes the desired capacity of the Auto Scaling groups of one colour, and waits until as many instances are in
    service and healthy. Groups that are scaled down are waited for until the others are gone.
  - If the capacity or the image is to be changed, the routes are read first. If any of them gives the colour a share
    of the traffic, nothing is changed, so that the live colour cannot be touched.
  - Three launches that fail end the wait, in the words of AWS; one that fails in one zone AWS makes good in another.
  - A capacity below the minimum lowers it. The group remembers in the tag C(bluegreen.deploy/min-size) what it was, and
    gets it back with the next capacity that allows for it. The maximum is never changed.
  - Lifecycle hooks and warm pools are left alone. An instance that waits for a hook is waited for, and one in a warm
    pool or in standby does not count.
  - With neither O(capacity) nor O(like) nor O(image_id) nor O(processes) nothing is changed. Then it is a gate,
    which passes when as many instances are in service and healthy as the group is to have.
  - Needs the Python library C(botocore), which comes with C(boto3).
extends_documentation_fragment:
  - bluegreen.deploy.routes
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details: Nobody waits.
  diff_mode:
    support: full
  platform:
    platforms: posix
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
options:
  colour:
    description: The colour that the groups are of. It must be the idle one if their capacity or image is to be changed.
    type: str
    required: true
  groups:
    description: The names of its Auto Scaling groups.
    type: list
    elements: str
    required: true
  capacity:
    description: The desired capacity of each group, up to its maximum.
    type: int
  like:
    description:
      - The groups of the other colour in the same order, of which each group gets the desired capacity of its
        counterpart, and its minimum where that is more than the own one.
      - Not with O(capacity).
    type: list
    elements: str
  capacity_ratio:
    description: With O(like), the share of its counterpart's desired capacity that a group gets, rounded up.
    type: float
    default: 1.0
  launch_template_version:
    description:
      - The version of the launch template that a group must launch, and that all of its instances in service must be
        of. A number, V($Latest) or V($Default).
      - Instances of another version are not replaced. They are named, and it fails.
    type: str
  image_id:
    description:
      - The image (AMI) that a group must launch, and that all of its instances in service must be of.
      - Where its launch template has another one, a version of the template is made that differs in the image alone,
        and the group gets it, before it starts anything. The default version of the template stays.
      - Refused where a group of O(like) launches the latest version of the same template, since it would get the image,
        too.
      - Instances of another image are not replaced. They are named, and it fails.
      - Not with O(launch_template_version), nor for a group with a policy of mixed instances.
    type: str
  processes:
    description:
      - V(suspend) lets rest what would start and stop sound instances of its own accord during a switch, namely the
        processes C(AlarmNotification), C(AZRebalance), C(InstanceRefresh) and C(ScheduledActions). The group remembers
        in the tag C(bluegreen.deploy/suspended) which of them ran.
      - V(resume) resumes exactly those. What others have suspended stays suspended.
      - It may be done to the live colour, too, and comes before a change of the capacity.
    type: str
    choices: [suspend, resume]
  wait_timeout:
    description:
      - Seconds to wait for all groups together. With V(0) nobody waits.
      - With O(processes) alone nobody waits either.
    type: float
    default: 600.0
  aws:
    description: Who we are to AWS, and where, as for O(routes[].alb).
    type: dict
    suboptions:
      region:
        description: The region. E(AWS_REGION), E(AWS_DEFAULT_REGION), or that of the profile.
        type: str
      profile:
        description: The profile of the configuration files of AWS. E(AWS_PROFILE).
        type: str
      access_key:
        description: The access key. E(AWS_ACCESS_KEY_ID), or a role, as the AWS libraries find it.
        type: str
      secret_key:
        description: Its secret. E(AWS_SECRET_ACCESS_KEY).
        type: str
      session_token:
        description: The token of a temporary key. E(AWS_SESSION_TOKEN).
        type: str
      endpoint_url:
        description: Another endpoint than AWS's. E(AWS_ENDPOINT_URL).
        type: str
      validate_certs:
        description: Whether the endpoint's certificate must be valid.
        type: bool
        default: true
      aws_ca_bundle:
        description: The file of authorities to trust. E(AWS_CA_BUNDLE).
        type: path
      timeout:
        description: Seconds for one attempt of a call. There are up to six, with a growing wait in between.
        type: float
        default: 10.0
seealso:
  - module: bluegreen.deploy.deployment
"""

EXAMPLES = r"""
- name: Give the idle colour as many instances as the live one has, of the new version
  bluegreen.deploy.autoscaling:
    routes: "{{ bluegreen_routes }}"
    colour: "{{ pre_deploy_to }}"
    groups: ["my-app-{{ pre_deploy_to }}"]
    like: ["my-app-{{ pre_deploy_live }}"]
    launch_template_version: "{{ my_app_template_version }}"

- name: The same, with the image of the new version
  bluegreen.deploy.autoscaling:
    routes: "{{ bluegreen_routes }}"
    colour: "{{ pre_deploy_to }}"
    groups: ["my-app-{{ pre_deploy_to }}"]
    like: ["my-app-{{ pre_deploy_live }}"]
    image_id: ami-0123456789abcdef0

- name: Switch while nothing scales
  block:
    - name: Let rest what scales the groups
      bluegreen.deploy.autoscaling:
        routes: "{{ bluegreen_routes }}"
        colour: green
        groups: [my-app-blue, my-app-green]
        processes: suspend
    - name: Switch
      bluegreen.deploy.traffic:
        routes: "{{ bluegreen_routes }}"
        split: {green: 100}
  always:
    - name: Let it go on
      bluegreen.deploy.autoscaling:
        routes: "{{ bluegreen_routes }}"
        colour: green
        groups: [my-app-blue, my-app-green]
        processes: resume

- name: Stop the colour that nothing reaches any more
  bluegreen.deploy.autoscaling:
    routes: "{{ bluegreen_routes }}"
    colour: "{{ bluegreen_retired }}"
    groups: ["my-app-{{ bluegreen_retired }}"]
    capacity: 0
"""

RETURN = r"""
groups:
  description: What each group had, and what it has now or in check mode would have.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    before:
      description: What was found.
      type: dict
      contains:
        desired:
          description: The desired capacity.
          type: int
        min:
          description: The minimum.
          type: int
        max:
          description: The maximum.
          type: int
        min_was:
          description: What the minimum was before it was lowered here. Null if it was not.
          type: int
        suspended:
          description: All processes that are suspended.
          type: list
          elements: str
        suspended_here:
          description: Those that were suspended by O(processes=suspend), and that O(processes=resume) resumes.
          type: list
          elements: str
        image_id:
          description: The image that its launch template launches. Null without O(image_id).
          type: str
    after:
      description: What it is to have, written like C(before).
      type: dict
    ready:
      description: The capacity that was in service and healthy when it was looked at last.
      type: int
  sample:
    - name: my-app-green
      before: {desired: 0, min: 0, max: 8, min_was: 2, suspended: [], suspended_here: [], image_id: null}
      after: {desired: 4, min: 2, max: 8, min_was: null, suspended: [], suspended_here: [], image_id: null}
      ready: 4
changed_groups:
  description: The groups that were changed, where another one could not be.
  returned: on failure of a change
  type: list
  elements: str
  sample: []
failed_groups:
  description: The groups that could not be changed, or not all of it. Another run changes the rest.
  returned: on failure of a change
  type: list
  elements: str
  sample: [my-app-green]
failure:
  description: Why it failed, for a playbook to decide on.
  returned: on failure
  type: dict
  contains:
    code:
      description: >-
        One of V(invalid), V(missing), V(unreachable), V(timeout), V(denied), V(conflict), V(not_ready), V(unsupported),
        V(drift), V(failed).
      type: str
  sample:
    code: not_ready
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._aws.autoscaling import AutoScaling, Group, Plan, Wanted, alike, not_there, refuse_shared
from ..module_utils._aws.client import connect
from ..module_utils._aws.connection import AWS_SPEC
from ..module_utils._errors import InvalidError
from ..module_utils._module import run_module
from ..module_utils._traffic.registry import ROUTES_SPEC, build_routes
from ..module_utils._traffic.route import refuse_live
from ..module_utils._traffic.split import known

ARGUMENT_SPEC = {
    **ROUTES_SPEC,
    "colour": {"type": "str", "required": True},
    "groups": {"type": "list", "elements": "str", "required": True},
    "capacity": {"type": "int"},
    "like": {"type": "list", "elements": "str"},
    "capacity_ratio": {"type": "float", "default": 1.0},
    "launch_template_version": {"type": "str"},
    "image_id": {"type": "str"},
    "processes": {"type": "str", "choices": ["suspend", "resume"]},
    "wait_timeout": {"type": "float", "default": 600.0},
    "aws": {"type": "dict", "options": AWS_SPEC, "apply_defaults": True},
}


def named(params: dict[str, t.Any]) -> tuple[list[str], list[str]]:
    """The groups, and their counterparts or none."""
    names, like = params["groups"], params["like"]
    if not names:
        raise InvalidError("groups is empty", "the names of Auto Scaling groups")
    if like is not None and len(like) != len(names):
        raise InvalidError(f"like names {len(like)} groups, and groups {len(names)}", "as many")
    if not 0 < params["capacity_ratio"] < float("inf"):
        raise InvalidError(f"capacity_ratio is {params['capacity_ratio']:g}", "a number above 0")
    return names, like or []


def capacities(params: dict[str, t.Any], others: list[Group]) -> list[int | None]:
    """The desired capacity of each group; None: the one that it has."""
    like = [alike(other.state.desired, params["capacity_ratio"]) for other in others]
    return like or [params["capacity"]] * len(params["groups"])


def scale(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    colours, routes = build_routes(params)
    colour = known(colours, params["colour"])
    names, like = named(params)
    moves = params["capacity"] is not None or bool(like) or bool(params["image_id"])
    if moves:
        refuse_live(routes, colour)
    service = AutoScaling(connect(params["aws"]))
    found, gone = service.look([*names, *like])
    resumes = params["processes"] == "resume" and not moves
    if gone and not resumes:
        raise not_there(gone)
    groups, others = found[: len(names)], found[len(names) :]
    wanted = Wanted(params["processes"], params["launch_template_version"], params["image_id"])
    if params["image_id"]:
        for group, other in zip(groups, others):
            refuse_shared(group, other)
    leasts = [other.state.least for other in others] or [0] * len(groups)
    plans = [
        service.plan(group, many, wanted, least)
        for group, many, least in zip(groups, capacities(params, others), leasts)
    ]
    if not module.check_mode:
        waits = moves or not params["processes"]
        groups = service.carry_out(plans, params["wait_timeout"] if waits else 0.0)
    if gone:  # what is there was resumed all the same
        raise not_there(gone)
    return result(plans, groups)


def result(plans: list[Plan], groups: list[Group]) -> dict[str, t.Any]:
    before = {plan.name: plan.group.state.as_result() for plan in plans}
    after = {plan.name: plan.after.as_result() for plan in plans}
    return {
        "changed": before != after,
        "groups": [
            {"name": group.name, "before": before[group.name], "after": after[group.name], "ready": group.ready}
            for group in groups
        ],
        "diff": {"before": before, "after": after},
    }


def main() -> None:
    exclusive = [("capacity", "like"), ("launch_template_version", "image_id")]
    run_module(scale, argument_spec=ARGUMENT_SPEC, mutually_exclusive=exclusive)


if __name__ == "__main__":
    main()
