# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What playbooks look like on the screen."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ansible.plugins.callback")

from plugins.callback.progress import unproven

FILES = {
    "release.yml": """
- name: Release shop
  hosts: all
  gather_facts: false
  roles: [switch]
  tasks:
    - name: Wait for {{ groups['all'] | length }}
      ansible.builtin.command: sleep 0.2
    - name: "{{ (['Read back what each has'] + ['one after the other'] * 10) | join(', ') }}"
      ansible.builtin.ping:
    - name: Work a value out
      ansible.builtin.set_fact: {value: 1}
    - name: An assertion that holds
      ansible.builtin.assert: {that: value == 1}
    - name: Never
      ansible.builtin.ping:
      when: false
    - name: Look at capacity
      ansible.builtin.fail:
        msg: "\\e[31mshort;\\nexpected {{ 'eight cores, ' * 12 }}or more"
      when: inventory_hostname == 'lb2'
      ignore_errors: true
    - name: Fail alike
      ansible.builtin.fail: {msg: alike}
      when: inventory_hostname != 'lb1'
      ignore_errors: true
    - name: Fail one by one
      ansible.builtin.fail: {msg: broken}
      loop: [first, second]
      ignore_errors: true
      run_once: true
    - name: Tell
      ansible.builtin.debug: {msg: [well, said]}
      run_once: true
    - name: Say what is not proven
      ansible.builtin.debug: {msg: "inconclusive: 12 requests"}
      run_once: true
    - name: An assertion that does not hold
      ansible.builtin.assert: {that: value == 2, fail_msg: value is 1}
      when: inventory_hostname == 'lb3'
    - name: Nobody answers
      ansible.builtin.ping:
      when: inventory_hostname == 'lb2'
      vars: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}

- name: Afterwards
  hosts: lb1
  gather_facts: false
  tasks:
    - name: Alone
      ansible.builtin.ping:
""",
    "roles/switch/tasks/main.yml": """
- name: Send all to green
  traffic:
    changed: "{{ inventory_hostname == 'lb1' }}"
""",
    "library/traffic.py": """
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"changed": {"type": "bool"}})
module.exit_json(changed=module.params["changed"])
""",
    "places.yml": """
- name: Places
  hosts: all
  gather_facts: false
  tasks:
    - name: Ask all
      ansible.builtin.ping:
    - name: Ask each member
      ansible.builtin.ping:
      delegate_to: "{{ member }}"
      loop: [lb2, lb3]
      loop_control: {loop_var: member}
      run_once: true
    - name: Ask lb2
      ansible.builtin.ping:
      delegate_to: lb2
      when: inventory_hostname == 'lb1'
    - name: Where the report is
      ansible.builtin.debug:
        msg: "The report: /somewhere/{{ 'deep-down/' * 9 }}report.md"
      run_once: true
""",
    "secret.yml": """
- name: Keep it
  hosts: lb1
  gather_facts: false
  tasks:
    - name: Hide
      ansible.builtin.fail: {msg: hunter2}
      no_log: true
      ignore_errors: true
    - name: Hide a loop
      ansible.builtin.command: "test {{ item }} = hunter2"
      loop: [hunter2, hunter3]
      no_log: true
      ignore_errors: true
    - name: Show
      ansible.builtin.ping:
""",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("progress")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def command(*arguments):
    playbook = Path(sys.executable).with_name("ansible-playbook")
    python = "ansible_python_interpreter={{ansible_playbook_python}}"
    return [playbook, "-i", "lb1,lb2,lb3", "-c", "local", "-e", python, *arguments]


def environment(width):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    clean.pop("NO_COLOR", None)
    return {**clean, "ANSIBLE_STDOUT_CALLBACK": "bluegreen.deploy.progress", "COLUMNS": str(width)}


def run(folder, width, *arguments):
    done = subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(width),
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def narrow(folder):
    return run(folder, 80, "release.yml")


@pytest.fixture(scope="module")
def wide(folder):
    return run(folder, 200, "release.yml")


def test_what_was_done_is_a_list(wide):
    lines = re.findall(r"^  (\w+|\?) +[0-9]+\.[0-9] s  (.*)$", wide, re.MULTILINE)
    # Hosts answer in any order.
    assert sorted(lines[:2]) == [
        ("moved", "Send all to green  (lb1)"),
        ("ok", "Send all to green  (2 hosts)"),
    ]
    assert lines[2] == ("done", "Wait for 3  (3 hosts)")
    assert lines[3][1].startswith("Read back what each has, one after the other, ")
    assert lines[4:] == [
        ("bad", "Look at capacity  (lb2)"),
        ("bad", "Fail alike  (2 hosts)"),
        ("bad", "Fail one by one  (lb1)"),
        ("ok", "Tell  (lb1)"),
        ("?", "Say what is not proven  (lb1)"),
        ("FAIL", "An assertion that does not hold  (lb3)"),
        ("FAIL", "Nobody answers  (lb2)"),
        ("ok", "Alone"),
        ("FAIL", "lb2 unreachable, lb3 failed; 22 ok, 4 changed, 4 ignored"),
    ]


@pytest.mark.parametrize(
    ("action", "found", "told"),
    [
        ("analysis", {"verdict": "inconclusive", "reason": "few"}, ("inconclusive: few", False)),
        ("analysis", {"verdict": "pass", "reason": "0 of 99"}, ("", False)),
        ("traffic", {"watched": {"verdict": "blind", "reason": "lost"}}, ("blind: lost", False)),
        ("traffic", {"watched": {"verdict": "inconclusive", "reason": "", "pooled": True}}, ("inconclusive: ", True)),
        ("traffic", {"watched": {"verdict": "pass", "reason": "0 of 99"}}, ("", False)),
        ("traffic", {"watched": None}, ("", False)),
        ("traffic", {}, ("", False)),
        ("debug", {"msg": "blind: lb2: lost"}, ("blind: lb2: lost", False)),
        ("debug", {"msg": ["inconclusive: "]}, ("", False)),
        ("ping", {"verdict": "inconclusive"}, ("", False)),
    ],
)
def test_what_nobody_could_tell_is_no_ok(action, found, told):
    assert unproven(action, found) == told


def test_plays_and_roles_are_headings(wide):
    headings = [line for line in wide.split("\n") if line and not line.startswith(" ")]
    assert headings == ["Release shop", "switch", "Afterwards"]


@pytest.mark.parametrize(
    ("line", "under"),
    [
        ("Fail alike  (2 hosts)", ["alike", "lb2, lb3"]),
        ("Fail one by one  (lb1)", ["first: broken", "second: broken"]),
        ("Tell  (lb1)", ["well", "said"]),
        ("Say what is not proven  (lb1)", ["inconclusive: 12 requests"]),
        ("An assertion that does not hold  (lb3)", ["value is 1"]),
    ],
)
def test_what_a_host_has_to_say_stands_under_the_line(wide, line, under):
    lines = [text.strip() for text in wide.partition(line)[2].split("\n")]
    assert lines[1 : 1 + len(under)] == under


def test_a_place_is_named_as_it_is_and_in_one_piece(folder):
    shown = run(folder, 80, "places.yml")
    assert "Ask each member  (lb1)" in shown
    assert "Ask lb2  (lb1 -> lb2)" in shown
    assert "{{" not in shown
    assert f"\n{' ' * 17}/somewhere/{'deep-down/' * 9}report.md\n" in shown


def test_who_cannot_be_reached_is_said(wide):
    assert wide.partition("Nobody answers  (lb2)\n")[2].lstrip().startswith("unreachable: ")


@pytest.mark.parametrize("width", [80, 200])
def test_no_line_is_wider_than_the_terminal(width, request):
    lines = request.getfixturevalue("narrow" if width == 80 else "wide").split("\n")
    assert max(map(len, lines)) <= width
    name = next(line for line in lines if "Read back" in line)
    assert len(name) >= width - 5
    assert name.endswith("…  (3 hosts)")


def test_what_went_wrong_is_told_to_its_end(narrow):
    told = narrow.partition("Look at capacity  (lb2)\n")[2].partition("  bad ")[0]
    assert " ".join(told.split()) == f"?[31mshort; expected {'eight cores, ' * 12}or more"
    assert told.strip().count("\n") >= 2


def test_a_log_has_neither_colours_nor_lines_written_over(narrow, wide):
    assert all(char.isprintable() or char == "\n" for char in narrow + wide)


def test_times_are_those_of_the_task(wide):
    seconds = re.search(r"  done +([0-9]+\.[0-9]) s  Wait for 3", wide)
    assert 0.2 <= float(seconds[1]) < 60


def test_verbose_shows_results_and_no_secret(folder):
    shown = run(folder, 80, "secret.yml", "-v")
    assert re.search(r'^lb1 => \{"changed": false, "ping": "pong"\}$', shown, re.MULTILINE)
    assert shown.count("hidden by no_log") >= 2
    assert "hunter" not in shown


@pytest.mark.parametrize("colour", [True, False])
def test_a_terminal_shows_the_running_task_too(folder, colour):
    environ = {**environment(80), "TERM": "xterm-256color", **({} if colour else {"NO_COLOR": "1"})}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command("secret.yml"), cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL
    ):
        os.close(theirs)
        shown = b"".join(iter(lambda: read(ours), b"")).decode()
    os.close(ours)
    assert re.search(r"  \.\.\. {12}Show\r.*  ok .* s  Show", shown)
    assert ("\x1b[" in shown) == colour
    assert "..." not in on_screen(shown)
    assert "hunter" not in shown


def read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that nobody writes to it any more
        return b""


def on_screen(shown):
    """What is left when later characters have been written over earlier ones."""
    lines = []
    for line in re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r\n", "\n").split("\n"):
        screen = ""
        for part in line.split("\r"):
            screen = part + screen[len(part) :]
        lines.append(screen.rstrip())
    return "\n".join(lines)
