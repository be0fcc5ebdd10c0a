# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host, and the wire between hosts. All that is made belongs to a process, and ends with it, however that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from demo.rig import wait_until
from tests.cluster.process import kill, start
from tests.missing import UnavailableError

BOOT = Path(__file__).parent / "boot.sh"
LONGEST = 120.0  # seconds for a boot on a busy machine
ISOLATED = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
PREFIX = 24
ADDRESS = "192.0.2.1"
HIERARCHIES = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")


class Wire:
    """A network that nothing outside can reach. Clients and the controller run at it, with some files of their own."""

    def __init__(self, directory: Path) -> None:
        self._process = start(["unshare", "--net", "--mount", "--", "sleep", "infinity"], directory / "wire.log")
        self._hidden = directory / "hidden"
        _wait_for_namespace(self._process, directory / "wire.log")
        for words in (
            "link set lo up",
            "link add wire type bridge",
            "link set wire up",
            f"address add {ADDRESS}/{PREFIX} dev wire",
        ):
            self._ip(words)

    def inside(self, *words: str, cwd: Path = Path("/")) -> list[str]:
        """The words of a command that runs at the wire."""
        pid = str(self._process.pid)
        return ["nsenter", "--target", pid, "--net", "--mount", "--", "env", f"--chdir={cwd}", *words]

    def replace_file(self, path: str, file: Path) -> None:
        """For whoever runs at the wire."""
        _run(*self.inside("mount", "--bind", str(file), path))

    def let_read(self, *trees: Path) -> None:
        """To whoever runs at the wire, also trees in a directory that only its owner may enter, such as root's home:
        there, the directory is another one, with nothing else in it."""
        closed = {tree: top for tree in trees if (top := _closed(tree))}
        for number, tree in enumerate(closed):
            aside = self._hidden / str(number)
            aside.mkdir(parents=True)
            _run(*self.inside("mount", "--rbind", str(tree), str(aside)))
        for top in {*closed.values()}:
            _run(*self.inside("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(top)))
        for number, tree in enumerate(closed):
            _run(*self.inside("mkdir", "-p", str(tree)))
            _run(*self.inside("mount", "--rbind", str(self._hidden / str(number)), str(tree)))

    def connect(self, machine: Machine) -> None:
        self._ip(f"link add {machine.name} type veth peer name host0 netns {machine.process.pid}")
        self._ip(f"link set {machine.name} master wire up")
        for words in ("link set lo up", "link set host0 up", f"address add {machine.address}/{PREFIX} dev host0"):
            _run("nsenter", f"--net=/proc/{machine.process.pid}/ns/net", "--", "ip", *words.split())

    def _ip(self, words: str) -> None:
        _run(*self.inside("ip", *words.split()))

    def cut(self) -> None:
        """Also ends whoever runs at it, such as the connections that ssh keeps for later."""
        here = _network(self._process.pid)
        for each in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if _network(each.name) == here:
                    os.kill(int(each.name), signal.SIGKILL)
        kill(self._process)


@dataclass(frozen=True)
class Machine:
    """A host that boots."""

    name: str
    address: str
    disk: Path
    process: subprocess.Popen[bytes]

    def leader(self) -> int:
        """Its systemd: the child of nspawn, the child of the shell that boots it; another one after a reboot."""
        pid = self.process.pid
        for _generation in range(3):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if not children:
                raise ProcessLookupError(f"{self.name} does not run: {self.console()}")
            pid = int(children[0])
        return pid

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command as its root, past sshd and sudo."""
        leader = str(self.leader())
        enter = ["nsenter", "--target", leader, "--mount", "--uts", "--ipc", "--net", "--pid", "--", *words]
        done = subprocess.run(enter, capture_output=True, text=True, check=False, timeout=LONGEST, env=_PLAIN)
        if check and done.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(words)}: {done.stdout}{done.stderr}")
        return done

    def runs(self) -> bool:
        """Whether all its services have come up."""
        with contextlib.suppress(OSError):
            return self.run("systemctl", "is-system-running", check=False).stdout.strip() == "running"
        return False

    def wait_for_boot(self) -> None:
        try:
            wait_until(lambda: self.process.poll() is not None or self.runs(), LONGEST, f"{self.name} has booted")
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.console()}") from error
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} does not boot: {self.console()}")

    def reboot(self) -> None:
        before = self.leader()
        self.run("systemctl", "reboot")
        wait_until(lambda: not Path(f"/proc/{before}").exists(), LONGEST, f"{self.name} goes down")
        self.wait_for_boot()

    def console(self) -> str:
        return (self.disk / "console.log").read_text()[-1000:]

    def switch_off(self) -> None:
        kill(self.process)
        for group in _groups(self.disk):
            wait_until(lambda group=group: _removed(group), LONGEST, f"{group} is empty")


_PLAIN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def switch_on(name: str, address: str, image: Path, disk: Path, files: Mapping[str, str]) -> Machine:
    """Begins to boot a host with some files of its own, all of which are root's and not for writing."""
    for each in ("upper", "work", "root"):
        (disk / each).mkdir(parents=True)
    for path, text in files.items():
        file = disk / "upper" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o444)
    groups = _groups(disk)
    for group in groups:
        try:
            group.mkdir()
        except OSError as error:
            raise UnavailableError(f"no control group can be made: {error}") from error
    words = [*ISOLATED, "sh", str(BOOT), str(image), str(disk), name, *map(str, groups)]
    process = start(words, disk / "console.log")
    _wait_for_namespace(process, disk / "console.log")
    return Machine(name, address, disk, process)


def _groups(disk: Path) -> list[Path]:
    """The control groups of one host, which its systemd takes for all there are."""
    name = "-".join(disk.parts[-2:])
    return [Path(top, name) for top in HIERARCHIES if Path(top, "cgroup.procs").exists()]


def _removed(group: Path) -> bool:
    """A group goes only when it is empty, its children first."""
    for folder in (*sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True), group):
        with contextlib.suppress(OSError):
            folder.rmdir()
    return not group.exists()


def _wait_for_namespace(process: subprocess.Popen[bytes], log: Path) -> None:
    ours = _network("self")

    def isolated() -> bool:
        if process.poll() is not None:
            raise UnavailableError(f"no namespace can be made: {log.read_text().strip()}")
        return _network(process.pid) != ours

    wait_until(isolated, 20, "there is a network namespace")


def _closed(path: Path) -> Path | None:
    """The topmost directory on the way to the path that others may not enter."""
    return next((each for each in reversed(path.parents) if not each.stat().st_mode & 0o001), None)


def _network(pid: int | str) -> Path:
    """What names the network namespace of a process."""
    return Path(f"/proc/{pid}/ns/net").readlink()


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
