# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release by DNS alone, under live load of clients that go where a caching resolver leads them.

BIND answers what the weights of Route 53 say at each moment, since the test server has no DNS.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.rig import COLOURS, Instance, environment, free_ports, wait_until
from plugins.module_utils._dns.resolver import parse
from tests.aws.handle import REGION, SECRET, Aws
from tests.bind.door import door
from tests.bind.servers import Dns, Server
from tests.integration.live_load import live_load

from .test_route53 import VALUES, Zone, record

NAME = "release"
LOOK = 0.1  # seconds; clients have an answer that is at most this much older than Route 53's
OLD_TTL, TTL = 4, 2
HOOKS = {
    "lower": """
- name: Lower the TTL, and wait until nobody has the old one any more
  bluegreen.deploy.dns_ttl: {ttl: "{{ lower_to }}", route53: "{{ bluegreen_routes[0].route53 }}"}
""",
    "stop": """
- name: Stop it
  ansible.builtin.command: kill {{ lookup('ansible.builtin.file', pid_files ~ '/' ~ bluegreen_retired ~ '.pid') }}
  changed_when: true
""",
}
LOAD = ("--rate", "30", "--slow", "0", "--streams", "0", "--websockets", "0")
"""DNS drains no connection that is kept, so that there are none of the long kind here."""


@dataclass
class Site:
    """An app on blue and green, of which DNS gives out one."""

    zone: Zone
    servers: Dns
    directory: Path
    front: str
    instances: dict[str, Instance]

    def play(self, playbook: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        words = ["-i", str(self.directory / "inventory.json"), f"bluegreen.deploy.{playbook}"]
        return subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), *words, "-e", json.dumps(variables)],
            env=environment(**self.zone.aws.environment, AWS_REGION=REGION),
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    def inventory(self) -> dict[str, Any]:
        route53 = {"zone_id": self.zone.id, "record": f"{NAME}.example.com.", "resolvers": self.resolvers}
        hooks = {name: str(self.directory / f"{name}.yml") for name in HOOKS}
        for name, text in HOOKS.items():
            Path(hooks[name]).write_text(text)
        groups = {
            f"shop_{colour}": {"hosts": {f"shop-{colour}": {"bluegreen_url": machine.url}}}
            for colour, machine in self.instances.items()
        }
        given = {
            "bluegreen_app": "shop",
            "bluegreen_version": "1.1",
            "bluegreen_front": self.front,
            "bluegreen_routes": [{"name": "dns", "provider": "route53", "route53": route53}],
            "bluegreen_store": {"type": "file", "path": str(self.directory / "record")},
            "bluegreen_state_dir": str(self.directory / "state"),
            "bluegreen_report_dir": str(self.directory / "reports"),
            "bluegreen_report_name": "report",
            "bluegreen_deploy": [hooks["lower"]],
            "bluegreen_retire": [hooks["stop"]],
            "bluegreen_canary_steps": [20],
            "bluegreen_hold": 3,
            "bluegreen_watch": 1,
            "bluegreen_front_answers": 10,
            "bluegreen_front_timeout": 3,  # and as long as resolvers may keep the old answer
            "bluegreen_confirmation_period": 0,
            "lower_to": TTL,
            "pid_files": str(self.directory),
        }
        where = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        return {"all": {"children": {"load_balancers": {"hosts": {"dns": where}}, **groups}, "vars": given}}

    @property
    def resolvers(self) -> list[str]:
        return [self.servers.authority.address, self.servers.resolver.address]


@contextlib.contextmanager
def answering(zone: Zone, authority: Server) -> Iterator[None]:
    """As Route 53 does: each answer by the weights as they are then, and with the TTL of the record set."""
    over = threading.Event()

    def answer() -> None:
        while not over.wait(LOOK):
            found = zone.of(NAME)
            weights = [found[colour]["Weight"] for colour in COLOURS]
            chosen = found[random.choices(COLOURS, weights)[0]]
            authority.put(NAME, chosen["TTL"], "A", chosen["ResourceRecords"][0]["Value"])

    authority.put(NAME, OLD_TTL, "A", VALUES["blue"])
    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def site(aws: Aws, dns_servers: Dns, tmp_path: Path) -> Iterator[Site]:
    zone = Zone(aws)
    zone.change(*(("CREATE", record(colour, 100 * (colour == "blue"), NAME, TTL=OLD_TTL)) for colour in VALUES))
    ports = free_ports(2)
    machines = {c: Instance(c, c, port, tmp_path) for c, port in zip(COLOURS, ports, strict=True)}
    by_address = {VALUES[colour]: machine.port for colour, machine in machines.items()}
    with contextlib.ExitStack() as stack:
        for machine, version in zip(machines.values(), ("1.0", "1.1"), strict=True):
            stack.callback(machine.stop)
            machine.start(version)
        stack.enter_context(answering(zone, dns_servers.authority))
        front = stack.enter_context(door(parse(dns_servers.resolver.address), f"{NAME}.example.com.", by_address))
        made = Site(zone, dns_servers, tmp_path, front, machines)
        (tmp_path / "inventory.json").write_text(json.dumps(made.inventory()))
        yield made


def test_the_old_colour_ends_when_no_resolver_leads_to_it_any_more(site: Site) -> None:
    with live_load(site.front, site.directory, *LOAD) as seen:
        for playbook in ("release", "retire"):
            done = site.play(playbook)
            assert done.returncode == 0, done.stdout + done.stderr
            assert SECRET not in done.stdout
        wait_until(lambda: not site.instances["blue"].pid_file.exists(), 20, "blue has ended")
    head, records = seen
    assert head["failed"] == 0, head["failures"]
    assert {record.version for record in records} == {"1.0", "1.1"}
    assert site.zone.weights(NAME) == {"blue": 0, "green": 100}
    assert {each["TTL"] for each in site.zone.of(NAME).values()} == {TTL}


def test_a_resolver_that_keeps_the_old_answer_for_too_long_keeps_the_old_colour(site: Site) -> None:
    """Whatever the record set says: it has no share any more, and is still in use."""
    stubborn = site.servers.authority
    stubborn.put("stubborn", 60, "A", VALUES["blue"])
    for colour, weight in (("blue", 0), ("green", 100)):
        site.zone.change(("CREATE", record(colour, weight, "stubborn")))
    where = {"zone_id": site.zone.id, "record": "stubborn.example.com.", "resolvers": site.resolvers}
    route = {"name": "dns", "provider": "route53", "route53": where}
    told = site.play(
        "retire",
        bluegreen_routes=[route],
        bluegreen_retire_colour="blue",
        bluegreen_retire_quiet=1,
        bluegreen_retire_timeout=2,
    )
    assert told.returncode == 2, told.stdout
    assert f"{stubborn.address} gives stubborn.example.com. A 192.0.2.1" in told.stdout
    assert site.instances["blue"].pid_file.exists()
