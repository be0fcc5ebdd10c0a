# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""BIND's named: the one in PATH, or Debian's, unpacked once into the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.process import locked
from tests.debian import LONGEST, SUITE, apt_configuration, cache, call, reason, refuse_other_systems
from tests.missing import UnavailableError

PACKAGES = (
    *("bind9", "bind9-libs", "libfstrm0", "libicu72", "libjemalloc2", "libjson-c5", "liblmdb0", "libmaxminddb0"),
    *("libnghttp2-14", "libprotobuf-c1", "libuv1", "libxml2"),
)


@dataclass(frozen=True)
class Program:
    path: str
    libraries: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **({"LD_LIBRARY_PATH": self.libraries} if self.libraries else {})}


def find_or_fetch() -> Program:
    if installed := shutil.which("named", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        return Program(installed)
    home = cache() / f"bind9-{SUITE}"
    if not home.is_dir():
        refuse_other_systems("BIND is unpacked", "apt-get", "dpkg")
        cache().mkdir(parents=True, exist_ok=True)
        try:
            with locked(cache() / "bind9.lock", LONGEST):
                if not home.is_dir():
                    _fetch(home)
        except (OSError, subprocess.SubprocessError) as error:
            raise UnavailableError(f"BIND could not be fetched: {reason(error)}") from error
    (libraries,) = {path.parent for path in home.glob("usr/lib/*/libuv.so.1")}
    return Program(str(home / "usr/sbin/named"), str(libraries))


def _fetch(home: Path) -> None:
    """Whole or not at all."""
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=cache()) as folder:
        work = Path(folder)
        configured = {**os.environ, "APT_CONFIG": str(apt_configuration(work / "apt"))}
        for words in (["update"], ["download", *PACKAGES]):
            call(["apt-get", "-qq", *words], work, configured)
        for package in work.glob("*.deb"):
            call(["dpkg", "-x", str(package), str(work / "unpacked")], work, configured)
        (work / "unpacked").rename(home)
