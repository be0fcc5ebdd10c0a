# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a process, as Ansible runs it: JSON in, JSON out."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
HEALTH = {
    "version": "2.4.0",
    "build": {"version": "2.4.0"},
    "checks": {"database": "healthy", "queue": {"status": "UP"}, "cache": "down"},
    "replicas": {"ready": 2},
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        document = {**HEALTH, "checks": {**HEALTH["checks"], "echo": self.headers.get("Authorization")}}
        body = json.dumps(document).encode()
        self.send_response(503 if self.path == "/down" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> t.Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def run_module(**options: t.Any) -> tuple[int, dict[str, t.Any], str]:
    """Its exit status, its result, and all that it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "plugins.modules.health_check"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": options}),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, json.loads(done.stdout), done.stdout + done.stderr


@pytest.mark.parametrize("check_mode", [False, True])
def test_healthy_endpoints_are_reported(url, check_mode):
    status, result, _output = run_module(
        endpoints=[f"{url}/a", f"{url}/b"],
        version="2.4.0",
        version_key="build.version",
        required_checks=["database", "queue"],
        expect="replicas.ready >= `2`",
        successes=2,
        interval=0.01,
        _ansible_check_mode=check_mode,
    )
    assert (status, result["changed"], result["healthy"]) == (0, False, 2)
    endpoint = result["endpoints"][0]
    assert endpoint.pop("took_ms") >= 0
    assert endpoint == {
        "endpoint": f"{url}/a",
        "healthy": True,
        "status": 200,
        "version": "2.4.0",
        "reason": "",
        "answers": 2,
        "streak": 2,
        "checks": {"database": "healthy", "queue": "UP"},
    }


def test_an_unhealthy_endpoint_fails_with_a_code(url):
    status, result, _output = run_module(
        endpoints=[f"{url}/a", f"{url}/down"], required_checks=["database"], timeout=0.3, interval=0.1
    )
    assert (status, result["failed"], result["failure"]) == (1, True, {"code": "not_ready"})
    assert result["msg"].startswith(f"1 of 2 endpoints are not healthy after 0.3 s: {url}/down (status 503); ")
    assert [endpoint["healthy"] for endpoint in result["endpoints"]] == [True, False]


def test_a_bad_option_fails_before_anything_is_asked():
    status, result, _output = run_module(endpoints=["tcp://127.0.0.1:1"], expect="a")
    assert (status, result["failure"]) == (1, {"code": "invalid"})
    assert "endpoints" not in result


def test_no_secret_is_in_the_output(url):
    _status, result, output = run_module(
        endpoints=[f"{url}/a"],
        secret_headers={"Authorization": "Bearer hunter2hunter2"},
        required_checks=["echo"],
        timeout=0.1,
        interval=0.1,
    )
    assert result["failure"] == {"code": "not_ready"}
    assert "hunter2" not in output


def test_credentials_in_a_url_are_not_repeated():
    _status, result, output = run_module(endpoints=["http://bob:hunter2@127.0.0.1:1/"])
    assert result["failure"] == {"code": "invalid"}
    assert "hunter2" not in output
