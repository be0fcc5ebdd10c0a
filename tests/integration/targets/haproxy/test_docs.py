# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever copies a configuration from docs/haproxy.md gets one that HAProxy takes, and that keeps its state."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from demo.rig import ROOT, environment, find_haproxy

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
