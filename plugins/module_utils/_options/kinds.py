# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an option of the roles may be, also as text, as a survey or a shell gives it. Private to this collection.

A kind takes what was given, which is never empty, and returns the value that is meant, or raises ``UnfitError``.
"""

from __future__ import annotations

import contextlib
import json
import math
import typing as t

Kind = t.Callable[[t.Any], t.Any]
Number = t.Union[int, float]


class UnfitError(ValueError):
    """What was given cannot be meant; its text is what was expected."""


TRUE = frozenset({"true", "yes", "on", "1", "y", "t"})
FALSE = frozenset({"false", "no", "off", "0", "n", "f"})
HUNDRED = 100


def number(what: str, example: str, least: float = 0.0, most: float = math.inf, *, above: bool = False) -> Kind:
    """A finite number within bounds; ``above`` leaves ``least`` itself out."""
    expected = f"{what}, such as {example}"

    def convert(given: t.Any) -> Number:
        found = _number(given, expected)
        if not least <= found <= most or (above and found == least):
            raise UnfitError(expected)
        return found

    return convert


def count(what: str, example: str, least: int) -> Kind:
    expected = f"{what}, a whole number of {least} or more such as {example}"

    def convert(given: t.Any) -> int:
        found = _number(given, expected)
        if found < least or found != int(found):
            raise UnfitError(expected)
        return int(found)

    return convert


def yes_or_no(given: t.Any) -> bool:
    word = str(given).strip().lower()
    if word not in TRUE | FALSE:
        raise UnfitError("true or false")
    return word in TRUE


def one_of(*words: str) -> Kind:
    def convert(given: t.Any) -> str:
        if str(given).strip() not in words:
            raise UnfitError(f"{', '.join(words[:-1])} or {words[-1]}")
        return str(given).strip()

    return convert


def version(given: t.Any) -> str:
    if isinstance(given, (bool, float)) or not isinstance(given, (str, int)):
        raise UnfitError("a text: put it in quotes, since 1.10 without them is the number 1.1")
    return str(given).strip()


def text(given: t.Any) -> str:
    """One line, without the space that a form leaves around it."""
    if isinstance(given, (list, tuple, dict, bool)):
        raise UnfitError("a text")
    return str(given).strip()


def texts(given: t.Any) -> list[str]:
    """A list, or a text that is one: with commas, in lines, in brackets, or in lines with dashes."""
    found = _several(given)
    if any(isinstance(each, (list, dict, bool)) or not str(each).strip() for each in found):
        raise UnfitError("a list of texts, or a text with commas in between")
    return [str(each).strip() for each in found]


def paths(given: t.Any) -> list[str]:
    found = texts(given)
    if any(not each.startswith("/") for each in found):
        raise UnfitError("paths such as /, or /, /login")
    return found


def commands(given: t.Any) -> list[str]:
    """As texts, but a command may well have commas in it."""
    if isinstance(given, str) and not given.strip().startswith("["):
        return texts([_undashed(line) for line in given.splitlines() if line.strip()])
    return texts(given)


def colours(given: t.Any) -> list[str]:
    found = texts(given)
    if len(found) != 2 or found[0] == found[1]:
        raise UnfitError("two different names, such as blue and green")
    return found


def canary_steps(given: t.Any) -> list[Number]:
    """Rising percentages. The whole follows by itself, so that a 100 at the end says nothing new."""
    expected = "rising percentages above 0 and up to 100 such as [10, 50], in steps of 0.01, or [] for no canary"
    several = [given] if isinstance(given, (int, float)) else _several(given)
    steps = [_number(each, expected) for each in several]
    whole = [share * HUNDRED for share in steps]
    if steps != sorted({*steps}) or any(not 0 < share <= HUNDRED for share in steps):
        raise UnfitError(expected)
    if any(abs(share - round(share)) > 1e-6 for share in whole):
        raise UnfitError(expected)
    return [share for share in steps if share != HUNDRED]


def _several(given: t.Any) -> list[t.Any]:
    if isinstance(given, (list, tuple)):
        return list(given)
    if not isinstance(given, str):
        raise UnfitError("a list")
    whole = given.strip()
    if not whole.startswith("["):
        return _parts(whole)
    with contextlib.suppress(ValueError):
        return list(json.loads(whole.replace("'", '"')))
    if not whole.endswith("]") or "[" in whole[1:]:
        raise UnfitError("a list")
    return _parts(whole[1:-1])  # as YAML has it, without quotes


def _parts(whole: str) -> list[str]:
    lines = [_undashed(line).rstrip(",") for line in whole.splitlines() if line.strip()]
    return [part.strip().strip("'\"") for line in lines for part in line.split(",")]


def _undashed(line: str) -> str:
    """A line of a YAML list, as people write it into a form."""
    return line.strip().removeprefix("- ").strip()


def _number(given: t.Any, expected: str) -> Number:
    if isinstance(given, bool) or not isinstance(given, (int, float, str)):
        raise UnfitError(expected)
    try:
        found = float(given)
    except ValueError as error:
        raise UnfitError(expected) from error
    if not math.isfinite(found):
        raise UnfitError(expected)
    return int(found) if found == int(found) else found
