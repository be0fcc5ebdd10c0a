# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Front doors as people have them: many sites behind one, TLS by an own authority, a pair behind one name."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.rig import Rig, find_haproxy, free_ports, wait_until
from plugins.module_utils._errors import NotReadyError
from plugins.module_utils._health.check import health_check

from .conftest import Stage

SITE = "shop.example.com"


@dataclass(frozen=True)
class Authority:
    """One of our own, and a certificate of the site by it, with its key."""

    ca: Path
    site: Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    home = tmp_path_factory.mktemp("authority")
    (home / "names").write_text(f"subjectAltName=DNS:{SITE}\n")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for words in (
        ("req", "-x509", *new_key, "-days", "2", "-subj", "/CN=Own authority", "-keyout", "ca.key", "-out", "ca.pem"),
        ("req", *new_key, "-subj", f"/CN={SITE}", "-keyout", "site.key", "-out", "site.csr"),
        (
            *("x509", "-req", "-in", "site.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", "2", "-extfile", "names", "-out", "site.crt"),
        ),
    ):
        subprocess.run(["openssl", *words], cwd=home, check=True, capture_output=True)
    (home / "site.pem").write_text((home / "site.crt").read_text() + (home / "site.key").read_text())
    return Authority(home / "ca.pem", home / "site.pem")


PAIR = """
global
    stats socket {home}/admin.sock mode 600 level admin
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend lb1
    bind 127.0.0.1:{lb1} ssl crt {pem} strict-sni
    use_backend shop_lb1 if {{ req.hdr(host),field(1,:) -m str {site} }}
    default_backend other
frontend lb2
    bind 127.0.0.1:{lb2} ssl crt {pem} strict-sni
    use_backend shop_lb2 if {{ req.hdr(host),field(1,:) -m str {site} }}
    default_backend other
backend shop_lb1
    http-request deny unless {{ req.hdr(x-key) -m str hunter22 }}
    http-request return status 200 content-type application/json string '{{"version":"1.0-lb1"}}'
backend shop_lb2
    http-request return status 200 content-type application/json string '{{"version":"1.0-lb2"}}'
backend other
    http-request return status 200 content-type application/json string '{{"version":"7.0"}}'
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[tuple[int, int]]:
    """Two load balancers with two sites each; the ports on which they are."""
    home, (lb1, lb2) = tmp_path_factory.mktemp("pair"), free_ports(2)
    config = home / "haproxy.cfg"
    config.write_text(PAIR.format(home=home, lb1=lb1, lb2=lb2, pem=authority.site, site=SITE))
    with (home / "log").open("w") as log:
        process = subprocess.Popen([find_haproxy(), "-db", "-f", str(config)], stdout=log, stderr=log)
    try:
        wait_until(lambda: (home / "admin.sock").exists() or process.poll() is not None, 30, "HAProxy runs")
        assert process.poll() is None, (home / "log").read_text()
        yield lb1, lb2
    finally:
        process.terminate()
        process.wait(30)


def ask(url: str, **options: Any) -> str:
    """What the site says that its version is."""
    asked = {"endpoints": [url], "timeout": 1, "request_timeout": 5, "interval": 0.1, **options}
    return str(health_check({**asked, "timeout": 10})["endpoints"][0]["version"])


def refused(url: str, **options: Any) -> str:
    with pytest.raises(NotReadyError) as caught:
        health_check({"endpoints": [url], "timeout": 0.5, "interval": 0.1, **options})
    return caught.value.message


KEY = {"X-Key": "hunter22"}


def test_each_of_a_pair_is_asked_for_the_site_at_its_own_address(pair: tuple[int, int], authority: Authority) -> None:
    door = {"ca_path": str(authority.ca), "secret_headers": KEY}
    for number, port in enumerate(pair, 1):
        found = ask(f"https://{SITE}/health", door={**door, "address": f"127.0.0.1:{port}"})
        assert found == f"1.0-lb{number}"
        # the other way about: the load balancer in the URL, the site beside it
        assert ask(f"https://127.0.0.1:{port}/health", door={**door, "host": SITE}) == f"1.0-lb{number}"


def test_another_site_of_the_same_front_door_is_another(pair: tuple[int, int], authority: Authority) -> None:
    door = {"ca_path": str(authority.ca), "sni": SITE, "host": "www.example.com"}
    assert ask(f"https://127.0.0.1:{pair[0]}/health", door=door) == "7.0"
    told = refused(f"https://127.0.0.1:{pair[0]}/health", door=door, version="1.0-lb1")
    assert "(version 7.0), asked for the site www.example.com, with TLS for shop.example.com" in told


@pytest.mark.parametrize(
    ("door", "why"),
    [
        ({}, "the certificate is not accepted"),
        ({"sni": "www.example.com", "validate_certs": False}, "TLS failed"),  # nobody there has that name
        ({"validate_certs": False}, "status 403"),  # no key
    ],
)
def test_what_is_missing_is_said(pair: tuple[int, int], door: dict[str, Any], why: str) -> None:
    told = refused(f"https://{SITE}/health", door={"address": f"127.0.0.1:{pair[0]}", **door})
    assert why in told
    assert f"connected to 127.0.0.1:{pair[0]}" in told


def test_a_certificate_need_not_be_valid_where_the_user_says_so(pair: tuple[int, int]) -> None:
    door = {"address": f"127.0.0.1:{pair[1]}", "validate_certs": False}
    assert ask(f"https://{SITE}/health", door=door) == "1.0-lb2"


# --- A whole release ------------------------------------------------------------------------------------------

EDGE = """
frontend edge
    bind 127.0.0.1:{edge} ssl crt {pem} strict-sni
    use_backend to_shop if {{ req.hdr(host) -m str {site} }}
    default_backend another_site

backend to_shop
    server shop {front}

backend another_site
    http-request return status 200 content-type application/json string '{{"status":"healthy","version":"7.0"}}'
"""
SMOKE = """#!/bin/sh
set -e
curl -sf --cacert "$BLUEGREEN_FRONT_CA" --connect-to "::$BLUEGREEN_FRONT_ADDRESS" -H @"$BLUEGREEN_HEADERS" \\
  "$BLUEGREEN_FRONT/version" > "$(dirname "$0")/smoke.txt"
"""


@pytest.fixture(scope="module")
def behind_an_edge(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Stage]:
    (edge,) = free_ports(1)
    with Rig(tmp_path_factory.mktemp("edge"), members=1) as rig:
        front = rig.fronts["lb1"].removeprefix("http://")
        rig.role_options["haproxy_extra"] = EDGE.format(edge=edge, pem=authority.site, site=SITE, front=front)
        rig.role_options["bluegreen_front"] = f"https://{SITE}"
        rig.role_options["bluegreen_front_address"] = f"127.0.0.1:{edge}"
        rig.role_options["bluegreen_front_ca"] = str(authority.ca)
        yield Stage(rig)


def test_a_release_goes_through_the_front_door_that_clients_use_and_no_other(behind_an_edge: Stage) -> None:
    stage = behind_an_edge
    script = stage.rig.directory / "smoke.sh"
    script.write_text(SMOKE)
    script.chmod(0o755)
    variables = {"bluegreen_version": "1.1", "bluegreen_canary_steps": [], "bluegreen_smoke_commands": [str(script)]}

    wrong = stage.rig.play("release", **variables, bluegreen_front_host="www.example.com", bluegreen_front_sni=SITE)
    assert wrong.returncode == 2, wrong.stdout
    assert "answers with version 7.0" in wrong.stdout
    assert "expected version 1.0, which the members of blue" in " ".join(wrong.stdout.split())
    assert stage.report()["outcome"] == "refused"
    assert stage.passed()["The front door leads to the live colour"] is False
    assert stage.map_entry() == "shop blue:green:0"
    told = subprocess.run(["curl", "-sf", f"{stage.rig.of('green')[0].url}/health"], capture_output=True, check=True)
    assert json.loads(told.stdout)["version"] == "1.0"  # nothing was deployed, either

    done = stage.rig.play("release", **variables)
    assert done.returncode == 0, done.stdout
    assert stage.map_entry() == "shop green:blue:0"
    passed = stage.passed()
    assert passed["The front door leads to the live colour"] is True
    assert passed["The front door answers with the new version, again and again"] is True
    assert "1.1" in (stage.rig.directory / "smoke.txt").read_text()
