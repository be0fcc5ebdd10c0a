# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

from plugins.module_utils._haproxy.command_line import of_haproxys, of_master, with_file

from .fakes import Processlist

PROGRAM = "/usr/sbin/haproxy"


def test_the_haproxys_of_this_host_are_found_by_how_they_were_started(processes: Processlist) -> None:
    processes.start(31, PROGRAM, "-sf", "7", "-Ws", "-f", "/etc/haproxy/haproxy.cfg", "-S", "/run/m.sock,mode,600")
    processes.start(4, "/lib/ld-linux.so.2", "--argv0", "x", PROGRAM, "-D", "-C", "/etc/haproxy", "-f", "one.cfg")
    processes.start(5, PROGRAM, "-c", "-f", "/etc/haproxy/haproxy.cfg")
    processes.start(6, "vim", "-f", "/etc/haproxy/haproxy.cfg")
    processes.start(7, PROGRAM, "-f", "/etc/haproxy/haproxy.cfg", sees="a container's")
    processes.start(8)
    assert [each.pid for each in of_haproxys()] == [4, 31]
    assert [each.pid for each in of_master("/run/m.sock")] == [31]
    assert [each.pid for each in with_file("/etc/haproxy/haproxy.cfg")] == [31]
    assert [each.pid for each in with_file("/etc/haproxy/one.cfg")] == [4]


def test_a_link_to_the_file_is_the_file(processes: Processlist, tmp_path: Path) -> None:
    (tmp_path / "real.cfg").touch()
    (tmp_path / "link.cfg").symlink_to("real.cfg")
    processes.start(1, PROGRAM, "-f", f"{tmp_path}/real.cfg")
    assert len(with_file(f"{tmp_path}/link.cfg")) == 1


def test_where_there_is_no_linux_nothing_is_found(processes: Processlist) -> None:
    assert of_haproxys() == []
