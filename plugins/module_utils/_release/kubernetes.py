# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A record in a ConfigMap. Private to this collection.

Source: kubernetes.io/docs/concepts/configuration/configmap, for the size; resource versions make a write conditional.
"""

from __future__ import annotations

import re
import typing as t

from .._errors import BlueGreenError, BrokenRecordError, ConflictError, DeniedError, InvalidError, MissingError
from .._json import parse_json
from .._kubernetes.client import Client, RefusedContentError, connect_in
from .._kubernetes.options import CONNECTION_SPEC
from .record import Json
from .store import Store, Stored, StoreKind, as_text

KEY = "record.json"
LARGEST = 1 << 20
"""Bytes that a ConfigMap holds, its names included."""
LABELS = {"app.kubernetes.io/managed-by": "bluegreen.deploy"}

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?")


class ConfigMapStore(Store):
    """One ConfigMap. The lock is a part of the record, so that one write changes both or none."""

    def __init__(self, app: str, client: Client, namespace: str, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise InvalidError(
                f"store.name is {name!r}",
                "lower case letters, digits and - . as the names of ConfigMaps have",
                "Set it",
            )
        self._client, self._namespace, self._name = client, namespace, name
        self._maps = f"/api/v1/namespaces/{namespace}/configmaps"
        super().__init__(
            app,
            f"ConfigMap {namespace}/{name}",
            f"Mend it with kubectl -n {namespace} edit configmap {name}; or delete it, and run the playbook "
            "bluegreen.deploy.recover",
        )

    def read(self) -> Stored | None:
        try:
            found = self._client.get(f"{self._maps}/{self._name}")
        except MissingError:
            return None
        text = (found.get("data") or {}).get(KEY)
        if text is None:
            raise BrokenRecordError(f"{self.place} has no {KEY}", "a whole record", self.mend)
        try:
            return Stored(parse_json(text), found["metadata"]["resourceVersion"])
        except ValueError as error:
            raise BrokenRecordError(f"{self.place}: {error}", "a whole record", self.mend) from error

    def write(self, content: Json, expected: str | None) -> str:
        text = as_text(content)
        metadata = {"name": self._name, "namespace": self._namespace, "labels": LABELS}
        body: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {KEY: text}}
        try:
            if expected is None:
                written = self._client.create(self._maps, body)
            else:
                metadata["resourceVersion"] = expected
                written = self._client.replace(f"{self._maps}/{self._name}", body)
        except MissingError as error:
            if expected is None:
                raise MissingError(error.found, f"a namespace {self._namespace}", "Make it, or name another") from error
            raise self._changed(error) from error
        except ConflictError as error:
            raise self._changed(error) from error
        except RefusedContentError as error:
            raise DeniedError(
                f"{self.place} does not take {len(text)} bytes: {error.found}",
                f"at most {LARGEST} bytes",
                "The old record is untouched. Delete what you need no more of its history",
            ) from error
        return str(written["metadata"]["resourceVersion"])

    def _changed(self, error: BlueGreenError) -> ConflictError:
        return ConflictError(
            f"{self.place} has changed meanwhile: {error.found}", "the content that was read", "Read it again"
        )


def _build(app: str, options: t.Mapping[str, t.Any]) -> Store:
    name = options["name"] or re.sub("[^a-z0-9.-]", "-", f"bluegreen-{app.lower()}")
    client, options = connect_in(options)
    return ConfigMapStore(app, client, options["namespace"], name)


KIND = StoreKind(
    "kubernetes",
    {
        **CONNECTION_SPEC,
        "namespace": {"type": "str"},
        "name": {"type": "str"},
    },
    _build,
)
