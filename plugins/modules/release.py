#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Keep the record of an app's releases, and its lock
version_added: 0.1.0
description:
  - The record is a durable journal, one document for each app. It says what was, what is wanted, what was done,
    and who may go on with it.
  - One release of an app is open at a time. Beginning one gives out a token, and only the latest token may write.
    Each write renews the lock.
  - Every write is conditional on what was read, and is read back.
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details: It returns what would be written. No token is given out, and steps without one are taken as written.
  diff_mode:
    support: full
    details: It shows the release without its steps, the lock and the freeze.
  platform:
    platforms: posix
notes:
  - What is given is written as it is, so give no secrets.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
options:
  app:
    description: The app, in letters, digits and C(_ . -).
    type: str
    required: true
  store:
    description:
      - Where the record is kept.
      - Required, except with O(state_dir).
    type: dict
    suboptions:
      type:
        description:
          - The kind of store.
          - V(file) is a file on the host that the module runs on.
          - V(kubernetes) is a ConfigMap, which needs the Python library C(kubernetes) where the module runs.
          - V(dynamodb) is an item in a DynamoDB table, which needs the Python library C(botocore) there.
        type: str
        choices: [file, kubernetes, dynamodb]
        default: file
      path:
        description:
          - For O(store.type=file), its directory. It is made, with mode 0700, if it is missing.
          - It is refused, with the code C(denied), if others than root and the user of the module can write to it, or
            to a directory on the way to it.
        type: path
        default: /var/lib/bluegreen
      timeout:
        description:
          - Seconds to wait at most for others who are writing, or for an answer with all its repetitions.
          - For O(store.type=dynamodb), seconds for one attempt of a call. There are up to six, with a growing wait in
            between.
        type: float
        default: 10.0
      namespace:
        description:
          - For O(store.type=kubernetes), where the ConfigMap is.
          - By default, the namespace of the context, else C(default).
        type: str
      name:
        description:
          - The name of the ConfigMap. By default C(bluegreen-) and the app, in letters that a name may have.
          - For O(store.type=dynamodb), the key of the item. By default O(app).
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
        description:
          - Whether the server's certificate must be valid. E(K8S_AUTH_VERIFY_SSL).
          - For O(store.type=dynamodb), it must be unless this is V(false).
        type: bool
      proxy:
        description: The URL of an HTTP proxy. E(K8S_AUTH_PROXY).
        type: str
      table:
        description:
          - For O(store.type=dynamodb), the name of the table. Its whole key is C(app), a string.
          - It is not made. Where it is missing, the error says how to make it.
        type: str
      region:
        description: The region of the table. E(AWS_REGION), E(AWS_DEFAULT_REGION), or that of the profile.
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
      aws_ca_bundle:
        description: The file of authorities to trust. E(AWS_CA_BUNDLE).
        type: path
  action:
    description:
      - What to do.
      - V(begin) opens a release and takes its lock, or goes on with the open one, see O(id), O(take_over) and O(join).
      - V(step) closes a step, opens the next one, or both. With neither it renews the lock.
      - V(finish) closes the step and the release. V(abort) closes the release as it stands.
      - V(freeze) lets no new release begin for a time, but for the stages C(rollback) and C(recover). V(thaw) lifts
        that. Neither touches the open release.
    type: str
    choices: [begin, step, finish, abort, freeze, thaw, read]
    default: read
  id:
    description:
      - With O(action=begin), the id of the open release to resume, or of the new one.
      - Without it, one is made of O(app), O(version) and the time.
    type: str
  owner:
    description: Who does it. Required to begin, freeze and thaw.
    type: str
  reason:
    description: Why. Required to abort and freeze.
    type: str
  ttl:
    description: Seconds after its holder's last write until the lock counts as left behind.
    type: float
    default: 900.0
  version:
    description: The version that is released.
    type: str
  from:
    description: What is live at the beginning, a dictionary with C(colour) and C(version).
    type: dict
  to:
    description: What is to go live, written like O(from).
    type: dict
  routes:
    description:
      - The routes as they were read, at the beginning or, with O(action=finish), at the end.
      - By load balancer, a list of dictionaries with C(name), C(split) and C(live).
    type: dict
  load_balancers:
    description:
      - The load balancers of the inventory, all of them. With O(action=begin) they are kept, and fewer than the last
        release had are refused with the code V(incomplete); with O(action=read), RV(missing) names those.
    type: list
    elements: str
  gone:
    description: Load balancers of earlier releases that there are no more, and that nobody shall miss.
    type: list
    elements: str
    default: []
  join:
    description: With O(action=begin), go on with the open release if its lock is parked and it is of this O(version).
    type: bool
    default: false
  take_over:
    description: With O(action=begin), the reason to take the open release from whoever has it.
    type: str
  token:
    description: The token that O(action=begin) returned. Required to step, finish and abort, except in check mode.
    type: int
  stage:
    description: The stage that the release is at from now on.
    type: str
  step:
    description: The step that is over.
    type: str
  passed:
    description: Whether it went well. Without it, nobody could tell.
    type: bool
  result:
    description: What it came to. What is larger than 16 KiB, or nested more than 40 levels deep, is left out.
    type: dict
  evidence:
    description: What shows it. What is larger than 16 KiB, or nested more than 40 levels deep, is left out.
    type: dict
  next:
    description: The step that is about to be made.
    type: str
  intended:
    description: What it is meant to do.
    type: dict
  in_doubt:
    description: The load balancers of which nobody can say where their traffic is. Kept until given again.
    type: list
    elements: str
  park:
    description: Leave the lock to whoever goes on with the release.
    type: bool
    default: false
  state:
    description:
      - How the release ended. Required to finish.
      - V(recovered) is for traffic that was put right while no release was open. That is an entry of its own in the
        record; RV(release) is the last release still, and its confirmation period goes on.
    type: str
    choices: [released, rolled_back, refused, unchanged, failed, retired, recovered]
  confirmation_period:
    description: With O(action=finish), seconds in which the old colour is kept.
    type: float
  until:
    description: The end of the freeze, in ISO 8601. A time without a zone is taken for UTC.
    type: str
  state_dir:
    description:
      - With O(action=step) and O(step=confirmed), the directory of this host's watchdog, which is disarmed before
        anything is written down.
      - Without O(store), that is all that is done.
    type: path
seealso:
  - module: bluegreen.deploy.traffic
"""

EXAMPLES = r"""
- name: Begin a release
  bluegreen.deploy.release:
    app: shop
    store: {path: /var/lib/bluegreen}
    action: begin
    owner: alice
    version: 2.4.0
    from: {colour: blue, version: 2.3.1}
    to: {colour: green, version: 2.4.0}
  register: begun

- name: Write down what is about to be done
  bluegreen.deploy.release:
    app: shop
    store: {path: /var/lib/bluegreen}
    action: step
    token: "{{ begun.token }}"
    stage: switch
    next: all to green
    intended:
      split: {green: 100}

- name: Say that the change is good, so that the watchdog does not undo it
  bluegreen.deploy.release:
    app: shop
    action: step
    token: "{{ begun.token }}"
    step: confirmed
    state_dir: /var/lib/bluegreen

- name: Close the release
  bluegreen.deploy.release:
    app: shop
    store: {path: /var/lib/bluegreen}
    action: finish
    token: "{{ begun.token }}"
    step: all to green
    passed: true
    state: released
    confirmation_period: 3600

- name: Let no new release begin before the holidays are over
  bluegreen.deploy.release:
    app: shop
    store: {path: /var/lib/bluegreen}
    action: freeze
    owner: alice
    reason: Holidays
    until: "2027-01-02T06:00:00Z"
"""

RETURN = r"""
record:
  description: The whole document. Null if there is none yet.
  returned: success, with O(store)
  type: dict
  sample: {schema: 1, app: shop, token: 1795406400, lock: null, freeze: null, history: [], takeovers: []}
release:
  description: The open release, or else the last one, which has no steps if a recovery came after it.
  returned: success, with O(store)
  type: dict
  sample:
    id: shop-2.4.0-20261123T030000Z-9f3a
    state: open
    owner: alice
    version: 2.4.0
    from: {colour: blue, version: 2.3.1}
    to: {colour: green, version: 2.4.0}
    stage: switch
    in_doubt: []
    steps:
      - {stage: switch, step: all to green, status: intended, attempts: 1, token: 1795406400}
token:
  description:
    - The token that holds the lock. Null if no release is open, and for O(action=begin) in check mode.
    - A later one is higher.
  returned: success, with O(store)
  type: int
  sample: 1795406400
resumed:
  description: Whether O(action=begin) went on with a release that was open.
  returned: success, with O(store)
  type: bool
  sample: false
lock:
  description: The lock of the open release.
  returned: success, with O(store), and on failure with code C(locked), and C(conflict) if another token has the lock
  type: dict
  sample:
    release: shop-2.4.0-20261123T030000Z-9f3a
    owner: alice
    reason: null
    token: 1795406400
    ttl: 900.0
    taken_at: "2026-11-23T03:00:00.123456+00:00"
    renewed_at: "2026-11-23T03:00:00.123456+00:00"
    expires_at: "2026-11-23T03:15:00.123456+00:00"
    parked: false
freeze:
  description: The freeze that is in force.
  returned: success, with O(store), and on failure with code C(frozen)
  type: dict
  sample: null
open:
  description: Whether a release is open.
  returned: success, with O(store)
  type: bool
  sample: true
now:
  description: The time of this host at the call, in seconds since 1970.
  returned: success, with O(store)
  type: float
  sample: 1795402800.123456
age:
  description: Seconds since the open release was begun.
  returned: success, with O(store)
  type: float
  sample: 12.5
lock_left:
  description: Seconds until the lock counts as left behind, 0 if it does. Null if there is no lock.
  returned: success, with O(store)
  type: float
  sample: 887.5
fleet:
  description: The load balancers that the last release ran with.
  returned: success, with O(store)
  type: list
  elements: str
  sample: [lb1, lb2]
missing:
  description: Those of them that are neither in O(load_balancers) nor in O(gone). Empty without O(load_balancers).
  returned: success, with O(store)
  type: list
  elements: str
  sample: []
confirmation_left:
  description: Seconds left of the confirmation period since the traffic was last moved; 0 if over, null if none runs.
  returned: success, with O(store)
  type: float
  sample: null
watchdog:
  description: What was disarmed, with C(armed) and, in C(was), what was found. Null if O(state_dir) is not set.
  returned: success, and on failure after it was disarmed
  type: dict
  sample: {armed: false, was: armed}
failure:
  description: Why it failed, for a playbook to decide on.
  returned: on failure
  type: dict
  contains:
    code:
      description: >-
        One of V(invalid), V(locked), V(frozen), V(incomplete), V(conflict), V(broken), V(missing), V(unsupported),
        V(denied), V(timeout), V(unreachable), V(not_verified), V(drift), V(failed).
      type: str
  sample:
    code: locked
"""

import re
import secrets
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import BlueGreenError, InvalidError
from ..module_utils._module import run_module
from ..module_utils._release import ledger
from ..module_utils._release.fleet import missing, remembered
from ..module_utils._release.record import Record, checked_app
from ..module_utils._release.registry import STORE_SPEC, build_store
from ..module_utils._release.store import Store, load, update
from ..module_utils._traffic.revert import confirm

ARGUMENT_SPEC = {
    "app": {"type": "str", "required": True},
    "store": {"type": "dict", "options": STORE_SPEC["store"]["options"]},
    "action": {
        "type": "str",
        "choices": ["begin", "step", "finish", "abort", "freeze", "thaw", "read"],
        "default": "read",
    },
    "id": {"type": "str"},
    "owner": {"type": "str"},
    "reason": {"type": "str"},
    "ttl": {"type": "float", "default": 900.0},
    "version": {"type": "str"},
    "from": {"type": "dict"},
    "to": {"type": "dict"},
    "routes": {"type": "dict"},
    "load_balancers": {"type": "list", "elements": "str"},
    "gone": {"type": "list", "elements": "str", "default": []},
    "join": {"type": "bool", "default": False},
    "take_over": {"type": "str"},
    "token": {"type": "int", "no_log": False},
    "stage": {"type": "str"},
    "step": {"type": "str"},
    "passed": {"type": "bool"},
    "result": {"type": "dict"},
    "evidence": {"type": "dict"},
    "next": {"type": "str"},
    "intended": {"type": "dict"},
    "in_doubt": {"type": "list", "elements": "str"},
    "park": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": list(ledger.ENDINGS)},
    "confirmation_period": {"type": "float"},
    "until": {"type": "str"},
    "state_dir": {"type": "path"},
}

HOLDERS = ("step", "finish", "abort")
REQUIRED = {
    "begin": ("owner",),
    "finish": ("state",),
    "abort": ("reason",),
    "freeze": ("owner", "reason", "until"),
    "thaw": ("owner",),
}
REQUIRED_BY = {"passed": ("step",), "result": ("step",), "evidence": ("step",), "intended": ("next",)}

REQUEST = ("owner", "reason", "ttl", "version", "stage", "join", "take_over", "load_balancers", "gone")

Given = dict[str, t.Any]


def new_id(app: str, version: str | None, now: float) -> str:
    words = [app, version, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)), secrets.token_hex(2)]
    return re.sub("[^A-Za-z0-9_.-]", "-", "-".join(word for word in words if word))


def request(given: Given) -> ledger.Request:
    return ledger.Request(
        id=given["id"] or new_id(given["app"], given["version"], time.time()),
        named=given["id"] is not None,
        from_=given["from"] or {},
        to_=given["to"] or {},
        routes=given["routes"] or {},
        **{name: given[name] for name in REQUEST},
    )


def entry(given: Given) -> ledger.Entry:
    names = ("stage", "step", "passed", "result", "evidence", "next", "intended", "in_doubt", "park")
    return ledger.Entry(**{name: given[name] for name in names})


def ending(given: Given) -> ledger.Ending:
    return ledger.Ending(given["state"], given["reason"], given["routes"], given["confirmation_period"])


def change(given: Given) -> t.Callable[[Record], Record]:
    wanted = request(given) if given["action"] == "begin" else None
    changes: dict[str, t.Callable[[Record], Record]] = {
        "begin": lambda record: ledger.begin(record, wanted, time.time()),
        "step": lambda record: ledger.step(record, given["token"], entry(given), time.time()),
        "finish": lambda record: ledger.finish(record, given["token"], entry(given), ending(given), time.time()),
        "abort": lambda record: ledger.abort(record, given["token"], given["reason"], time.time()),
        "freeze": lambda record: ledger.freeze(record, given["owner"], given["reason"], given["until"], time.time()),
        "thaw": lambda record: ledger.thaw(record, given["owner"], given["reason"], time.time()),
        "read": lambda record: record,
    }
    return changes[given["action"]]


def checked(params: dict[str, t.Any], dry_run: bool) -> Given:
    """The options, where an empty text counts as none."""
    given = {name: None if value == "" else value for name, value in params.items()}
    checked_app(given["app"] or "")
    confirms = given["action"] == "step" and given["step"] == "confirmed"
    if given["state_dir"] and not confirms:
        raise InvalidError("state_dir is set", "action step with step confirmed", "Leave it out")
    if given["store"] is None and not given["state_dir"]:
        raise InvalidError("there is no store", "where the record is kept", "Set store")
    needed = [*REQUIRED.get(given["action"], ())]
    if given["action"] in HOLDERS and given["store"] is not None and not dry_run:
        needed.append("token")
    missing = [name for name in needed if given[name] is None]
    if missing:
        raise InvalidError(f"{missing[0]} is not set", f"it with action {given['action']}")
    return given


def written(store: Store, given: Given, dry_run: bool) -> dict[str, t.Any]:
    blind = given["action"] in HOLDERS and given["token"] is None
    if dry_run:
        before, _version = load(store)
        after = before if blind else change(given)(before)
    else:
        before, after = update(store, change(given))
    begins = given["action"] == "begin"
    return {
        "changed": blind or after != before,
        **ledger.standing(after, time.time()),
        "fleet": remembered(after),
        "missing": missing(after, given["load_balancers"], given["gone"]),
        "token": after.lock.token if after.lock and not (begins and dry_run) else None,
        "resumed": begins and len(after.release.sessions) > 1,
        "diff": {"before": ledger.outline(before), "after": ledger.outline(after)},
    }


def release(module: AnsibleModule) -> dict[str, t.Any]:
    given = checked(module.params, module.check_mode)
    store = build_store(given, given["app"]) if given["store"] is not None else None
    disarms = given["state_dir"] and not module.check_mode
    disarmed = confirm(given["state_dir"], given["app"], given["token"]) if disarms else None
    was_armed = bool(disarmed) and disarmed["was"] == "armed"
    if store is None:
        return {"changed": was_armed, "watchdog": disarmed}
    try:
        return {**written(store, given, module.check_mode), "watchdog": disarmed}
    except BlueGreenError as error:
        error.details.update({"watchdog": disarmed} if disarmed else {})
        raise


def main() -> None:
    run_module(
        release,
        argument_spec=ARGUMENT_SPEC,
        required_if=[("action", action, names) for action, names in REQUIRED.items()],
        required_by=REQUIRED_BY,
    )


if __name__ == "__main__":
    main()
