# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A record in a file of the host that the module runs on. Private to this collection."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import typing as t
from pathlib import Path

from .._errors import BrokenRecordError, ConflictError, DeniedError, InvalidError
from .._files import lock_ours, read_ours, replace_ours
from .._json import parse_json
from .record import Json
from .store import Store, Stored, StoreKind, as_text


class FileStore(Store):
    """C(<path>/<app>.json), readable by its owner alone; C(.previous) beside it is the content before the last."""

    def __init__(self, app: str, path: str, timeout: float) -> None:
        directory = Path(path)
        if not directory.is_absolute():
            raise InvalidError(f"store.path is {path!r}", "an absolute path such as /var/lib/bluegreen")
        if not 0 < timeout < float("inf"):
            raise InvalidError(f"store.timeout is {timeout:g}", "seconds above 0")
        self._path = directory / f"{app}.json"
        self._previous = directory / f"{app}.json.previous"
        self._lock = directory / f"{app}.lock"
        self._timeout = timeout
        super().__init__(
            app,
            str(self._path),
            f"Copy {self._previous} over it if that is sound; or move it aside, and run the playbook "
            "bluegreen.deploy.recover",
        )

    def read(self) -> Stored | None:
        raw = self._raw()
        return None if raw is None else Stored(self._parsed(raw), _version(raw))

    def write(self, content: Json, expected: str | None) -> str:
        new = as_text(content).encode()
        with self._locked():
            old = self._raw()
            if (None if old is None else _version(old)) != expected:
                raise ConflictError(f"{self._path} has changed meanwhile", "the content that was read", "Read it again")
            self._replace(old, new)
        return _version(new)

    def _replace(self, old: bytes | None, new: bytes) -> None:
        try:
            if old is not None:
                replace_ours(str(self._previous), old)
            replace_ours(str(self._path), new)
        except OSError as error:
            left = "The old record is untouched" if self._raw() == old else "The new record may not survive a crash"
            raise DeniedError(
                f"{self._path} cannot be written: {error.strerror}",
                "a directory that this user may write to, with room in it",
                f"{left}. Make room, or use become",
            ) from error

    def _raw(self) -> bytes | None:
        try:
            return read_ours(str(self._path))
        except OSError as error:
            raise DeniedError(
                f"{self._path} cannot be read: {error.strerror}", "a file that this user may read", "Use become"
            ) from error

    def _parsed(self, raw: bytes) -> t.Any:
        try:
            return parse_json(raw)
        except ValueError as error:
            raise BrokenRecordError(f"{self._path}: {error}", "a whole record", self.mend) from error

    @contextlib.contextmanager
    def _locked(self) -> t.Iterator[None]:
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(lock_ours(str(self._lock), fcntl.LOCK_EX, self._timeout))
            except OSError as error:
                raise DeniedError(
                    f"{self._lock} cannot be made: {error.strerror}",
                    "a directory that this user may write to, with room in it",
                    "The old record is untouched. Make room, mend store.path, or use become",
                ) from error
            yield


def _version(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _build(app: str, options: t.Mapping[str, t.Any]) -> Store:
    return FileStore(app, options["path"], options["timeout"])


KIND = StoreKind(
    "file",
    {
        "path": {"type": "path", "default": "/var/lib/bluegreen"},
        "timeout": {"type": "float", "default": 10.0},
    },
    _build,
)
