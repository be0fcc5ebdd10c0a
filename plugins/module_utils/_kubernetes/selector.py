# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The selector of a Service, which names one of the colours. Private to this collection.

Source: kubernetes.io/docs/concepts/services-networking/service; JSON Patch with a test is RFC 6902, section 4.6.
"""

from __future__ import annotations

import typing as t

from .._errors import BlueGreenError, ConflictError, MissingError, UnsupportedError
from .client import Client, Json, LostAnswerError, RefusedContentError
from .owners import rivals

Labels = t.Mapping[str, t.Mapping[str, str]]
"""What a selector says for each colour; the same labels for both, with values of their own."""


class Selected:
    """A Service, and the colour that its selector names."""

    def __init__(self, client: Client, namespace: str, name: str, labels: Labels) -> None:
        self._client, self.name, self._labels = client, name, labels
        self._keys = [*next(iter(labels.values()))]
        self.path = f"/api/v1/namespaces/{namespace}/services/{name}"
        self.known: Json | None = None
        """The Service as it was seen last."""

    def read(self) -> str | None:
        """The colour that is selected. None: neither of them, or both."""
        self.known = self._client.get(self.path)
        return self.colour()

    def colour(self) -> str | None:
        """The colour that is selected in what was seen last. None: neither of them, or both."""
        selector = self.selector()
        return next((colour for colour, labels in self._labels.items() if labels.items() <= selector.items()), None)

    def selects_both(self) -> bool:
        """Whether nothing in the selector that was seen last tells the colours apart."""
        selector = self.selector()
        return bool(selector) and not any(key in selector for key in self._keys)

    def drift(self) -> tuple[str, ...]:
        """A selector that does not name one colour, in what was seen last."""
        if self.colour() is not None:
            return ()
        selector, known = self.selector(), [words(labels) for labels in self._labels.values()]
        if self.selects_both():
            both = (
                f"without {' or '.join(known)}: the pods of both colours, if that tells them apart (see selector_key)"
            )
            return (f"Service {self.name} selects {words(selector)}, {both}",)
        if not selector:
            return (f"Service {self.name} has no selector, so nobody keeps its endpoints",)
        found = words({key: selector[key] for key in self._keys if key in selector})
        return (f"Service {self.name} selects {found}, which is neither {' nor '.join(known)} (see selector_values)",)

    def selector(self) -> dict[str, str]:
        spec = self.spec()
        kind = spec.get("type", "ClusterIP")
        if kind == "ExternalName" or spec.get("clusterIP") == "None":
            what = "of type ExternalName" if kind == "ExternalName" else "headless: its clients find pods by DNS"
            raise UnsupportedError(
                f"Service {self.name} is {what}", "one with a cluster IP and a selector", "Put such a Service in front"
            )
        return dict(spec.get("selector") or {})

    def rest(self) -> dict[str, str]:
        """The part of the selector that both colours share."""
        return {key: value for key, value in self.selector().items() if key not in self._keys}

    def selecting(self, colour: str | None) -> dict[str, str]:
        """The selector that names the colour, or both of them."""
        return {**self.rest(), **(self._labels[colour] if colour else {})}

    def ports(self) -> list[Json]:
        return list(self.spec().get("ports") or ())

    def rivals(self) -> tuple[str, ...]:
        """Who else would put the selector back."""
        self.spec()
        told = [rivals(t.cast(Json, self.known), f"Service {self.name}", ("spec", "selector", k)) for k in self._keys]
        return told[0]

    def select(self, colour: str | None, dry_run: bool = False) -> None:
        """One atomic change, made only if the selector is still the one that was seen. None: both colours."""
        before, wanted = self.selector(), self.selecting(colour)
        if not before:
            raise MissingError(
                f"Service {self.name} has no selector",
                "one that selects the pods of a colour and no others",
                "Write it by hand: which other labels belong into it cannot be known here",
            )
        operations: list[Json] = [
            {"op": "test", "path": "/spec/selector", "value": before},
            *({"op": "add", "path": _pointer(key), "value": wanted[key]} for key in self._keys if key in wanted),
            *({"op": "remove", "path": _pointer(key)} for key in self._keys if key in before and key not in wanted),
        ]
        try:
            patched = self._client.patch(self.path, operations, dry_run)
        except (RefusedContentError, LostAnswerError) as error:
            self._look_after(error, before, wanted)
        else:
            self.known = self.known if dry_run else patched

    def _look_after(self, error: BlueGreenError, before: dict[str, str], wanted: dict[str, str]) -> None:
        """A change that was refused, or whose answer was lost: what is there now tells."""
        self.read()
        now = self.selector()
        if isinstance(error, LostAnswerError):
            if now != wanted:
                raise error
        elif now == before:
            raise error
        else:
            raise ConflictError(
                f"Service {self.name} now selects {words(now)}",
                f"{words(before)}, as it was read",
                "It has changed since it was read: see who changes it, a person or a controller",
            ) from error

    def spec(self) -> Json:
        if self.known is None:
            self.known = self._client.get(self.path)
        return t.cast(Json, self.known["spec"])


def words(selector: t.Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in selector.items()) or "nothing"


def _pointer(key: str) -> str:
    return f"/spec/selector/{key.replace('~', '~0').replace('/', '~1')}"
