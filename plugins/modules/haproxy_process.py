#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_process
short_description: Start or reload HAProxy where there is no systemd
version_added: 0.1.0
description:
  - Starts HAProxy in master-worker mode in the background, or reloads it through its master socket.
  - A reload hands the listening sockets to the new worker, so that no connection is refused.
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
  config:
    description: The configuration file.
    type: path
    required: true
  master_socket:
    description: The master's own socket, which is made at the start.
    type: path
    required: true
  pid_file:
    description: Where the master writes its process id.
    type: path
    required: true
  binary:
    description: HAProxy.
    type: path
    default: /usr/sbin/haproxy
  state:
    description: V(started) starts it if no master answers; V(reloaded) starts a new worker.
    type: str
    choices: [started, reloaded]
    default: started
  timeout:
    description: Seconds to wait for HAProxy, above all for a new worker, which reads all certificates before it serves.
    type: float
    default: 60.0
"""

EXAMPLES = r"""
- name: HAProxy runs
  bluegreen.deploy.haproxy_process:
    config: /etc/haproxy/haproxy.cfg
    master_socket: /run/haproxy-master.sock
    pid_file: /run/haproxy.pid
"""

RETURN = r"""
worker:
  description: The process id of the newest worker.
  returned: success, when one runs
  type: int
  sample: 4711
failure:
  description: Why it failed, for a playbook to decide on.
  returned: on failure
  type: dict
  contains:
    code:
      description: One of V(invalid), V(missing), V(unreachable), V(timeout), V(denied), V(refused), V(failed).
      type: str
  sample:
    code: timeout
"""

import functools
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._haproxy.process import Master
from ..module_utils._module import run_module

ARGUMENT_SPEC = {
    "config": {"type": "path", "required": True},
    "master_socket": {"type": "path", "required": True},
    "pid_file": {"type": "path", "required": True},
    "binary": {"type": "path", "default": "/usr/sbin/haproxy"},
    "state": {"type": "str", "choices": ["started", "reloaded"], "default": "started"},
    "timeout": {"type": "float", "default": 60.0},
}


def process(module: AnsibleModule) -> dict[str, t.Any]:
    p = module.params
    master = Master(p["master_socket"], p["timeout"])
    changed = p["state"] == "reloaded" or not master.running()
    if changed and not module.check_mode:
        if p["state"] == "reloaded":
            master.reload()
        else:
            socket = f"{p['master_socket']},mode,600"
            master.start(
                functools.partial(module.run_command, handle_exceptions=False),
                [p["binary"], "-W", "-D", "-f", p["config"], "-p", p["pid_file"], "-S", socket],
            )
    return {"changed": changed, "worker": master.worker()}


def main() -> None:
    run_module(process, argument_spec=ARGUMENT_SPEC)


if __name__ == "__main__":
    main()
