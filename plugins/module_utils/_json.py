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
TOO_HIGH = 2**63
"""What no whole number of ours reaches, nor a token: a host that has seen one so high could never be written again."""
LONGEST_NUMBER = 4000
"""Digits. More of them some Pythons read, and others do not."""


def parse_json(text: str | bytes) -> t.Any:
    """The value. Raises ``ValueError`` for what is no JSON, and for what would break whoever goes on with it."""
    if len(text) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST} bytes")
    try:
        found = json.loads(text, parse_constant=_refuse, parse_int=_whole, parse_float=_float)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from error
    if is_deeper(found, DEEPEST):
        raise ValueError(f"it is nested more than {DEEPEST} levels deep")
    return found


def is_deeper(found: t.Any, most: int) -> bool:
    """Whether it has more levels. Looks at one after the other, without a call within a call."""
    level = [found]
    for _depth in range(most + 1):
        level = [part for one in level for part in _parts(one)]
        if not level:
            return False
    return True


def _parts(one: t.Any) -> t.Iterable[t.Any]:
    return one.values() if isinstance(one, dict) else one if isinstance(one, (list, tuple)) else ()


def _whole(digits: str) -> int:
    return int(digits) if len(digits) <= LONGEST_NUMBER else _refuse(digits)


def _float(text: str) -> float:
    number = float(text)
    return _refuse(text) if number in (float("inf"), float("-inf")) else number


def _refuse(text: str) -> t.Any:
    raise ValueError(f"{text[:20]} is no number that can be kept")
