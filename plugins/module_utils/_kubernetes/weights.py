# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two colours' weights in lists of destinations within an object. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._errors import DriftError, MissingError
from .._traffic.split import Split, describe, moved
from .client import Client, Json, LostAnswerError, RefusedContentError

Place = tuple[str, list[Json]]
"""Where a list is, as a JSON Pointer, and the list."""


@dataclass(frozen=True)
class Layout:
    """How an object of a kind keeps its destinations."""

    locate: t.Callable[[Json], list[Place]]
    """The lists whose weights are the split, at least one."""
    locate_test: t.Callable[[Json], Place] | None
    """The list that test traffic takes, all of it to the idle colour. None: there is none."""
    colour_of: t.Callable[[Json], str | None]
    """Whose a destination is; None: nobody's."""
    weight_of: t.Callable[[Json], int]


@dataclass(frozen=True)
class Destinations:
    """One list of destinations, as it was read."""

    what: str
    pointer: str
    found: list[Json]
    colours: tuple[str, str]
    layout: Layout

    def check(self) -> Destinations:
        """Both colours must be there, once."""
        owners = [self.layout.colour_of(each) for each in self.found]
        for colour in self.colours:
            many = owners.count(colour)
            if many == 0:
                raise MissingError(f"{self.what} has no destination of {colour}", "one, with weight 0 if it is idle")
            if many > 1:
                raise DriftError(f"{self.what} has {many} destinations of {colour}", "one")
        return self

    def strangers(self) -> tuple[str, ...]:
        """Who else has a share, a sentence each: the split is that of what the two colours have."""
        return tuple(
            f"{self.what} gives a share to {each.get('name') or each.get('destination')}, which is neither colour's "
            "(on_drift: mend leaves it)"
            for each in self.found
            if self.layout.colour_of(each) is None and self.layout.weight_of(each)
        )

    def split(self) -> Split | None:
        """None: all weights are 0, for which gateways answer 500 or 503."""
        first, second = (self._weight(colour) for colour in self.colours)
        return Split.of_weights(self.colours, first, second) if first + second else None

    def holding(self, wanted: Split) -> list[Json]:
        """In percent where those are whole numbers, else in 0.01 %."""
        unit = 100 if wanted.first_share % 100 == 0 else 1
        return [
            each if colour is None else {**each, "weight": wanted.share(colour) // unit}
            for each, colour in ((each, self.layout.colour_of(each)) for each in self.found)
        ]

    def shown(self, wanted: Split) -> dict[str, t.Any]:
        """The weight of each colour."""
        return {str(self.layout.colour_of(each)): each["weight"] for _at, each in self._ours(wanted)}

    def weight_changes(self, wanted: Split) -> list[Json]:
        """The operations of a JSON Patch."""
        return [
            {"op": "add", "path": f"{self.pointer}/{at}/weight", "value": each["weight"]}
            for at, each in self._ours(wanted)
        ]

    def _ours(self, wanted: Split) -> list[tuple[int, Json]]:
        return [(at, each) for at, each in enumerate(self.holding(wanted)) if self.layout.colour_of(each)]

    def _weight(self, colour: str) -> int:
        return sum(self.layout.weight_of(each) for each in self.found if self.layout.colour_of(each) == colour)


class Weights:
    """Those of two colours in the object at ``path``; everything else in it is left exactly as it is."""

    def __init__(self, client: Client, path: str, what: str, colours: tuple[str, str], layout: Layout) -> None:
        self._client, self._path, self.what, self._colours = client, path, what, colours
        self._layout = layout
        self.known: Json = {}
        """The object as it was seen last."""

    def read(self) -> Split | None:
        self.known = self._client.get(self._path)
        return self.split()

    def split(self) -> Split | None:
        """What was seen last, in the first list."""
        return self._mains()[0].split()

    def destinations(self) -> list[Json]:
        """Those of the first list; read where it has not been."""
        if not self.known:
            self.read()
        return self._mains()[0].found

    def drift(self) -> tuple[str, ...]:
        """What nothing here mends, and what does not fit together, in what was seen last."""
        return (*self.strangers(), *self._differences())

    def strangers(self) -> tuple[str, ...]:
        """Who is of neither colour and has a share, a sentence each."""
        return tuple(told for each in self._mains() for told in each.strangers())

    def _differences(self) -> tuple[str, ...]:
        """Lists that differ, and test traffic that does not go to the idle colour."""
        splits = [each.split() for each in self._mains()]
        if any(split != splits[0] for split in splits):
            return (f"the rules of {self.what} have {', '.join(map(describe, splits))}",)
        now, test = self.split(), self._test()
        tested = test.split() if test else None
        if now is None or tested is None or now.leader is None or not tested.share(now.leader):
            return ()
        return (f"test traffic of {self.what} has {tested} while {now.leader} is live",)

    def put(self, wanted: Split, expected: Split | None, dry_run: bool = False) -> None:
        """One atomic change, made only if the lists are still those that were seen."""
        if not self.known:
            self.read()
        found = self.split()
        if found != expected:
            raise moved(found, expected)
        before = self._changing(wanted)
        operations = [
            operation
            for each, split in before
            for operation in (
                {"op": "test", "path": each.pointer, "value": each.found},
                {"op": "replace", "path": each.pointer, "value": each.holding(split)},
            )
        ]
        try:
            changed = self._client.patch(self._path, operations, dry_run) if operations else self.known
        except LostAnswerError:
            self.read()
            if self._changing(wanted):
                raise
        except RefusedContentError as error:
            self._tell_refused(error, [each.found for each, _split in before], wanted, expected)
        else:
            self.known = self.known if dry_run else changed

    def _tell_refused(
        self, error: RefusedContentError, before: list[list[Json]], wanted: Split, expected: Split | None
    ) -> t.NoReturn:
        now = self.read()
        if [each.found for each, _split in self._changing(wanted)] == before:
            raise error
        raise moved(now, expected) from error

    def holds(self, wanted: Split) -> bool:
        """Read anew: whether the lists say what they are to say, down to the shares."""
        return self.read() == wanted and not self._differences()

    def operations(self, wanted: Split) -> list[Json]:
        """The same as a JSON Patch of the weights alone, for a command by hand; contacts nobody."""
        return [change for each, split in self._lists(wanted) for change in each.weight_changes(split)]

    def shown(self, split: Split) -> dict[str, t.Any]:
        """The weights of each colour, for a diff; contacts nobody."""
        shown = [each.shown(share) for each, share in self._lists(split)]
        tested = {"test traffic": shown[-1]} if len(shown) > len(self._mains()) else {}
        return {**shown[0], **tested}

    def _changing(self, wanted: Split) -> list[tuple[Destinations, Split]]:
        return [(each, split) for each, split in self._lists(wanted) if each.holding(split) != each.found]

    def _lists(self, wanted: Split) -> list[tuple[Destinations, Split]]:
        """What each list is to hold. Test traffic stays where it is while the shares are even."""
        mains, test = [(each, wanted) for each in self._mains()], self._test()
        if test is None:
            return mains
        live = wanted.leader
        idle = Split.only(self._colours, wanted.other(live)) if live else test.split()
        return [*mains, *([(test, idle)] if idle else [])]

    def _mains(self) -> list[Destinations]:
        return [self._destinations(self.what, place) for place in self._layout.locate(self.known)]

    def _test(self) -> Destinations | None:
        locate = self._layout.locate_test
        return self._destinations(f"the test traffic of {self.what}", locate(self.known)) if locate else None

    def _destinations(self, what: str, place: Place) -> Destinations:
        return Destinations(what, *place, self._colours, self._layout).check()
