# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The split of a route's traffic between two colours, as a value. Private to this collection."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from .._errors import ConflictError, InvalidError, UnsupportedError

WHOLE = 10_000
"""All traffic, in units of 0.01 %."""

NOBODY = "none, as nobody serves"
"""What a message says of a split that there is not: no member of either colour would be given a request."""

CHANGED = "It was changed since it was read, by somebody else or by the load balancer itself"

_COLOUR = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def percent(units: int) -> int | float:
    """Units of 0.01 % as a percentage, an integer where it is one."""
    return units // 100 if units % 100 == 0 else units / 100


def units(value: t.Any, of: str) -> int:
    """A percentage as a user writes it (10, 12.5, "0.01") in units of 0.01 %."""
    try:
        exact = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
    except InvalidOperation:
        exact = Decimal("NaN")
    if not exact.is_finite():
        raise InvalidError(f"share of {of} is {value!r}", "a percentage such as 10 or 12.5")
    if not 0 <= exact <= 100:
        raise InvalidError(f"share of {of} is {value} %", "a percentage from 0 to 100")
    if exact != exact.quantize(Decimal("0.01")):
        raise InvalidError(f"share of {of} is {value} %", "a multiple of 0.01 %")
    return int(exact * 100)


@dataclass(frozen=True)
class Split:
    """The share of each of two colours, in units of 0.01 %; the two add up to 100 %."""

    first: str
    second: str
    first_share: int

    def __post_init__(self) -> None:
        if self.first == self.second:
            raise InvalidError(f"both colours are {self.first!r}", "two different colours")
        if not 0 <= self.first_share <= WHOLE:
            raise InvalidError(f"share of {self.first} is {self.first_share / 100} %", "0 to 100")

    @classmethod
    def only(cls, colours: tuple[str, str], colour: str, share: int = WHOLE) -> Split:
        """``share`` for ``colour``, the rest for the other one."""
        known(colours, colour)
        return cls(*colours, share if colour == colours[0] else WHOLE - share)

    @classmethod
    def of_weights(cls, colours: tuple[str, str], first: int, second: int) -> Split:
        """Of two weights that are not both 0. One that is not 0 has a share, however small it is."""
        share = round(WHOLE * first / (first + second))
        return cls(*colours, min(max(share, bool(first)), WHOLE - bool(second)))

    @classmethod
    def parse(cls, colours: tuple[str, str], shares: t.Mapping[str, t.Any]) -> Split:
        """Percentages by colour; one is enough, the other follows."""
        if not shares:
            raise InvalidError("the split is empty", f"a share for {colours[0]} or {colours[1]}")
        given = {known(colours, colour): units(value, colour) for colour, value in shares.items()}
        if len(given) == 2 and sum(given.values()) != WHOLE:
            found = " + ".join(f"{colour} {percent(share)} %" for colour, share in given.items())
            raise InvalidError(f"the split is {found}, which adds up to {percent(sum(given.values()))} %", "100 %")
        colour, share = next(iter(given.items()))
        return cls.only(colours, colour, share)

    def as_weights(self, most: int, wholes: t.Sequence[int]) -> tuple[int, int]:
        """Whole numbers from 0 to ``most`` that are read as this split.

        They add up to the first of ``wholes`` with which that is exact, or else are the smallest ones.
        """
        for whole in (*wholes, *range(1, 2 * most + 1)):
            first = round(self.first_share * whole / WHOLE)
            if max(first, whole - first) <= most and Split.of_weights(self.colours, first, whole - first) == self:
                return first, whole - first
        raise UnsupportedError(f"weights from 0 to {most} cannot hold the split {self}", "a coarser one")

    @property
    def colours(self) -> tuple[str, str]:
        return (self.first, self.second)

    @property
    def leader(self) -> str | None:
        """The colour with more than half of the traffic, if there is one."""
        if self.first_share * 2 == WHOLE:
            return None
        return self.first if self.first_share * 2 > WHOLE else self.second

    @property
    def shared(self) -> bool:
        """Both colours get some."""
        return 0 < self.first_share < WHOLE

    def share(self, colour: str) -> int:
        known(self.colours, colour)
        return self.first_share if colour == self.first else WHOLE - self.first_share

    def other(self, colour: str) -> str:
        known(self.colours, colour)
        return self.second if colour == self.first else self.first

    def raised_from(self, before: Split | None) -> str | None:
        """The colour that gets more traffic than before, if any. From nobody: the one that gets most of it."""
        if self == before:
            return None
        if before is None:
            return self.leader or self.first
        return self.first if self.first_share > before.first_share else self.second

    def percents(self) -> dict[str, int | float]:
        return {colour: percent(self.share(colour)) for colour in self.colours}

    def __str__(self) -> str:
        return ", ".join(f"{colour} {share} %" for colour, share in self.percents().items())


def describe(split: Split | None) -> str:
    """For a message, after "the split is" or "expected"."""
    return NOBODY if split is None else str(split)


def moved(found: Split | None, expected: Split | None) -> ConflictError:
    """What ``Router.apply`` raises, having changed nothing."""
    return ConflictError(f"the split is {describe(found)}", describe(expected), CHANGED)


def shares(split: Split | None, colours: tuple[str, str]) -> dict[str, int | float]:
    """The percentage of each colour; 0 for both where nobody serves."""
    return dict.fromkeys(colours, 0) if split is None else split.percents()


def colour_pair(names: t.Sequence[str]) -> tuple[str, str]:
    """Two colours, from the option of that name."""
    if len(names) != 2 or len(set(names)) != 2:
        raise InvalidError(f"colours is {', '.join(map(str, names)) or 'empty'}", "two different names")
    for name in names:
        if not _COLOUR.fullmatch(name):
            raise InvalidError(f"colour {name!r} is no name", "a letter, then letters, digits and _")
    return names[0], names[1]


def known(colours: tuple[str, str], colour: str) -> str:
    if colour not in colours:
        raise InvalidError(f"colour {str(colour)!r} is not known", f"{colours[0]} or {colours[1]}")
    return colour
