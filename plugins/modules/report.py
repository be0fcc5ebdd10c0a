#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Write the deployment report of one release
version_added: 0.1.0
description:
  - Writes what a release checked, did and measured as two files, a JSON document that holds all of it
    and a Markdown page that reads like the checklist of a deployment.
  - A file is replaced whole, and only if its content changes. The same input gives the same files.
  - In the Markdown page load balancers that say the same share a row.
notes:
  - Runs on the host of the task. Delegate it to C(localhost) to keep the report on the controller.
  - What is given is written as it is, so give no secrets.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details: It predicts the paths, the text and whether anything would change.
  diff_mode:
    support: full
    details: It shows the difference in the Markdown page.
  platform:
    platforms: posix
options:
  app:
    description: The app that is released.
    type: str
    required: true
  version:
    description: The version that is released.
    type: str
  outcome:
    description:
      - How the release ended.
      - V(open) if all went well so far and the next stage is due.
      - V(refused) if it ended before the switch, V(unchanged) if there was nothing to do.
    type: str
    required: true
    choices: [open, released, rolled_back, refused, failed, unchanged]
  reason:
    description: Why it was refused or rolled back, or why it failed.
    type: str
  from_colour:
    description: The colour that was live before.
    type: str
  to_colour:
    description: The colour that was to go live.
    type: str
  started_at:
    description: When the release began, in ISO 8601. A time without a zone is taken for UTC.
    type: str
  finished_at:
    description:
      - When the release ended, in ISO 8601.
      - Without it, the latest time of the timelines is taken, or else O(started_at).
    type: str
  dest:
    description: The directory for the two files. It is made, with mode 0755, if it is missing.
    type: path
    required: true
  fallback:
    description: The directory to take instead if nothing can be written to O(dest).
    type: path
  name:
    description:
      - The name of the two files without C(.json) and C(.md), at most 200 bytes long, with no path separator
        and no dot in front.
      - Without it, a name is made of O(app), O(version) and O(started_at), such as
        V(shop-2.4.0-20260301T100000Z).
    type: str
  load_balancers:
    description:
      - What was found and done on each load balancer, by its name in the inventory.
        A dictionary with these keys, none of which is required.
      - C(checklist) is a list of dictionaries with C(stage), one of V(pre_deploy), V(switch), V(post_deploy)
        and V(rollback), C(check), what was checked, C(passed), V(true), V(false), or V(null) if the check was
        not run or nobody could tell, C(verdict), which of the latter it is, V(inconclusive) or V(blind),
        and C(evidence), any value that shows it; of a dictionary with a C(summary), the Markdown shows
        just that. Keys of the evidence that Ansible adds to results, as C(invocation), are left out.
      - C(timeline) is a list of dictionaries with C(at), a time in ISO 8601, C(event), what happened,
        C(split), the percentage of each of the two colours from then on, or V(null), and C(took_ms), how long
        it took in milliseconds, or V(null). The Markdown page leaves C(took_ms) out.
      - C(figures) is a dictionary of numbers and texts.
    type: dict
    required: true
seealso:
  - module: bluegreen.deploy.health_check
"""

EXAMPLES = r"""
- name: Write the report of the release
  bluegreen.deploy.report:
    app: shop
    version: 2.4.0
    outcome: released
    from_colour: blue
    to_colour: green
    started_at: "2026-03-01T10:00:00Z"
    dest: /var/log/bluegreen
    load_balancers:
      lb1:
        checklist:
          - stage: pre_deploy
            check: Green is healthy
            passed: true
            evidence: {healthy: 4, took_ms: 38}
        timeline:
          - at: "2026-03-01T10:00:04.120Z"
            event: Sent 10 % to green
            split: {blue: 90, green: 10}
        figures:
          requests: 18234
          failed requests: 0
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
json:
  description: The path of the JSON document.
  returned: success
  type: str
  sample: /var/log/bluegreen/shop-2.4.0-20260301T100000Z.json
markdown:
  description: The path of the Markdown page.
  returned: success
  type: str
  sample: /var/log/bluegreen/shop-2.4.0-20260301T100000Z.md
text:
  description: The Markdown page.
  returned: success
  type: str
  sample: "# shop 2.4.0: released, green is live"
failure:
  description: What a playbook can decide on.
  returned: on failure
  type: dict
  contains:
    code:
      description: V(invalid) if an option cannot be right, V(denied) if a file cannot be read or written.
      type: str
      returned: on failure
      sample: invalid
  sample: {"code": "invalid"}
"""

import typing as t

from ..module_utils._module import run_module
from ..module_utils._report.files import write_report
from ..module_utils._report.values import OUTCOMES

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def call(module: AnsibleModule) -> dict[str, t.Any]:
    diff = module._diff  # noqa: SLF001 (Ansible has no other name for it)
    return write_report(module.params, dry_run=module.check_mode, diff=diff)


def main() -> None:
    run_module(
        call,
        argument_spec={
            "app": {"type": "str", "required": True},
            "version": {"type": "str"},
            "outcome": {"type": "str", "required": True, "choices": list(OUTCOMES)},
            "reason": {"type": "str"},
            "from_colour": {"type": "str"},
            "to_colour": {"type": "str"},
            "started_at": {"type": "str"},
            "finished_at": {"type": "str"},
            "dest": {"type": "path", "required": True},
            "fallback": {"type": "path"},
            "name": {"type": "str"},
            "load_balancers": {"type": "dict", "required": True},
        },
    )


if __name__ == "__main__":
    main()
