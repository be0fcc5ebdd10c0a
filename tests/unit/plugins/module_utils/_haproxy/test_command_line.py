# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

from plugins.module_utils._haproxy.command_line import CommandLine, of_haproxys, of_master, that_read

from .fakes import Processlist

PROGRAM = "/usr/sbin/haproxy"


def test_the_haproxys_of_this_host_are_found_by_how_they_were_started(processes: Processlist) -> None:
    processes.start(31, PROGRAM, "-sf", "7", "-Ws", "-f", "/etc/haproxy/haproxy.cfg", "-S", "/run/m.sock,mode,600")
    processes.start(4, "/lib/ld-linux.so.2", "--argv0", "x", PROGRAM, "-D", "-f", "one.cfg", directory="/etc")
    processes.start(5, PROGRAM, "-c", "-f", "/etc/haproxy/haproxy.cfg")
    processes.start(6, "vim", "-f", "/etc/haproxy/haproxy.cfg")
    processes.start(7, PROGRAM, "-f", "/etc/haproxy/haproxy.cfg", sees="a container's")
    processes.start(8)
    assert [each.pid for each in of_haproxys()] == [4, 31]
    assert [each.pid for each in of_master("/run/m.sock")] == [31]
    assert [each.pid for each in that_read("/etc/haproxy/haproxy.cfg")] == [31]
    assert [each.pid for each in that_read("/etc/one.cfg")] == [4]


def test_a_link_to_the_file_is_the_file(processes: Processlist, tmp_path: Path) -> None:
    (tmp_path / "real.cfg").touch()
    (tmp_path / "link.cfg").symlink_to("real.cfg")
    processes.start(1, PROGRAM, "-f", f"{tmp_path}/real.cfg")
    assert len(that_read(f"{tmp_path}/link.cfg")) == 1


def test_a_directory_is_read_as_haproxy_reads_it(processes: Processlist, tmp_path: Path) -> None:
    for name in ("b.cfg", "a.cfg", ".hidden.cfg", "notes.txt"):
        (tmp_path / name).touch()
    main = tmp_path / "proc" / "main.cfg"
    started = CommandLine(1, [PROGRAM, "-Ws", "-f", str(main), "-f", str(tmp_path), "-dr", "-p", "/run/pid"])
    assert started.expanded(str(main)) == [str(main), f"{tmp_path}/a.cfg", f"{tmp_path}/b.cfg"]
    assert started.with_candidate(f"{tmp_path}/aa.cfg", "/new") == [
        *("-c", "-dr", "-f", str(main), "-f", f"{tmp_path}/a.cfg", "-f", "/new", "-f", f"{tmp_path}/b.cfg")
    ]
    assert (started.reads(f"{tmp_path}/aa.cfg"), started.reads("/etc/aa.cfg")) == (True, False)


def test_it_is_asked_where_and_with_what_it_runs(processes: Processlist, tmp_path: Path) -> None:
    """Or a relative path, or a variable of C(/etc/default/haproxy), would make a good configuration invalid."""
    environment = "ADDRESS=192.0.2.1\0OTHER=x\0HAPROXY_MWORKER_REEXEC=1\0NOTIFY_SOCKET=/run/systemd/notify\0"
    place = str(tmp_path)
    processes.start(7, PROGRAM, "-Ws", "-f", "one.cfg", directory=place, environment=environment)
    processes.start(8, PROGRAM, "-Ws", "-f", "/one.cfg", directory=f"{place}/gone (deleted)")
    (found,) = that_read(f"{place}/one.cfg")
    assert found.with_candidate(f"{place}/one.cfg", "/new") == ["-c", "-C", place, "-f", "/new"]
    (found,) = that_read("/one.cfg")
    assert found.with_candidate("/one.cfg", "/new") == ["-c", "-f", "/new"]
    (found,) = that_read(f"{place}/one.cfg")
    text = 'bind "${ADDRESS}:80" # "$NOTIFY_SOCKET" HAPROXY_MWORKER_REEXEC'
    assert found.named_in(text) == {"ADDRESS": "192.0.2.1"}


def test_where_there_is_no_linux_nothing_is_found(processes: Processlist) -> None:
    assert of_haproxys() == []
