# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ansible-test's sanity tests from a checkout anywhere, without containers or root.

ansible-test only works inside a folder named ansible_collections/<namespace>/<name>, follows no link to
it, and trips over Pythons in PATH that do not run. So it gets a copy, and a PATH of Pythons that do.
"""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = Path("ansible_collections", "bluegreen", "deploy")

# ansible-test downloads get-pip.py unless its cache holds it, though every Python brings a pip of its own.
GET_PIP = '''\
"""Stand-in for get-pip.py that downloads nothing: it runs the pip that comes with Python."""
import ensurepip, glob, os, runpy, sys
wheels = glob.glob(os.path.join(os.path.dirname(ensurepip.__file__), "_bundled", "pip-*.whl"))
wheels += glob.glob("/usr/share/python-wheels/pip-*.whl")  # where Debian keeps it
sys.path.insert(0, wheels[0])
sys.argv[1:] = ["install"] + [arg for arg in sys.argv[1:] if arg not in ("--no-setuptools", "--no-wheel")]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
'''


def main() -> int:
    ansible_test = _ansible_test()
    # A killed run must clean up after itself too.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="sanity-") as scratch:
        copy = Path(scratch, COLLECTION)
        for name in _source_files():
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
        _seed_get_pip(ansible_test)
        path = _search_path(_python_names(ansible_test), Path(scratch, "path"))
        command = [str(Path(sys.executable).with_name("ansible-test")), "sanity", "--local", "--color", "no"]
        return subprocess.run(command, cwd=copy, env={**os.environ, "PATH": path}, check=False).returncode


def _ansible_test() -> Path:
    spec = importlib.util.find_spec("ansible_test")
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"{sys.executable} has no ansible-test; run this by `make sanity`")
    return Path(spec.submodule_search_locations[0])


def _source_files() -> Iterator[str]:
    """What git tracks or would track, as it is on disk now."""
    listing = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(listing, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", None) or str(error)
        sys.exit(f"the sanity tests need a git checkout, to tell sources from leftovers: {why.strip()}")
    for name in sorted({*listed.split("\0")} - {""}):
        if os.path.lexists(ROOT / name):  # git still lists a file that was deleted
            yield name


def _seed_get_pip(ansible_test: Path) -> None:
    source = (ansible_test / "_internal/python_requirements.py").read_text()
    cache = Path.home() / ".ansible/test/cache"
    for version in re.findall(r"\bpip='([\d.]+)'", source):
        script = cache / f"get_pip_{version.replace('.', '_')}.py"
        if not script.exists():
            cache.mkdir(parents=True, exist_ok=True)
            script.write_text(GET_PIP)


def _python_names(ansible_test: Path) -> list[str]:
    constants = runpy.run_path(str(ansible_test / "_util/target/common/constants.py"))
    versions = constants["REMOTE_ONLY_PYTHON_VERSIONS"] + constants["CONTROLLER_PYTHON_VERSIONS"]
    return [f"python{version}" for version in versions]


def _search_path(pythons: list[str], scratch: Path) -> str:
    """PATH plus pyenv's Pythons, less every Python that does not run or cannot make virtual environments."""
    folders = [Path(sys.executable).parent, *map(Path, os.get_exec_path())]
    folders += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    usable = []
    for number, folder in enumerate(folder for folder in dict.fromkeys(folders) if folder.is_dir()):
        broken = {name for name in pythons if (folder / name).exists() and not _runs(folder / name)}
        usable.append(_links(folder, broken, scratch / str(number)) if broken else folder)
    return os.pathsep.join(map(str, usable))


def _runs(python: Path) -> bool:
    probe = [str(python), "-c", "import ensurepip, ssl, venv"]
    try:
        return subprocess.run(probe, check=False, capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _links(folder: Path, left_out: set[str], links: Path) -> Path:
    """The same folder without some of its names."""
    links.mkdir(parents=True)
    for entry in folder.iterdir():
        if entry.name not in left_out:
            (links / entry.name).symlink_to(entry)
    return links


if __name__ == "__main__":
    sys.exit(main())
