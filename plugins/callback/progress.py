# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 (the documentation stands above the imports)

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: stdout
short_description: One line for each thing that a release did
version_added: 0.1.0
description:
  - Shows a run as a list that can be watched, with a line for each task that did something worth seeing,
    how long it took, and on which hosts. Hosts on which it went alike share the line.
  - A line begins with C(ok), with C(moved) if the traffic was moved, with C(done) if something else
    was changed, with C(bad) for a failure that the playbook ignores, or with C(FAIL).
    What went wrong stands under it, host by host.
  - What was watched and nobody could tell, since there were too few requests or nobody could look, is no C(ok)
    but begins with C(?), and the reason stands under it. Counts that the fleet is to judge begin with C(seen).
  - Tasks that only work out values, assertions that hold and skipped tasks are not shown.
    C(-v) shows results as well.
  - On a terminal the running task is shown too. Lines are as wide as the terminal, or as C(COLUMNS) says.
author:
  - bluegreen.deploy contributors (@bluegreen-deploy)
extends_documentation_fragment:
  - result_format_callback
requirements:
  - Set it as stdout callback, with C(stdout_callback = bluegreen.deploy.progress) in C(ansible.cfg),
    or with C(ANSIBLE_STDOUT_CALLBACK=bluegreen.deploy.progress) in the environment.
"""

import atexit
import shutil
import sys
import textwrap
import time
import typing as t

from ansible import constants as C  # noqa: N812 (as everywhere in Ansible)
from ansible.plugins.callback import CallbackBase

COLOURS = {
    "ok": C.COLOR_OK,
    "moved": C.COLOR_CHANGED,
    "done": C.COLOR_CHANGED,
    "seen": C.COLOR_SKIP,
    "?": C.COLOR_WARN,
    "bad": C.COLOR_WARN,
    "FAIL": C.COLOR_ERROR,
}
# Tasks that are about the playbook, not about the release.
INTERNAL = frozenset(
    {
        "add_host",
        "assert",
        "gather_facts",
        "group_by",
        "import_playbook",
        "import_role",
        "import_tasks",
        "include_role",
        "include_tasks",
        "include_vars",
        "meta",
        "set_fact",
        "set_stats",
        "setup",
        "validate_argument_spec",
    }
)
UNPROVEN = ("inconclusive", "blind")
INDENT = " " * 17
LINES = 6
LONGEST_PATH = 4096


class CallbackModule(CallbackBase):
    """Collects what the hosts say of a task, and shows it when the next one begins."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "bluegreen.deploy.progress"

    def __init__(self) -> None:
        super().__init__()
        self._began = self._task_began = time.monotonic()
        self._names: dict[str, str] = {}
        self._heading = ""  # of a play that has had nothing to show so far
        self._role: str | None = None
        self._hosts: set[str] = set()
        self._running = ""
        self._lines: dict[tuple[str, str, str], tuple[list[str], float]] = {}
        self._notes: list[str] = []
        self._items: dict[tuple[str, str], list[str]] = {}
        # Ansible tells nothing of a run that it breaks off, or that is interrupted.
        atexit.register(self._flush)

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        self._flush()
        self._role, self._hosts = None, set()
        dry = " (check mode, nothing is changed)" if play.check_mode else ""
        self._heading = f"\n{self._fit(play.get_name(), len(dry))}{dry}"

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool = False) -> None:
        self._flush()
        self._task_began = time.monotonic()
        # Only now are the variables in the name of a task filled in.
        self._names[task._uuid] = one_line(task.name or task.action)  # noqa: SLF001
        self._run(task, "...")

    v2_playbook_on_handler_task_start = v2_playbook_on_task_start

    def v2_runner_retry(self, result: t.Any) -> None:
        self._run(of(result, "task"), f"try {of(result, 'result').get('attempts', '')}")

    def v2_runner_on_ok(self, result: t.Any) -> None:
        action = short(of(result, "task").action)
        found = of(result, "result")
        self._warn(found)
        text, pooled = unproven(action, found)
        if found.get("changed"):
            self._collect(result, "moved" if action == "traffic" else "done", "" if pooled else text)
        elif text:
            self._collect(result, "seen" if pooled else "?", "" if pooled else text)
        elif action not in INTERNAL or self._display.verbosity:
            self._collect(result, "ok", found.get("msg", "") if action == "debug" else "")

    def v2_runner_item_on_failed(self, result: t.Any) -> None:
        item = self._get_item_label(of(result, "result"))
        name = f"{one_line(item)}: " if isinstance(item, (str, int)) else ""
        key = where(result), of(result, "task")._uuid  # noqa: SLF001
        self._items.setdefault(key, []).append(name + message(of(result, "result")))

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._warn(of(result, "result"))
        key = where(result), of(result, "task")._uuid  # noqa: SLF001
        text = self._items.get(key) or message(of(result, "result"))
        self._collect(result, "bad" if ignore_errors else "FAIL", text)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        ignored = getattr(of(result, "task"), "ignore_unreachable", False)
        text = f"unreachable: {message(of(result, 'result'))}"
        self._collect(result, "bad" if ignored else "FAIL", text)

    def v2_on_file_diff(self, result: t.Any) -> None:
        found = of(result, "result")
        for one in found.get("results", ()) if of(result, "task").loop else [found]:
            if one.get("changed") and one.get("diff"):
                self._notes.append(self._get_diff(one["diff"]))

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._enter(None)
        self._show("  no hosts matched", C.COLOR_SKIP)

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        self._flush()
        sums = {host: stats.summarize(host) for host in sorted(stats.processed)}
        lost = [f"{host} unreachable" for host, counts in sums.items() if counts["unreachable"]]
        lost += [f"{host} failed" for host, counts in sums.items() if counts["failures"]]
        keys = ("ok", "changed", "rescued", "ignored")
        counts = {key: sum(one[key] for one in sums.values()) for key in keys}
        text = ", ".join(f"{count} {key}" for key, count in counts.items() if count) or "nothing done"
        hosts = ", ".join(lost) + ";" if lost else f"{len(sums)} host{'s' * (len(sums) != 1)}:"
        self._show("", None)
        self._line("FAIL" if lost else "ok", time.monotonic() - self._began, f"{hosts} {text}")

    def _collect(self, result: t.Any, word: str, text: t.Any = "") -> None:
        host, task = where(result), of(result, "task")
        lines = text.splitlines() if isinstance(text, str) else text if isinstance(text, list) else [text]
        text = "\n".join(map(one_line, lines))
        name = self._names.get(task._uuid) or one_line(task.name or task.action)  # noqa: SLF001
        role = getattr(task, "_role", None)
        self._enter(role.get_name(include_role_fqcn=False) if role else None)
        self._hosts.add(of(result, "host").get_name())
        hosts, _when = self._lines.get((word, name, text), ([], 0.0))
        self._lines[word, name, text] = ([*hosts, host], time.monotonic() - self._task_began)
        if self._run_is_verbose(result) and (self._display.verbosity or not text):
            self._clean_results(of(result, "result"), task.action)
            self._notes.append(f"{host} => {self._dump_results(of(result, 'result'))}")

    def _enter(self, role: str | None) -> None:
        if self._heading:
            self._show(self._heading, C.COLOR_HIGHLIGHT)
            self._heading = ""
        if role and role != self._role:
            self._show(self._fit(role), C.COLOR_HIGHLIGHT)
        self._role = role

    def _flush(self) -> None:
        lines, notes = self._lines, self._notes
        # First of all: what cannot be shown, because nobody reads on, is not tried again.
        self._lines, self._notes, self._items = {}, [], {}
        for (word, name, text), (hosts, took) in lines.items():
            names, under = ", ".join(sorted(hosts)), text.split("\n") if text else []
            where = names if len(hosts) == 1 else f"{len(hosts)} hosts"
            if word in ("bad", "FAIL"):
                under += [names] * (len(hosts) > 1)
            elif len(self._hosts) == 1:
                where = ""
            self._line(word, took, name, where)
            width = max(columns() - len(INDENT), 20)
            for line in under:
                for part in wrapped(line, width):
                    self._show(INDENT + part, COLOURS[word])
        for note in notes:
            self._show(note, None)

    def _line(self, word: str, took: float, text: str, where: str = "") -> None:
        start = f"  {word:<5} {f'{took:.1f} s':>7}  "
        where = f"  ({self._fit(where, columns() // 2)})" if where else ""
        self._show(f"{start}{self._fit(text, len(start) + len(where))}{where}", COLOURS[word])

    def _run(self, task: t.Any, word: str) -> None:
        """The running task, on a line that the next one writes over."""
        if not sys.stdout.isatty() or self._display.verbosity or short(task.action) in {*INTERNAL, "pause"}:
            return
        self._clear()
        start = f"  {word:<13}  "
        name = self._names.get(task._uuid, "")  # noqa: SLF001
        self._running = f"{start}{self._fit(name, len(start) + 1)}"
        self._display.display(f"{self._running}\r", color=C.COLOR_SKIP, screen_only=True, newline=False)
        sys.stdout.flush()

    def _clear(self) -> None:
        if self._running:
            self._display.display(f"{' ' * len(self._running)}\r", screen_only=True, newline=False)
            self._running = ""

    def _show(self, text: str, colour: str | None) -> None:
        self._clear()
        self._display.display(text, color=colour)

    def _warn(self, found: dict[str, t.Any]) -> None:
        self._clear()
        self._handle_warnings(found)
        if self._display.verbosity > 2:
            self._handle_exception(found)

    def _fit(self, text: str, taken: int = 0) -> str:
        room = max(columns() - taken, 10)
        return text if len(text) <= room else f"{text[: room - 1].rstrip()}…"


def of(result: t.Any, name: str) -> t.Any:
    """A part of a task's result; ansible-core has names without an underscore since 2.19."""
    return getattr(result, name if hasattr(result, name) else f"_{name}")


def where(result: t.Any) -> str:
    """The host, and to whom it delegated the task, which only the host's variables know if it is a template."""
    if "{{" in str(of(result, "task").delegate_to):
        return str(of(result, "host").get_name())
    return str(CallbackBase.host_label(result))


def wrapped(line: str, width: int) -> list[str]:
    """Lines that fit, but for a word that is longer: a path in two parts cannot be copied."""
    is_endless = max(map(len, line.split()), default=0) > LONGEST_PATH
    return textwrap.wrap(
        line, width, max_lines=LINES, placeholder=" …", break_on_hyphens=False, break_long_words=is_endless
    )


def short(action: str) -> str:
    return action.rpartition(".")[2]


def unproven(action: str, found: dict[str, t.Any]) -> tuple[str, bool]:
    """What a watch could not tell and why, if anything; and whether that is left to the fleet to judge."""
    if action == "debug":
        told = found.get("msg")
        is_one = isinstance(told, str) and told.startswith(tuple(f"{verdict}: " for verdict in UNPROVEN))
        return (told if is_one else ""), False
    watched = {"analysis": found, "traffic": found.get("watched")}.get(action)
    if not isinstance(watched, dict) or watched.get("verdict") not in UNPROVEN:
        return "", False
    return f"{watched['verdict']}: {watched.get('reason', '')}", bool(watched.get("pooled"))


def message(found: dict[str, t.Any]) -> str:
    """What went wrong. Of a long error output, the last line tells most."""
    if found.get("censored") or found.get("_ansible_no_log"):
        return "hidden by no_log"
    output = str(found.get("stderr") or found.get("module_stderr") or "").strip()
    words = [one_line(found.get("msg") or "").rstrip("."), *output.splitlines()[-1:]]
    return ": ".join(filter(None, words)) or one_line(found.get("reason") or "it gave no reason")


def one_line(text: t.Any) -> str:
    """Words of a host, without what would steer the terminal."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(str(text).split()))


def columns() -> int:
    return shutil.get_terminal_size().columns
