# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kubernetes provider: the selector of a Service. Private to this collection.

Source: kubernetes.io/docs/concepts/services-networking/service; JSON Patch with a test is RFC 6902, section 4.6.
"""

from __future__ import annotations

import typing as t

from .._errors import (
    BlueGreenError,
    ConflictError,
    DriftError,
    InvalidError,
    MissingError,
    UnsupportedError,
)
from .._kubernetes.client import Client, Json, LostAnswerError, RefusedContentError, connect
from .._kubernetes.kubectl import patch_command
from .._kubernetes.pods import endpoints, is_leaving, is_ready, leaving, name_of, phase, trouble, unmatched_port
from .._kubernetes.slices import Slices
from .._wait import SYSTEM_CLOCK
from .router import Activity, Capabilities, Router
from .split import WHOLE, Split, moved

LOOK = 5.0
"""Seconds that one look at the endpoints lasts."""
MOST_REASONS = 5
"""Pods of which it is told why they are not ready."""


class Selected:
    """A Service whose selector names one of the colours."""

    def __init__(self, client: Client, namespace: str, name: str, key: str, values: t.Mapping[str, str]) -> None:
        self._client, self._namespace, self.name, self._key = client, namespace, name, key
        self._values = values
        self.path = f"/api/v1/namespaces/{namespace}/services/{name}"
        self.known: Json | None = None
        """The Service as it was seen last."""

    def read(self) -> str | None:
        """The colour that is selected. None: neither of them."""
        self.known = self._client.get(self.path)
        return self.colour()

    def colour(self) -> str | None:
        """The colour that is selected in what was seen last. None: neither of them."""
        selector = self.selector()
        if self._key not in selector:
            raise MissingError(
                f"the selector of Service {self.name} is {_words(selector)}",
                f"a part {self._key}={' or '.join(self._values.values())}, without which it selects both colours",
                f"Add it, or name the label in selector_key: kubectl -n {self._namespace} edit service {self.name}",
            )
        return next((colour for colour, value in self._values.items() if value == selector[self._key]), None)

    def drift(self) -> tuple[str, ...]:
        """A selector that names neither colour, in what was seen last."""
        if self.colour() is not None:
            return ()
        found, known = self.selector()[self._key], " nor ".join(self._values.values())
        return (f"Service {self.name} selects {self._key}={found}, which is neither {known} (see selector_values)",)

    def selector(self) -> dict[str, str]:
        spec = self._spec()
        kind = spec.get("type", "ClusterIP")
        if kind == "ExternalName" or spec.get("clusterIP") == "None":
            what = "of type ExternalName" if kind == "ExternalName" else "headless: its clients find pods by DNS"
            raise UnsupportedError(
                f"Service {self.name} is {what}", "one with a cluster IP and a selector", "Put such a Service in front"
            )
        return dict(spec.get("selector") or {})

    def selecting(self, colour: str) -> dict[str, str]:
        return {**self.selector(), self._key: self._values[colour]}

    def ports(self) -> list[Json]:
        return list(self._spec().get("ports") or ())

    def select(self, colour: str, dry_run: bool = False) -> None:
        """One atomic change, made only if the selector is still the one that was seen."""
        before = self.selector()
        pointer = self._key.replace("~", "~0").replace("/", "~1")
        operations: list[Json] = [
            {"op": "test", "path": "/spec/selector", "value": before},
            {"op": "replace", "path": f"/spec/selector/{pointer}", "value": self._values[colour]},
        ]
        try:
            patched = self._client.patch(self.path, operations, dry_run)
        except (RefusedContentError, LostAnswerError) as error:
            self._look_after(error, before, colour)
        else:
            self.known = self.known if dry_run else patched

    def _look_after(self, error: BlueGreenError, before: dict[str, str], colour: str) -> None:
        """A change that was refused, or whose answer was lost: what is there now tells."""
        now = self.read()
        if isinstance(error, LostAnswerError):
            if now != colour:
                raise error
        elif self.selector() == before:
            raise error
        else:
            raise ConflictError(
                f"Service {self.name} now selects {_words(self.selector())}",
                f"{_words(before)}, as it was read",
                "It has changed since it was read: see who changes it, a person or a controller",
            ) from error

    def _spec(self) -> Json:
        if self.known is None:
            self.known = self._client.get(self.path)
        return t.cast(Json, self.known["spec"])


class KubernetesService(Router):
    """All or nothing: one patch of a Service's selector. A preview Service selects the idle colour."""

    capabilities = Capabilities(finest_step=WHOLE, sticky=False, counts_connections=False, survives_reload=True)

    def __init__(self, colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> None:
        values = {colour: str((options["selector_values"] or {}).get(colour, colour)) for colour in colours}
        if len(set(values.values())) < len(colours):
            raise InvalidError(f"selector_values is {values[colours[0]]} for both colours", "a value for each")
        if options["service"] == options["preview_service"]:
            raise InvalidError(f"preview_service is {options['service']}, as service is", "a second Service")
        self._colours, self._values, self._key = colours, values, options["selector_key"]
        self._options = options
        self._client = connect(options)
        self._service = self._selected(options["service"])
        self._preview = self._selected(options["preview_service"]) if options["preview_service"] else None
        self._slices = Slices(self._client, options["namespace"], options["service"])
        self._pods: list[Json] = []

    def _selected(self, name: str) -> Selected:
        return Selected(self._client, self._options["namespace"], name, self._key, self._values)

    def read(self) -> Split | None:
        self._service.read()
        return self._split()

    def drift(self) -> tuple[str, ...]:
        if self._preview is None:
            return self._service.drift()
        preview = self._preview.read()
        if preview is None or preview != self._service.colour():
            return self._service.drift() + self._preview.drift()
        return (
            f"Service {self._service.name} and its preview {self._preview.name} both select {self._preview.colour()}",
        )

    def check(self, wanted: Split) -> None:
        """The endpoints must be readable, which will prove the change."""
        self._slices.look()

    def rehearse(self, wanted: Split) -> None:
        for service, colour in self._places(_whole(wanted)):
            if service.colour() != colour:
                service.select(colour, dry_run=True)

    def apply(self, wanted: Split, expected: Split | None, live: str | None = None) -> None:
        found = self._split()
        if found != expected:
            raise moved(found, expected)
        (_service, colour), *preview = self._places(_whole(wanted))
        if self._service.colour() != colour:
            self._service.select(colour)
        for shown, idle in preview:
            _follow(shown, idle)

    def verify(self, wanted: Split) -> bool | None:
        """Until the Service's EndpointSlices hold the ready pods of the colour and no other; for a short while.

        Then the Services are read again: whoever else manages them may have put them back meanwhile.
        """
        colour = _whole(wanted)
        places = self._places(colour)
        if any(service.colour() != selected for service, selected in places) or not self._leads_to(colour):
            return False
        return all(service.read() == selected for service, selected in places)

    def _leads_to(self, colour: str) -> bool:
        """Whether the endpoints become those of the colour; pods that come meanwhile are listed anew, once."""
        deadline = SYSTEM_CLOCK.now() + LOOK
        strange: set[str] = set()
        while True:
            if not self._pods:
                self._list_pods()
            seen = _Seen({name_of(pod) for pod in self._pods} | strange, self._ready_of(colour))
            settled = self._slices.until(seen.is_settled, max(0.0, deadline - SYSTEM_CLOCK.now()))
            if settled and seen.is_exact:
                return True
            self._pods = []
            if not settled:
                return False
            strange |= seen.unknown

    def by_hand(self, wanted: Split) -> str:
        patches = {
            service.name: {"spec": {"selector": {self._key: self._values[colour]}}}
            for service, colour in self._places(_whole(wanted))
        }
        return " && ".join(patch_command(self._options, "service", name, patch) for name, patch in patches.items())

    def shown(self, split: Split) -> dict[str, t.Any]:
        return {
            service.name: {"selector": service.selecting(colour)} for service, colour in self._places(_whole(split))
        }

    def observe(self) -> dict[str, Activity] | None:
        self._list_pods()
        return {colour: self._activity(self._of(colour)) for colour in self._colours}

    def long_lived(self) -> dict[str, int] | None:
        return None

    def _split(self) -> Split | None:
        colour = self._service.colour()
        return Split.only(self._colours, colour) if colour else None

    def _places(self, colour: str) -> list[tuple[Selected, str]]:
        """What each Service is to select when the colour is the live one; the one that moves the traffic first."""
        (idle,) = {*self._colours} - {colour}
        return [(self._service, colour), *([(self._preview, idle)] if self._preview else [])]

    def _list_pods(self) -> None:
        """Those of both colours."""
        labels = {key: value for key, value in self._service.selector().items() if key != self._key}
        either = f"{self._key} in ({','.join(self._values.values())})"
        selector = ",".join([*(f"{key}={value}" for key, value in labels.items()), either])
        path = f"/api/v1/namespaces/{self._options['namespace']}/pods"
        self._pods = self._client.get(path, labelSelector=selector)["items"]

    def _of(self, colour: str) -> list[Json]:
        value = self._values[colour]
        return [pod for pod in self._pods if pod["metadata"]["labels"][self._key] == value and not is_leaving(pod)]

    def _ready_of(self, colour: str) -> dict[str, bool]:
        return {name_of(pod): self._unready(pod) is None for pod in self._of(colour)}

    def _activity(self, pods: t.Sequence[Json]) -> Activity:
        unready = {name_of(pod): self._unready(pod) for pod in pods}
        reasons = [f"pod {name}: {reason}" for name, reason in unready.items() if reason]
        return Activity(members=len(pods), ready=len(pods) - len(reasons), unready=tuple(reasons[:MOST_REASONS]))

    def _unready(self, pod: Json) -> str | None:
        """Why the Service would send it nothing. None: it would."""
        port = unmatched_port(pod, self._service.ports())
        if port:
            return f"it has no port {port}, which Service {self._service.name} sends to"
        if is_ready(pod):
            return None
        return trouble(pod) or f"it is not ready ({phase(pod) or 'no phase'})"


def _whole(split: Split) -> str:
    """The colour that has everything."""
    if split.leader is None or split.share(split.leader) != WHOLE:
        raise UnsupportedError(f"a selector cannot hold the split {split}", "100 % for one colour")
    return split.leader


class _Seen:
    """What the slices hold, against the pods that are known.

    ``known``: the names of all pods; ``mine``: those of the colour, and whether they are ready.
    """

    def __init__(self, known: t.Collection[str], mine: t.Mapping[str, bool]) -> None:
        self._known, self._mine = known, mine
        self.unknown: set[str] = set()
        self.is_exact = False

    def is_settled(self, slices: t.Sequence[Json]) -> bool:
        """They hold the ready pods of the colour and no other, or a pod that has come since the pods were listed."""
        found = endpoints(slices)
        due = {name for name, ready in self._mine.items() if ready} - leaving(slices)
        self.unknown = {name for name in found if name not in self._known}
        self.is_exact = any(found.values()) and due <= found.keys() <= self._mine.keys()
        return self.is_exact or bool(self.unknown)


def _follow(preview: Selected, colour: str) -> None:
    """After the Service has moved: whatever goes wrong now, that is to be put back, so it is no conflict."""
    try:
        if preview.read() != colour:
            preview.select(colour)
    except ConflictError as error:
        raise DriftError(
            error.found,
            error.expected,
            "The preview Service was changed meanwhile: see by whom",
        ) from error


def _words(selector: t.Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in selector.items()) or "empty"
