# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app's part of a HAProxy configuration: what it may hold, and what it leaves alone."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import typing as t
from pathlib import Path

import pytest

from plugins.module_utils._errors import (
    BlueGreenError,
    ConflictError,
    InvalidError,
    MissingError,
    RefusedError,
    TimeLimitError,
    UnreachableError,
)
from plugins.module_utils._haproxy.command_line import CommandLine
from plugins.module_utils._haproxy.config import configure, order
from plugins.module_utils._haproxy.config_base import Base
from plugins.module_utils._haproxy.config_file import ConfigFile, mask, masked_diff
from plugins.module_utils._haproxy.config_map import with_entry, without_entry
from plugins.module_utils._haproxy.config_state import still_true
from plugins.module_utils._haproxy.config_text import ConfigText
from plugins.modules.haproxy_config import ARGUMENT_SPEC
from tests.unit.plugins.modules.process import as_spec, bare, documented_options

from .fakes import FakeSocket, Processlist, Talk

DEFAULTS = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
MEMBERS = [{"blue1": "http://192.0.2.1:8080"}, {"green1": "http://192.0.2.2:8080"}]

OTHERS = """\
global
\tlog /dev/log\tlocal0
\tuser haproxy
\tstats socket /run/haproxy/admin.sock mode 660 level admin

defaults
\tmode tcp
        timeout client  50000

frontend www   # the old site
\tbind *:80
\tbind :443 ssl crt /etc/ssl/www.pem
\tdefault_backend www

backend www
\tserver www1 192.0.2.80:80 check
"""


def fine(_command: list[str], _environment: t.Mapping[str, str] | None = None, /) -> tuple[int, str, str]:
    return 0, "", ""


def options(**more: t.Any) -> dict[str, t.Any]:
    return {**DEFAULTS, "app": "shop", "members": MEMBERS, "bind": ["192.0.2.10:8000"], **more}


def text(before: str = "", **more: t.Any) -> str:
    return str(order(options(**more), fine).text(ConfigText.parse(before)))


def test_the_documentation_says_what_the_module_takes() -> None:
    assert as_spec(documented_options("haproxy_config")) == bare(ARGUMENT_SPEC)


# --- Other people's sections -------------------------------------------------------------------------------


def test_sections_of_others_stay_as_they_are() -> None:
    adopted = text(OTHERS)
    assert adopted.startswith(OTHERS)
    assert "frontend shop\n" in adopted
    assert ConfigText.parse(adopted).adopted


def test_two_apps_live_in_one_file_and_each_is_changed_alone() -> None:
    both = text(text(), app="blog", bind=["192.0.2.10:8001"])
    again = text(both, health_path="/alive")
    assert ("frontend shop\n" in both, "frontend blog\n" in both) == (True, True)
    assert again == both.replace("GET /health", "GET /alive", 2)
    assert text(again, health_path="/alive") == again


def test_an_app_that_goes_leaves_what_was_there_before_byte_for_byte() -> None:
    assert text(text(OTHERS), state="absent") == OTHERS
    first = text()
    assert text(text(first, app="blog", bind=["192.0.2.10:8001"]), app="blog", state="absent") == first
    assert text(first, app="nobody", state="absent") == first


def test_a_file_that_is_all_ours_drops_privileges_as_the_distribution_does() -> None:
    new = text(user="haproxy", group="haproxy", chroot="/var/lib/haproxy", log="/dev/log local0")
    for line in ("user haproxy", "group haproxy", "chroot /var/lib/haproxy", "log /dev/log local0"):
        assert f"    {line}\n" in new


def test_global_and_defaults_of_others_are_not_added_to() -> None:
    adopted = text(OTHERS, user="somebody")
    assert (adopted.count("\nglobal"), adopted.count("\ndefaults"), "somebody" in adopted) == (0, 1, False)


def test_the_socket_that_a_switch_needs_is_added_where_it_lacks() -> None:
    adopted = text(OTHERS, socket="/run/bluegreen.sock")
    assert "stats socket /run/bluegreen.sock mode 600 level admin" in adopted
    assert text(adopted, socket="/run/bluegreen.sock") == adopted
    assert text(adopted, socket="/run/bluegreen.sock", state="absent") == OTHERS


def test_a_socket_without_level_admin_is_named_by_its_line() -> None:
    with pytest.raises(MissingError, match=r"line 4 has the stats socket /run/haproxy/admin.sock without level admin"):
        text(OTHERS.replace(" level admin", ""))


@pytest.mark.parametrize(
    ("bind", "taken"),
    [
        ("*:80", "line 11 binds"),
        (":80", "line 11 binds"),
        ("0.0.0.0:80 ssl crt /x", "line 11 binds"),
        ("ipv4@*:80", "line 11 binds"),
        ("192.0.2.7:90,:443", "line 12 binds"),
        (":::443 v4v6", "line 12 binds"),
        ("*:70-85", "line 11 binds"),
    ],
)
def test_an_address_that_another_section_binds_is_refused(bind: str, taken: str) -> None:
    with pytest.raises(ConflictError, match=taken):
        text(OTHERS, bind=[bind])


def test_quotes_around_an_address_do_not_hide_it() -> None:
    with pytest.raises(ConflictError, match=r"line 11 binds \*:80"):
        text(OTHERS.replace("bind *:80", 'bind "*:80"'), bind=["*:80"])


@pytest.mark.parametrize(
    "bind", [":::80 v6only", "192.0.2.9:80", "*:8080", "abns@shop accept-proxy", "*:80 interface eth9"]
)
def test_an_address_of_its_own_is_not(bind: str) -> None:
    assert f"bind {bind}\n" in text(OTHERS, bind=[bind])


def test_the_metrics_of_two_apps_need_an_address_each() -> None:
    with pytest.raises(ConflictError, match=r"belongs to app shop, and app blog wants 127.0.0.1:9999"):
        text(text(metrics_bind="127.0.0.1:9999"), app="blog", bind=["*:1"], metrics_bind="127.0.0.1:9999")


@pytest.mark.parametrize("line", ["backend shop_blue", "frontend shop", "  listen shop  # mine"])
def test_a_section_of_others_with_the_name_of_ours_is_refused_by_its_line(line: str) -> None:
    with pytest.raises(ConflictError, match="line 18 has"):
        text(f"{OTHERS}\n{line}\n")


@pytest.mark.parametrize(
    "broken",
    [
        lambda whole: whole.replace("# END bluegreen.deploy app shop\n", ""),
        lambda whole: (
            whole + whole.partition("# BEGIN bluegreen.deploy app")[2].join(["# BEGIN bluegreen.deploy app", ""])
        ),
        lambda whole: whole.replace("# BEGIN bluegreen.deploy app", "#"),
    ],
)
def test_marks_that_somebody_has_broken_are_named_and_nothing_is_guessed(broken: t.Callable[[str], str]) -> None:
    with pytest.raises(MissingError, match=r"line \d+ marks the part 'app shop'"):
        text(broken(text()))


# --- What may reach the file -------------------------------------------------------------------------------

EVIL = "\n    lua-load /tmp/evil.lua"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("app", f"shop{EVIL}"),
        ("app", "../shop"),
        ("app", ""),
        ("colours", ["blue", f"green{EVIL}"]),
        ("colours", ["blue", "gre:en"]),
        ("bind", [f"*:80{EVIL}"]),
        ("bind", [""]),
        ("bind", []),
        ("metrics_bind", f"*:9101{EVIL}"),
        ("metrics_bind", "*:9101\r    lua-load /tmp/evil.lua"),
        ("metrics_bind", "*:9101 # and the rest"),
        ("health_path", f"/health{EVIL}"),
        ("health_path", "/health HTTP/1.1\\r\\nHost:\\ x"),
        ("health_path", "health"),
        ("health_path", '/"x'),
        ("check_interval", f"1s{EVIL}"),
        ("server_options", f"weight 1{EVIL}"),
        ("server_options", "weight 1\\"),
        ("sticky_name", f"id{EVIL}"),
        ("sticky_name", "id) -m found } lua"),
        ("test_token", f"secret{EVIL}"),
        ("test_token", " secret"),
        ("test_header", f"X-A{EVIL}"),
        ("token_header", "X-A)"),
        ("timeouts", {"client": f"1s{EVIL}"}),
        ("timeouts", {f"client 1s{EVIL}": "1s"}),
        ("extra", "backend x\x00"),
        ("extra", "# BEGIN bluegreen.deploy app blog"),
        ("map", f"/etc/map{EVIL}"),
        ("map", "/etc/map,blue) lua"),
        ("map", "relative.map"),
        ("socket", f"/run/x{EVIL}"),
        ("socket", "/run/x level admin"),
        ("user", f"haproxy{EVIL}"),
        ("group", "hap roxy"),
        ("chroot", f"/var{EVIL}"),
        ("log", f"/dev/log local0{EVIL}"),
        ("hard_stop_after", f"1h{EVIL}"),
        ("server_state_file", f"/x{EVIL}"),
        ("config_mode", "rw-"),
        ("service", "--all"),
        ("service", "haproxy nginx"),
        ("live", "red"),
        ("members", [{f"blue1{EVIL}": "http://a:1"}, {"green1": "http://b:1"}]),
        ("members", [{"blue1": f"http://a:1{EVIL}"}, {"green1": "http://b:1"}]),
        ("members", [{"blue1": "http://a b:1"}, {"green1": "http://b:1"}]),
        ("members", [{"blue1": "http://user:secret@a:1"}, {"green1": "http://b:1"}]),
        ("members", [{"blue1": "http://a:99999"}, {"green1": "http://b:1"}]),
        ("members", [{"blue1": "ftp://a"}, {"green1": "http://b:1"}]),
        ("members", [{"blue1": ""}, {"green1": "http://b:1"}]),
        ("members", [{"blue1": "https://a"}, {"green1": "http://b:1"}]),
        ("members", [{}, {"green1": "http://b:1"}]),
    ],
)
def test_what_would_add_a_directive_of_its_own_is_refused(name: str, value: t.Any) -> None:
    sticky = {"sticky": "cookie"} if name == "sticky_name" else {}
    token = {"test_token": "secret"} if name.endswith("_header") else {}
    with pytest.raises(InvalidError) as refused:
        text(**{**sticky, **token, name: value})
    assert "user:secret" not in refused.value.message
    assert refused.value.todo or refused.value.expected


def test_a_secret_is_one_word_whatever_is_in_it() -> None:
    assert '-m str -- "-f \\"$\\{x} \\\\ #\'"'.replace("$\\", "\\$") in text(test_token="-f \"${x} \\ #'")


def test_a_secret_that_is_refused_is_not_repeated() -> None:
    with pytest.raises(InvalidError) as refused:
        text(test_token="hunter2\n")
    assert "hunter2" not in refused.value.message


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://blue1", "blue1:80"),
        ("http://192.0.2.1:8080/path", "192.0.2.1:8080"),
        ("http://[2001:db8::1]:81", "[2001:db8::1]:81"),
    ],
)
def test_a_server_always_has_a_port(url: str, server: str) -> None:
    assert f"server m {server}\n" in text(members=[{"m": url}, {"green1": "http://b:1"}])


def test_a_server_that_speaks_tls_is_asked_on_its_port() -> None:
    tls = text(members=[{"m": "https://blue1"}, {"green1": "https://b:1"}], server_options="ssl verify none")
    assert "server m blue1:443\n" in tls


# --- The file ----------------------------------------------------------------------------------------------


def test_a_diff_shows_everything_but_the_secrets() -> None:
    before = "userlist x\n  user a insecure-password pw1\nlisten y\n  stats auth admin:pw2\n" + text(
        test_token="old one"
    )
    after = before.replace("old one", "new one").replace("GET /health", "GET /alive")
    shown = masked_diff(before, after)
    assert not [word for word in ("pw1", "pw2", "old one", "new one") if word in shown[0] + shown[1]]
    assert "GET /alive" in shown[1]
    assert "******** (new)" in shown[1]
    assert mask("stats auth a:b c") == "stats auth a:******** c"


@dataclasses.dataclass
class Process:
    """HAProxy, which takes a reload or does not."""

    refusal: BlueGreenError | None = None
    runs: bool = True
    reloads: int = 0
    started: CommandLine | None = None

    def command_line(self) -> CommandLine | None:
        return self.started

    def running(self) -> bool:
        return self.runs

    def reload(self) -> None:
        self.reloads += 1
        if self.refusal:
            raise self.refusal


@dataclasses.dataclass
class Place:
    """A directory with a configuration in it, and what would be run there."""

    home: Path
    process: Process = dataclasses.field(default_factory=Process)
    says: t.Callable[[str], tuple[int, str, str]] = lambda _text: (0, "", "")
    checked: list[str] = dataclasses.field(default_factory=list)
    commands: list[list[str]] = dataclasses.field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.home / "haproxy.cfg"

    def run(self, command: list[str], _environment: t.Mapping[str, str] | None = None, /) -> tuple[int, str, str]:
        self.commands.append(command)
        self.checked.append(Path(command[command.index("-f") + 1]).read_text())
        return self.says(self.checked[-1])

    def backup(self, path: str) -> str:
        Path(f"{path}~").write_bytes(Path(path).read_bytes())
        return f"{path}~"

    def configure(self, *, dry_run: bool = False, **more: t.Any) -> dict[str, t.Any]:
        paths = {"config": "haproxy.cfg", "map": "bluegreen.map", "socket": "admin.sock"}
        paths = {**{name: str(self.home / path) for name, path in paths.items()}, "binary": "/bin/true"}
        wanted = order(options(**{**paths, **more}), self.run)
        return configure(dataclasses.replace(wanted, process=self.process), self.backup, dry_run=dry_run)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.home.iterdir() if not path.name.startswith("."))


@pytest.fixture
def place(tmp_path: Path, processes: Processlist) -> Place:
    """On a host where nothing else runs."""
    (tmp_path / "etc").mkdir()
    return Place(tmp_path / "etc")


def test_the_old_file_is_kept_and_the_whole_new_one_is_checked_first(place: Place) -> None:
    place.config.write_text(OTHERS)
    result = place.configure()
    assert Path(result["backup_file"]).read_text() == OTHERS
    assert place.checked == [place.config.read_text()]
    assert (place.process.reloads, result["adopted"], place.files()) == (
        1,
        True,
        ["bluegreen.map", "haproxy.cfg", "haproxy.cfg~"],
    )


def test_a_second_run_changes_nothing(place: Place) -> None:
    place.configure(test_token="secret")
    assert (place.configure(test_token="secret")["changed"], place.process.reloads) == (False, 1)


def test_a_change_that_was_cut_off_is_made_anew(place: Place) -> None:
    """Killed, or out of power, between the write and the end of the reload."""

    def cut_off() -> None:
        raise KeyboardInterrupt

    place.configure()
    before, place.process.reload = place.process.reload, cut_off  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        place.configure(health_path="/alive")
    place.process.reload = before  # type: ignore[method-assign]
    assert place.configure(health_path="/alive", dry_run=True)["changed"] is True
    assert place.configure(health_path="/alive")["changed"] is True
    assert (place.configure(health_path="/alive")["changed"], place.process.reloads) == (False, 2)


@pytest.mark.parametrize("error", [TimeLimitError("no new worker", todo="See its log"), UnreachableError("gone")])
def test_what_has_become_of_a_reload_that_has_not_ended_is_said_and_nothing_put_back(
    place: Place, error: BlueGreenError
) -> None:
    place.config.write_text(OTHERS)
    place.process.refusal = error
    with pytest.raises(type(error), match=r"holds the new configuration, and whether .*it reloads once more") as caught:
        place.configure()
    assert Path(caught.value.details["backup_file"]).read_text() == OTHERS
    assert "frontend shop" in place.config.read_text()
    place.process.refusal = None
    assert (place.configure()["changed"], place.configure()["changed"]) == (True, False)


def test_a_process_of_which_nothing_is_known_is_left_alone(place: Place) -> None:
    def running() -> bool:
        raise TimeLimitError("no answer")

    place.config.write_text(OTHERS)
    place.process.running = running  # type: ignore[method-assign]
    with pytest.raises(TimeLimitError):
        place.configure()
    assert (place.config.read_text(), place.files()) == (OTHERS, ["haproxy.cfg"])


def test_a_stats_socket_that_does_not_answer_is_told_before_anything_is_written(place: Place) -> None:
    """As while monitoring has all of its sessions: what was set at run time would be lost."""
    place.config.write_text(OTHERS)
    with (
        FakeSocket(Talk.hang, str(place.home / "admin.sock")),
        pytest.raises(TimeLimitError, match="did not answer") as caught,
    ):
        place.configure(server_state_file=str(place.home / "server.state"), timeout=0.3)
    assert "holds the new configuration" not in caught.value.message
    assert (place.config.read_text(), place.process.reloads) == (OTHERS, 0)


def test_a_socket_at_which_nobody_listens_any_more_keeps_nobody_from_being_adopted(place: Place) -> None:
    place.config.write_text(OTHERS)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(str(place.home / "admin.sock"))
    assert place.configure(server_state_file=str(place.home / "server.state"))["changed"] is True


def test_a_haproxy_that_somebody_else_has_started_with_the_file_is_named(place: Place, processes: Processlist) -> None:
    place.config.write_text(OTHERS)
    processes.start(4711, "/usr/sbin/haproxy", "-D", "-f", str(place.config))
    place.process.runs = False
    with pytest.raises(ConflictError, match="process 4711 is a HAProxy with"):
        place.configure()
    assert place.config.read_text() == OTHERS


@pytest.mark.parametrize(
    "says",
    [
        "# This file is managed by Puppet. DO NOT EDIT.",
        "#  Ansible managed: do not edit by hand",
        "# Generated by Chef for lb1",
        "# _version=7",
    ],
)
def test_a_file_that_something_else_writes_is_adopted_with_a_warning(place: Place, says: str) -> None:
    place.config.write_text(f"\n{says}\n{OTHERS}")
    (warning,) = place.configure()["warnings"]
    assert f"Line 2 of {place.config} says {says.strip('# ')!r}" in warning
    assert place.configure(state="absent")["warnings"] == []


def test_a_comment_further_down_is_nobodys_claim(place: Place) -> None:
    place.config.write_text(f"{OTHERS}# backend www is managed by Bob\n")
    assert place.configure()["warnings"] == []


def test_a_stats_socket_in_a_directory_that_is_not_there_is_refused(place: Place) -> None:
    """HAProxy would not start, and where somebody makes it by hand in /run, not after the next boot."""
    place.config.write_text(OTHERS)
    with pytest.raises(MissingError, match=r"there is no directory .*/none for the stats socket.* /run/admin.sock"):
        place.configure(socket=f"{place.home}/none/admin.sock")
    assert place.config.read_text() == OTHERS


def test_a_map_in_a_directory_that_is_not_there_is_refused(place: Place) -> None:
    with pytest.raises(MissingError, match=r"the directory of the map file .* is not there"):
        place.configure(map=f"{place.home}/none/bluegreen.map")
    assert place.files() == []


def test_two_apps_that_are_set_up_at_once_both_stay(place: Place) -> None:
    """As by two jobs: each writes the whole file, so none may read it while the other is at it."""
    done: list[dict[str, t.Any]] = []
    other = threading.Thread(target=lambda: done.append(place.configure(app="blog", bind=["*:81"])))

    def check(text: str) -> tuple[int, str, str]:
        if not other.ident:
            other.start()
            other.join(1)  # long enough for one that does not wait
        return 0, "", ""

    place.says = check
    place.configure()
    other.join(20)
    assert done[0]["changed"] is True
    assert ("frontend shop" in place.config.read_text(), "frontend blog" in place.config.read_text()) == (True, True)
    assert (place.home / "bluegreen.map").read_text().split("\n")[1:] == ["shop blue:green:0", "blog blue:green:0", ""]


def test_an_address_that_another_haproxy_of_the_host_binds_is_refused(place: Place, processes: Processlist) -> None:
    """Both would have it, and the kernel share the connections out."""
    other = place.home / "intranet.cfg"
    other.write_text("frontend shop\n\tbind 192.0.2.10:8000\n")
    processes.start(4711, "/usr/sbin/haproxy", "-Ws", "-f", str(other))
    with pytest.raises(ConflictError, match=rf"in {other}, line 2 binds 192.0.2.10:8000"):
        place.configure()
    assert place.configure(bind=["192.0.2.10:8001"])["changed"] is True


# --- HAProxy that reads more than one file -----------------------------------------------------------------

SITES = "frontend intranet\n\tbind 192.0.2.10:8000\n"


@pytest.fixture
def more(place: Place) -> Path:
    """Another file, which the HAProxy that runs reads as well, as C(conf.d/sites.cfg)."""
    place.config.write_text(OTHERS.replace("/run/haproxy", str(place.home)))
    folder = place.home / "conf.d"
    folder.mkdir()
    place.process.started = CommandLine(4711, ["haproxy", "-f", str(place.config), "-f", str(folder)])
    return folder / "sites.cfg"


def test_the_files_that_haproxy_reads_as_well_are_checked_with_the_candidate(place: Place, more: Path) -> None:
    more.write_text(SITES)
    place.configure(bind=["*:81"])
    (words,) = place.commands
    assert (words[1], words[2], words[4], words[5]) == ("-c", "-f", "-f", str(more))
    assert Path(words[3]).parent == place.home


def test_an_address_that_another_file_binds_is_refused(place: Place, more: Path) -> None:
    more.write_text(SITES)
    with pytest.raises(ConflictError, match=rf"in {more}, line 2 binds 192.0.2.10:8000"):
        place.configure()
    assert "shop" not in place.config.read_text()


def test_a_name_that_another_file_has_is_refused(place: Place, more: Path) -> None:
    more.write_text("backend shop_blue\n")
    with pytest.raises(ConflictError, match=rf"in {more}, line 1 has backend shop_blue"):
        place.configure()


def test_a_file_of_its_own_in_such_a_directory_stands_on_what_the_others_have(place: Place, more: Path) -> None:
    more.write_text(SITES)
    ours, theirs = more.with_name("shop.cfg"), place.config.read_text()
    result = place.configure(config=str(ours), bind=["*:81"])
    assert (result["adopted"], "frontend shop" in ours.read_text()) == (True, True)
    assert ("\nglobal" in ours.read_text(), place.config.read_text(), more.read_text()) == (False, theirs, SITES)
    place.configure(config=str(ours), bind=["*:81"], state="absent")
    assert ours.read_text() == ""


def test_a_file_that_haproxy_does_not_read_is_refused(place: Place, more: Path) -> None:
    """As where /etc/default/haproxy names another one."""
    with pytest.raises(ConflictError, match=r"process 4711 is HAProxy with .*/haproxy.cfg, .*, and not with"):
        place.configure(config=str(place.home / "other.cfg"))


def test_a_candidate_that_haproxy_finds_invalid_is_not_put_in_place(place: Place) -> None:
    place.config.write_text(OTHERS)
    place.says = lambda text: (text != OTHERS, "", "[NOTICE] x\n[ALERT] config : unknown keyword 'foo'")
    with pytest.raises(InvalidError, match=r"unknown keyword 'foo'.*is untouched"):
        place.configure()
    assert (place.config.read_text(), place.process.reloads) == (OTHERS, 0)


def test_a_file_that_was_invalid_before_is_told_apart(place: Place) -> None:
    place.config.write_text(OTHERS)
    place.says = lambda _text: (1, "", "[ALERT] config : unable to load certificate '/etc/ssl/www.pem'")
    with pytest.raises(InvalidError, match=r"invalid as it is: .*www.pem.*Put it right first; it is untouched"):
        place.configure()


def test_what_haproxy_refuses_at_the_reload_does_not_stay_on_disk(place: Place) -> None:
    place.config.write_text(OTHERS)
    place.process.refusal = RefusedError("HAProxy did not", todo="See its log")
    with pytest.raises(RefusedError, match=r"HAProxy did not.*is as it was, for the next start"):
        place.configure()
    assert place.config.read_text() == OTHERS
    place.process.refusal = None
    assert place.configure()["changed"] is True


def test_check_mode_checks_and_changes_nothing(place: Place) -> None:
    place.config.write_text(OTHERS)
    (place.home / "bluegreen.map").write_text("blog blue:green:0\n")
    before = place.files()
    result = place.configure(dry_run=True)
    assert (result["changed"], place.files(), place.config.read_text(), len(place.checked)) == (True, before, OTHERS, 1)
    assert "frontend shop" in result["diff"]["after"]


def test_check_mode_says_what_it_could_not_check(place: Place) -> None:
    (warning,) = place.configure(dry_run=True)["warnings"]
    assert "was not checked with haproxy -c" in warning


def test_others_may_not_read_a_file_that_has_got_a_secret(place: Place) -> None:
    place.config.write_text(OTHERS)
    place.config.chmod(0o644)
    place.configure()
    assert place.config.stat().st_mode & 0o777 == 0o644
    place.configure(test_token="secret")
    assert place.config.stat().st_mode & 0o777 == 0o640


def test_an_entry_that_a_switch_has_changed_is_never_touched(place: Place) -> None:
    table = place.home / "bluegreen.map"
    place.configure()
    table.write_text("shop green:blue:0\n")
    place.config.unlink()
    place.configure()
    assert table.read_text() == "shop green:blue:0\n"
    place.configure(app="blog", bind=["*:1"], live="green")
    assert table.read_text() == "shop green:blue:0\nblog green:blue:0\n"
    place.configure(state="absent")
    assert (table.read_text(), "frontend shop" in place.config.read_text()) == ("blog green:blue:0\n", False)


def test_map_entries() -> None:
    assert with_entry("a 1", "b", "2") == "a 1\nb 2\n"
    assert with_entry("b\t3\n", "b", "2") == "b\t3\n"
    assert without_entry("# b\nb 1\nbb 2\n", "b") == "# b\nbb 2\n"


def test_a_state_is_only_carried_over_for_a_server_that_is_where_it_was() -> None:
    states = (
        "1\n# be_id be_name srv_id srv_name srv_admin_state srv_port\n"
        "3 shop_blue 1 blue1 1 8080\n4 shop_green 1 green1 1 8081\n5 gone 1 x 1 1\n"
    )
    assert still_true(states, ConfigText.parse(text())) == (
        "1\n# be_id be_name srv_id srv_name srv_admin_state srv_port\n3 shop_blue 1 blue1 1 8080\n"
    )


def test_a_state_file_of_somebody_elses_is_not_ours_to_write() -> None:
    theirs = ConfigText.parse(text(OTHERS.replace("\tuser", "\tserver-state-file /x\n\tuser"), server_state_file="/y"))
    ours = ConfigText.parse(text(OTHERS, server_state_file="/y"))
    assert (theirs.state_file, theirs.own_state_file) == ("/x", None)
    assert (ours.state_file, ours.own_state_file) == ("/y", "/y")
    assert str(ours).count("load-server-state-from-file global") == 2


def test_the_file_may_be_missing(tmp_path: Path) -> None:
    assert ConfigFile(str(tmp_path / "none"), 0o640, "haproxy", fine).read() is None
    assert Base("/s").beside(socket=False, state_file=False) == ""
