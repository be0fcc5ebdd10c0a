# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What providers share whose route is an object in Kubernetes with two weights. Private to this collection."""

from __future__ import annotations

import typing as t

from .._kubernetes.kubectl import patch_command
from .._kubernetes.owners import rivals
from .._kubernetes.weights import Weights
from .router import Router
from .split import Split


class Weighted(Router):
    """One list of destinations; a provider says where it is, and when a change of it is proven."""

    rules: t.ClassVar[str]
    """The field of the spec in which the destinations are."""

    def __init__(self, options: t.Mapping[str, t.Any], kind: str, name: str, weights: Weights) -> None:
        """``kind`` is as kubectl takes it."""
        self._options, self._kind, self._name, self._weights = options, kind, name, weights

    def read(self) -> Split | None:
        return self._weights.read()

    def drift(self) -> tuple[str, ...]:
        return self._weights.drift()

    def check(self, wanted: Split) -> None:
        self._weights.read()

    def rehearse(self, wanted: Split) -> None:
        self._weights.put(wanted, self._weights.split(), dry_run=True)

    def apply(self, wanted: Split, expected: Split | None, live: str | None = None) -> None:
        self._weights.put(wanted, expected)

    def caveats(self, wanted: Split) -> tuple[str, ...]:
        return rivals(self._weights.known, self._weights.what, ("spec", self.rules))

    def by_hand(self, wanted: Split) -> str:
        return patch_command(self._options, self._kind, self._name, self._weights.operations(wanted))

    def shown(self, split: Split) -> dict[str, t.Any]:
        return {self._name: self._weights.shown(split)}

    def long_lived(self) -> dict[str, int] | None:
        return None
