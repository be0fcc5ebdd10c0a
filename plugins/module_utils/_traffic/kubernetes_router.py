# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kubernetes provider: the selector of a Service. Private to this collection.

Source: kubernetes.io/docs/concepts/services-networking/service and .../workloads/pods/pod-lifecycle.
"""

from __future__ import annotations

import contextlib
import typing as t

from .._errors import ConflictError, DriftError, InvalidError, NotVerifiedError, UnsupportedError
from .._kubernetes.client import Json, connect_in
from .._kubernetes.kubectl import patch_command
from .._kubernetes.pods import (
    activity,
    endpoints,
    is_leaving,
    leaving,
    name_of,
    sent_to_pods,
    unmatched_port,
    why_unready,
)
from .._kubernetes.selector import Labels, Selected, words
from .._kubernetes.slices import Slices
from .._wait import SYSTEM_CLOCK, Clock
from .router import Activity, Capabilities, Router
from .split import WHOLE, Split, moved

LOOK = 5.0
"""Seconds that one look at the endpoints lasts."""


class KubernetesService(Router):
    """All or nothing: one patch of a Service's selector. A preview Service selects the idle colour.

    With an overlap there are two: the first one selects both colours.
    """

    capabilities = Capabilities(finest_step=WHOLE, sticky=False, counts_connections=False, survives_reload=True)

    def __init__(self, colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> None:
        if options["service"] == options["preview_service"]:
            raise InvalidError(f"preview_service is {options['service']}, as service is", "a second Service")
        self._overlap: float = options["overlap"]
        if not 0 <= self._overlap < float("inf"):
            raise InvalidError(f"overlap is {self._overlap:g}", "a number of seconds from 0")
        self._colours, self._labels = colours, _labels(colours, options)
        self._client, options = connect_in(options)
        self._options = options
        self._service = self._selected(options["service"])
        self._preview = self._selected(options["preview_service"]) if options["preview_service"] else None
        self._slices = Slices(self._client, options["namespace"], options["service"])
        self._pods: list[Json] = []
        self._clock: Clock = SYSTEM_CLOCK

    def _selected(self, name: str) -> Selected:
        return Selected(self._client, self._options["namespace"], name, self._labels)

    def read(self) -> Split | None:
        self._service.read()
        if self._service.selects_both():
            self._list_pods()
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
        """The endpoints must be readable, and can be watched, which will prove the change."""
        self._slices.check()

    def caveats(self, wanted: Split) -> tuple[str, ...]:
        rivals = [told for service, _colour in self._places(_whole(wanted)) for told in service.rivals()]
        straight = sent_to_pods(t.cast(Json, self._service.known)) if not self._overlap else None
        if straight:
            rivals.append(
                f"Service {self._service.name} {straight}: what sends to the addresses of pods takes up new ones only "
                "after the switch, and clients may be refused until it has; set overlap to the seconds that it needs"
            )
        return tuple(rivals)

    def rehearse(self, wanted: Split) -> None:
        for service, colour in self._places(_whole(wanted)):
            if service.colour() != colour:
                service.select(colour, dry_run=True)

    def apply(self, wanted: Split, expected: Split | None, live: str | None = None) -> None:
        found = self._split()
        if found != expected:
            raise moved(found, expected)
        if wanted == _both(self._colours):
            self._service.select(None)
            return
        (_service, colour), *preview = self._places(_whole(wanted))
        if self._overlap and not self.home and self._service.colour() not in (colour, None):
            self._overlapping(colour)
        elif self._service.colour() != colour:
            self._service.select(colour)
        for shown, idle in preview:
            _follow(shown, idle)

    def _overlapping(self, colour: str) -> None:
        """Both, until whoever sends to the addresses of pods has had the time to take up the new ones; then one."""
        self._service.select(None)
        if not self._leads_to(self._colours):
            raise NotVerifiedError(
                f"the endpoints of Service {self._service.name} have not become those of both colours",
                f"that within {LOOK:g} s, before one of them is taken out",
                "See whether the pods of both are ready, and whether they share the rest of the selector",
            )
        self._clock.sleep(self._overlap)
        with _no_conflict("The Service was changed while both colours were selected: see by whom"):
            self._service.select(colour)

    def verify(self, wanted: Split) -> bool | None:
        """Until the Service's EndpointSlices hold the ready pods of the colour and no other; for a short while.

        Then the Services are read again, the one that moves the traffic last: whoever else manages them may have put
        them back meanwhile.
        """
        if wanted == _both(self._colours):
            return self.read() == wanted
        colour = _whole(wanted)
        places = self._places(colour)
        if any(service.colour() != selected for service, selected in places) or not self._leads_to((colour,)):
            return False
        return all(service.read() == selected for service, selected in reversed(places))

    def _leads_to(self, colours: t.Sequence[str]) -> bool:
        """Whether the endpoints become those of the colours; pods that come meanwhile are listed anew, once."""
        deadline = self._clock.now() + LOOK
        strange: set[str] = set()
        while True:
            if not self._pods:
                self._list_pods()
            mine = {name_of(pod): self._unready(pod) is None for colour in colours for pod in self._of(colour)}
            seen = _Seen({name_of(pod) for pod in self._pods} | strange, mine)
            settled = self._slices.until(seen.is_settled, max(0.0, deadline - self._clock.now()))
            if settled and seen.is_exact:
                return True
            self._pods = []
            if not settled:
                return False
            strange |= seen.unknown

    def by_hand(self, wanted: Split) -> str:
        patches = {
            service.name: {"spec": {"selector": {**self._labels[colour]}}}
            for service, colour in self._places(_whole(wanted))
        }
        return " && ".join(patch_command(self._options, "service", name, patch) for name, patch in patches.items())

    def shown(self, split: Split) -> dict[str, t.Any]:
        if split == _both(self._colours):
            return {self._service.name: {"selector": self._service.selecting(None)}}
        return {
            service.name: {"selector": service.selecting(colour)} for service, colour in self._places(_whole(split))
        }

    def observe(self) -> dict[str, Activity] | None:
        self._list_pods()
        seen = {colour: activity(self._of(colour), self._unready) for colour in self._colours}
        return {colour: one if one.members else self._nobody(colour) for colour, one in seen.items()}

    def _nobody(self, colour: str) -> Activity:
        """No pod, or one that lacks a label that the rest of the selector asks for."""
        return Activity(0, 0, unready=(f"no pod has the labels {words(self._service.selecting(colour))}",))

    def long_lived(self) -> dict[str, int] | None:
        return None

    def _split(self) -> Split | None:
        colour = self._service.colour()
        if self._service.selects_both() and self._pods:
            return _both(self._colours)
        return Split.only(self._colours, colour) if colour else None

    def _places(self, colour: str) -> list[tuple[Selected, str]]:
        """What each Service is to select when the colour is the live one; the one that moves the traffic first."""
        (idle,) = {*self._colours} - {colour}
        return [(self._service, colour), *([(self._preview, idle)] if self._preview else [])]

    def _list_pods(self) -> None:
        """Those of both colours, in one call: where more labels than one tell them apart, also some of neither."""
        first, second = self._labels.values()
        rest = [f"{key}={value}" for key, value in self._service.rest().items()]
        either = [f"{key} in ({','.join(dict.fromkeys((first[key], second[key])))})" for key in first]
        path = f"/api/v1/namespaces/{self._options['namespace']}/pods"
        self._pods = self._client.get(path, labelSelector=",".join([*rest, *either]))["items"]

    def _of(self, colour: str) -> list[Json]:
        labels = self._labels[colour].items()
        return [pod for pod in self._pods if labels <= pod["metadata"]["labels"].items() and not is_leaving(pod)]

    def _unready(self, pod: Json) -> str | None:
        """Why the Service would send it nothing. None: it would."""
        port = unmatched_port(pod, self._service.ports())
        if port:
            return f"it has no port {port}, which Service {self._service.name} sends to"
        return why_unready(pod)


def _labels(colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> Labels:
    """What a selector says for each colour."""
    if options["selectors"] and options["selector_values"]:
        raise InvalidError("both selectors and selector_values are set", "one of them")
    if options["selectors"] is None:
        values = options["selector_values"] or {}
        labels = {colour: {options["selector_key"]: str(values.get(colour, colour))} for colour in colours}
    else:
        named = options["selectors"]
        if any(not isinstance(named.get(colour), dict) or not named[colour] for colour in colours):
            raise InvalidError(f"selectors is {named}", f"some labels for each of {' and '.join(colours)}")
        labels = {colour: {key: str(value) for key, value in named[colour].items()} for colour in colours}
    first, second = labels.values()
    if first == second:
        what = "selectors" if options["selectors"] else "selector_values"
        raise InvalidError(f"{what} is {words(first)} for both colours", "labels of its own for each")
    if first.keys() != second.keys():
        raise InvalidError(f"selectors names {', '.join(first)} and {', '.join(second)}", "the same labels for both")
    return labels


def _both(colours: tuple[str, str]) -> Split:
    """A selector without the labels that tell the colours apart; how many pods of each there are decides the shares."""
    return Split.of_weights(colours, 1, 1)


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
    with _no_conflict("The preview Service was changed meanwhile: see by whom"):
        if preview.read() != colour:
            preview.select(colour)


@contextlib.contextmanager
def _no_conflict(todo: str) -> t.Iterator[None]:
    """After the first change: whatever goes wrong now, that is to be put back, so it is no conflict."""
    try:
        yield
    except ConflictError as error:
        raise DriftError(error.found, error.expected, todo) from error
