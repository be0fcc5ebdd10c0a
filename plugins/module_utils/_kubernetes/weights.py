# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two colours' weights in a list of destinations within an object. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._errors import ConflictError, DriftError, MissingError, NotReadyError, UnsupportedError
from .._traffic.split import WHOLE, Split
from .client import Client, Json, LostAnswerError, RefusedContentError

Place = tuple[str, list[Json]]
"""Where the list is, as a JSON Pointer, and the list."""


@dataclass(frozen=True)
class Layout:
    """How an object of a kind keeps its destinations."""

    locate: t.Callable[[Json], Place]
    colour_of: t.Callable[[Json], str | None]
    """Whose a destination is; None: nobody's."""
    weight_of: t.Callable[[Json], int]


class Weights:
    """Those of two colours in the object at ``path``; everything else in it is left exactly as it is."""

    def __init__(self, client: Client, path: str, what: str, colours: tuple[str, str], layout: Layout) -> None:
        self._client, self._path, self.what, self._colours = client, path, what, colours
        self._layout = layout
        self.known: Json = {}
        """The object as it was seen last."""

    def read(self) -> Split:
        self.known = self._client.get(self._path)
        return self.split()

    def split(self) -> Split:
        """What was seen last."""
        _pointer, destinations = self._found()
        weights = {colour: self._weight(colour, destinations) for colour in self._colours}
        strangers = [
            each for each in destinations if self._layout.colour_of(each) is None and self._layout.weight_of(each)
        ]
        if strangers:
            raise UnsupportedError(
                f"{self.what} gives a share to {strangers[0].get('name') or strangers[0].get('destination')}",
                f"only to {' and '.join(self._colours)}",
                "Take it out, or name another rule",
            )
        total = sum(weights.values())
        if not total:
            raise NotReadyError(f"all weights of {self.what} are 0", "a weight for one colour at least")
        first, second = self._colours
        share = round(WHOLE * weights[first] / total)
        return Split.only(self._colours, first, min(max(share, bool(weights[first])), WHOLE - bool(weights[second])))

    def put(self, wanted: Split, expected: Split, dry_run: bool = False) -> None:
        """One atomic change, made only if the list is still the one that was seen."""
        if not self.known:
            self.read()
        if self.split() != expected:
            raise ConflictError(f"the split is {self.split()}", f"{expected}", "Somebody else moved the traffic")
        pointer, before = self._found()
        after = self._with(wanted, before)
        operations = [
            {"op": "test", "path": pointer, "value": before},
            {"op": "replace", "path": pointer, "value": after},
        ]
        try:
            changed = self._client.patch(self._path, operations, dry_run) if after != before else self.known
        except LostAnswerError:
            if self.read() != wanted:
                raise
        except RefusedContentError as error:
            self._tell_refused(error, before, expected)
        else:
            self.known = self.known if dry_run else changed

    def _tell_refused(self, error: RefusedContentError, before: list[Json], expected: Split) -> t.NoReturn:
        now = self.read()
        if self._found()[1] == before:
            raise error
        raise ConflictError(f"the split is {now}", f"{expected}", "Somebody else moved the traffic") from error

    def operations(self, wanted: Split) -> list[Json]:
        """The same as a JSON Patch of the weights alone, for a command by hand; contacts nobody."""
        pointer, destinations = self._found()
        return [
            {"op": "add", "path": f"{pointer}/{number}/weight", "value": each["weight"]}
            for number, each in enumerate(self._with(wanted, destinations))
            if self._layout.colour_of(each)
        ]

    def shown(self, split: Split) -> dict[str, t.Any]:
        """The weights of each colour, for a diff; contacts nobody."""
        return {
            str(self._layout.colour_of(each)): each["weight"]
            for each in self._with(split, self._found()[1])
            if self._layout.colour_of(each)
        }

    def _found(self) -> Place:
        """Both colours must be there, once."""
        pointer, destinations = self._layout.locate(self.known)
        for colour in self._colours:
            many = sum(self._layout.colour_of(each) == colour for each in destinations)
            if many == 0:
                raise MissingError(f"{self.what} has no destination of {colour}", "one, with weight 0 if it is idle")
            if many > 1:
                raise DriftError(f"{self.what} has {many} destinations of {colour}", "one")
        return pointer, destinations

    def _weight(self, colour: str, destinations: t.Sequence[Json]) -> int:
        return sum(self._layout.weight_of(each) for each in destinations if self._layout.colour_of(each) == colour)

    def _with(self, wanted: Split, destinations: t.Sequence[Json]) -> list[Json]:
        """In percent where those are whole numbers, else in 0.01 %."""
        unit = 100 if wanted.first_share % 100 == 0 else 1
        shares = {colour: wanted.share(colour) // unit for colour in self._colours}
        return [
            each if colour is None else {**each, "weight": shares[colour]}
            for each, colour in ((each, self._layout.colour_of(each)) for each in destinations)
        ]
