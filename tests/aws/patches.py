# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of moto is replaced: recorded where it is written, done by ``apply``, watched by a canary.

moto's insides are no interface. Each replacement is recorded together with a digest of what it replaces
(``canary.json``), so a test says which of them moto has changed since.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CANARY = Path(__file__).with_name("canary.json")

Function = Callable[..., Any]


@dataclass(frozen=True)
class Patch:
    owner: Any
    name: str
    original: Any
    replacement: Any

    @property
    def title(self) -> str:
        module = getattr(self.owner, "__module__", None) or self.owner.__name__
        return f"{module}.{getattr(self.owner, '__qualname__', '')}.{self.name}"

    @property
    def digest(self) -> str:
        """Of the source text of what is replaced, or of the class where it has nothing of this name."""
        what = self.owner if self.original is None else self.original
        return hashlib.sha256(inspect.getsource(what).encode()).hexdigest()[:16]


PATCHES: list[Patch] = []


def instead_of(owner: Any, name: str) -> Callable[[Function], Function]:
    """Decorates ``f(original, self, …)``, which stands in for a method and may call the original."""
    original = getattr(owner, name)

    def record(function: Function) -> Function:
        @functools.wraps(original)
        def replacement(*args: Any, **kwargs: Any) -> Any:
            return function(original, *args, **kwargs)

        PATCHES.append(Patch(owner, name, original, replacement))
        return function

    return record


def property_of(owner: Any, name: str) -> Callable[[Function], Function]:
    """Decorates ``f(self)``: an attribute that is computed from now on, whatever is assigned to it."""

    def record(function: Function) -> Function:
        PATCHES.append(Patch(owner, name, None, property(function, lambda self, value: None)))
        return function

    return record


def apply() -> None:
    for patch in PATCHES:
        setattr(patch.owner, patch.name, patch.replacement)


def digests() -> dict[str, str]:
    """Of what the installed moto has; to be asked before ``apply``."""
    return {patch.title: patch.digest for patch in PATCHES}


def recorded() -> dict[str, str]:
    known: dict[str, str] = json.loads(CANARY.read_text())
    return known
