#!/usr/bin/python
# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: traffic
short_description: Move live traffic between two colours, all routes or none
version_added: 0.1.0
description:
  - Moves one or many routes to a split of the traffic between two colours.
  - All routes are read and checked first; then they are changed side by side, and verified.
  - When anything fails, the routes that were moved are put back, and the result says for each route what
    was found, done and left.
  - Every change is compare-and-set. If somebody else moved the traffic meanwhile, nothing is changed.
extends_documentation_fragment:
  - bluegreen.deploy.routes
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
  to:
    description: The colour to send all traffic to.
    type: str
  split:
    description: The share of each colour in percent, by colour. One is enough; the other follows.
    type: dict
  expect:
    description:
      - The split that must be found on every route that is not there yet, written like O(split).
      - By default, what was read at the start of the same call.
    type: dict
  plan:
    description:
      - The splits that are to follow, written like O(split). One that a route could never hold, such as a share that is
        too fine for it, is refused now, and nothing is changed.
      - Members that are not ready, or not there yet, are no objection.
    type: list
    elements: dict
    default: []
  on_drift:
    description:
      - What to do when the load balancer's own places contradict each other, such as a map file and the running
        HAProxy.
      - V(fail) changes nothing and says what was found. V(mend) goes by what is in force now.
    type: str
    choices: [fail, mend]
    default: fail
  force:
    description: Send traffic to a colour even if the load balancer sees no member of it ready.
    type: bool
    default: false
  verify:
    description: How to wait until a change is really in force.
    type: dict
    default: {}
    suboptions:
      retries:
        description: How often to look at most.
        type: int
        default: 100
      timeout:
        description: Seconds to look at most.
        type: float
        default: 10.0
  all_or_nothing:
    description:
      - Whether one route that cannot be moved keeps all others from it, and has them put back.
      - V(false) moves each route for itself, which is meant for the way home. If some could not be moved, the task
        fails with the code C(partial). Not with O(commit_at), O(revert_after) or O(watch).
    type: bool
    default: true
  on_partial:
    description:
      - What to do when the load balancers of some routes do not answer any more after the change has begun.
      - V(back) puts the other routes back. V(keep) leaves them where they were sent, and the task fails with the
        code C(partial).
    type: str
    choices: [back, keep]
    default: back
  commit_at:
    description:
      - The instant at which the routes are changed, in seconds since the epoch by the clock of the host that
        the module runs on, so that many hosts change theirs together. It may be at most 300 seconds ahead.
      - When a route is ready only after it, nothing is changed, and the task fails with the code C(timeout).
      - By default, the routes are changed as soon as all of this call are ready. In check mode nobody waits.
    type: float
  app:
    description: What is released. Names the files in O(state_dir).
    type: str
  state_dir:
    description:
      - The directory on the host that the module runs on for O(token) and O(revert_after). It is made with mode
        0700 if it is missing.
      - It is refused, with the code C(denied), if others than root and the user of the module can write to it, or to
        a directory on the way to it.
    type: path
    default: /var/lib/bluegreen
  token:
    description:
      - The fencing token of the release, 1 or more. Whoever takes a release over has a higher one.
      - This host keeps the highest one it has seen for O(app). With a lower one nothing is changed or put back
        any more, and the task fails with the code C(conflict).
    type: int
  fleet:
    description:
      - What the host keeps beside O(token), for M(bluegreen.deploy.traffic_info) to return. A later release whose
        record is elsewhere, or that lacks one of these load balancers, can be told so.
      - Without O(token), and in check mode, nothing is kept.
    type: dict
    suboptions:
      record_host:
        description: The host on which the record of the release is.
        type: str
        required: true
      load_balancers:
        description: All load balancers of the release.
        type: list
        elements: str
        required: true
  revert_after:
    description:
      - Seconds of silence, after the end of the call, until this host puts the traffic back by itself.
      - A watchdog is armed on this host before anything is changed. It needs no connection and no Ansible, and
        ends when the release confirms with the module M(bluegreen.deploy.release).
      - Each route goes back to where the release found it, or to O(watch.back_to). A route that somebody else
        has moved meanwhile is left alone.
      - Armed again with the same O(token), it goes back to where the release found the route at first.
      - It is disarmed, too, when a call with the same O(token) leaves it nothing to put back.
      - It does not outlive a reboot of the host.
    type: float
  watch:
    description:
      - Watch the colour that was raised, by the load balancer's own counters, after the change is verified.
      - When a limit is passed, everything is put back at once, and the task fails with the code
        C(threshold_exceeded).
      - Nothing is watched in check mode, or if no route was moved and O(watch.back_to) is not set.
    type: dict
    suboptions:
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
        description: How many requests there must be within the window to judge at all.
        type: int
        default: 50
      pooled:
        description:
          - Whether the counts are to be pooled with those of other load balancers, and judged over all of them by
            P(bluegreen.deploy.watched#filter).
          - Then only a total failure is acted on here, which is that no member is ready, or that all answers were
            errors, 10 or more. The verdict is V(inconclusive) otherwise.
        type: bool
        default: false
      front:
        description:
          - The front door, asked as a client does, where the provider counts no requests.
          - Each path is asked three times at each look. An answer with status 5xx, or none within 2 seconds, is an
            error. Three errors that are more than O(watch.max_error_share), or more than 0 % without it, are a
            limit that is passed.
          - That all goes well there proves nothing about the requests of others, so that the verdict is not V(pass).
          - Before the colour gets a share, what fails already is left out, since nobody could tell whose fault it is.
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
      back_to:
        description:
          - The colour that gets all traffic when a limit is passed.
          - By default, each route goes back to where it was found.
        type: str
"""

EXAMPLES = r"""
- name: Send all traffic to green
  bluegreen.deploy.traffic:
    routes:
      - name: lb1
        provider: haproxy
        haproxy:
          socket: /run/haproxy/admin.sock
          map: /etc/haproxy/bluegreen.map
          key: shop
    to: green

- name: Send a tenth to green, if blue has everything now
  bluegreen.deploy.traffic:
    routes: "{{ bluegreen_routes }}"
    split:
      green: 10
    expect:
      blue: 100

- name: Send half to green, watch it for a minute, and put it back at once if it is bad
  bluegreen.deploy.traffic:
    routes: "{{ bluegreen_routes }}"
    split:
      green: 50
    watch:
      duration: 60
      max_error_share: 1

- name: Send all traffic to green, back by itself unless it is confirmed within five minutes
  bluegreen.deploy.traffic:
    routes: "{{ bluegreen_routes }}"
    to: green
    app: shop
    token: "{{ bluegreen_token }}"
    revert_after: 300
"""

RETURN = r"""
routes:
  description: For each route, what was found and what was done. Returned on failure too, where it was read.
  returned: always, unless no route could be read
  type: list
  elements: dict
  contains:
    name:
      description: The route's name.
      type: str
    before:
      description: The split that was found, in percent; 0 for both colours where nobody served.
      type: dict
    after:
      description: The split that is in force now, or in check mode would be.
      type: dict
    changed:
      description: Whether the route was moved.
      type: bool
    verified:
      description: Whether the split was read back. Null if the provider cannot tell, or nothing was done.
      type: bool
    committed_at:
      description: When the load balancer acknowledged the change, ISO 8601 in UTC.
      type: str
    took_ms:
      description: From the start of the change to its acknowledgement, in milliseconds.
      type: float
    old_until:
      description: >-
        The last moment at which a client may still reach the colour that was lowered, as it stays with what it was told
        before, such as a sticky target group. ISO 8601 in UTC. Null where the provider cannot tell.
      type: str
    cached_until:
      description: >-
        The same for a client that asks only then, where answers are cached, as with DNS. Null where it is led right
        from the beginning.
      type: str
    restored:
      description: After a failure, whether the route is back. Null if it was not touched.
      type: bool
    restored_at:
      description: When the way back was acknowledged, ISO 8601 in UTC.
      type: str
    drift:
      description: Contradictions that were found, a sentence each.
      type: list
      elements: str
    error:
      description: What went wrong on this route.
      type: str
  sample:
    - name: lb1
      before: {blue: 100, green: 0}
      after: {blue: 0, green: 100}
      changed: true
      verified: true
      committed_at: "2026-11-23T03:00:00.123456+00:00"
      took_ms: 0.871
      old_until: null
      cached_until: null
      restored: null
      restored_at: null
      drift: []
      error: null
skew_ms:
  description: From the first change of a route to the last one of this call, in milliseconds. Null if none moved.
  returned: success
  type: float
  sample: 0.412
clock:
  description: This host's clock at the end of the call, in seconds since the epoch.
  returned: success
  type: float
  sample: 1795402800.123
watchdog:
  description: The watchdog of O(revert_after), from this call or an earlier one of the release. Null if there is none.
  returned: success, and on failure once the options were checked
  type: dict
  contains:
    state:
      description: V(armed), or V(undone) when there is nothing left to put back.
      type: str
    fires_at:
      description: When it puts the traffic back, ISO 8601 in UTC.
      type: str
    by:
      description: V(systemd), a timer of the system, or V(process), a process of its own.
      type: str
  sample: {state: armed, fires_at: "2026-11-23T03:05:00.000000+00:00", by: systemd}
lost:
  description: The routes that could not be moved while others were.
  returned: on failure with code C(partial)
  type: list
  elements: str
  sample: [lb2]
watched:
  description: What was seen with O(watch), as the module M(bluegreen.deploy.analysis) returns it. Null if nothing was.
  returned: success, and on failure with code C(threshold_exceeded)
  type: dict
  sample: {verdict: pass, reason: 0 of 4711 answers were errors, requests: 4711, errors: 0}
failure:
  description: Why it failed, for a playbook to decide on.
  returned: on failure
  type: dict
  contains:
    code:
      description: >-
        One of V(invalid), V(unsupported), V(missing), V(unreachable), V(timeout), V(denied), V(conflict), V(drift),
        V(not_ready), V(not_verified), V(threshold_exceeded), V(partial), V(undo_failed), V(failed).
      type: str
  sample:
    code: conflict
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._analysis.options import WATCH_SPEC, secrets_of
from ..module_utils._errors import InvalidError
from ..module_utils._module import run_module
from ..module_utils._traffic.fence import Fence
from ..module_utils._traffic.guard import Watch, guarded_switch, watchdog_of
from ..module_utils._traffic.known_fleet import KnownFleet
from ..module_utils._traffic.registry import ROUTES_SPEC, build_routes
from ..module_utils._traffic.route import Route
from ..module_utils._traffic.split import Split
from ..module_utils._traffic.switch import Order, skew_ms

ARGUMENT_SPEC = {
    **ROUTES_SPEC,
    "to": {"type": "str"},
    "split": {"type": "dict"},
    "expect": {"type": "dict"},
    "plan": {"type": "list", "elements": "dict", "default": []},
    "on_drift": {"type": "str", "choices": ["fail", "mend"], "default": "fail"},
    "force": {"type": "bool", "default": False},
    "verify": {
        "type": "dict",
        "default": {},
        "options": {
            "retries": {"type": "int", "default": 100},
            "timeout": {"type": "float", "default": 10.0},
        },
    },
    "all_or_nothing": {"type": "bool", "default": True},
    "on_partial": {"type": "str", "choices": ["back", "keep"], "default": "back"},
    "commit_at": {"type": "float"},
    "app": {"type": "str"},
    "state_dir": {"type": "path", "default": "/var/lib/bluegreen"},
    "token": {"type": "int", "no_log": False},
    "fleet": {
        "type": "dict",
        "options": {
            "record_host": {"type": "str", "required": True},
            "load_balancers": {"type": "list", "elements": "str", "required": True},
        },
    },
    "revert_after": {"type": "float"},
    "watch": {
        "type": "dict",
        "options": {**WATCH_SPEC, "back_to": {"type": "str"}},
    },
}


def order(params: dict[str, t.Any], colours: tuple[str, str]) -> Order:
    together = [name for name in ("commit_at", "revert_after", "watch") if params[name] is not None]
    if together and not params["all_or_nothing"]:
        raise InvalidError(f"all_or_nothing is false, and {together[0]} is set", "one of them")
    verify = {"retries": 100, "timeout": 10.0, **params["verify"]}
    if verify["retries"] < 1 or not 0 < verify["timeout"] < float("inf"):
        raise InvalidError("verify has no time to look", "retries of 1 or more and a timeout above 0 seconds")
    return Order(
        wanted=Split.only(colours, params["to"]) if params["to"] else Split.parse(colours, params["split"]),
        expect=Split.parse(colours, params["expect"]) if params["expect"] is not None else None,
        mend_drift=params["on_drift"] == "mend",
        force=params["force"],
        verify_timeout=verify["timeout"],
        verify_interval=verify["timeout"] / verify["retries"],
        commit_at=params["commit_at"],
        keep_partial=params["on_partial"] == "keep",
        all_or_nothing=params["all_or_nothing"],
        plan=tuple(Split.parse(colours, split) for split in params["plan"]),
    )


def fence(params: dict[str, t.Any]) -> Fence | None:
    if params["token"] is None:
        return None
    token, told = params["token"], params["fleet"]
    return Fence(params["state_dir"], params["app"], token, fleet({**told, "token": token}) if told else None)


def fleet(told: dict[str, t.Any]) -> KnownFleet:
    try:
        return KnownFleet.of(told)
    except ValueError as error:
        raise InvalidError(f"fleet cannot be kept: {error}", "the names of hosts") from error


def shown(route: Route, split: Split | None) -> dict[str, t.Any]:
    """Where nobody serves there is nothing to show."""
    return route.router.shown(split) if split else {}


def warn(module: AnsibleModule, routes: t.Sequence[Route], plan: t.Sequence[Split]) -> None:
    """Say beforehand what clients may get otherwise than planned."""
    for route in routes:
        for caveat in dict.fromkeys(caveat for split in plan for caveat in route.router.caveats(split)):
            module.warn(f"route {route.name}: {caveat}")


def watch_of(routes: t.Sequence[Route], watch: t.Mapping[str, t.Any], shares: bool) -> Watch:
    from ..module_utils._analysis.counters import watcher  # noqa: PLC0415 -- compiled only where something is watched

    return watcher(routes, watch, shares)


def traffic(module: AnsibleModule) -> dict[str, t.Any]:
    params, watch = module.params, module.params["watch"]
    module.no_log_values.update(secrets_of(watch))
    colours, routes = build_routes(params)
    back_to = Split.only(colours, watch["back_to"]) if watch and watch["back_to"] else None
    watchdog = watchdog_of(params, routes, back_to)
    wanted = order(params, colours)
    outcomes, watched = guarded_switch(
        routes,
        wanted,
        watch_of(routes, watch, wanted.wanted.shared and not module.check_mode) if watch else None,
        back_to=back_to,
        dry_run=module.check_mode,
        fence=fence(params),
        watchdog=watchdog,
    )
    if module.check_mode:
        warn(module, routes, (*wanted.plan, wanted.wanted))
    return {
        "changed": any(outcome.changed for outcome in outcomes),
        "routes": [outcome.as_result() for outcome in outcomes],
        "watched": watched.as_result() if watched else None,
        "watchdog": watchdog.as_result() if watchdog else None,
        "skew_ms": skew_ms(outcomes),
        "clock": time.time(),
        "diff": {
            "before": {o.name: shown(route, o.before) for route, o in zip(routes, outcomes)},
            "after": {o.name: shown(route, o.after) for route, o in zip(routes, outcomes)},
        },
    }


def main() -> None:
    run_module(
        traffic,
        argument_spec=ARGUMENT_SPEC,
        mutually_exclusive=[("to", "split")],
        required_one_of=[("to", "split")],
        required_by={"token": ("app",), "revert_after": ("app",)},
    )


if __name__ == "__main__":
    main()
