# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client library leaves out of a kubeconfig: whom to act as, and where. Private to this collection.

Source: kubernetes.io/docs/reference/config-api/kubeconfig.v1 and .../access-authn-authz/authentication
(user impersonation); of several files the first one that has an entry counts.
"""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from .._errors import UnsupportedError
from .._requires import require_yaml

Entry = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Chosen:
    """A context, and its user."""

    context: Entry = field(default_factory=dict)
    user: Entry = field(default_factory=dict)

    @classmethod
    def of(cls, paths: str, name: str | None) -> Chosen:
        """``paths`` as in $KUBECONFIG; ``name`` is a context, by default the current one."""
        files = [_read(Path(path).expanduser()) for path in paths.split(os.pathsep) if path]
        current = name or next((file["current-context"] for file in files if file.get("current-context")), "")
        context = _entry(files, "contexts", "context", current)
        return cls(context, _entry(files, "users", "user", context.get("user", "")))

    @property
    def runs_a_plugin(self) -> bool:
        return "exec" in self.user

    def impersonation(self) -> dict[str, str]:
        """The headers that say whom to act as. Raises ``unsupported`` for what cannot be said in one of each."""
        user, groups = self.user.get("as"), self.user.get("as-groups") or []
        if not user and not groups:
            return {}
        if not user or len(groups) > 1 or self.user.get("as-user-extra"):
            raise UnsupportedError(
                "the user of the context acts as somebody else, with several groups or further attributes",
                "a user, and one group at most",
                "Make a context of its own for this account, or give its token in api_key",
            )
        named = {"impersonate-user": user, "impersonate-uid": self.user.get("as-uid")}
        return {
            key: str(value) for key, value in {**named, "impersonate-group": next(iter(groups), None)}.items() if value
        }


def _read(path: Path) -> Entry:
    if not path.exists():
        return {}
    found = require_yaml().safe_load(path.read_text())
    return found if isinstance(found, dict) else {}


def _entry(files: t.Sequence[Entry], kind: str, part: str, name: str) -> Entry:
    for file in files:
        for each in file.get(kind) or ():
            if each.get("name") == name:
                return each.get(part) or {}
    return {}
