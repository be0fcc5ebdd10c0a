# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever copies a configuration from docs/haproxy.md gets one that HAProxy takes, and that keeps its state."""

from __future__ import annotations

import datetime
import json
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from demo.rig import ROOT, end, environment, find_haproxy, free_ports, wait_until
from plugins.module_utils._haproxy.runtime_api import RuntimeApi

PAGE = (ROOT / "docs" / "haproxy.md").read_text()
CONFIGURATIONS = re.findall(r"^```haproxy\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """What a host has: a map, a server state file, a certificate."""
    certs = tmp_path / "etc" / "haproxy" / "certs"
    state = tmp_path / "var" / "lib" / "haproxy"
    for each in (certs, state, tmp_path / "run" / "haproxy"):
        each.mkdir(parents=True)
    (certs.parent / "bluegreen.map").write_text("shop blue:green:0\n")
    for path in (state / "server-state", certs.parent / "bluegreen.state"):
        path.write_text("1\n")
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop.example.com")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    pem = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    public = pem.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (certs / "shop.pem").write_bytes(public + private)
    (certs / "ca.pem").write_bytes(public)
    return tmp_path


@pytest.mark.parametrize("text", CONFIGURATIONS, ids=range(len(CONFIGURATIONS)))
def test_haproxy_takes_each_configuration_of_the_page(host: Path, text: str) -> None:
    placed = re.sub(r"(?<=[ (])/(etc|var/lib|run)/haproxy", rf"{host}/\1/haproxy", text)
    placed = re.sub(r"^    (?:user|group) haproxy\n", "", placed, flags=re.MULTILINE)  # who may not be known here
    config = host / "haproxy.cfg"
    config.write_text(placed)
    done = subprocess.run([find_haproxy(), "-c", "-f", str(config)], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert (done.returncode, "WARNING" in said, "ALERT" in said) == (0, False, False), said


def test_the_page_has_a_configuration_for_each_way_and_each_keeps_its_state() -> None:
    assert len(CONFIGURATIONS) >= 7
    for text in CONFIGURATIONS:
        assert "level admin" in text
        assert "user haproxy" in text
        if "server blue1" in text:
            assert text.count("load-server-state-from-file global") >= text.count("  server-state-file /") == 1


def test_every_link_of_the_table_leads_to_a_section() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in PAGE.splitlines()
        if line.startswith("#")
    }
    assert set(re.findall(r"\(#([a-z0-9-]+)\)", PAGE)) <= headings


# --- The server state file ------------------------------------------------------------------------------------


class Drained:
    """The page's HAProxy with one backend, and its script, both under another root. A context manager."""

    def __init__(self, host: Path) -> None:
        (text,) = (each for each in CONFIGURATIONS if "stats maxconn" in each and "cookie" not in each)
        text = re.sub(r"^    (?:user|group|chroot|log) .*\n", "", text, flags=re.MULTILINE)
        self.host, self.pid_file = host, host / "haproxy.pid"
        self.config, self.script = host / "haproxy.cfg", host / "haproxy-server-state"
        self.config.write_text(self._placed(text).replace("*:80", f"127.0.0.1:{free_ports(1)[0]}"))
        (program,) = re.findall(r"^```python\n(#!/usr/bin/python3\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        self.script.write_text(self._placed(program))
        self.file, self.socket = host / "var/lib/haproxy/server-state", host / "run/haproxy/admin.sock"

    def _placed(self, text: str) -> str:
        return re.sub(r"(?<=[ (\"])/(etc|var/lib|run)/haproxy", rf"{self.host}/\1/haproxy", text)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        end(self.pid_file, 10)

    def start(self) -> None:
        words = [find_haproxy(), "-D", "-p", str(self.pid_file), "-f", str(self.config)]
        subprocess.run(words, check=True, capture_output=True)
        wait_until(self.socket.exists, 30, "HAProxy listens")

    def ask(self, command: str) -> str:
        return RuntimeApi(str(self.socket), 20.0).ask(command)[0]

    def drained(self) -> set[str]:
        rows = [line.split() for line in self.ask("show servers state").splitlines() if line.count(" ") > 10]
        return {row[3] for row in rows if row[6] == "8"}

    def save(self) -> str:
        """What the script says; it never fails."""
        done = subprocess.run([sys.executable, self.script], capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert [path.name for path in self.file.parent.iterdir()] == [self.file.name], "nothing is left aside"
        return done.stderr


def test_the_script_of_the_page_carries_what_was_set_over_a_restart(host: Path) -> None:
    with Drained(host) as haproxy:
        for name in ("green1", "green2"):
            assert haproxy.ask(f"set server shop/{name} state drain") == ""
        assert haproxy.save() == ""
        end(haproxy.pid_file, 10)
        haproxy.start()
        assert haproxy.drained() == {"green1", "green2"}


def test_where_haproxy_does_not_answer_the_script_leaves_the_file_as_it_was(host: Path) -> None:
    with Drained(host) as haproxy:
        assert haproxy.save() == ""
        before = haproxy.file.read_bytes()
        assert before != b"1\n"
        end(haproxy.pid_file, 10)
        assert "stays as it was: " in haproxy.save()
        haproxy.socket.unlink(missing_ok=True)
        assert "No such file" in haproxy.save()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(haproxy.socket))
            other.listen()

            def break_off() -> None:
                with other.accept()[0] as client:
                    client.recv(100)
                    client.sendall(before[:-20])

            threading.Thread(target=break_off, daemon=True).start()
            assert "HAProxy answers" in haproxy.save()
        assert haproxy.file.read_bytes() == before


def test_the_unit_saves_the_states_after_the_check_and_just_before_the_reload() -> None:
    (unit,) = re.findall(r"^```ini\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    save = "-/usr/local/sbin/haproxy-server-state"
    reload = re.findall(r"^ExecReload=(.*)$", unit, re.MULTILINE)
    assert [reload[0], reload[2:], " -c " in reload[1]] == ["", [save, "/bin/kill -USR2 $MAINPID"], True]
    assert re.findall(r"^ExecStop=(.*)$", unit, re.MULTILINE) == [save]
    assert f"# {save[1:]}\n" in PAGE


def example(tool: str, *words: str) -> str:
    command = [str(Path(sys.executable).with_name(tool)), "-i", str(ROOT / "examples" / "onprem"), *words]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_whoever_is_not_root_becomes_root_on_every_host_of_the_example() -> None:
    hosts = json.loads(example("ansible-inventory", "--list"))["_meta"]["hostvars"]
    assert len(hosts) == 6
    assert {name for name, variables in hosts.items() if variables.get("ansible_become") is not True} == set()


def test_the_example_says_how_the_first_version_gets_on_blue() -> None:
    first = str(ROOT / "examples" / "onprem" / "first.yml")
    hosts = example("ansible-playbook", "--list-hosts", "-e", "bluegreen_version=1.0", first)
    assert ("blue1" in hosts, "blue2" in hosts, "green" in hosts) == (True, True, False)
