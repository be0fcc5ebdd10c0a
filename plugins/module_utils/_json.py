# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON that somebody else may have written: within bounds, or an error. Private to this collection."""

from __future__ import annotations

import json
import typing as t

DEEPEST = 60
"""Brackets within brackets. What we write has a dozen; what goes through Ansible must stay below some hundred."""
LARGEST = 8 * 1024 * 1024
LARGEST_NUMBER = 2**63
"""What no whole number reaches, as in most programs that read JSON."""


def parse_json(text: str | bytes) -> t.Any:
    """The value. Raises ``ValueError`` for what is no JSON, and for what would break whoever goes on with it."""
    if len(text) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST} bytes")
    try:
        found = json.loads(text, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from error
    _check(found)
    return found


def _no_number(name: str) -> t.Any:
    raise ValueError(f"{name} is no number")


def _check(found: t.Any) -> None:
    """Level by level: one that is nested deep is looked at without a call within a call."""
    level = [found]
    for _depth in range(DEEPEST + 1):
        if not level:
            return
        level = [part for one in level for part in _parts(one)]
    raise ValueError(f"it is nested more than {DEEPEST} levels deep")


def _parts(one: t.Any) -> t.Iterable[t.Any]:
    if isinstance(one, str):
        one.encode()  # half a character cannot be written again: a ValueError
    elif isinstance(one, float) and one in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    elif isinstance(one, int) and abs(one) >= LARGEST_NUMBER:
        raise ValueError(f"the number {str(one)[:20]}… is too large")
    return [*one, *one.values()] if isinstance(one, dict) else one if isinstance(one, list) else ()
