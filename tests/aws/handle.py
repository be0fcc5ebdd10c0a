# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server seen by tests: a process of its own, clients for it, and what only tests may ask."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.rig import ROOT, wait_until
from tests.cluster.process import end

START = 60.0  # seconds; it takes two on an idle machine
REGION = "us-east-1"
SECRET = "not-a-secret-" + "0" * 27


@dataclass(frozen=True)
class Received:
    """One call of the API, as the server got it."""

    service: str
    action: str
    at: float
    parameters: Mapping[str, Any]
    status: int | None
    """None: nothing was answered, or ``fault`` says what was."""
    fault: str | None


@dataclass(frozen=True)
class Aws:
    """A running server. Its clients are of one botocore session, and try each call once only."""

    url: str
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """For programs that are to use it: Ansible, the aws command, boto3."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "AKIDTEST",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def client(self, service: str, region: str = REGION) -> Any:
        """boto3's, by boto3's name: ``elbv2``, ``elb``, ``ec2``, ``route53``, ``autoscaling``, ``dynamodb``, …"""
        known = self._clients
        if (service, region) not in known:
            known[service, region] = _session().create_client(
                service,
                region_name=region,
                endpoint_url=self.url,
                aws_access_key_id="AKIDTEST",
                aws_secret_access_key=SECRET,
                config=_config(),
            )
        return known[service, region]

    def listener_url(self, arn: str) -> str:
        """Where a client of the load balancer finds this listener, without TLS even if it is an HTTPS one."""
        return f"http://127.0.0.1:{self._ask('GET', 'listeners')[arn]}"

    def calls(self, service: str | None = None, action: str | None = None) -> list[Received]:
        """Since the last ``reset`` or ``clear_calls``, oldest first."""
        found = [
            Received(
                each["service"],
                each["action"],
                each["at"],
                each["parameters"],
                each.get("status"),
                each.get("fault"),
            )
            for each in self._ask("GET", "calls")
        ]
        return [each for each in found if service in (None, each.service) and action in (None, each.action)]

    def clear_calls(self) -> None:
        self._ask("DELETE", "calls")

    def fail(
        self,
        service: str | None,
        action: str | None,
        fault: str | Mapping[str, Any],
        *,
        nth: int = 1,
        times: int | None = 1,
        **parameters: Any,
    ) -> None:
        """The n-th call from now on that has these parameters, and ``times`` in all (None: for ever): ``faults.py``."""
        told = {"service": service, "action": action, "fault": fault, "nth": nth, "times": times}
        self._ask("POST", "faults", {**told, "parameters": parameters})

    def clear_faults(self) -> None:
        """Calls that hang are let go, too."""
        self._ask("DELETE", "faults")

    def force_health(
        self,
        group: str,
        identity: str,
        state: str | None,
        reason: str | None = None,
        *,
        port: int | None = None,
        description: str | None = None,
    ) -> None:
        """Of a target, or of all ports of an id; with None its health checks decide again."""
        told = {"group": group, "id": identity, "port": port, "state": state}
        self._ask("POST", "health", {**told, "reason": reason, "description": description})

    def place(self, identity: str, port: int) -> None:
        """An instance, or an address that is not on loopback, is found at this port of loopback."""
        self._ask("POST", "places", {identity: port})

    def set(self, **settings: float) -> None:
        """``state.Settings``, until the next reset: ``drain_scale=0.1``, ``page_size=20``, ``latency_ms=50``, …"""
        self._ask("POST", "settings", settings)

    @property
    def settings(self) -> dict[str, float]:
        found: dict[str, float] = self._ask("GET", "settings")
        return found

    def reset(self) -> None:
        """Nothing is left of what was made, told or armed."""
        self._ask("POST", "reset")

    def _ask(self, method: str, path: str, content: object = None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.url}/_bg/{path}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(json.load(error)["error"]) from None


def _session() -> Any:
    import botocore.session  # noqa: PLC0415 -- tests that have nothing to do with AWS need not pay for it

    if not _SESSIONS:
        _SESSIONS.append(botocore.session.Session())
    return _SESSIONS[0]


_SESSIONS: list[Any] = []


def _config() -> Any:
    from botocore.config import Config  # noqa: PLC0415

    return Config(retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=5, read_timeout=20)


@contextlib.contextmanager
def running(directory: Path, while_alive: int) -> Iterator[Aws]:
    """A server of one's own, that ends with the block, or when the process with this number is gone."""
    out, log = directory / "aws.out", directory / "aws.log"
    with out.open("wb") as said, log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.aws", "--while-alive", str(while_alive)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=errors,
            start_new_session=True,
        )
    try:
        wait_until(lambda: out.read_bytes().endswith(b"\n") or process.poll() is not None, START, "AWS listens")
        if process.poll() is not None:
            raise RuntimeError(f"the AWS server ended: {log.read_text()[-2000:]}")
        yield Aws(json.loads(out.read_text())["url"])
    finally:
        end(process, 20)
