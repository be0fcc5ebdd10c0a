# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests ask of the server itself, in JSON.

| request | does |
|---|---|
| ``GET /_bg/listeners`` | ARN of each listener → its port on loopback |
| ``GET /_bg/calls``, ``DELETE /_bg/calls`` | the calls received, oldest first, and what became of each |
| ``POST /_bg/faults``, ``DELETE /_bg/faults`` | arms one (``faults.py``); disarms all |
| ``POST /_bg/health`` | forces the state of a target (``World.force_health``) |
| ``POST /_bg/places`` | ``{"i-0123": 8081}``: where a target is on loopback that is registered under another name |
| ``GET``, ``POST /_bg/settings`` | ``Settings``: scales of time, size of pages, quota of rules, latency |
| ``POST /_bg/reset`` | everything is as just started |
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from .state import SETTINGS
from .world import World

PREFIX = "/_bg/"


def answer(world: World, method: str, path: str, body: bytes) -> tuple[HTTPStatus, bytes]:
    routes: dict[tuple[str, str], Callable[[Any], Any]] = {
        ("GET", "listeners"): lambda _told: world.plane.ports(),
        ("GET", "calls"): lambda _told: list(world.calls),
        ("DELETE", "calls"): lambda _told: world.calls.clear(),
        ("POST", "faults"): world.faults.arm,
        ("DELETE", "faults"): lambda _told: world.faults.clear(),
        ("POST", "health"): world.force_health,
        ("POST", "places"): lambda told: world.places.update({name: int(port) for name, port in told.items()}),
        ("GET", "settings"): lambda _told: dataclasses.asdict(SETTINGS),
        ("POST", "settings"): SETTINGS.update,
        ("POST", "reset"): lambda _told: world.reset(),
    }
    act = routes.get((method, path.removeprefix(PREFIX)))
    if act is None:
        return HTTPStatus.NOT_FOUND, _document({"error": f"there is no {method} {path}"})
    try:
        return HTTPStatus.OK, _document(act(json.loads(body) if body else {}))
    except (ValueError, KeyError, TypeError) as error:
        return HTTPStatus.BAD_REQUEST, _document({"error": f"{type(error).__name__}: {error}"})


def _document(content: Any) -> bytes:
    return json.dumps(content, default=str).encode()
