# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's configuration file: checked before it is replaced, put back if refused. Private to this collection."""

from __future__ import annotations

import dataclasses
import re
import tempfile
import typing as t
from pathlib import Path

from .._errors import BlueGreenError, DeniedError, InvalidError
from .._files import replace_file
from .config_state import carried_over
from .config_text import ConfigText
from .process import Run

MASK = "********"

_SECRETS = re.compile(
    r"""(?P<before>stats\s+auth\s+[^:\s]+:|\b(?:insecure-)?password\s+|acl\s+test_token\s.*?-m\s+str\s+(?:--\s+)?)"""
    r"""(?P<secret>"(?:\\.|[^"\\])*"|\S+)"""
)


class Process(t.Protocol):
    """HAProxy as it runs: a master, or a service."""

    def running(self) -> bool: ...

    def reload(self) -> None: ...


def read_whole(path: str) -> str | None:
    """The text of a file of HAProxy's; None where there is none."""
    try:
        with Path(path).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DeniedError(f"{path} cannot be read: {error.strerror}", todo="Use become") from error


@dataclasses.dataclass(frozen=True)
class ConfigFile:
    """The file that HAProxy is started with."""

    path: str
    mode: int
    binary: str
    run: Run

    @property
    def _real(self) -> Path:
        """A link to the file stays one when the file is replaced."""
        return Path(self.path).resolve()

    def read(self) -> str | None:
        return read_whole(self.path)

    def mode_for(self, text: str) -> int:
        """Of the file from now on: others may not read a secret, and apart from that it is the owner's matter."""
        try:
            there = self.mode_now()
        except FileNotFoundError:
            return self.mode
        return there & self.mode if _SECRETS.search(text) else there

    def mode_now(self) -> int:
        return Path(self.path).stat().st_mode & 0o7777

    def validate(self, text: str, old: str) -> None:
        """Ask HAProxy itself, of a file beside the real one, which stays as it is."""
        objections = self._objections(text)
        if objections is None:
            return
        before = self._objections(old) if old else None
        if before is not None:
            raise InvalidError(
                f"HAProxy finds {self.path} invalid as it is: {before}",
                "a file that haproxy -c takes, before an app is added to it",
                "Put it right first; it is untouched",
            )
        raise InvalidError(
            f"HAProxy finds the configuration invalid: {objections}",
            "one that haproxy -c takes",
            f"{self.path} is untouched",
        )

    def _objections(self, text: str) -> str | None:
        """What haproxy -c has against the text; None if it takes it."""
        try:
            with tempfile.NamedTemporaryFile(dir=self._real.parent, prefix=".bluegreen-", suffix=".cfg") as candidate:
                candidate.write(text.encode(errors="surrogateescape"))
                candidate.flush()
                code, output, errors = self.run([self.binary, "-c", "-f", candidate.name])
        except OSError as error:
            raise DeniedError(
                f"a candidate for {self.path} cannot be checked: {error.strerror}",
                "a directory to write to, and HAProxy",
                "Use become, and name HAProxy in binary",
            ) from error
        if not code:
            return None
        said = (errors or output).replace(candidate.name, self.path).splitlines()
        return mask(" ".join([line for line in said if "ALERT" in line] or said))[:600]

    def write(self, text: str) -> None:
        mode = self.mode_for(text)
        try:
            if self._real.exists():
                self._real.chmod(mode)  # before it holds a secret, not after
            replace_file(str(self._real), text.encode(errors="surrogateescape"), mode)
        except OSError as error:
            raise DeniedError(
                f"{self.path} cannot be written: {error.strerror}", "a directory to write to", "Use become"
            ) from error

    def replace(self, new: str, process: Process, servers: t.Callable[[], str]) -> None:
        """Put the text in force. If HAProxy does not take it, the old file is back for the next start."""
        old = self.read()
        self.write(new)
        if not process.running():
            return
        try:
            with carried_over(ConfigText.parse(new), servers):
                process.reload()
        except BlueGreenError as error:
            if old is None:
                self._real.unlink()
            else:
                self.write(old)
            raise type(error)(
                error.found,
                error.expected,
                f"The file {self.path} is as it was, for the next start. {error.todo}",
            ) from error


def mask(text: str) -> str:
    return _SECRETS.sub(lambda found: found.group("before") + MASK, text)


def masked_diff(before: str, after: str) -> tuple[str, str]:
    """Both texts without a secret; that one was changed is seen all the same."""
    known = set(_secrets(before))

    def new(found: t.Match[str]) -> str:
        return found.group("before") + (MASK if found.group("secret") in known else f"{MASK} (new)")

    return mask(before), _SECRETS.sub(new, after)


def _secrets(text: str) -> t.Iterator[str]:
    return (found.group("secret") for found in _SECRETS.finditer(text))
