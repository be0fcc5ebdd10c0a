# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users get through the listener decides, and not only what the health checks say."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.rig import COLOURS, Instance, free_ports, wait_until
from tests.aws.handle import REGION, SECRET, Aws
from tests.aws.scene import Scene
from tests.integration.live_load import FEW, live_load
from tests.unit.plugins.modules.process import run_module

WATCH = {"duration": 5, "interval": 0.2, "max_error_share": 1, "back_to": "blue"}


class Shop(Scene):
    """An app of each colour behind a listener; blue has all of the traffic."""

    def __init__(self, aws: Aws, directory: Path) -> None:
        super().__init__(aws)
        self.directory = directory
        ports = free_ports(2)
        self.apps = {
            colour: Instance(colour, colour, port, directory) for colour, port in zip(COLOURS, ports, strict=True)
        }
        self.groups = {colour: self.group(f"shop-{colour}", app.port) for colour, app in self.apps.items()}
        self.arn = self.listener(self.balancer(), {self.groups["blue"]: 100, self.groups["green"]: 0})
        self.url = aws.listener_url(self.arn)

    def start(self, **fail_share: float) -> None:
        """Each colour fails so large a share of what users ask; its health check is fine all the same."""
        for colour, app in self.apps.items():
            app.start(colour, fail_share.get(colour, 0.0))
        for group in self.groups.values():
            self.wait_for(group, "healthy")

    def stop(self) -> None:
        for app in self.apps.values():
            app.stop()

    def weights(self) -> dict[str, int]:
        (listener,) = self.aws.client("elbv2").describe_listeners(ListenerArns=[self.arn])["Listeners"]
        found = {
            each["TargetGroupArn"]: each["Weight"]
            for each in listener["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]
        }
        return {colour: found[group] for colour, group in self.groups.items()}

    def traffic(self, paths: tuple[str, ...] = ("/",), duration: float = 5, **options: Any) -> dict[str, Any]:
        keys = {"region": REGION, "access_key": "AKIDTEST", "secret_key": SECRET, "endpoint_url": self.aws.url}
        alb = {**keys, "listener_arn": self.arn, "target_groups": {c: f"shop-{c}" for c in COLOURS}}
        watch = {**WATCH, "duration": duration, "front": {"endpoints": [f"{self.url}{path}" for path in paths]}}
        routes = [{"name": "shop", "provider": "alb", "alb": alb}]
        return run_module("traffic", **{"routes": routes, "watch": watch, **options})


@pytest.fixture
def shop(aws: Aws, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(aws, tmp_path)
    try:
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize("split", [{"green": 100}, {"green": 20}])
def test_a_colour_that_answers_500_behind_a_healthy_health_check_goes_home(shop: Shop, split: dict[str, int]) -> None:
    shop.start(green=1.0)
    with live_load(shop.url, shop.directory, *FEW) as seen:
        told = shop.traffic(split=split, duration=60)  # it ends as soon as it knows
        assert (told["failure"]["code"], shop.weights()) == ("threshold_exceeded", {"blue": 100, "green": 0})
    head, _records = seen
    assert "requests of ours at the front door failed" in told["msg"], told["msg"]
    assert head["release_errors"] > 0  # users had seen it as well
    (back,) = told["routes"]
    assert (back["restored"], back["after"]) == (True, {"blue": 100, "green": 0})


def test_a_canary_is_not_blamed_for_what_the_live_colour_does(shop: Shop) -> None:
    """A release is often the mend of what fails now."""
    shop.start(blue=1.0)
    told = shop.traffic(split={"green": 20})
    assert shop.weights() == {"blue": 80, "green": 20}
    assert told["watched"]["verdict"] == "inconclusive"
    assert f"not asked: {shop.url}/: status 500 before" in told["watched"]["reason"]


def test_all_that_goes_well_at_the_front_door_proves_nothing_about_others(shop: Shop) -> None:
    shop.start()
    with live_load(shop.url, shop.directory, *FEW) as seen:
        watched = shop.traffic(("/", "/health"), to="green")["watched"]
    assert (watched["verdict"], watched["counted"]) == ("inconclusive", False)
    assert "its members and the front door were watched" in watched["reason"]
    assert ": 0 of " in watched["reason"]
    assert (seen[0]["failed"], seen[0]["release_errors"]) == (0, 0)
    assert shop.weights() == {"blue": 0, "green": 100}


def test_a_listener_that_is_put_back_while_it_is_watched_is_told_and_fails_no_request(shop: Shop) -> None:
    """As Terraform does it at its next run (terraform-aws-alb, issue 409)."""
    shop.start()
    told: dict[str, Any] = {}
    watching = threading.Thread(target=lambda: told.update(shop.traffic(to="green", watch={**WATCH, "duration": 60})))
    with live_load(shop.url, shop.directory, *FEW) as seen:
        watching.start()
        wait_until(lambda: shop.weights() == {"blue": 0, "green": 100}, 60, "green has the traffic")
        looks = len(shop.aws.calls("elbv2", "DescribeTargetHealth"))
        wait_until(lambda: len(shop.aws.calls("elbv2", "DescribeTargetHealth")) > looks + 5, 60, "it is watched")
        shop.split(shop.arn, {shop.groups["blue"]: 100, shop.groups["green"]: 0})
        watching.join(90)
    assert (told["failure"]["code"], shop.weights()) == ("conflict", {"blue": 100, "green": 0}), told["msg"]
    (route,) = told["routes"]
    assert route["after"] == {"blue": 100, "green": 0}
    assert (seen[0]["failed"], seen[0]["release_errors"]) == (0, 0)


@pytest.mark.parametrize("module", ["traffic", "analysis"])
def test_credentials_in_a_url_of_the_front_door_are_refused_and_not_repeated(shop: Shop, module: str) -> None:
    keys = {"region": REGION, "access_key": "AKIDTEST", "secret_key": SECRET, "endpoint_url": shop.aws.url}
    alb = {**keys, "listener_arn": shop.arn, "target_groups": {c: f"shop-{c}" for c in COLOURS}}
    front = {"endpoints": ["http://someone:not-for-logs@shop.example/"]}
    watch = {"duration": 1, "front": front}
    asked = {"to": "green", "watch": watch} if module == "traffic" else {"colour": "blue", **watch}
    told = run_module(module, routes=[{"name": "shop", "provider": "alb", "alb": alb}], **asked)
    assert told["failure"]["code"] == "invalid", told["msg"]
    assert "not-for-logs" not in json.dumps(told)
