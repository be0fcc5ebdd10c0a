# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How two Deployments differ, their version and colour apart; pure functions. Private to this collection.

What they refer to counts by content: a ConfigMap or Secret of another name with the same data is the same. No content
of a Secret and no value of an environment variable is ever told, only that it differs.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import typing as t
from dataclasses import dataclass

from .client import Json

BY_NAME = ("containers", "initContainers", "env", "volumes", "ports")
"""Lists whose items have names, in which their order does not matter."""
NOT_SHOWN = "*.env.*.value"
REFERENCES = {
    "configMapRef": ("ConfigMap", "name"),
    "configMapKeyRef": ("ConfigMap", "name"),
    "configMap": ("ConfigMap", "name"),
    "secretRef": ("Secret", "name"),
    "secretKeyRef": ("Secret", "name"),
    "secret": ("Secret", "secretName"),
}
"""By field of a pod's spec: the kind that it refers to, and in which field."""

Reference = tuple[str, str]
Contents = t.Mapping[Reference, str]
"""By kind and name, a digest of the data; one that is not there could not be read."""


@dataclass(frozen=True)
class Side:
    """A Deployment, and the value of the label that says its colour."""

    deployment: Json
    colour: str


@dataclass(frozen=True)
class Difference:
    """A place in the Deployment's pod template, dotted, and what each side has there."""

    place: str
    live: t.Any
    idle: t.Any

    def as_result(self) -> dict[str, t.Any]:
        return {"place": self.place, "live": self.live, "idle": self.idle}


def references(deployment: Json) -> set[Reference]:
    """The ConfigMaps and Secrets that its pods get."""
    return set(_references(deployment["spec"]["template"]["spec"]))


def digest(item: Json) -> str:
    """Of the data of a ConfigMap or Secret."""
    data = {key: item.get(key) or {} for key in ("data", "binaryData")}
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def differences(live: Side, idle: Side, contents: Contents, ignore: t.Sequence[str] = ()) -> list[Difference]:
    """Place by place, those aside that match a pattern of ``ignore``."""
    one, other = (dict(_leaves(side, contents)) for side in (live, idle))
    found = [
        Difference(place, _told(place, one.get(place)), _told(place, other.get(place)))
        for place in sorted({*one, *other})
        if one.get(place) != other.get(place)
    ]
    return [each for each in found if not any(fnmatch.fnmatchcase(each.place, pattern) for pattern in ignore)]


def _leaves(side: Side, contents: Contents) -> t.Iterator[tuple[str, t.Any]]:
    spec = side.deployment["spec"]
    yield "replicas", spec.get("replicas", 1)
    for place, value in _flat(spec["template"]["spec"], (), contents):
        yield ".".join(place), _OWN_COLOUR if value == side.colour else value


_OWN_COLOUR = "(the own colour)"


def _flat(value: t.Any, place: tuple[str, ...], contents: Contents) -> t.Iterator[tuple[tuple[str, ...], t.Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(_resolved(key, inner, contents), (*place, key), contents)
    elif isinstance(value, list):
        named = (
            bool(place) and place[-1] in BY_NAME and all(isinstance(each, dict) and "name" in each for each in value)
        )
        for number, inner in enumerate(value):
            yield from _flat(inner, (*place, inner["name"] if named else str(number)), contents)
    elif place[-1:] == ("image",):
        yield place, _repository(str(value))
    else:
        yield place, value


def _resolved(key: str, inner: t.Any, contents: Contents) -> t.Any:
    """A reference by the content that it leads to, not by its name."""
    if key not in REFERENCES or not isinstance(inner, dict):
        return inner
    kind, field = REFERENCES[key]
    if field not in inner:
        return inner
    found = contents.get((kind, inner[field]))
    return {**inner, field: f"content {found}"} if found else inner


def _references(value: t.Any) -> t.Iterator[Reference]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        kind, field = REFERENCES.get(key, ("", "")) if isinstance(key, str) else ("", "")
        if kind and isinstance(inner, dict) and field in inner:
            yield kind, inner[field]
        yield from _references(inner)


def _repository(image: str) -> str:
    """Without tag and digest, which are the version."""
    name = image.partition("@")[0]
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


def _told(place: str, value: t.Any) -> t.Any:
    return "(not shown)" if value is not None and fnmatch.fnmatchcase(place, NOT_SHOWN) else value
