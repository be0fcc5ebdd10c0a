#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: deployment
short_description: Give the Kubernetes Deployments or StatefulSets of the idle colour an image and a number of pods
version_added: 0.1.0
description:
  - Changes the Deployments of one colour, and waits until their rollout is complete.
  - The routes are read first. If any of them gives the colour a share of the traffic, nothing is changed, so that
    the live colour cannot be touched.
  - A pod that cannot run, as it crashes or its image is not there, ends the wait at once, with its name and the reason.
  - A HorizontalPodAutoscaler is respected. It rests while its Deployment has no pods.
extends_documentation_fragment:
  - bluegreen.deploy.routes
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details: The server tries each change without making it.
  diff_mode:
    support: full
  platform:
    platforms: posix
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
options:
  colour:
    description: The colour that the Deployments are of. It must be the idle one.
    type: str
    required: true
  deployments:
    description: The names of its Deployments, those of workers without a Service included.
    type: list
    elements: str
    required: true
  kind:
    description:
      - What they all are.
      - A StatefulSet whose update strategy keeps pods of the old revision, such as C(OnDelete) or a partition, fails.
    type: str
    choices: [Deployment, StatefulSet]
    default: Deployment
  images:
    description: The image of each container that gets another one, by the container's name.
    type: dict
  replicas:
    description: How many pods each Deployment is to have.
    type: int
  like:
    description:
      - The Deployments of the other colour in the same order, of which each gets as many pods as its counterpart has.
      - Not with O(replicas).
    type: list
    elements: str
  capacity_ratio:
    description:
      - With O(like), the share of the CPU and memory that its counterpart's pods ask for, all together, that a
        Deployment's pods must ask for. Otherwise nothing is changed.
      - With V(0) nothing is compared.
    type: float
    default: 1.0
  wait_timeout:
    description: Seconds to wait for the rollouts, one after the other. With V(0) nobody waits.
    type: float
    default: 300.0
  kubernetes:
    description: The cluster, as for O(routes[].kubernetes).
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
- name: Put the new version on the idle colour, with as many pods as the live one has
  bluegreen.deploy.deployment:
    routes: "{{ bluegreen_routes }}"
    colour: "{{ pre_deploy_to }}"
    deployments: ["my-app-{{ pre_deploy_to }}"]
    like: ["my-app-{{ pre_deploy_live }}"]
    images:
      my-app: "registry.example.com/my-app:{{ bluegreen_version }}"

- name: Stop the colour that nothing reaches any more
  bluegreen.deploy.deployment:
    routes: "{{ bluegreen_routes }}"
    colour: "{{ bluegreen_retired }}"
    deployments: ["my-app-{{ bluegreen_retired }}"]
    replicas: 0
"""

RETURN = r"""
deployments:
  description: What each Deployment had, and what it has now or in check mode would have.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    before:
      description: The replicas and the images that were found.
      type: dict
    after:
      description: Those that it is to have.
      type: dict
  sample:
    - name: my-app-green
      before: {replicas: 0, images: {my-app: "my-app:1.0"}}
      after: {replicas: 3, images: {my-app: "my-app:1.1"}}
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

from ..module_utils._errors import InvalidError
from ..module_utils._kubernetes.client import Client, connect_in
from ..module_utils._kubernetes.deployments import Deployment, State, Wanted
from ..module_utils._kubernetes.options import CONNECTION_SPEC
from ..module_utils._kubernetes.statefulsets import StatefulSet
from ..module_utils._module import run_module
from ..module_utils._traffic.registry import ROUTES_SPEC, build_routes
from ..module_utils._traffic.route import refuse_live
from ..module_utils._traffic.split import known

ARGUMENT_SPEC = {
    **ROUTES_SPEC,
    "colour": {"type": "str", "required": True},
    "deployments": {"type": "list", "elements": "str", "required": True},
    "kind": {"type": "str", "choices": ["Deployment", "StatefulSet"], "default": "Deployment"},
    "images": {"type": "dict"},
    "replicas": {"type": "int"},
    "like": {"type": "list", "elements": "str"},
    "capacity_ratio": {"type": "float", "default": 1.0},
    "wait_timeout": {"type": "float", "default": 300.0},
    "kubernetes": {
        "type": "dict",
        "options": {**CONNECTION_SPEC, "namespace": {"type": "str"}},
        "apply_defaults": True,
    },
}


def wanted(params: dict[str, t.Any], others: list[Deployment]) -> list[Wanted]:
    """What each of the Deployments is to have; ``others`` are its counterparts, where there are any."""
    replicas = params["replicas"]
    if replicas is not None and replicas < 0:
        raise InvalidError(f"replicas is {replicas}", "0 or more")
    images = {container: str(image) for container, image in (params["images"] or {}).items()} or None
    counts = [each.read().replicas for each in others] or [replicas] * len(params["deployments"])
    return [Wanted(count, images) for count in counts]


def named(client: Client, namespace: str, params: dict[str, t.Any]) -> tuple[list[Deployment], list[Deployment]]:
    """The Deployments, and their counterparts or none."""
    names, like = params["deployments"], params["like"]
    if like is not None and len(like) != len(names):
        raise InvalidError(f"like names {len(like)} {params['kind']}s, and deployments {len(names)}", "as many")
    made = StatefulSet if params["kind"] == StatefulSet.kind else Deployment
    ours, theirs = ([made(client, namespace, name) for name in some] for some in (names, like or []))
    return ours, theirs


def deploy(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    colours, routes = build_routes(params)
    refuse_live(routes, known(colours, params["colour"]))
    client, where = connect_in(params["kubernetes"])
    deployments, others = named(client, where["namespace"], params)
    before = [deployment.read() for deployment in deployments]
    after = [each.plan(want) for each, want in zip(deployments, wanted(params, others))]
    for deployment, other, state in zip(deployments, others, after):
        deployment.check_capacity(state.replicas, other, params["capacity_ratio"])
    forgetful = [
        f"{deployment.kind} {deployment.name}"
        for deployment, was, state in zip(deployments, before, after)
        if was.images != state.images and not deployment.keeps_history()
    ]
    for deployment, state in zip(deployments, after):
        deployment.change(state, dry_run=module.check_mode)
    if params["wait_timeout"] and not module.check_mode:
        for deployment in deployments:
            deployment.wait(params["wait_timeout"])
    return {**result(params["deployments"], before, after), "warnings": [no_history(name) for name in forgetful]}


def no_history(name: str) -> str:
    return f"{name} has revisionHistoryLimit 0: kubectl rollout undo will not find what it had before"


def result(names: list[str], before: list[State], after: list[State]) -> dict[str, t.Any]:
    was, will_be = ({n: one.as_result() for n, one in zip(names, states)} for states in (before, after))
    return {
        "changed": before != after,
        "deployments": [{"name": name, "before": was[name], "after": will_be[name]} for name in names],
        "diff": {"before": was, "after": will_be},
    }


def main() -> None:
    run_module(deploy, argument_spec=ARGUMENT_SPEC, mutually_exclusive=[("replicas", "like")])


if __name__ == "__main__":
    main()
