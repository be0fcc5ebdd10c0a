# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import shutil
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from demo.rig import COLOURS
from tests.aws.handle import REGION, Received, running
from tests.aws.scene import Scene

from .bench import Bench, Cost, Ratio, Samples
from .play import Task, play

RULES = 20
TURNS = 2
LATENCY = 50
"""Milliseconds added to each call: an API in the same region answers in some tens of them."""
PEER = "amazon.aws.elb_application_lb"
CLI = shutil.which("aws")

SCRIPT = """
import boto3, sys
listener, blue, green, to = sys.argv[1:]
elbv2 = boto3.client("elbv2")
weights = [(blue, 100 * (to == "blue")), (green, 100 * (to == "green"))]
groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights]
actions = [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]
def rules():
    return [r for p in elbv2.get_paginator("describe_rules").paginate(ListenerArn=listener) for r in p["Rules"]]
for rule in rules():
    if not rule["IsDefault"]:
        elbv2.modify_rule(RuleArn=rule["RuleArn"], Actions=actions)
for rule in rules():
    got = rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
    assert rule["IsDefault"] or {g["TargetGroupArn"]: g["Weight"] for g in got} == dict(weights)
"""
BY_CLI = """
set -e
groups='{{"TargetGroupArn":"{blue}","Weight":{b}}},{{"TargetGroupArn":"{green}","Weight":{g}}}'
actions='[{{"Type":"forward","ForwardConfig":{{"TargetGroups":['"$groups"']}}}}]'
rules=$({aws} elbv2 describe-rules --listener-arn {listener} --query 'Rules[?!IsDefault].RuleArn' --output text)
for rule in $rules; do
  {aws} elbv2 modify-rule --rule-arn "$rule" --actions "$actions" > /dev/null
done
{aws} elbv2 describe-rules --listener-arn {listener} > /dev/null
"""


class Listeners(Bench):
    """20 rules of an application load balancer moved from one target group to another, on an AWS on loopback
    whose calls take 50 ms.

    By one `traffic` task, by the peers' module, by a bare boto3 script that reads, writes and reads back, and by the
    aws command in a loop. `traffic` looks at the targets' health besides; the others do not.
    """

    ours, one, script = f"traffic, {RULES} rules", "traffic, 1 listener", f"boto3 script, {RULES} rules"
    peer, cli = f"{PEER}, {RULES} rules", f"aws command, {RULES} rules"
    ratios = (
        Ratio("rules_20_vs_1_listener", ours, one),
        Ratio("rules_20_vs_script", ours, script),
        Ratio("rules_20_peer_vs_traffic", peer, ours),  # at least 3 are promised
        Ratio("rules_20_cli_vs_traffic", cli, ours),
    )

    def __init__(self, directory: Path, processes: ExitStack, absent: str | None) -> None:
        self._directory, self.absent = directory, absent
        here = directory / "aws"
        here.mkdir()
        self._aws = processes.enter_context(running(here, os.getpid()))
        self._live: dict[str, str] = defaultdict(lambda: "blue")
        self._calls: dict[str, list[list[Received]]] = defaultdict(list)
        scene = Scene(self._aws)
        walled = {"GroupName": "shop", "Description": "shop", "VpcId": scene.vpc}
        self._walls = [self._aws.client("ec2").create_security_group(**walled)["GroupId"]]
        self._subnets = scene.subnets
        self._listener, self._groups, self._rules = self._make(scene, "shop")
        self._make(scene, "peer")
        self._aws.set(latency_ms=LATENCY)
        (directory / "swap.py").write_text(SCRIPT)

    def _make(self, scene: Scene, name: str) -> tuple[str, dict[str, str], list[str]]:
        """A load balancer with a listener, the target group of each colour, and the rules."""
        balancer = scene.balancer(name, SecurityGroups=self._walls)
        groups = {colour: scene.group(f"{name}-{colour}", 8001 + at) for at, colour in enumerate(COLOURS)}
        weights = {groups["blue"]: 100, groups["green"]: 0}
        listener = scene.listener(balancer, weights)
        hosts = ([{"Field": "host-header", "Values": [f"h{at}.example"]}] for at in range(1, RULES + 1))
        rules = [scene.rule(listener, at, host, weights) for at, host in enumerate(hosts, 1)]
        for group in groups.values():
            self._aws.force_health(group, "127.0.0.1", "healthy")
        return listener, groups, rules

    def measure(self) -> Samples:
        contestants = {self.ours: self._traffic, self.one: self._one, self.script: self._script}
        if not self.absent:
            contestants |= {self.peer: self._by_peer, self.cli: self._by_cli}
        found: defaultdict[str, list[Cost]] = defaultdict(list)
        for _turn in range(TURNS):
            for name, make in contestants.items():
                self._live["all"] = to = "green" if self._live["all"] == "blue" else "blue"
                task: Task = {"name": name, **make(to), "environment": self._aws.environment}
                self._aws.clear_calls()
                for what, costs in play(self._directory, [_ping(), task], seconds=300).items():
                    found[what] += costs
                self._calls[name].append(self._aws.calls())
                if name == self.one:
                    self._live["all"] = "green" if to == "blue" else "blue"
        return found

    def more(self, samples: Samples) -> Mapping[str, str]:
        """Calls of the API, and the time from the first rule that was moved to the last one."""
        told = {}
        for key, name in (("traffic", self.ours), ("script", self.script), ("peer", self.peer), ("cli", self.cli)):
            if self._calls[name]:
                told[f"rules_20_{key}_calls"] = f"{statistics.median(len(calls) for calls in self._calls[name]):g}"
                windows = statistics.median(_window(calls) for calls in self._calls[name])
                told[f"rules_20_{key}_mixed_ms"] = f"{windows * 1000:.0f}"
        return told

    def _routes(self, arns: list[str], kind: str) -> list[dict[str, Any]]:
        more = {"target_groups": self._groups, "region": REGION}
        return [{"name": f"r{at}", "provider": "alb", "alb": {kind: arn, **more}} for at, arn in enumerate(arns)]

    def _traffic(self, to: str) -> Task:
        return {"bluegreen.deploy.traffic": {"routes": self._routes(self._rules, "rule_arn"), "to": to}}

    def _one(self, to: str) -> Task:
        return {"bluegreen.deploy.traffic": {"routes": self._routes([self._listener], "listener_arn"), "to": to}}

    def _script(self, to: str) -> Task:
        words = [sys.executable, str(self._directory / "swap.py"), self._listener, *self._groups.values(), to]
        return {"ansible.builtin.command": {"argv": words}}

    def _by_cli(self, to: str) -> Task:
        shares = {"b": 100 * (to == "blue"), "g": 100 * (to == "green")}
        return {"ansible.builtin.shell": BY_CLI.format(aws=CLI, listener=self._listener, **self._groups, **shares)}

    def _by_peer(self, to: str) -> Task:
        """All of the load balancer must be said again, and a group by its name."""
        actions = [{"Type": "forward", "TargetGroupName": f"peer-{to}"}]
        rules = [
            {
                "Conditions": [{"Field": "host-header", "Values": [f"h{at}.example"]}],
                "Priority": str(at),
                "Actions": actions,
            }
            for at in range(1, RULES + 1)
        ]
        listener = {
            "Protocol": "HTTP",
            "Port": 80,
            "DefaultActions": [{"Type": "forward", "TargetGroupName": "peer-blue"}],
            "Rules": rules,
        }
        whole = {"name": "peer", "subnets": self._subnets, "security_groups": self._walls, "listeners": [listener]}
        return {PEER: {**whole, "state": "present"}}


def _ping() -> Task:
    return {"name": "ping", "ansible.builtin.ping": {}}


def _window(calls: list[Received]) -> float:
    moves = [call.at for call in calls if call.action == "ModifyRule"]
    return max(moves) - min(moves) if moves else 0.0
