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
    "configMapRef": ("ConfigMap", ("name",)),
    "configMapKeyRef": ("ConfigMap", ("name",)),
    "configMap": ("ConfigMap", ("name",)),
    "secretRef": ("Secret", ("name",)),
    "secretKeyRef": ("Secret", ("name",)),
    "secret": ("Secret", ("secretName", "name")),  # a volume, or a source of a projected one
}
"""By field of a pod's spec: the kind that it refers to, and in which of the fields."""
RESTARTED = "kubectl.kubernetes.io/restartedAt"
"""Written by C(kubectl rollout restart), at one time or another."""

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
    """A place in the Deployment's pod template, dotted, and what each side has there; C(metadata) is that of the pods,
    and C(replicas), C(strategy) and C(minReadySeconds) are the Deployment's."""

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
    metadata = spec["template"].get("metadata") or {}
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != RESTARTED}
    around = {
        "strategy": spec.get("strategy") or {},
        "minReadySeconds": spec.get("minReadySeconds", 0),
        "metadata": {"labels": metadata.get("labels") or {}, "annotations": annotations},
    }
    for place, value in _flat({**around, **spec["template"]["spec"]}, (), contents):
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
    for kind, field in _reference(key, inner):
        found = contents.get((kind, inner[field]))
        return {**inner, field: f"content {found}"} if found else inner
    return inner


def _references(value: t.Any) -> t.Iterator[Reference]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        for kind, field in _reference(key, inner):
            yield kind, inner[field]
        yield from _references(inner)


def _reference(key: t.Any, inner: t.Any) -> t.Iterator[tuple[str, str]]:
    """The kind that a field refers to, and where its name is; none where it is no reference."""
    kind, fields = REFERENCES.get(key, ("", ())) if isinstance(key, str) else ("", ())
    if isinstance(inner, dict):
        yield from ((kind, field) for field in fields if field in inner)


def _repository(image: str) -> str:
    """Without tag and digest, which are the version."""
    name = image.partition("@")[0]
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


def _told(place: str, value: t.Any) -> t.Any:
    return "(not shown)" if value is not None and fnmatch.fnmatchcase(place, NOT_SHOWN) else value
