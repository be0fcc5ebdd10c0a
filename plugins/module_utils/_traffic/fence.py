# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fencing token that the routes' host enforces: once a release is taken over, its predecessor cannot write.

Private to this collection. Source: M. Kleppmann, "How to do distributed locking", 2016, for the token.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import tempfile
import time
import typing as t
from pathlib import Path

from .._errors import ConflictError, DeniedError, DriftError, InvalidError
from .._files import lock_ours, read_ours, replace_ours
from .._json import TOO_HIGH
from .known_fleet import KnownFleet, recall, remember

PATIENCE = 60.0
"""Seconds to wait for a change of a route that is being made."""

YEAR = 366 * 24 * 3600

ROOM = 256 * 1024
"""Bytes that a release may need in the directory, most of them for the watchdog's program."""

_APP = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


class StaleTokenError(ConflictError):
    """Somebody has taken the release over: the traffic is theirs."""


class Fence:
    """The highest token that this host has seen for an app, in C(<state_dir>/<app>.fence), against ours.

    Raises ``conflict`` where ours is older, ``drift`` where the file cannot be believed, ``denied`` where it
    cannot be read or written, and ``timeout`` where a change in progress does not end. With a ``fleet`` whoever
    raises it leaves that beside it, for ``known_fleet``.
    """

    def __init__(self, state_dir: str, app: str, token: int, fleet: KnownFleet | None = None) -> None:
        if not 1 <= token < TOO_HIGH:
            raise InvalidError(f"token is {str(token)[:40]}", "a whole number of 1 or more, below 2 to the power of 63")
        self._stem = stem(state_dir, app)
        self._path = f"{self._stem}.fence"
        self._app = app
        self._fleet = fleet
        self.token = token

    def check(self) -> None:
        """Refuse a token that is stale already, and a directory that cannot be written; leaves nothing behind."""
        self._refuse_stale(self._seen())
        try_out(Path(self._path).parent)

    def raise_up(self) -> None:
        """From here on no older token can begin a change on this host; waits for one that is being made."""
        with locked(f"{self._stem}.fence.lock", fcntl.LOCK_EX, PATIENCE):
            seen = self._seen()
            self._refuse_stale(seen)
            with using(self._path):
                if seen < self.token:
                    replace_ours(self._path, f"{self.token}\n".encode())
                if self._fleet:
                    remember(f"{self._path}.json", self._fleet)

    @contextlib.contextmanager
    def holding(self) -> t.Iterator[None]:
        """Around one change of a route: while it lasts nobody raises the fence, others with our token may write."""
        with locked(f"{self._stem}.fence.lock", fcntl.LOCK_SH, PATIENCE):
            seen = self._seen()
            self._refuse_stale(seen)
            if seen != self.token:
                raise DriftError(
                    f"{self._path} says {seen}", f"{self.token}, as this release wrote", "See who changes files there"
                )
            yield

    def _refuse_stale(self, seen: int) -> None:
        if seen <= self.token:
            return
        if seen > time.time() + YEAR and self.token < time.time() + YEAR:
            raise DriftError(
                f"{self._path} says {seen}, which no release gives out before its time: tokens follow the clock",
                f"{self.token} or less",
                f"See who has written it, and write {self.token} there",
            )
        raise StaleTokenError(
            f"token {self.token} of {self._app} is stale: this host has seen {seen}",
            "the highest one",
            "Somebody has taken the release over: see the playbook bluegreen.deploy.status",
        )

    def _seen(self) -> int:
        text = read_text(self._path)
        if text is None:
            return 0
        if not re.fullmatch(r"[1-9][0-9]{0,18}\n", text) or int(text) >= TOO_HIGH:
            raise DriftError(
                f"{self._path} holds {text[:40]!r}",
                "a token, a whole number on one line",
                f"Write the last token of {self._app}'s record there: see the playbook bluegreen.deploy.status",
            )
        return int(text)


def known_fleet(state_dir: str, app: str) -> KnownFleet | None:
    """What this host remembers of the release that raised the fence last, if it said with whom it runs."""
    path = f"{stem(state_dir, app)}.fence.json"
    return recall(path, read_text(path))


def try_out(directory: Path) -> None:
    """Fill a file in the directory, or in what there is of it, that is gone at once."""
    there = next(each for each in (directory, *directory.parents) if each.exists())
    with using(str(directory)), tempfile.TemporaryFile(dir=there) as file:
        file.write(bytes(ROOM))


def held(fence: Fence | None) -> contextlib.AbstractContextManager[None]:
    """Around one change of a route, with or without a fence."""
    return fence.holding() if fence else contextlib.nullcontext()


def stem(state_dir: str, app: str) -> str:
    """What the names of an app's files on this host begin with; no app's name leads out of the directory."""
    if not _APP.fullmatch(app) or app.endswith((".fence", ".revert")):
        raise InvalidError(
            f"app {app!r} is no name for a file",
            "letters, digits and _ . - only, no dot in front, and no .fence or .revert at the end",
        )
    if not Path(state_dir).is_absolute():
        raise InvalidError(f"state_dir {state_dir!r} is no absolute path", "one such as /var/lib/bluegreen")
    return str(Path(state_dir, app))


@contextlib.contextmanager
def locked(path: str, how: int, patience: float) -> t.Iterator[None]:
    """Hold the lock file, shared or alone; its directory is made where it is missing."""
    with contextlib.ExitStack() as held_here:
        with using(path):
            held_here.enter_context(lock_ours(path, how, patience))
        yield


def read_text(path: str) -> str | None:
    """What the file holds. None: there is none."""
    with using(path):
        content = read_ours(path)
    return None if content is None else content.decode(errors="replace")


@contextlib.contextmanager
def using(path: str) -> t.Iterator[None]:
    """The system's refusals as ours."""
    try:
        yield
    except OSError as error:
        raise DeniedError(
            f"{path} cannot be used: {error.strerror}",
            "a directory of this user's, with room in it",
            "Use become, or another state_dir",
        ) from error
