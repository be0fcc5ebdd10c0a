# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that users set once, and what each may be. Private to this collection."""

from __future__ import annotations

import typing as t

from .._errors import InvalidError
from .kinds import (
    Kind,
    UnfitError,
    canary_steps,
    colours,
    commands,
    count,
    number,
    one_of,
    paths,
    text,
    texts,
    version,
    yes_or_no,
)

PREFIX = "bluegreen_"

NOTHING = ("", "None", "null", "~")
"""What a field that was left empty becomes on its way: the nothing of a form, of Python, and of YAML twice."""

_SECONDS = number("seconds, 0 or more", "30")
_SOME_SECONDS = number("seconds, more than 0", "30", above=True)

HOOKS: dict[str, str] = {
    "deploy": "pre_deploy",
    "smoke_tests": "pre_deploy",
    "after_pre_deploy": "pre_deploy",
    "before_switch": "switch",
    "after_step": "switch",
    "after_switch": "switch",
    "after_post_deploy": "post_deploy",
    "after_rollback": "rollback",
    "after_recover": "recover",
    "retire": "retire",
}
"""Options that name task files of the user's, and the role that includes these."""

OPTIONS: dict[str, Kind] = {
    "version": version,
    "colours": colours,
    "canary_steps": canary_steps,
    "capacity_ratio": number("a share, 0 or more", "1"),
    "confirmation_period": _SECONDS,
    "drain_timeout": _SECONDS,
    "extend_for": _SECONDS,
    "front_answers": count("answers in a row", "20", 1),
    "front_paths": paths,
    "front_timeout": _SOME_SECONDS,
    "front_verify": yes_or_no,
    "gone": texts,
    "health_answers": count("answers in a row", "3", 1),
    "health_timeout": _SOME_SECONDS,
    "hold": _SECONDS,
    "lead": _SECONDS,
    "lock_ttl": _SOME_SECONDS,
    "long_lived": one_of("wait", "leave"),
    "max_error_share": number("percent, from 0 to 100", "1", most=100),
    "max_latency_ms": number("milliseconds, more than 0", "250", above=True),
    "member_verify": yes_or_no,
    "min_requests": count("requests", "50", 0),
    "on_inconclusive": one_of("go_on", "hold", "extend"),
    "on_partial": one_of("back", "keep"),
    "recover_fails": yes_or_no,
    "recover_force": yes_or_no,
    "recover_to": text,
    "release": text,
    "required_checks": texts,
    "retire_colour": text,
    "retire_quiet": _SECONDS,
    "retire_timeout": _SECONDS,
    "revert_after": _SECONDS,
    "rollback_fails": yes_or_no,
    "rollback_force": yes_or_no,
    "rollback_to": text,
    "smoke_commands": commands,
    "status_fails": yes_or_no,
    "thaw": yes_or_no,
    "to": text,
    "together": yes_or_no,
    "watch": _SECONDS,
    "watch_interval": _SOME_SECONDS,
    **dict.fromkeys(HOOKS, texts),
}
"""By the name without ``bluegreen_``."""


def converted(name: str, given: t.Any, default: t.Any = "") -> t.Any:
    """What is meant; the default where nothing was given, as by an empty field of a survey. Raises ``invalid``."""
    if given is None or (isinstance(given, str) and given.strip() in NOTHING):
        return default
    try:
        return OPTIONS[name](given)
    except UnfitError as error:
        raise InvalidError(f"{PREFIX}{name} is {_shown(given)}", str(error)) from error


def wrong(given: t.Mapping[str, t.Any]) -> list[str]:
    """A sentence for each of the given variables that cannot be right, by their whole names."""
    told = []
    for variable in sorted(given):
        try:
            converted(variable[len(PREFIX) :], given[variable])
        except InvalidError as error:
            told.append(error.message)
    return told


def _shown(given: t.Any) -> str:
    text = repr(given) if not isinstance(given, str) else f"{given!s:.60}"
    return text[:60]
