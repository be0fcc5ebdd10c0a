#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_config
short_description: Give an app its part of a HAProxy configuration
version_added: 0.1.0
description:
  - Writes the part of one app into HAProxy's configuration file, between two marks, and its entry into the map file.
    Several apps, and sections that somebody else has written, live in the same file; nothing outside the marks is
    touched.
  - The whole candidate is checked with C(haproxy -c) before it replaces the file, of which a backup is kept. If HAProxy
    runs, it is reloaded; if it does not take the new configuration, the old file is put back.
  - A run that was killed before the reload had ended leaves a mark beside the file, and the next run reloads.
  - Where the traffic is belongs to the switch. An entry of the map that is there is never changed.
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Passwords and the test token are masked.
  platform:
    platforms: posix
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
options:
  app:
    description: The app.
    type: str
    required: true
  state:
    description: V(absent) takes the app's part and its entry away.
    type: str
    choices: [present, absent]
    default: present
  colours:
    description: The names of its two colours.
    type: list
    elements: str
    default: [blue, green]
  live:
    description: The colour that a new app starts with. By default the first one.
    type: str
  members:
    description: For each of O(colours), in the same order, the URL of each server by its name.
    type: list
    elements: dict
    default: []
  bind:
    description:
      - What follows C(bind) in the frontend, one for each line, options included.
      - An address that another section binds is refused, since HAProxy would share the connections out by chance.
    type: list
    elements: str
    default: ["*:80"]
  health_path:
    description: The path of the health check.
    type: str
    default: /health
  check_interval:
    description: Between two health checks of a server.
    type: str
    default: 1s
  server_options:
    description: More words for C(default-server).
    type: str
    default: ""
  sticky:
    description:
      - How a client stays on the colour it has seen while the share grows. V(cookie) gives it a bucket in a
        cookie, V(header) takes the bucket from a header's hash, V(none) throws the dice for each request.
    type: str
    choices: [none, cookie, header]
    default: none
  sticky_name:
    description: The name of that cookie or header.
    type: str
    default: bluegreen
  test_token:
    description: The secret that test traffic carries. Empty means no test traffic.
    type: str
    default: ""
  test_header:
    description: The header in which test traffic names a colour.
    type: str
    default: X-BlueGreen-Colour
  token_header:
    description: The header in which it carries the secret.
    type: str
    default: X-BlueGreen-Token
  metrics_bind:
    description: Where HAProxy serves its own metrics to Prometheus. Empty means nowhere.
    type: str
    default: ""
  timeouts:
    description: HAProxy's timeouts for this app, by name.
    type: dict
    default: {}
  extra:
    description: More sections, as they are, for the end of the app's part.
    type: str
    default: ""
  config:
    description:
      - The configuration file. It may be one of several that HAProxy reads, such as one in C(conf.d); which these are
        is seen from the process that runs.
    type: path
    default: /etc/haproxy/haproxy.cfg
  config_mode:
    description:
      - The mode of a new file. One that is there keeps its own, but for the rights that are not in this one, once it
        holds a secret.
    type: str
    default: "0640"
  map:
    description: The map file.
    type: path
    default: /etc/haproxy/bluegreen.map
  socket:
    description:
      - The stats socket, for the switch. It is added where a file that somebody else wrote has none at that address.
    type: str
    default: /run/haproxy/admin.sock
  user:
    description: Whom the worker runs as, in a file that is all ours. Empty means whoever starts it.
    type: str
    default: ""
  group:
    description: Its group, likewise.
    type: str
    default: ""
  chroot:
    description: The directory it shuts itself in, likewise.
    type: str
    default: ""
  log:
    description: Where it logs to, likewise; what follows C(log).
    type: str
    default: ""
  hard_stop_after:
    description: How long an old worker may serve its last connections after a reload, likewise.
    type: str
    default: 1h
  server_state_file:
    description:
      - The file that carries what was set at run time, such as a server in maintenance, over a reload of this module.
        In a file that is all ours; empty means none.
    type: str
    default: ""
  binary:
    description: HAProxy.
    type: path
    default: /usr/sbin/haproxy
  control:
    description: V(systemd), or V(direct) to reload HAProxy through its master socket.
    type: str
    choices: [systemd, direct]
    default: systemd
  service:
    description: For V(systemd), the unit, such as C(haproxy@shop).
    type: str
    default: haproxy
  master_socket:
    description: The master's socket. Where it answers, HAProxy itself tells whether a reload was refused.
    type: path
    default: /run/haproxy-master.sock
  timeout:
    description:
      - Seconds to wait for HAProxy, above all for a new worker, which reads all certificates before it serves.
      - A reload that has not ended by then is not one that was refused. The file stays as it is, nothing is put back,
        and the next run reloads once more.
    type: float
    default: 60.0
"""

EXAMPLES = r"""
- name: HAProxy routes the shop
  bluegreen.deploy.haproxy_config:
    app: shop
    bind: ["192.0.2.10:80"]
    members:
      - {blue1: "http://192.0.2.21:8080"}
      - {green1: "http://192.0.2.31:8080"}

- name: HAProxy knows the shop no more, and the rest is as it was
  bluegreen.deploy.haproxy_config:
    app: shop
    state: absent
"""

RETURN = r"""
backup_file:
  description: Where the file is kept as it was before.
  returned: if a file was replaced
  type: str
  sample: /etc/haproxy/haproxy.cfg.4711.2026-11-30@10:00:00~
adopted:
  description: Whether somebody else has written sections into the file, which were left alone.
  returned: success
  type: bool
  sample: true
failure:
  description: Why it failed, for a playbook to decide on.
  returned: on failure
  type: dict
  contains:
    code:
      description:
        - V(refused) if HAProxy did not take the configuration, and the file is as it was; V(timeout) or
          V(unreachable) if that is not known, and the new file stays.
        - Else one of V(invalid), V(missing), V(denied), V(conflict), V(drift), V(failed), with the file as it was.
      type: str
  sample:
    code: refused
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._haproxy.config import configure, order
from ..module_utils._module import run_module

ARGUMENT_SPEC: dict[str, t.Any] = {
    "app": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "colours": {"type": "list", "elements": "str", "default": ["blue", "green"]},
    "live": {"type": "str"},
    "members": {"type": "list", "elements": "dict", "default": []},
    "bind": {"type": "list", "elements": "str", "default": ["*:80"]},
    "health_path": {"type": "str", "default": "/health"},
    "check_interval": {"type": "str", "default": "1s"},
    "server_options": {"type": "str", "default": ""},
    "sticky": {"type": "str", "choices": ["none", "cookie", "header"], "default": "none"},
    "sticky_name": {"type": "str", "default": "bluegreen"},
    "test_token": {"type": "str", "default": "", "no_log": True},
    "test_header": {"type": "str", "default": "X-BlueGreen-Colour"},
    "token_header": {"type": "str", "default": "X-BlueGreen-Token", "no_log": False},
    "metrics_bind": {"type": "str", "default": ""},
    "timeouts": {"type": "dict", "default": {}},
    "extra": {"type": "str", "default": ""},
    "config": {"type": "path", "default": "/etc/haproxy/haproxy.cfg"},
    "config_mode": {"type": "str", "default": "0640"},
    "map": {"type": "path", "default": "/etc/haproxy/bluegreen.map"},
    "socket": {"type": "str", "default": "/run/haproxy/admin.sock"},
    "user": {"type": "str", "default": ""},
    "group": {"type": "str", "default": ""},
    "chroot": {"type": "str", "default": ""},
    "log": {"type": "str", "default": ""},
    "hard_stop_after": {"type": "str", "default": "1h"},
    "server_state_file": {"type": "str", "default": ""},
    "binary": {"type": "path", "default": "/usr/sbin/haproxy"},
    "control": {"type": "str", "choices": ["systemd", "direct"], "default": "systemd"},
    "service": {"type": "str", "default": "haproxy"},
    "master_socket": {"type": "path", "default": "/run/haproxy-master.sock"},
    "timeout": {"type": "float", "default": 60.0},
}


def config(module: AnsibleModule) -> dict[str, t.Any]:
    def run(command: list[str], environment: t.Mapping[str, str] | None = None, /) -> tuple[int, str, str]:
        done: tuple[int, str, str] = module.run_command(command, handle_exceptions=False, environ_update=environment)
        return done

    return configure(order(module.params, run), backup=module.backup_local, dry_run=module.check_mode)


def main() -> None:
    run_module(config, argument_spec=ARGUMENT_SPEC)


if __name__ == "__main__":
    main()
