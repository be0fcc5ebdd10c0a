# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HAProxy that the module haproxy_config sets up, and that can be kept from getting ready."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from demo.rig import end, wait_until
from plugins.module_utils._haproxy.runtime_api import RuntimeApi
from tests.integration.balancer import Client
from tests.unit.plugins.modules.process import run_module

OTHERS = """\
global
    stats socket {home}/admin.sock mode 600 level admin expose-fd listeners

defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s

frontend old_site
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string "the old site"
"""


class Box:
    """A HAProxy that the module sets up. A context manager: it is stopped in every outcome."""

    def __init__(self, home: Path, binary: str) -> None:
        self.home, self.binary = home, binary
        self.config = home / "haproxy.cfg"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end(self.home / "haproxy.pid", 10)

    @property
    def process_options(self) -> dict[str, Any]:
        return {
            "config": str(self.config),
            "binary": self.binary,
            "master_socket": str(self.home / "master.sock"),
            "timeout": 45,
        }

    def configure(self, app: str, port: int, members: list[dict[str, str]], **more: Any) -> dict[str, Any]:
        return run_module("haproxy_config", **{**self.options(app, port, members), **more})

    def options(self, app: str, port: int, members: list[dict[str, str]]) -> dict[str, Any]:
        return {
            **self.process_options,
            "app": app,
            "bind": [f"127.0.0.1:{port}"],
            "members": members,
            "map": str(self.home / "bluegreen.map"),
            "socket": str(self.home / "admin.sock"),
            "server_state_file": str(self.home / "server.state"),
            "control": "direct",
            "check_interval": "100ms",
        }

    def start(self) -> None:
        """As the role does it."""
        done = run_module("haproxy_process", pid_file=str(self.home / "haproxy.pid"), **self.process_options)
        assert done["changed"], done

    def ask(self, *commands: str) -> list[str]:
        return RuntimeApi(str(self.home / "admin.sock"), 20.0).ask(*commands)

    def servers(self) -> dict[str, str]:
        """The port and the admin state of each server."""
        lines = self.ask("show servers state")[0].splitlines()[1:]
        columns = lines[0].split()[1:]
        rows = [dict(zip(columns, line.split(), strict=True)) for line in lines[1:] if line]
        return {row["srv_name"]: f"{row['srv_port']} {row['srv_admin_state']}" for row in rows}

    # --- As others run it -----------------------------------------------------------------------------------

    @property
    def pid_file(self) -> Path:
        return self.home / "haproxy.pid"

    @property
    def master(self) -> int:
        return int(self.pid_file.read_text().split()[0])

    def start_by_hand(self, *more: str) -> None:
        """With no master socket of its own accord."""
        words = [self.binary, "-W", "-D", "-f", self.config.name, "-p", str(self.pid_file), *more]
        subprocess.run(words, check=True, capture_output=True, cwd=self.home)

    def systemctl(self) -> str:
        """A folder with a C(systemctl) that knows one unit, which is this HAProxy, and does what units do."""
        folder = self.home / "bin"
        folder.mkdir()
        script = folder / "systemctl"
        script.write_text(SYSTEMCTL.format(pid=self.pid_file))
        script.chmod(0o755)
        return str(folder)

    # --- A slow one -----------------------------------------------------------------------------------------

    @property
    def slow(self) -> str:
        """Sections that keep a start or reload waiting, as thousands of certificates do, but not C(haproxy -c)."""
        (self.home / "slow.lua").write_text(SLOW.format(home=self.home))
        return f"global\n    lua-load {self.home}/slow.lua"

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Whatever is loaded meanwhile waits for the end."""
        gate = self.home / "gate"
        gate.touch()
        try:
            yield
        finally:
            gate.unlink(missing_ok=True)

    @contextmanager
    def held_up_a_while(self) -> Iterator[None]:
        """Whatever is loaded meanwhile is seen to wait, and goes on."""
        loading = self.home / "loading"
        loading.unlink(missing_ok=True)

        def let_go() -> None:
            wait_until(loading.exists, 60, "HAProxy loads its configuration")
            (self.home / "gate").unlink()

        thread = threading.Thread(target=let_go)
        with self.held_up():
            thread.start()
            yield
            thread.join()


SYSTEMCTL = """\
#!/bin/sh
master=$(cat {pid} 2>/dev/null)
case $1 in
    is-active) if kill -0 "$master" 2>/dev/null; then echo active; else echo inactive; exit 3; fi ;;
    reload) kill -USR2 "$master" ;;
esac
"""

SLOW = """\
local file = io.open("/proc/self/cmdline")
local words = file:read("*a")
file:close()
while not words:find("%z%-c%z") do
    local gate = io.open("{home}/gate")
    if not gate then break end
    gate:close()
    io.open("{home}/loading", "w"):close()
    os.execute("sleep 0.05")
end
"""


def status(port: int) -> int:
    with Client(f"http://127.0.0.1:{port}") as client:
        return client.ask().status
