#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: target_drain
short_description: Take the targets of the idle colour out of their AWS load balancer, and wait until they are idle
version_added: 0.1.0
description:
  - Deregisters targets from target groups, or instances from a classic load balancer, and waits until nothing is in
    flight. Requests in flight end as they would have, no new ones come.
  - The routes are read first. If any of them gives the colour a share of the traffic, nothing is changed, so that the
    live colour cannot be touched.
  - A target group that any listener or rule gives a weight above 0 is refused as well, also when it is in no route.
    That is somebody's traffic. See O(unused) for those that nobody uses.
  - Targets that are out or draining already are only waited for, so that a second call goes on where the first one
    ended.
  - Needs the Python library C(botocore), which comes with C(boto3), and C(jmespath) for O(in_flight).
extends_documentation_fragment:
  - bluegreen.deploy.routes
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details: Nobody waits, and the app is not asked.
  diff_mode:
    support: full
  platform:
    platforms: posix
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
options:
  colour:
    description: The colour that the targets are of. It must be the idle one.
    type: str
    required: true
  target_groups:
    description: Its target groups, by name or ARN.
    type: list
    elements: str
  targets:
    description:
      - Those that are to leave, as C(id) or C(id:port). An id without a port means all of its ports.
      - By default, all that are registered.
      - One that is in none of the target groups counts as out.
    type: list
    elements: str
  deregistration_delay:
    description:
      - Seconds, up to 3600. A target group with a longer deregistration delay gets this one for the drain, and its own
        back in every outcome.
      - No request may take longer, as AWS ends the connection then.
      - AWS shows a target as draining for the whole delay, even if it is idle. So it costs that long, unless
        O(in_flight) tells otherwise.
      - What the delay was is kept meanwhile in the tag C(bluegreen.deploy/deregistration_delay) of the target group.
        A later call puts back what one that was killed has left, also without this option. If somebody has changed
        the delay since, theirs stays.
    type: int
  in_flight:
    description:
      - Where the app itself tells how much it has in flight. When that is 0 everywhere for a while, the drain is done,
        although AWS still shows targets as draining.
      - As long as an app has something in flight, the drain is not done, whatever AWS shows. An app that gives no
        number leaves it to AWS.
    type: dict
    suboptions:
      urls:
        description: A URL of each of the app's processes that answers in JSON, asked from where the module runs.
        type: list
        elements: str
        required: true
      query:
        description: A JMESPath that gives the number, without the question itself.
        type: str
        default: in_flight
      quiet:
        description:
          - Seconds for which it must be 0. They begin with the first look, so it takes at least that long.
          - It must be shorter than O(timeout).
        type: float
        default: 5.0
      timeout:
        description: Seconds for an answer.
        type: float
        default: 2.0
      validate_certs:
        description: Whether the app's certificate must be valid.
        type: bool
        default: true
      ca_path:
        description: A file or directory of authorities to trust.
        type: path
  classic_load_balancer:
    description:
      - The name of a classic load balancer to deregister O(instances) from.
      - At least one other instance must be in service there, unless it is named in O(unused).
    type: str
  instances:
    description: The ids of the instances that are to leave O(classic_load_balancer).
    type: list
    elements: str
  connection_draining:
    description:
      - Seconds from 1 to 3600. Connection draining of O(classic_load_balancer) is switched on with this timeout before
        anything is deregistered, and stays so.
      - Without it, connection draining must be on already.
    type: int
  unused:
    description:
      - What may go on forwarding to the target groups, as nobody uses it. Listeners and rules by ARN, a listener with
        all of its rules, and the classic load balancer by name.
      - Such as a listener for tests, or those of an environment that DNS does not lead to any more.
    type: list
    elements: str
  timeout:
    description: Seconds to wait for all of them. The deregistration delay of a target group is 300 seconds by default.
    type: float
    default: 600.0
  interval:
    description:
      - Seconds between two looks, of which up to a quarter is left to chance. AWS throttles who asks more often.
    type: float
    default: 5.0
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
notes:
  - CloudWatch is not asked. Its numbers come minutes late, and those of requests count the ones that have ended.
seealso:
  - module: bluegreen.deploy.drain
  - module: bluegreen.deploy.autoscaling
"""

EXAMPLES = r"""
- name: Take blue out, whose requests last half a minute at most
  bluegreen.deploy.target_drain:
    routes: "{{ bluegreen_routes }}"
    colour: blue
    target_groups: [my-app-blue]
    deregistration_delay: 30

- name: Take blue out, and go on as soon as it has had nothing in flight for 10 seconds
  bluegreen.deploy.target_drain:
    routes: "{{ bluegreen_routes }}"
    colour: blue
    target_groups: [my-app-blue]
    in_flight:
      urls: ["http://10.0.0.11:8080/stats", "http://10.0.1.11:8080/stats"]
      query: requests.active
      quiet: 10

- name: Take blue's instances out of a classic load balancer
  bluegreen.deploy.target_drain:
    routes: "{{ bluegreen_routes }}"
    colour: blue
    classic_load_balancer: my-classic-lb
    instances: "{{ blue_instances }}"
    connection_draining: 300
"""

RETURN = r"""
target_groups:
  description: The target groups, as they were seen last.
  returned: success, and on failure once something was to be changed
  type: list
  elements: dict
  contains:
    name:
      description: The name.
      type: str
    arn:
      description: The ARN.
      type: str
    deregistered:
      description: The targets that were deregistered now, or in check mode would be.
      type: list
      elements: str
    deregistration_delay:
      description: >-
        The deregistration delay in seconds. C(before) as it was found, C(during) what it was lowered to or null, and
        C(after) what it was put back to.
      type: dict
    targets:
      description: All targets that were to leave.
      type: list
      elements: dict
      contains:
        target:
          description: The id and the port.
          type: str
        state:
          description: The state in AWS's words, of which V(unused) is out.
          type: str
        seconds:
          description: How long it took until it was seen to be out. Null if it is not.
          type: float
  sample:
    - name: my-app-blue
      arn: arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/my-app-blue/0123456789abcdef
      deregistered: ["i-0123456789abcdef0:8080"]
      deregistration_delay: {before: 300, during: 30, after: 300}
      targets: [{target: "i-0123456789abcdef0:8080", state: unused, seconds: 33.1}]
classic_load_balancer:
  description: >-
    The classic load balancer, written alike, with C(connection_draining) before and after. Null if none is named.
  returned: success, and on failure once something was to be changed
  type: dict
  sample:
    name: my-classic-lb
    deregistered: [i-0123456789abcdef0]
    connection_draining:
      before: {enabled: false, timeout: 300}
      after: {enabled: true, timeout: 300}
    targets: [{target: i-0123456789abcdef0, state: unused, seconds: 12.4}]
in_flight:
  description: What each process of the app said last. Null and a problem if it gave no number.
  returned: success, and on failure once something was to be changed
  type: list
  elements: dict
  sample:
    - {url: "http://10.0.0.11:8080/stats", in_flight: 0, problem: ""}
left:
  description: The targets that are not out, of which some may remain where O(in_flight) ended the drain.
  returned: success, and on failure once something was to be changed
  type: list
  elements: dict
  sample:
    - {from: target group my-app-blue, target: "i-0123456789abcdef0:8080", state: draining}
failure:
  description: Why it failed, for a playbook to decide on.
  returned: on failure
  type: dict
  contains:
    code:
      description: >-
        One of V(invalid), V(missing), V(unreachable), V(timeout), V(denied), V(conflict), V(not_ready), V(unsupported),
        V(drift), V(undo_failed), V(failed). With V(undo_failed) a deregistration delay could not be put back.
      type: str
  sample:
    code: timeout
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._aws.client import connect
from ..module_utils._aws.connection import AWS_SPEC
from ..module_utils._aws.drain_order import parse
from ..module_utils._aws.draining import drain_targets
from ..module_utils._module import run_module
from ..module_utils._traffic.registry import ROUTES_SPEC, build_routes
from ..module_utils._traffic.route import refuse_live
from ..module_utils._traffic.split import known

ARGUMENT_SPEC = {
    **ROUTES_SPEC,
    "colour": {"type": "str", "required": True},
    "target_groups": {"type": "list", "elements": "str"},
    "targets": {"type": "list", "elements": "str"},
    "deregistration_delay": {"type": "int"},
    "in_flight": {
        "type": "dict",
        "options": {
            "urls": {"type": "list", "elements": "str", "required": True},
            "query": {"type": "str", "default": "in_flight"},
            "quiet": {"type": "float", "default": 5.0},
            "timeout": {"type": "float", "default": 2.0},
            "validate_certs": {"type": "bool", "default": True},
            "ca_path": {"type": "path"},
        },
    },
    "classic_load_balancer": {"type": "str"},
    "instances": {"type": "list", "elements": "str"},
    "connection_draining": {"type": "int"},
    "unused": {"type": "list", "elements": "str"},
    "timeout": {"type": "float", "default": 600.0},
    "interval": {"type": "float", "default": 5.0},
    "aws": {"type": "dict", "options": AWS_SPEC, "apply_defaults": True},
}


def drain(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    colours, routes = build_routes(params)
    colour, order = known(colours, params["colour"]), parse(params)
    refuse_live(routes, colour)
    return drain_targets(connect(params["aws"]), order, dry_run=module.check_mode)


def main() -> None:
    run_module(
        drain,
        argument_spec=ARGUMENT_SPEC,
        required_one_of=[("target_groups", "classic_load_balancer")],
        required_together=[("classic_load_balancer", "instances")],
        required_by={
            "targets": ["target_groups"],
            "deregistration_delay": ["target_groups"],
            "connection_draining": ["classic_load_balancer"],
        },
    )


if __name__ == "__main__":
    main()
