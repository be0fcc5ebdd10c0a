# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give an app its part of a HAProxy configuration, or take it away. Private to this collection."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import re
import typing as t
from pathlib import Path

from .._errors import BlueGreenError, ConflictError, DeniedError, InvalidError, MissingError, UnreachableError
from .._files import Folder
from . import command_line, config_map
from . import config_inputs as check
from .command_line import CommandLine
from .config_app import App, ByHeader, Members, Sticky
from .config_base import Base
from .config_file import ConfigFile, Process, masked_diff, read_whole
from .config_state import make_state_file
from .config_text import ConfigText
from .map_file import MapFile
from .process import Master, Run
from .runtime_api import RuntimeApi
from .service import Service


@dataclasses.dataclass(frozen=True)
class Order:
    """What is wanted, every word of it checked."""

    name: str
    app: App | None
    """None: the app is to go."""
    entry: str
    map: str
    base: Base
    file: ConfigFile
    process: Process
    timeout: float

    def text(self, old: ConfigText) -> ConfigText:
        return old.with_app(self.app, self.base) if self.app else old.without_app(self.name)

    def is_running(self) -> bool:
        """Asked before anything is changed. Raises C(conflict) for a HAProxy that would not be reloaded."""
        if self.process.running():
            return True
        others = command_line.that_read(self.file.path)
        if others:
            raise ConflictError(
                f"process {others[0].pid} is a HAProxy with {self.file.path}, and {self.process} is not running",
                "one that can be reloaded, since it would go on with the old configuration, and a second one that is "
                "started beside it would share the connections with it by chance",
                "Stop it, and let this start it; or name what it was started by: control, service, master_socket",
            )
        return False

    def started(self) -> CommandLine:
        """How HAProxy is started; where that cannot be seen, with this file alone."""
        path = self.file.path
        found = self.process.command_line()
        if not found or not all(Path(file).exists() for file in found.files):
            return CommandLine(0, ["-f", path])
        if not found.reads(path):
            raise ConflictError(
                f"process {found.pid} is HAProxy with {', '.join(found.files) or 'no file'}, and not with {path}",
                "a file that HAProxy reads",
                "Set config to one of them",
            )
        return found

    def servers(self) -> str:
        """What was set at run time."""
        try:
            return RuntimeApi(self.base.socket, self.timeout).ask("show servers state")[0] + "\n"
        except (MissingError, UnreachableError):  # what runs does not listen there, so that nothing was set through it
            return ""


def order(p: t.Mapping[str, t.Any], run: Run) -> Order:
    """Build it from the module's options; raises C(InvalidError) for the first that cannot be right."""
    check.path(p["map"], "map")
    for file in ("config", "binary", "master_socket"):
        check.file(p[file], file)
    if not re.fullmatch(r"0?[0-7]{3}", p["config_mode"]):
        raise InvalidError(f"config_mode is {p['config_mode'][:20]!r}", 'an octal number such as "0640", in quotes')
    base = Base(
        socket=p["socket"],
        user=p["user"],
        group=p["group"],
        chroot=p["chroot"],
        log=p["log"],
        hard_stop_after=p["hard_stop_after"],
        state_file=p["server_state_file"],
    )
    app = _app(p) if p["state"] == "present" else None
    master = Master(p["master_socket"], p["timeout"])
    service = Service(run, check.unit(p["service"], "service"), p["socket"], master, p["timeout"], may_go=app is None)
    return Order(
        name=check.name(p["app"], "app"),
        app=app,
        entry=_entry(p),
        map=p["map"],
        base=base,
        file=ConfigFile(p["config"], int(p["config_mode"], 8), p["binary"], run),
        process=service if p["control"] == "systemd" else master,
        timeout=p["timeout"],
    )


@dataclasses.dataclass(frozen=True)
class Change:
    """What has to be done to the configuration."""

    old: ConfigText
    new: ConfigText
    started: CommandLine
    of_file: bool
    """The text changes, or who may read it."""
    needed: bool
    """It, or the map, or a reload that is still due."""


def configure(wanted: Order, backup: t.Callable[[str], str], *, dry_run: bool) -> dict[str, t.Any]:
    """Bring file, map and process to what is wanted, in the order in which nothing can be half done."""
    change = _plan(wanted)
    if not change.needed or dry_run:
        warnings = _rehearse(wanted, change) if change.of_file else []
        return {**_told(wanted, change), "warnings": [*_warnings(wanted, change), *warnings]}
    with _alone(wanted):
        change = _plan(wanted)  # another app may have come meanwhile
        done = _carry_out(wanted, change, backup) if change.needed else {}
    return {**_told(wanted, change), "warnings": _warnings(wanted, change), **done}


@contextlib.contextmanager
def _alone(wanted: Order) -> t.Iterator[None]:
    """Keep other runs away from the file, from when it is read to the end of the reload: it is written whole."""
    directory, name = Path(wanted.map).parent, Path(wanted.file.path).name
    if not directory.is_dir():
        raise MissingError(
            f"the directory of the map file {wanted.map} is not there", "one that nobody else can write to", "Make it"
        )
    with contextlib.ExitStack() as held:
        try:
            folder = held.enter_context(Folder(str(directory)))
            held.enter_context(folder.locked(f".bluegreen-{name}.lock", fcntl.LOCK_EX, wanted.timeout))
        except OSError as error:
            raise DeniedError(
                f"{directory} cannot be written: {error.strerror}",
                "a directory that this user may write to",
                "Use become",
            ) from error
        yield


def _told(wanted: Order, change: Change) -> dict[str, t.Any]:
    before, after = masked_diff(str(change.old), str(change.new))
    return {
        "changed": change.needed,
        "adopted": change.new.adopted,
        "diff": {
            "before": before,
            "after": after,
            "before_header": wanted.file.path,
            "after_header": wanted.file.path,
        },
    }


def _warnings(wanted: Order, change: Change) -> list[str]:
    if not change.new.adopted or not wanted.app:
        return []
    found = []
    if not change.new.drops_privileges and os.geteuid() == 0:
        found.append(
            f"{wanted.file.path} has no user in its global section, so HAProxy's worker runs as root. "
            "Add user and group as the distribution does, such as: user haproxy"
        )
    if change.new.owner:
        line, says = change.new.owner
        found.append(
            f"Line {line} of {wanted.file.path} says {says[:100]!r}. What writes the whole file takes the app "
            "out of service the next time. Give it the part between the marks, or use another way: see docs/haproxy.md"
        )
    return found


def _plan(wanted: Order) -> Change:
    path, started = wanted.file.path, wanted.started()
    there = wanted.file.read()
    try:
        old = ConfigText.parse(there or "")
        for file in started.others(path):
            old = old.with_file(file, read_whole(file) or "")
        for file in command_line.files_beside(path):
            old = old.with_neighbour(file, read_whole(file) or "")
        new = wanted.text(old)
    except (ConflictError, MissingError) as error:
        raise error.of(path) from error
    mode_changes = there is not None and wanted.file.mode_for(str(new)) != wanted.file.mode_now()
    table = MapFile(wanted.map).text()
    known = table is not None and config_map.with_entry(table, wanted.name, "") == table
    of_file = str(new) != str(old) or mode_changes
    needed = of_file or known != bool(wanted.app) or wanted.file.is_marked()
    return Change(old, new, started, of_file, needed)


def _rehearse(wanted: Order, change: Change) -> list[str]:
    missing = [path for path in (wanted.file.binary, wanted.map) if not Path(path).exists()]
    if missing:
        return [f"The configuration was not checked with haproxy -c, since {missing[0]} is not there yet"]
    wanted.file.validate(str(change.new), str(change.old), change.started)
    return []


def _carry_out(wanted: Order, change: Change, backup: t.Callable[[str], str]) -> dict[str, t.Any]:
    result: dict[str, t.Any] = {}
    running = wanted.is_running()
    states = wanted.servers() if running and change.new.own_state_file else ""
    if wanted.app:
        config_map.make(wanted.map)
        make_state_file(change.new)
        _check_place_of_socket(change.new.own_socket)
    if change.of_file or wanted.app or wanted.file.is_marked():
        wanted.file.validate(str(change.new), str(change.old), change.started)
        wanted.file.mark()
        if wanted.app:
            config_map.put_entry(wanted.map, wanted.name, wanted.entry, wanted.timeout)
        if change.of_file and wanted.file.read() is not None:
            result["backup_file"] = backup(wanted.file.path)
        _put_in_force(wanted, change.new, states if running else None, result)
    if not wanted.app:
        config_map.put_entry(wanted.map, wanted.name, None, wanted.timeout)
    return result


def _check_place_of_socket(socket: str | None) -> None:
    """Or HAProxy would not start: some distributions make no such directory, and at each boot C(/run) is empty."""
    if socket and not Path(socket).parent.is_dir():
        raise MissingError(
            f"there is no directory {Path(socket).parent} for the stats socket",
            "one that is there after a reboot as well, before HAProxy starts",
            f"Set socket to a path such as /run/{Path(socket).name}, or have systemd-tmpfiles make the directory",
        )


def _put_in_force(wanted: Order, text: ConfigText, states: str | None, result: dict[str, t.Any]) -> None:
    """``states``: of the servers of the HAProxy that runs. None: none does."""
    if states is not None:
        try:
            wanted.file.replace(text, wanted.process.reload, states)
        except BlueGreenError as error:
            error.details.update(result)
            raise
    else:
        wanted.file.write(str(text))
    wanted.file.unmark()


def _entry(p: t.Mapping[str, t.Any]) -> str:
    live = p["live"] or p["colours"][0]
    others = [colour for colour in p["colours"] if colour != live]
    if len(others) != 1:
        raise InvalidError(f"live is {live!r}", f"one of {', '.join(p['colours'])}", "Change live")
    return f"{live}:{others[0]}:0"


def _app(p: t.Mapping[str, t.Any]) -> App:
    checks = (p["health_path"], p["check_interval"], p["server_options"])
    test = ByHeader(p["test_token"], p["test_header"], p["token_header"]) if p["test_token"] else None
    return App(
        name=p["app"],
        colours=p["colours"],
        members=[Members({name: str(url) for name, url in urls.items()}, *checks) for urls in p["members"]],
        bind=p["bind"],
        map=p["map"],
        timeouts={name: str(value) for name, value in p["timeouts"].items()},
        sticky=Sticky(p["sticky"], p["sticky_name"]),
        test=test,
        metrics_bind=p["metrics_bind"],
        extra=p["extra"],
    )
