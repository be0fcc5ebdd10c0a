#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: analysis
short_description: Watch a colour under live traffic, and give a verdict with its evidence
version_added: 0.1.0
description:
  - Watches what the load balancer itself counts for a colour, its errors and response times.
  - Ends at once when a limit is passed, with the verdict C(fail); the task then fails, with the code
    C(threshold_exceeded).
  - A load balancer that cannot be asked is C(blind), which is never C(fail).
  - That none of its members is ready, in two looks in a row, is C(fail), also where the provider counts no requests.
extends_documentation_fragment:
  - bluegreen.deploy.routes
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    platforms: posix
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
options:
  colour:
    description: The colour to judge.
    type: str
    required: true
  duration:
    description: Seconds to watch.
    type: float
    required: true
  interval:
    description: Seconds between two looks.
    type: float
    default: 1.0
  window:
    description: Seconds, back from each look, over which the limits are judged.
    type: float
    default: 30.0
  max_error_share:
    description: The largest share of answers with status 5xx, in percent.
    type: float
  max_latency_ms:
    description:
      - The longest mean response time, in milliseconds.
      - HAProxy's mean is over the latest 1024 requests of the colour, whatever version answered them.
    type: float
  min_requests:
    description:
      - How many requests there must be within the window to judge at all.
      - However few there are, the verdict is V(fail) if all answers were errors, 10 or more, or no member is ready.
    type: int
    default: 50
  pooled:
    description:
      - Whether the counts are to be pooled with those of other load balancers, and judged over all of them by
        P(bluegreen.deploy.watched#filter). Then only a total failure is judged here.
    type: bool
    default: false
  front:
    description:
      - The front door, asked as a client does, where the provider counts no requests.
      - Each path is asked three times at each look. An answer with status 5xx, or none within 2 seconds, is an
        error. Three errors that are more than O(max_error_share), or more than 0 % without it, are a limit that
        is passed.
      - That all goes well there proves nothing about the requests of others, so that the verdict is not V(pass).
    type: dict
    suboptions:
      endpoints:
        description: What to ask, as URLs such as V(https://shop.example.com/).
        type: list
        elements: str
        required: true
      door:
        description: How they are reached, as the option of the same name of M(bluegreen.deploy.health_check).
        type: dict
        suboptions:
          host:
            description: See M(bluegreen.deploy.health_check).
            type: str
          sni:
            description: See M(bluegreen.deploy.health_check).
            type: str
          address:
            description: See M(bluegreen.deploy.health_check).
            type: str
          ca_path:
            description: See M(bluegreen.deploy.health_check).
            type: path
          validate_certs:
            description: See M(bluegreen.deploy.health_check).
            type: bool
          headers:
            description: See M(bluegreen.deploy.health_check).
            type: dict
          secret_headers:
            description: See M(bluegreen.deploy.health_check).
            type: dict
"""

EXAMPLES = r"""
- name: Watch green for a minute
  bluegreen.deploy.analysis:
    routes: "{{ bluegreen_routes }}"
    colour: green
    duration: 60
    max_error_share: 1
"""

RETURN = r"""
verdict:
  description: V(pass), V(fail), V(inconclusive) (too few requests to tell) or V(blind) (could not look).
  returned: always
  type: str
  sample: pass
reason:
  description: Why, in one sentence.
  returned: always
  type: str
  sample: 0 of 4711 answers were errors
requests:
  description: Requests seen while watching.
  returned: always
  type: int
  sample: 4711
errors:
  description: Answers with status 5xx seen while watching.
  returned: always
  type: int
  sample: 0
error_share:
  description: Their share in percent.
  returned: always
  type: float
  sample: 0.0
latency_ms:
  description: Mean response time of the latest requests, as the load balancer counts it.
  returned: always
  type: float
  sample: 3.0
pooled:
  description: Whether it is left to the fleet to judge, with O(pooled).
  returned: always
  type: bool
  sample: false
counted:
  description: >-
    Whether requests were counted. Where the provider counts none, only that members are ready was watched, if it knows
    its members.
  returned: always
  type: bool
  sample: true
blind_looks:
  description: How many looks failed.
  returned: always
  type: int
  sample: 0
samples:
  description: The evidence, one entry for each look, counted from the look before. The last 600.
  returned: always
  type: list
  elements: dict
  sample:
    - {at: "2026-11-23T03:00:00.123+00:00", requests: 512, errors: 0, latency_ms: 3.0}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._analysis.counters import watcher
from ..module_utils._analysis.options import WATCH_SPEC, secrets_of
from ..module_utils._errors import ThresholdError
from ..module_utils._module import run_module
from ..module_utils._traffic.registry import ROUTES_SPEC, build_routes
from ..module_utils._traffic.split import known

ARGUMENT_SPEC = {
    **ROUTES_SPEC,
    "colour": {"type": "str", "required": True},
    **WATCH_SPEC,
}


def analyse(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    module.no_log_values.update(secrets_of(params))
    colours, routes = build_routes(params)
    colour = known(colours, params["colour"])
    result = watcher(routes, params)(colour, {}).as_result()
    if result["verdict"] == "fail":
        raise ThresholdError(f"{colour} is bad: {result['reason']}", todo="Send the traffic back", **result)
    return {"changed": False, **result}


def main() -> None:
    run_module(analyse, argument_spec=ARGUMENT_SPEC)


if __name__ == "__main__":
    main()
