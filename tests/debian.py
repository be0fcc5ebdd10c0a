# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's packages without being root, and without changing what apt knows: it works on a configuration of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from .missing import UnavailableError

LONGEST = 600.0
"""Seconds that one of them may take."""
SUITE = "bookworm"
SUITES = rf"{SUITE}(?:-updates|-security)?"


def cache() -> Path:
    """Of the user, outside the checkout, for what is fetched or built once."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "bluegreen-deploy"


def refuse_other_systems(what: str, *needed: str) -> None:
    with contextlib.suppress(OSError):
        if re.search(rf"^VERSION_CODENAME={SUITE}$", Path("/etc/os-release").read_text(), re.MULTILINE):
            missing = [name for name in needed if not shutil.which(name)]
            if missing:
                raise UnavailableError(f"{what} with {', '.join(missing)}, not in PATH here")
            return
    raise UnavailableError(f"{what} from Debian {SUITE}'s packages, and this is another system")


def apt_configuration(folder: Path) -> Path:
    """One that knows the sources of the system's packages too, and keeps all it writes to itself."""
    sources = folder / "sources"
    for each in (sources, folder / "lists/partial", folder / "cache/archives/partial"):
        each.mkdir(parents=True)
    etc = Path("/etc/apt")
    files = [etc / "sources.list", *(etc / "sources.list.d").glob("*.list"), *etc.glob("sources.list.d/*.sources")]
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            convert = with_sources if path.suffix == ".sources" else lines_with_sources
            (sources / path.name.replace("sources.list", "system.list")).write_text(convert(path.read_text()))
    settings = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": sources,
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",  # another one could not read the user's cache
    }
    path = folder / "apt.conf"
    path.write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))
    return path


def call(words: list[str], folder: Path, environment: dict[str, str]) -> None:
    """One of the tools of packages, in the folder; raises where it fails."""
    subprocess.run(
        words,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST,
    )


def with_sources(text: str) -> str:
    """The stanzas of this Debian release, with its source packages."""
    stanzas = [
        re.sub(r"^Types:.*$", "Types: deb deb-src", stanza, flags=re.MULTILINE)
        for stanza in re.split(r"\n\s*\n", text)
        if re.search(rf"^Suites:(?:.*\s)?{SUITES}(?:\s|$)", stanza, re.MULTILINE)
    ]
    return "\n\n".join(stanzas) + "\n"


def lines_with_sources(text: str) -> str:
    """The same for the one-line format."""
    lines = re.findall(rf"^deb(\s.*\s{SUITES}\s.*)$", text, re.MULTILINE)
    return "".join(f"{kind}{line}\n" for line in lines for kind in ("deb", "deb-src"))


def reason(error: OSError | subprocess.SubprocessError) -> str:
    """The end of what the failed command said."""
    said = getattr(error, "stderr", None) or ""
    last = " / ".join(str(said).strip().splitlines()[-3:])
    return f"{error}: {last}" if last else str(error)
