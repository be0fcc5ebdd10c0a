#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_check
short_description: Wait until many endpoints are healthy
version_added: 0.1.0
description:
  - Asks many HTTP, HTTPS and TCP endpoints side by side, in rounds,
    until each of them has given a streak of good answers, or fails when the time is over.
  - An answer is good if its status is one of O(status), and if the JSON document in its body holds what
    O(expect), O(required_checks) and O(version) ask for. A TCP endpoint is good if it takes a connection.
  - An endpoint that has its streak is not asked again in the same call.
  - It only reads, so it does the same in check mode.
notes:
  - Runs on the host of the task. Delegate it to C(localhost) to ask from the controller.
  - Redirects are not followed. To accept one, put its status into O(status).
  - Proxies are not used, whatever the environment variables say. A probe asks the endpoint itself.
  - At most 1 MiB of a body is read. A longer one is no JSON document.
  - Results name each URL as it was given, so keep secrets out of its path and query. Give them in O(secret_headers).
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
requirements:
  - jmespath, on the host that runs the module, if O(expect) is used
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details: It changes nothing, and asks the endpoints in check mode too.
  diff_mode:
    support: N/A
    details: It changes nothing.
  platform:
    platforms: posix
options:
  endpoints:
    description:
      - What to ask, as URLs such as V(http://10.0.0.1:8080/health), V(https://shop.example.com/health)
        or V(tcp://10.0.0.1:5432). Each one once.
      - Credentials in a URL are refused. Use O(secret_headers).
    type: list
    elements: str
    required: true
  headers:
    description:
      - Headers to send to the HTTP and HTTPS endpoints.
      - What is secret belongs in O(secret_headers).
    type: dict
    default: {}
  secret_headers:
    description:
      - More headers, whose values are secret.
      - Ansible masks such a value wherever it turns up in the result.
    type: dict
    default: {}
  host:
    description:
      - The site to ask for, as the Host header says it, such as V(shop.example.com).
      - By default, the host that the URL names.
    type: str
  sni:
    description:
      - The name to ask for in the TLS handshake, which the certificate must hold.
      - By default, that of O(host), or else the host that the URL names.
    type: str
  address:
    description:
      - Connect to this host or V(host:port), whatever the URL names. The URL still says which site is asked for.
      - So each load balancer behind a common name can be asked for itself.
    type: str
  door:
    description:
      - Options of the same names in one dictionary, for whoever keeps them in a variable. What is empty is not given.
        Their headers are sent besides O(headers) and O(secret_headers).
    type: dict
    suboptions:
      host:
        description: See O(host).
        type: str
      sni:
        description: See O(sni).
        type: str
      address:
        description: See O(address).
        type: str
      ca_path:
        description: See O(ca_path).
        type: path
      validate_certs:
        description: See O(validate_certs).
        type: bool
      headers:
        description: See O(headers).
        type: dict
      secret_headers:
        description: See O(secret_headers).
        type: dict
  status:
    description: The HTTP statuses that are good.
    type: list
    elements: int
    default: [200]
  expect:
    description:
      - A L(JMESPath,https://jmespath.org) that must hold on the JSON document in the body.
        It does not hold if it yields nothing, V(false), V(0), or an empty text, list or object.
      - Not possible with a TCP endpoint.
    type: str
  required_checks:
    description:
      - Names that must be present and healthy in the object C(checks) of the JSON document in the body,
        such as the databases and queues that the app depends on.
      - A check is healthy if it is V(true), one of V(healthy), V(ok), V(up) and V(pass) in any case,
        or an object whose C(status) is one of these.
      - Not possible with a TCP endpoint.
    type: list
    elements: str
    default: []
  version:
    description:
      - The version that each endpoint must report in the JSON document in its body.
      - Not possible with a TCP endpoint.
    type: str
  version_key:
    description:
      - Where the JSON document holds the version, as a key or as keys with dots between them,
        such as V(build.version).
    type: str
    default: version
  successes:
    description:
      - So many good answers in a row are needed from each endpoint, from 1 to 1000.
        A bad answer starts the count again.
    type: int
    default: 1
  timeout:
    description: Seconds for the whole call.
    type: float
    default: 30
  request_timeout:
    description: Seconds for one answer, with its body and with making the connection.
    type: float
    default: 2
  interval:
    description: Seconds between two rounds.
    type: float
    default: 0.5
  concurrency:
    description: So many endpoints are asked at the same time, from 1 to 512.
    type: int
    default: 32
  validate_certs:
    description: Whether the certificate of an HTTPS endpoint must be valid.
    type: bool
    default: true
  ca_path:
    description:
      - A PEM file, or a directory of hashed ones, with the only certificate authorities to trust.
        Without it the system's are trusted.
    type: path
seealso:
  - module: ansible.builtin.uri
  - module: ansible.builtin.wait_for
"""

EXAMPLES = r"""
- name: Wait until all instances of the idle colour are healthy
  bluegreen.deploy.health_check:
    endpoints:
      - http://10.0.0.11:8080/health
      - http://10.0.0.12:8080/health
    successes: 3
    timeout: 120

- name: Ask for a deep health document, with the new version and all that the app depends on
  bluegreen.deploy.health_check:
    endpoints: "{{ groups['green'] | map('regex_replace', '(.+)', 'https://\\1/health') }}"
    secret_headers:
      Authorization: "Bearer {{ health_token }}"
    version: 2.4.0
    version_key: build.version
    required_checks: [database, queue]
    expect: "replicas.ready >= `2`"

- name: Ask one of two load balancers for a site behind its front door, with a certificate of your own authority
  bluegreen.deploy.health_check:
    endpoints: [https://shop.example.com/health]
    address: 10.0.0.11:8443
    ca_path: /etc/ssl/own-ca.pem
    successes: 5

- name: Look whether the databases take connections
  bluegreen.deploy.health_check:
    endpoints:
      - tcp://10.0.0.21:5432
      - tcp://10.0.0.22:5432
"""

RETURN = r"""
endpoints:
  description: What was found at each endpoint, in the order given. It is returned on failure too.
  returned: if the options are valid
  type: list
  elements: dict
  contains:
    endpoint:
      description: The URL.
      type: str
      returned: always
      sample: http://10.0.0.11:8080/health
    healthy:
      description: Whether it has given O(successes) good answers in a row.
      type: bool
      returned: always
      sample: true
    status:
      description: The HTTP status of its last answer. Null if there was none, and of a TCP endpoint.
      type: int
      returned: always
      sample: 200
    version:
      description: The version in its last answer. Null if there was none.
      type: str
      returned: always
      sample: 2.4.0
    reason:
      description: Why it is not healthy. Empty if it is.
      type: str
      returned: always
      sample: status 503; check database is down
    took_ms:
      description: How long its last answer took, in milliseconds.
      type: int
      returned: always
      sample: 12
    answers:
      description: How often it was asked.
      type: int
      returned: always
      sample: 3
    streak:
      description: The number of good answers in a row, up to the last one.
      type: int
      returned: always
      sample: 3
    checks:
      description: What its last answer says of each of O(required_checks).
      type: dict
      returned: if O(required_checks) is given and the answer is a JSON document
      sample: {"database": "healthy", "queue": "missing"}
  sample:
    - endpoint: http://10.0.0.11:8080/health
      healthy: true
      status: 200
      version: 2.4.0
      reason: ""
      took_ms: 12
      answers: 3
      streak: 3
healthy:
  description: The number of healthy endpoints.
  returned: if the options are valid
  type: int
  sample: 2
took_ms:
  description: How long it took until all endpoints were healthy or the time was over, in milliseconds.
  returned: if the options are valid
  type: int
  sample: 1043
failure:
  description: What a playbook can decide on.
  returned: on failure
  type: dict
  contains:
    code:
      description:
        - V(not_ready) if an endpoint is not healthy in time, V(invalid) if an option cannot be right,
          V(missing) if a library is.
      type: str
      returned: on failure
      sample: not_ready
  sample: {"code": "not_ready"}
"""

import typing as t

from ..module_utils._health.check import health_check
from ..module_utils._health.options import DOOR_SPEC
from ..module_utils._health.probe import credentials
from ..module_utils._module import run_module

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def call(module: AnsibleModule) -> dict[str, t.Any]:
    # A URL with credentials is refused, and the refusal repeats the options as they were given.
    module.no_log_values.update(credentials(module.params["endpoints"]))
    return health_check(module.params)


def main() -> None:
    run_module(
        call,
        argument_spec={
            "endpoints": {"type": "list", "elements": "str", "required": True},
            "headers": {"type": "dict", "default": {}},
            "secret_headers": {"type": "dict", "default": {}, "no_log": True},
            "host": {"type": "str"},
            "sni": {"type": "str"},
            "address": {"type": "str"},
            "door": {"type": "dict", "options": DOOR_SPEC},
            "status": {"type": "list", "elements": "int", "default": [200]},
            "expect": {"type": "str"},
            "required_checks": {"type": "list", "elements": "str", "default": []},
            "version": {"type": "str"},
            "version_key": {"type": "str", "default": "version", "no_log": False},
            "successes": {"type": "int", "default": 1},
            "timeout": {"type": "float", "default": 30},
            "request_timeout": {"type": "float", "default": 2},
            "interval": {"type": "float", "default": 0.5},
            "concurrency": {"type": "int", "default": 32},
            "validate_certs": {"type": "bool", "default": True},
            "ca_path": {"type": "path"},
        },
    )


if __name__ == "__main__":
    main()
