# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all hosts have in common: a Debian that debootstrap has made once, in the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.cluster.process import locked, with_parent
from tests.debian import SUITE, cache, reason
from tests.missing import UnavailableError

LONGEST = 1800.0  # seconds for making it, on a slow line
TOOLS = ("debootstrap", "systemd-nspawn", "ip", "nsenter", "setpriv", "unshare", "ssh", "ssh-keygen")
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "procps", "iproute2", "ca-certificates"),
    *("python3", "python3-apt", "haproxy"),
)
USER = "deploy"
PASSWORD = "only on these hosts"
SETTINGS = {
    "etc/ssh/sshd_config.d/keys.conf": "AuthorizedKeysFile /etc/ssh/keys/%u\nPasswordAuthentication no\n",
    "etc/systemd/system/shop.service": """\
[Unit]
Description=The app
[Service]
EnvironmentFile=/etc/shop.env
ExecStart=/usr/bin/python3 /opt/shop/app.py --address 0.0.0.0 --port 8080 --instance %H \
--colour ${COLOUR} --version ${VERSION}
User=nobody
""",
}
SET_UP = f"""\
useradd --create-home --shell /bin/bash {USER}
echo '{USER}:{PASSWORD}' | chpasswd
systemctl disable haproxy.service
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
rm -f /etc/hostname /etc/hosts /etc/resolv.conf
: > /etc/machine-id
"""


def find_or_make() -> Path:
    """The directory of the image; nobody may write there."""
    _refuse_machines()
    recipe = repr((SUITE, PACKAGES, SETTINGS, SET_UP))
    home = cache() / f"hosts-{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if not home.is_dir():
        cache().mkdir(parents=True, exist_ok=True)
        try:
            with locked(cache() / "hosts.lock", LONGEST):
                if not home.is_dir():
                    _make(home)
        except (OSError, subprocess.SubprocessError) as error:
            raise UnavailableError(f"their image could not be made: {reason(error)}") from error
    return home


def _refuse_machines() -> None:
    if os.geteuid() != 0:
        raise UnavailableError("namespaces and systemd-nspawn need root, and this is another user")
    missing = [name for name in TOOLS if not shutil.which(name)]
    if missing:
        raise UnavailableError(
            f"{', '.join(missing)} not in PATH; on Debian: "
            "apt-get install debootstrap systemd-container iproute2 openssh-client"
        )


def _make(home: Path) -> None:
    """Whole or not at all."""
    with tempfile.TemporaryDirectory(prefix="making-", dir=cache()) as folder:
        root = Path(folder) / "root"
        _call(["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root)])
        for name, text in SETTINGS.items():
            (root / name).write_text(text)
        _call(["chroot", str(root), "sh", "-eu", "-c", SET_UP])
        shutil.rmtree(root / "var/cache/apt/archives")
        root.rename(home)


def _call(words: list[str]) -> None:
    """debootstrap says on its output what was wrong."""
    subprocess.run(
        with_parent(words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        timeout=LONGEST,
    )
