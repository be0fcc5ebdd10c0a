# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: status
short_description: Where an app's traffic is, and what its record says, in sentences
version_added: 0.1.0
description:
  - Says in a line each which colour is live, the shares on each load balancer, the release that is open or was the
    last, its lock and its age, the confirmation period, what was recovered since, a freeze, and the watchdogs that are
    armed.
  - A load balancer of the last release that the inventory does not have is named.
  - A version is the last one that the record has for the colour.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
positional: app, seen, unseen
options:
  _input:
    description: What the module M(bluegreen.deploy.release) has read, also if it failed.
    type: dict
    required: true
  app:
    description: The app.
    type: str
    required: true
  seen:
    description: The results of M(bluegreen.deploy.traffic_info), as P(bluegreen.deploy.results#filter) gives them.
    type: dict
    required: true
  unseen:
    description: The load balancers that could not be read, as P(bluegreen.deploy.failures#filter) gives them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Say where the traffic is
  ansible.builtin.debug:
    msg: "{{ record | bluegreen.deploy.status('shop', seen, unseen) }}"
  vars:
    seen: "{{ ansible_play_hosts_all | bluegreen.deploy.results(hostvars, 'now', ['routes', 'watchdog']) }}"
    unseen: "{{ ansible_play_hosts_all | bluegreen.deploy.failures(hostvars, 'now') }}"
"""

RETURN = r"""
_value:
  description: The sentences.
  type: list
  elements: str
  sample:
    - "shop: blue (1.0) is live, green (1.1) is not"
    - "lb1: blue 90 %, green 10 %"
    - release shop-1.1-20261123T030000Z-9f3a is open for 42 s, at stage switch
    - it is of alice, from blue (1.0) to green (1.1)
    - its lock, of alice, holds for another 14 min
"""

import typing as t
from datetime import datetime

Json = t.Mapping[str, t.Any]
MINUTE = 60
HOUR = 3600


def status(record: Json, app: str, seen: t.Mapping[str, Json], unseen: t.Sequence[Json]) -> list[str]:
    """A sentence each, the most important first. A version is the last that the record has for the colour."""
    return [
        _live(record, app, seen),
        *_shares(seen),
        *unread(record, unseen),
        *_release(record),
        *_recovered(record),
        *_freeze(record),
        *_watchdogs(seen),
    ]


def unread(record: Json, unseen: t.Sequence[Json]) -> list[str]:
    """What is not known, a sentence each."""
    return [
        *(f"{one['host']}: in doubt, {one['msg']}" for one in unseen),
        *(f"{host}: not in the inventory, though the last release ran on it" for host in record.get("missing") or ()),
        *([f"the record cannot be read: {record.get('msg') or 'no answer'}"] if _is_unread(record) else []),
    ]


def where(host: str, route: Json) -> str:
    """How a route is called in a sentence."""
    return host if route["name"] == host else f"{host}, route {route['name']}"


def _is_unread(record: Json) -> bool:
    return bool(record.get("failed") or record.get("unreachable"))


def _live(record: Json, app: str, seen: t.Mapping[str, Json]) -> str:
    routes = [route for one in seen.values() for route in one.get("routes") or ()]
    live = sorted({route["live"] or "no colour" for route in routes})
    idle = sorted({colour for route in routes for colour in route["split"]} - {*live})
    told = " and ".join(_side(colour, _version(record, colour)) for colour in live)
    rest = "".join(f", {_side(colour, _version(record, colour))} is not" for colour in idle)
    if not live:
        return f"{app}: nobody knows what is live"
    return f"{app}: {told} {'is' if len(live) == 1 else 'are'} live{rest}"


def _version(record: Json, colour: str) -> str | None:
    releases = [record.get("release"), *reversed((record.get("record") or {}).get("history") or ())]
    sides = [release.get(side) or {} for release in releases if release for side in ("to", "from")]
    return next((side["version"] for side in sides if side.get("colour") == colour and side.get("version")), None)


def _side(colour: str | None, version: str | None) -> str:
    return f"{colour or 'no colour'} ({version})" if version else str(colour or "no colour")


def _shares(seen: t.Mapping[str, Json]) -> t.Iterator[str]:
    for host, found in sorted(seen.items()):
        for route in found.get("routes") or ():
            place = where(host, route)
            told = ", ".join(f"{colour} {share:g} %" for colour, share in route["split"].items())
            yield f"{place}: {told}" if any(route["split"].values()) else f"{place}: nobody serves"
            yield from (f"{place}: drift, {sentence}" for sentence in route.get("drift") or ())


def _release(record: Json) -> t.Iterator[str]:
    if _is_unread(record):
        return
    release = record.get("release")
    if not release:
        yield "nothing was released yet"
        return
    if record["open"]:
        stage = f", at stage {release['stage']}" if release.get("stage") else ""
        yield f"release {release['id']} is open for {_span(record['age'])}{stage}"
        yield f"it is of {release['owner']}, {_way(release)}"
    else:
        yield f"last release: {release['id']}, {release['state'].replace('_', ' ')}"
        yield f"it was of {release['owner']}, {_way(release)}"
        yield f"it ended at {_time(release['finished_at'])}"
    if record["open"]:
        yield _lock(record["lock"], record["lock_left"])
    if release.get("in_doubt"):
        yield f"in doubt since then: {', '.join(release['in_doubt'])}"
    if record.get("confirmation_left"):
        yield f"the way back is kept for another {_span(record['confirmation_left'])}"


def _recovered(record: Json) -> t.Iterator[str]:
    """What was put right since, while no release was open."""
    last = (record.get("record") or {}).get("release") or {}
    if last.get("state") == "recovered":
        yield f"{last['owner']} sent all traffic to {last['from'].get('colour')} at {_time(last['finished_at'])}"


def _way(release: Json) -> str:
    if release.get("stage") == "recover" and not release["to"].get("colour"):
        return f"all traffic to {release['from'].get('colour')}"
    start, end = (_side(side.get("colour"), side.get("version")) for side in (release["from"], release["to"]))
    return f"from {start} to {end}" if start != end else f"with {start} live"


def _lock(lock: Json, left: float) -> str:
    if lock["parked"]:
        return "its lock is left to whoever goes on"
    if left > 0:
        return f"its lock, of {lock['owner']}, holds for another {_span(left)}"
    return f"its lock, of {lock['owner']}, ran out at {_time(lock['expires_at'])}"


def _freeze(record: Json) -> t.Iterator[str]:
    freeze = record.get("freeze")
    if freeze:
        yield f"frozen by {freeze['owner']} until {_time(freeze['until'])}: {freeze['reason']}"


def _watchdogs(seen: t.Mapping[str, Json]) -> t.Iterator[str]:
    for host, found in sorted(seen.items()):
        watchdog = found.get("watchdog") or {}
        if watchdog.get("state") in ("armed", "firing") and watchdog["message"]:
            yield f"{host}: {watchdog['message']}"
        elif watchdog.get("state") == "armed":
            yield f"{host}: unless it is confirmed, the traffic goes back in {_span(watchdog['fires_in'])}"
        elif watchdog.get("state") in ("fired", "refused", "failed"):
            how = f"{watchdog['state']} at {_time(watchdog['ended_at'])}"
            yield f"{host}: nobody confirmed in time, {how}: {watchdog['message']}"


def _time(at: str) -> str:
    return f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M:%S} UTC"


def _span(seconds: float) -> str:
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / MINUTE:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.0f} h"


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"status": status}
