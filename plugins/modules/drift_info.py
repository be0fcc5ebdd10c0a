#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: drift_info
short_description: Show how the Kubernetes Deployments of two colours differ, their version apart
version_added: 0.1.0
description:
  - Compares the pod templates and the number of pods of two Deployments. Changes nothing.
  - Images are compared without tag and digest. What is named after its own colour on both sides is the same.
  - ConfigMaps and Secrets are compared by content, whatever their names. No content of a Secret and no value of an
    environment variable is shown, only that it differs.
extends_documentation_fragment:
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
  live:
    description: The Deployment of the live colour.
    type: str
    required: true
  idle:
    description: The Deployment of the idle colour.
    type: str
    required: true
  selector_key:
    description: The label of their pods that tells the colours apart.
    type: str
    default: version
  ignore:
    description:
      - Places that may differ, with C(*) for anything, such as C(containers.app.env.RELEASE.*) or C(replicas).
    type: list
    elements: str
    default: []
  kubernetes:
    description: The cluster, as for the module M(bluegreen.deploy.traffic).
    type: dict
    suboptions:
      namespace:
        description: Where the Deployments are. By default, the namespace of the context, else C(default).
        type: str
      kubeconfig:
        description: The path of a kubeconfig. E(K8S_AUTH_KUBECONFIG).
        type: path
      context:
        description: The context in it. E(K8S_AUTH_CONTEXT).
        type: str
      host:
        description: The URL of the API server. E(K8S_AUTH_HOST).
        type: str
      api_key:
        description: A bearer token. E(K8S_AUTH_API_KEY).
        type: str
      ca_cert:
        description: The file of the authority that signed the server's certificate. E(K8S_AUTH_SSL_CA_CERT).
        type: path
      client_cert:
        description: The file of a client certificate. E(K8S_AUTH_CERT_FILE).
        type: path
      client_key:
        description: The file of its key. E(K8S_AUTH_KEY_FILE).
        type: path
      validate_certs:
        description: Whether the server's certificate must be valid. E(K8S_AUTH_VERIFY_SSL).
        type: bool
      proxy:
        description: The URL of an HTTP proxy. E(K8S_AUTH_PROXY).
        type: str
      timeout:
        description: Seconds for one question to the server, with its repetitions.
        type: float
        default: 10.0
"""

EXAMPLES = r"""
- name: Compare green with blue
  bluegreen.deploy.drift_info:
    live: my-app-blue
    idle: my-app-green
    ignore: [replicas]
  register: drift

- name: They are the same but for the version
  ansible.builtin.assert:
    that: drift.differences | length == 0
    fail_msg: "{{ drift.differences }}"
"""

RETURN = r"""
differences:
  description: Each place that differs. What one side does not have is null.
  returned: success
  type: list
  elements: dict
  contains:
    place:
      description: Where in the pod template, dotted.
      type: str
    live:
      description: What the live colour has.
      type: raw
    idle:
      description: What the idle colour has.
      type: raw
  sample:
    - {place: containers.app.resources.limits.memory, live: 512Mi, idle: 256Mi}
unread:
  description: ConfigMaps and Secrets that may not be read or are not there. They were compared by name.
  returned: success
  type: list
  elements: str
  sample: []
failure:
  description: Why it failed, for a playbook to decide on.
  returned: on failure
  type: dict
  contains:
    code:
      description: One of V(invalid), V(missing), V(unreachable), V(timeout), V(denied), V(failed).
      type: str
  sample:
    code: missing
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import DeniedError, MissingError
from ..module_utils._kubernetes.client import Client, Json, connect_in
from ..module_utils._kubernetes.drift import Reference, Side, differences, digest, references
from ..module_utils._kubernetes.options import CONNECTION_SPEC
from ..module_utils._module import run_module

ARGUMENT_SPEC = {
    "live": {"type": "str", "required": True},
    "idle": {"type": "str", "required": True},
    "selector_key": {"type": "str", "default": "version", "no_log": False},
    "ignore": {"type": "list", "elements": "str", "default": []},
    "kubernetes": {
        "type": "dict",
        "options": {**CONNECTION_SPEC, "namespace": {"type": "str"}},
        "apply_defaults": True,
    },
}

PLURALS = {"ConfigMap": "configmaps", "Secret": "secrets"}


def read(client: Client, namespace: str, wanted: t.Iterable[Reference]) -> dict[Reference, str]:
    """The digests of those that can be read."""
    found = {}
    for kind, name in sorted(wanted):
        try:
            found[kind, name] = digest(client.get(f"/api/v1/namespaces/{namespace}/{PLURALS[kind]}/{name}"))
        except (DeniedError, MissingError):
            continue  # it is returned as unread
    return found


def side(deployment: Json, key: str) -> Side:
    return Side(deployment, deployment["spec"]["template"]["metadata"].get("labels", {}).get(key, ""))


def drift(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    client, where = connect_in(params["kubernetes"])
    namespace, key = where["namespace"], params["selector_key"]
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    live, idle = (client.get(f"{path}/{params[name]}") for name in ("live", "idle"))
    wanted = references(live) | references(idle)
    contents = read(client, namespace, wanted)
    found = differences(side(live, key), side(idle, key), contents, params["ignore"])
    return {
        "changed": False,
        "differences": [one.as_result() for one in found],
        "unread": [f"{kind} {name}" for kind, name in sorted(wanted - {*contents})],
    }


def main() -> None:
    run_module(drift, argument_spec=ARGUMENT_SPEC)


if __name__ == "__main__":
    main()
