# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's configuration file: checked before it is replaced, put back if refused. Private to this collection."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import tempfile
import typing as t
from pathlib import Path

from .._errors import BlueGreenError, DeniedError, InvalidError, TimeLimitError, UnreachableError
from .._files import replace_file
from .command_line import CommandLine
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

    def command_line(self) -> CommandLine | None: ...


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

    def validate(self, text: str, old: str, started: CommandLine) -> None:
        """Ask HAProxy itself, of a file beside the real one, which stays as it is, and of what goes with it."""
        objections = self._objections(text, started)
        if objections is None:
            return
        before = self._objections(old, started) if old else None
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

    def _objections(self, text: str, started: CommandLine) -> str | None:
        """What haproxy -c has against the text; None if it takes it."""
        try:
            with tempfile.NamedTemporaryFile(dir=self._real.parent, prefix=".bluegreen-", suffix=".cfg") as candidate:
                candidate.write(text.encode(errors="surrogateescape"))
                candidate.flush()
                code, output, errors = self.run(
                    [self.binary, *started.with_candidate(self.path, candidate.name)], started.named_in(text)
                )
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
        with self._writing():
            if self._real.exists():
                self._real.chmod(mode)  # before it holds a secret, not after
            replace_file(str(self._real), text.encode(errors="surrogateescape"), mode)

    def replace(self, new: ConfigText, reload: t.Callable[[], None], states: str) -> None:
        """Put the text in force. If HAProxy does not take it, the old file is back for the next start.

        A reload that has not ended is none that was refused: then HAProxy may run with the new file, or be about to.
        """
        old = self.read()
        try:
            with carried_over(new, states):
                self.write(str(new))
                reload()
        except (TimeLimitError, UnreachableError) as error:
            error.todo = (
                f"{self.path} holds the new configuration, and whether HAProxy runs with it is not known: nothing "
                f"was put back. {error.todo + '. ' if error.todo else ''}Once HAProxy is well, run this again: it "
                "reloads once more"
            )
            raise
        except BlueGreenError as error:
            if old is None:
                self._real.unlink(missing_ok=True)
            else:
                self.write(old)
            self.unmark()
            error.todo = f"The file {self.path} is as it was, for the next start. {error.todo}"
            raise

    # --- The mark of a change that HAProxy may not know of: a process that is killed takes nothing back ---------

    @property
    def _mark(self) -> Path:
        return self._real.with_name(f".bluegreen-{self._real.name}.reload")

    def is_marked(self) -> bool:
        return self._mark.exists()

    def mark(self) -> None:
        with self._writing():
            replace_file(str(self._mark), b"This file goes once HAProxy was reloaded with what lies here.\n", 0o600)

    def unmark(self) -> None:
        with self._writing():
            self._mark.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _writing(self) -> t.Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DeniedError(
                f"{self.path} cannot be written: {error.strerror}", "a directory to write to", "Use become"
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
