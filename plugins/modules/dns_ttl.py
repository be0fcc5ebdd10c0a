#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dns_ttl
short_description: Change how long the answers of a weighted DNS name are kept, before its traffic moves
version_added: 0.1.0
description:
  - Gives all record sets of a name and type in Amazon Route 53 another TTL, in one atomic change. Their weights,
    values and health checks stay as they are.
  - Then waits until all servers of Route 53 have it, and until the old TTL is over, since a resolver keeps an answer
    for as long as it was told to. From then on a change of the weights is felt within the new TTL.
  - A change that somebody else makes meanwhile is never overwritten.
notes:
  - Aliases have no TTL of their own. For load balancers it is 60 seconds.
  - Some clients keep answers for longer than the TTL. No server can know of them.
  - The AWS identity needs C(route53:ListResourceRecordSets), C(route53:ChangeResourceRecordSets),
    C(route53:GetChange) and, unless the zone is given by O(route53.zone_id) and the record ends with a dot,
    C(route53:GetHostedZone) or C(route53:ListHostedZonesByName).
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    platforms: posix
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
options:
  ttl:
    description: The TTL they are to have, in seconds.
    type: int
    required: true
  wait:
    description:
      - Whether to wait until the old TTL is over. With V(false) it goes on in the background, until RV(settled_at).
    type: bool
    default: true
  colours:
    description: The names of the two colours.
    type: list
    elements: str
    default: [blue, green]
  route53:
    description: The record sets, as for the module M(bluegreen.deploy.traffic).
    type: dict
    required: true
    suboptions:
      record:
        description: The DNS name, in full or within the zone, or V(@) for the zone itself.
        type: str
        required: true
      type:
        description: The type of both record sets.
        type: str
        choices: [A, AAAA, CAA, CNAME, HTTPS, MX, NAPTR, PTR, SPF, SRV, SSHFP, SVCB, TLSA, TXT]
        default: A
      zone_id:
        description: The hosted zone by its id. One of this and O(route53.zone).
        type: str
      zone:
        description: The hosted zone by its name.
        type: str
      private_zone:
        description: With O(route53.zone), whether it is a private one. By default, the one that there is.
        type: bool
      set_identifiers:
        description: The set identifier of each colour's record set. By default, the name of the colour.
        type: dict
      wait:
        description:
          - Whether to wait until all servers of Route 53 have a change, which takes up to a minute as a rule.
        type: bool
        default: true
      wait_timeout:
        description: Seconds for that. After them the change counts as failed.
        type: float
        default: 120.0
      resolvers:
        description:
          - DNS servers of yours, by IP address and if need be with a port, such as V(192.0.2.53:5353). When the old TTL
            is over each is asked, and must not keep an answer for longer than the new one.
          - Needs the Python library C(dnspython).
        type: list
        elements: str
        default: []
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
"""

EXAMPLES = r"""
- name: Answers are to be kept for 10 seconds, long before the release
  bluegreen.deploy.dns_ttl:
    ttl: 10
    route53:
      zone: example.com
      record: www
  register: lowered

- name: When all is over, put back what was
  bluegreen.deploy.dns_ttl:
    ttl: "{{ lowered.ttl_before }}"
    wait: false
    route53:
      zone: example.com
      record: www
"""

RETURN = r"""
ttl_before:
  description: The TTL that there was, in seconds. Null if all record sets are aliases.
  returned: success
  type: int
  sample: 300
settled_at:
  description:
    - From when on no resolver has an answer with the old TTL, ISO 8601 in UTC.
    - Null if this call changed nothing. When an earlier one is settled is known to that one only.
  returned: success
  type: str
  sample: "2026-11-23T03:05:12.123456+00:00"
note:
  description: What was left as it is, and why. Null if nothing was.
  returned: success
  type: str
  sample: null
failure:
  description: Why it failed, for a playbook to decide on.
  returned: on failure
  type: dict
  contains:
    code:
      description: >-
        One of V(invalid), V(unsupported), V(missing), V(unreachable), V(denied), V(conflict), V(not_verified),
        V(failed).
      type: str
  sample:
    code: conflict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._aws.client import connect
from ..module_utils._aws.hosted_zone import RecordSets
from ..module_utils._aws.resolved import Resolvers
from ..module_utils._aws.ttl import change_ttl, check_ttl
from ..module_utils._module import run_module
from ..module_utils._traffic.route53 import ROUTE53_SPEC
from ..module_utils._traffic.split import colour_pair

ARGUMENT_SPEC = {
    "ttl": {"type": "int", "required": True},
    "wait": {"type": "bool", "default": True},
    "colours": {"type": "list", "elements": "str", "default": ["blue", "green"]},
    "route53": {**ROUTE53_SPEC, "required": True},
}


def dns_ttl(module: AnsibleModule) -> dict[str, t.Any]:
    params, options = module.params, module.params["route53"]
    ttl = check_ttl(params["ttl"])
    done = change_ttl(
        RecordSets(connect(options), options, colour_pair(params["colours"])),
        ttl,
        Resolvers(options["resolvers"]),
        in_sync_timeout=options["wait_timeout"] if options["wait"] else None,
        wait=params["wait"],
        dry_run=module.check_mode,
    )
    return {
        "changed": done.changed,
        "ttl_before": done.old,
        "settled_at": done.settled_at,
        "note": done.note,
        "diff": {"before": {done.what: done.before}, "after": {done.what: done.after}},
    }


def main() -> None:
    run_module(dns_ttl, argument_spec=ARGUMENT_SPEC)


if __name__ == "__main__":
    main()
