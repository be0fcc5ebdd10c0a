# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments of a colour: their image, their number of pods, and the end of a rollout. Private to this collection.

Source: kubernetes.io/docs/concepts/workloads/controllers/deployment, "Deployment status" and "Failed Deployment".
"""

from __future__ import annotations

import typing as t
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

from .._errors import BlueGreenError, ConflictError, InvalidError, NotReadyError, TimeLimitError
from .._requires import require_kubernetes
from .._wait import SYSTEM_CLOCK, Clock
from .client import Client, Json, RefusedContentError, Watched
from .pods import is_leaving, name_of, trouble
from .rollout import gave_up, is_complete, label_selector, progress, refused, waits_for

REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
LIVE = "bluegreen.deploy/live"
"""The annotation of a Deployment whose colour is the live one, also while it has no pods."""
SLICE = 1.0
"""Seconds for which the Deployment is watched between two looks at its pods."""
PASSING = ("ErrImagePull",)
"""What the kubelet tries again at once; when it waits before it does, it says so in other words."""


@dataclass(frozen=True)
class Wanted:
    """What a Deployment is to have; None: what it has."""

    replicas: int | None = None
    images: t.Mapping[str, str] | None = None
    """By container."""


@dataclass(frozen=True)
class State:
    """What a Deployment says that it should have."""

    replicas: int
    images: t.Mapping[str, str]
    """By container, those that run before the others included."""

    def as_result(self) -> dict[str, t.Any]:
        return {"replicas": self.replicas, "images": dict(self.images)}


class Deployment:
    """One Deployment, changed by conditional patches."""

    kind: t.ClassVar[str] = "Deployment"
    plural: t.ClassVar[str] = "deployments"

    def __init__(self, client: Client, namespace: str, name: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self.name = name
        self._client, self._namespace, self._clock = client, namespace, clock
        self._all = f"/apis/apps/v1/namespaces/{namespace}"
        self._path = f"{self._all}/{self.plural}/{name}"
        self._seen: Json = {}

    def read(self) -> State:
        self._seen = self._client.get(self._path)
        return _state(self._seen)

    def plan(self, wanted: Wanted) -> State:
        """What ``change`` would come to, after ``read``. Raises ``invalid`` for what the Deployment cannot have."""
        now = _state(self._seen)
        unknown = sorted({*(wanted.images or {})} - {*now.images})
        if unknown:
            raise InvalidError(
                f"{self.kind} {self.name} has no container {unknown[0]}", f"one of {', '.join(sorted(now.images))}"
            )
        replicas = now.replicas if wanted.replicas is None else wanted.replicas
        self._check_autoscaler(replicas)
        return State(replicas, {**now.images, **(wanted.images or {})})

    @property
    def is_marked(self) -> bool:
        """Whether it was marked as the live colour's, when it was read last."""
        return LIVE in self._annotations()

    def _annotations(self) -> dict[str, str]:
        return self._seen["metadata"].get("annotations") or {}

    def change(self, to: State, dry_run: bool = False, live: bool | None = None) -> None:
        """One atomic patch, after ``read``; a ``conflict`` where somebody else changed the same meanwhile.

        ``live`` marks it as the live colour's, or takes the mark off.
        """
        now = _state(self._seen)
        operations = [] if live is None else self._marking(live)
        if to.replicas != now.replicas:
            operations += _replace("/spec/replicas", now.replicas, to.replicas)
        for place, container in _containers(self._seen):
            image = to.images[container["name"]]
            if image != container["image"]:
                operations.append({"op": "test", "path": f"{place}/name", "value": container["name"]})
                operations += _replace(f"{place}/image", container["image"], image)
        if not operations:
            return
        try:
            patched = self._client.patch(self._path, operations, dry_run)
        except RefusedContentError as error:
            self._tell_refused(error, now)
        if not dry_run:
            self._seen = patched

    def _marking(self, live: bool) -> list[Json]:
        place = f"/metadata/annotations/{LIVE.replace('/', '~1')}"
        if live and not self.is_marked:
            made = [] if self._annotations() else [{"op": "add", "path": "/metadata/annotations", "value": {}}]
            return [*made, {"op": "add", "path": place, "value": "true"}]
        return [{"op": "remove", "path": place}] if self.is_marked and not live else []

    def _tell_refused(self, error: RefusedContentError, before: State) -> t.NoReturn:
        found = _state(self._client.get(self._path))
        if found == before:
            raise error
        raise ConflictError(
            f"{self.kind} {self.name} has {found.as_result()}",
            f"{before.as_result()}, as it was read",
            "It has changed since it was read: see who changes it, a person or a controller",
        ) from error

    def keeps_history(self) -> bool:
        """Whether C(kubectl rollout undo) finds what the template was before, when it was read last."""
        return bool(self._seen["spec"].get("revisionHistoryLimit", 1))

    def check_capacity(self, replicas: int, other: Deployment, ratio: float) -> None:
        """After both were read: so many pods must ask for the ``ratio`` of what the other's ask for, at least.

        Raises ``not_ready``. Where the other one asks for nothing, there is nothing to compare.
        """
        theirs = _state(other._seen).replicas
        for resource, needed in _requests(other._seen).items():
            mine, least = _requests(self._seen)[resource] * replicas, needed * theirs * Decimal(str(ratio))
            if mine < least:
                raise NotReadyError(
                    f"{self.kind} {self.name} would ask for {_amount(resource, mine)} in {replicas} pods, and "
                    f"{other.name} asks for {_amount(resource, needed * theirs)} in {theirs}",
                    f"at least {_amount(resource, least)}",
                    "Give its containers as much, or lower capacity_ratio",
                )

    def completes(self, within: float) -> bool:
        """Whether the rollout is complete, or becomes so within so many seconds."""
        return self._watched().until(lambda items: any(map(self.is_complete, items)), within)

    def wait(self, timeout: float) -> None:
        """Until the rollout is complete. Raises ``not_ready`` at once where a pod cannot run, and ``timeout``."""
        deadline = self._clock.now() + timeout
        watched, before = self._watched(), ""
        while not watched.until(lambda items: any(map(self.is_complete, items)), SLICE):
            before = self._look_for_trouble(watched.items, before)
            if self._clock.now() >= deadline:
                waits = self._first(watched.items, waits_for)
                raise TimeLimitError(
                    f"after {timeout:g} s {self.kind} {self.name} has {progress(watched.items)}"
                    + (f"; {waits}" if waits else ""),
                    "all of them, and no other",
                    f"See kubectl -n {self._namespace} describe {self.kind.lower()} {self.name}",
                )

    def is_complete(self, item: Json) -> bool:
        return is_complete(item)

    def gave_up(self, item: Json) -> str | None:
        """Why no waiting helps."""
        return gave_up(item)

    def _watched(self) -> Watched:
        path, mine = f"{self._all}/{self.plural}", f"metadata.name={self.name}"
        return Watched(self._client, path, self._clock, fieldSelector=mine)

    def _look_for_trouble(self, items: t.Sequence[Json], before: str) -> str:
        """Raises where no waiting helps, and where pods cannot be made, which the look ``before`` has seen, too.

        Returns why they cannot be made.
        """
        why_not_made = next(filter(None, map(refused, items)), "")
        why = next(filter(None, map(self.gave_up, items)), None) or self._first(items, _lasting)
        if why_not_made and before:
            why = why or why_not_made
        if why:
            raise NotReadyError(
                f"{self.kind} {self.name}: {why}",
                "pods that run",
                f"See kubectl -n {self._namespace} describe {self.kind.lower()} {self.name}",
            )
        return why_not_made

    def _first(self, items: t.Sequence[Json], tell: t.Callable[[Json], str | None]) -> str | None:
        """Of the pods of the newest revision: those before it may have been in trouble, and are on their way out."""
        for item in items:
            for pod in self._newest_pods(item):
                why = None if is_leaving(pod) else tell(pod)
                if why:
                    return f"pod {name_of(pod)}: {why}"
        return None

    def _newest_pods(self, item: Json) -> list[Json]:
        selector = label_selector(item)
        sets = self._client.get(f"{self._all}/replicasets", labelSelector=selector)["items"]
        revision = item["metadata"].get("annotations", {}).get(REVISION)
        pods: list[Json] = []
        for one in sets:
            owners = [each.get("uid") for each in one["metadata"].get("ownerReferences") or ()]
            mine = item["metadata"]["uid"] in owners
            if mine and one["metadata"].get("annotations", {}).get(REVISION) == revision:
                labels = f"{selector},{HASH}={one['metadata']['labels'][HASH]}"
                pods += self._client.get(f"/api/v1/namespaces/{self._namespace}/pods", labelSelector=labels)["items"]
        return pods

    def _check_autoscaler(self, replicas: int) -> None:
        """Between 1 and its minimum, or above its maximum, it would change the number again; at 0 it rests."""
        found = self._client.get(f"/apis/autoscaling/v1/namespaces/{self._namespace}/horizontalpodautoscalers")["items"]
        for item in found:
            target, least, most = (item["spec"].get(key) for key in ("scaleTargetRef", "minReplicas", "maxReplicas"))
            mine = target["kind"] == self.kind and target["name"] == self.name
            if mine and replicas and not (least or 1) <= replicas <= most:
                raise InvalidError(
                    f"replicas is {replicas}, and HorizontalPodAutoscaler {name_of(item)} keeps {self.kind} "
                    f"{self.name} between {least or 1} and {most}",
                    "a number between them, or 0",
                )


def _lasting(pod: Json) -> str | None:
    why = trouble(pod)
    return why if why and not why.startswith(PASSING) else None


def _replace(path: str, now: t.Any, to: t.Any) -> list[Json]:
    return [{"op": "test", "path": path, "value": now}, {"op": "replace", "path": path, "value": to}]


def _state(item: Json) -> State:
    images = {each["name"]: each["image"] for _place, each in _containers(item)}
    return State(item["spec"].get("replicas", 1), images)


def _containers(item: Json) -> list[tuple[str, Json]]:
    """Where each is, as a JSON Pointer, and the container; those that run before the others, too."""
    spec = item["spec"]["template"]["spec"]
    return [
        (f"/spec/template/spec/{kind}/{number}", container)
        for kind in ("containers", "initContainers")
        for number, container in enumerate(spec.get(kind) or ())
    ]


def _requests(item: Json) -> Counter[str]:
    """The CPUs and bytes of memory that one pod asks for."""
    total: Counter[str] = Counter()
    for container in item["spec"]["template"]["spec"]["containers"]:
        for resource, quantity in ((container.get("resources") or {}).get("requests") or {}).items():
            if resource in ("cpu", "memory"):
                total[resource] += _quantity(quantity)
    return total


def _quantity(text: str) -> t.Any:
    try:
        return require_kubernetes().utils.parse_quantity(text)
    except ValueError as error:
        raise BlueGreenError(f"a request of resources is {text!r}", "a quantity such as 500m or 1Gi") from error


def _amount(resource: str, many: t.Any) -> str:
    return f"{float(many / 2**20):g} MiB of memory" if resource == "memory" else f"{float(many):g} cpu"
