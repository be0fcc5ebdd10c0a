# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are replaced whole, and files of ours that nobody else can put there. Private to this collection.

A directory is ours if root and this user alone can change it, and every directory on the way to it. It is looked at
from the top, since what has been looked at nobody else can change any more. A directory such as C(/tmp), in which
everybody removes only what is his, is a fine one on the way, and no place for files of ours.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import secrets
import stat
import time
import typing as t

from ._errors import DeniedError, TimeLimitError
from ._wait import until

LEFT_BEHIND = 3600.0
"""Seconds after which a temporary file is that of a process which was killed."""
LARGEST = 8 * 1024 * 1024
"""Bytes that are read of one file."""
MOST_LINKS = 40
"""On one path, as the kernel has it."""

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_LABELS = ("system.posix_acl_access", "security.selinux")
_SAFELY = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class HeldError(TimeLimitError):
    """Another process has the lock."""


class Folder:
    """A directory of ours, held open: whatever becomes of its path, its files are these.

    Raises ``denied`` for what others can write, and ``OSError`` for what the system refuses.
    """

    def __init__(self, path: str, *, make: bool = False) -> None:
        self.path = _ours(path, make)
        self._handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._handle)

    def read(self, name: str, *, anybodys: bool = False) -> bytes | None:
        """What the file holds. None: there is none. ``anybodys``: its owner may be somebody else, as of a map."""
        try:
            handle = self._open(name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        with os.fdopen(handle, "rb") as file:
            self._check(name, os.fstat(handle), anybodys, _OTHERS_WRITE)
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise DeniedError(
                f"{self.path}/{name} holds more than {LARGEST} bytes", "fewer", "See who has written it, and replace it"
            )
        return content

    def replace(self, name: str, content: bytes, *, mode: int = 0o600, keep: bool = False) -> None:
        """Give the file this content, for nobody else to read. ``keep`` its mode and owner, if it is there."""
        _replace(self._handle, name, content, mode, keep)

    def link(self, name: str) -> str | None:
        """Where it leads to. None: it is no link."""
        try:
            return os.readlink(name, dir_fd=self._handle)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.EINVAL:
                return None
            raise

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._handle)

    @contextlib.contextmanager
    def locked(self, name: str, how: int, patience: float) -> t.Iterator[None]:
        """Hold a lock file that nobody else can open, shared or alone. Raises ``HeldError``."""
        handle = self._open(name, os.O_RDWR | os.O_CREAT)
        try:
            self._check(name, os.fstat(handle), False, 0o077)
            got_it, _done = until(lambda: _try_lock(handle, how), bool, timeout=patience, interval=0.005)
            if not got_it:
                raise HeldError(
                    f"another process has held {self.path}/{name} for {patience:g} s",
                    "the end of what it does",
                    "See which process on this host holds it, and whether it hangs",
                )
            yield
        finally:
            os.close(handle)

    def _open(self, name: str, how: int) -> int:
        try:
            return os.open(name, how | _SAFELY, 0o600, dir_fd=self._handle)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise self._refused(name, "no file, but a link or the like") from error
            raise

    def _check(self, name: str, status: os.stat_result, anybodys: bool, mode: int) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise self._refused(name, "no file, but a link or the like")
        if anybodys:
            return
        if status.st_nlink > 1:
            raise self._refused(name, f"the same file as {status.st_nlink - 1} elsewhere")
        if status.st_uid not in (0, os.geteuid()):
            raise self._refused(name, f"{_user(status.st_uid)}'s")
        if status.st_mode & mode:
            raise self._refused(name, f"open to others, with mode {stat.S_IMODE(status.st_mode):04o}")

    def _refused(self, name: str, what: str) -> DeniedError:
        return DeniedError(
            f"{self.path}/{name} is {what}",
            f"a file of {_us()}, with mode 0600",
            "See who has put it there, and remove it or put it right",
        )


@contextlib.contextmanager
def lock_ours(path: str, how: int, patience: float) -> t.Iterator[None]:
    """Hold the lock file; its directory is made where it is missing."""
    directory, name = os.path.split(path)
    with Folder(directory, make=True) as folder, folder.locked(name, how, patience):
        yield


def read_ours(path: str) -> bytes | None:
    """What a file of ours holds. None: there is none."""
    directory, name = os.path.split(path)
    try:
        with Folder(directory) as folder:
            return folder.read(name)
    except FileNotFoundError:
        return None


def replace_ours(path: str, content: bytes) -> None:
    directory, name = os.path.split(path)
    with Folder(directory) as folder:
        folder.replace(name, content)


def remove_ours(path: str) -> None:
    directory, name = os.path.split(path)
    with Folder(directory) as folder:
        folder.remove(name)


def replace_file(path: str, content: bytes, mode: int = 0o644) -> None:
    """A reader sees the old file or the new one, also after a power cut.

    Mode and owner of a file that is there are kept; ``mode`` is for a new one. Raises ``OSError``, and then
    the old file is untouched. What a process that was killed has left of an earlier try is removed.
    """
    directory, name = os.path.split(path)
    handle = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _replace(handle, name, content, mode, keep=True)
    finally:
        os.close(handle)


# --- One file ---------------------------------------------------------------------------------------------


def _replace(directory: int, name: str, content: bytes, mode: int, keep: bool) -> None:
    there = _status(name, directory) if keep else None
    beginning = f".bluegreen-{name}-"
    _sweep(directory, beginning)
    temporary = f"{beginning}{secrets.token_hex(8)}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600, dir_fd=directory)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), there.st_mode & 0o777 if there else mode)
            if there and (there.st_uid, there.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), there.st_uid, there.st_gid)
            if there:
                _label(file.fileno(), _labels(directory, name))
            os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        os.unlink(temporary, dir_fd=directory)
        raise
    os.fsync(directory)


def _labels(directory: int, name: str) -> dict[str, bytes]:
    """Who may do what with the file beyond its mode, where the system has such."""
    if not hasattr(os, "listxattr"):
        return {}
    handle = os.open(name, os.O_RDONLY | _SAFELY, dir_fd=directory)
    try:
        return {each: os.getxattr(handle, each) for each in os.listxattr(handle) if each in _LABELS}
    finally:
        os.close(handle)


def _label(handle: int, labels: t.Mapping[str, bytes]) -> None:
    for each, value in labels.items():
        if each not in os.listxattr(handle) or os.getxattr(handle, each) != value:
            os.setxattr(handle, each, value)


def _sweep(directory: int, beginning: str) -> None:
    for left in os.listdir(directory):
        if left.startswith(beginning):
            with contextlib.suppress(OSError):  # one that cannot be removed does no harm
                if time.time() - os.stat(left, dir_fd=directory, follow_symlinks=False).st_mtime > LEFT_BEHIND:
                    os.unlink(left, dir_fd=directory)


def _status(name: str, directory: int) -> os.stat_result | None:
    """Of a file, whose place a link does not take."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _try_lock(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# --- The way there ----------------------------------------------------------------------------------------


def _ours(path: str, make: bool) -> str:
    """The directory without a link in its path, when all of it is ours; made for us alone where it is missing."""
    here, ahead, links = "/", path.split("/")[::-1], 0
    _look("/", os.lstat("/"), path)
    while ahead:
        name = ahead.pop()
        if name in ("", "."):
            continue
        there = os.path.dirname(here) if name == ".." else os.path.join(here, name)
        status = _status_of_step(there, make)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            _look_at_owner(there, status, path)
            target = os.readlink(there)
            here = "/" if target.startswith("/") else here
            ahead += target.split("/")[::-1]
        else:
            _look(there, status, path)
            here = there
    _look(here, os.lstat(here), path, last=True)
    return here


def _status_of_step(path: str, make: bool) -> os.stat_result:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        if not make:
            raise
    with contextlib.suppress(FileExistsError):  # by another process of ours; by whom, is looked at next
        os.mkdir(path, 0o700)
    return os.lstat(path)


def _look(step: str, status: os.stat_result, path: str, last: bool = False) -> None:
    _look_at_owner(step, status, path)
    if status.st_mode & stat.S_ISVTX and not last:
        return
    if status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _is_our_group(step, status.st_gid)):
        raise DeniedError(
            f"{_where(step, path)} can be written by others, with mode {stat.S_IMODE(status.st_mode):04o}",
            f"a directory that {_us()} alone can change, since what lies there is believed",
            f"Run 'chmod go-w {step}' if that is right, or choose another directory",
        )


def _look_at_owner(step: str, status: os.stat_result, path: str) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise DeniedError(
            f"{_where(step, path)} is {_user(status.st_uid)}'s",
            f"one of {_us()}, since what lies there is believed",
            f"Run 'chown {_user(os.geteuid())} {step}' if that is right, or choose another directory",
        )


def _is_our_group(path: str, group: int) -> bool:
    """Whether it is root's, or nobody is in it but root and us: where every user has a group of his own, it is he."""
    if hasattr(os, "listxattr") and "system.posix_acl_access" in os.listxattr(path, follow_symlinks=False):
        return False  # the group's bits are then the most that any of the named ones may
    if group == 0:
        return True  # root's own; what stands in it beside root on some systems cannot log in
    members = {each.pw_name for each in pwd.getpwall() if each.pw_gid == group}
    with contextlib.suppress(KeyError):
        members |= {*grp.getgrgid(group).gr_mem}
    return members <= {_user(0), _user(os.geteuid())}


def _where(step: str, path: str) -> str:
    return step if step == path.rstrip("/") else f"{step}, on the way to {path},"


def _us() -> str:
    return "root" if os.geteuid() == 0 else f"root or {_user(os.geteuid())}"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
