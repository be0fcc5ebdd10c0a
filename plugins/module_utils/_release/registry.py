# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name to store. Literal imports: AnsiballZ ships only what it can read. Private to this collection."""

from __future__ import annotations

import typing as t

from .dynamodb import KIND as DYNAMODB
from .file import KIND as FILE
from .kubernetes import KIND as KUBERNETES
from .record import checked_app
from .store import Store, StoreKind

STORES: dict[str, StoreKind] = {kind.name: kind for kind in (FILE, KUBERNETES, DYNAMODB)}

STORE_SPEC: dict[str, t.Any] = {
    "store": {
        "type": "dict",
        "required": True,
        "options": {
            "type": {"type": "str", "choices": list(STORES), "default": "file"},
            **{name: option for kind in STORES.values() for name, option in kind.spec.items()},
        },
    },
}
"""The argument spec that every module about the record shares."""


def build_store(params: t.Mapping[str, t.Any], app: str) -> Store:
    """The store of a module's parameters; contacts nobody."""
    options = params["store"]
    return STORES[options["type"]].build(checked_app(app), options)
