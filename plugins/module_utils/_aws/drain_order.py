# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drain is asked for, as values. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .._errors import InvalidError
from .._health.probe import Condition, Target, parse_condition, parse_target, shown

LONGEST = 3600
"""Seconds, of a deregistration delay and of connection draining; AWS's limit."""

Params = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class InFlight:
    """Where the app tells how much it has in flight."""

    urls: tuple[Target, ...]
    query: Condition
    quiet: float
    timeout: float
    validate_certs: bool
    ca_path: str | None


@dataclass(frozen=True)
class Order:
    """What is to be taken out of what, and how long it may take."""

    groups: tuple[str, ...] = ()
    targets: tuple[str, ...] | None = None
    """None: all."""
    delay: int | None = None
    balancer: str | None = None
    instances: tuple[str, ...] = ()
    connection_draining: int | None = None
    unused: tuple[str, ...] = ()
    timeout: float = 600.0
    interval: float = 5.0
    in_flight: InFlight | None = None


def parse(params: Params) -> Order:
    """The options as values; raises before anybody is asked."""
    order = Order(
        groups=_texts(params, "target_groups") or (),
        targets=_texts(params, "targets"),
        delay=_whole(params, "deregistration_delay", 0),
        balancer=params["classic_load_balancer"],
        instances=_texts(params, "instances") or (),
        connection_draining=_whole(params, "connection_draining", 1),
        unused=_texts(params, "unused") or (),
        timeout=params["timeout"],
        interval=params["interval"],
    )
    if not 0 <= order.timeout < float("inf") or not 0 < order.interval < float("inf"):
        raise InvalidError(
            f"timeout is {order.timeout:g} and interval {order.interval:g}", "seconds, and an interval above 0"
        )
    if not order.groups and not order.balancer:
        raise InvalidError("target_groups and classic_load_balancer are empty", "one of them at least")
    return replace(order, in_flight=_in_flight(params["in_flight"], order.timeout))


def _texts(params: Params, name: str) -> tuple[str, ...] | None:
    """None: not given."""
    texts = params[name]
    if texts is None:
        return None
    if not texts or not all(texts) or len(set(texts)) < len(texts):
        raise InvalidError(f"{name} is {', '.join(texts) or 'empty'}", "at least one, no empty one, and none twice")
    return tuple(texts)


def _whole(params: Params, name: str, least: int) -> int | None:
    value: int | None = params[name]
    if value is not None and not least <= value <= LONGEST:
        raise InvalidError(f"{name} is {value}", f"seconds from {least} to {LONGEST}")
    return value


def _in_flight(options: Params | None, timeout: float) -> InFlight | None:
    if options is None:
        return None
    if not 0 < options["timeout"] < float("inf"):
        raise InvalidError(f"in_flight.timeout is {options['timeout']:g}", "a number of seconds above 0")
    if not 0 <= options["quiet"] < timeout:
        raise InvalidError(
            f"in_flight.quiet is {options['quiet']:g}", f"0 or more, and less than the timeout of {timeout:g} s"
        )
    try:
        urls = tuple(parse_target(url, number) for number, url in enumerate(options["urls"], 1))
        query = parse_condition(options["query"])
    except InvalidError as error:
        raise error.of("in_flight") from error
    strange = [target.url for target in urls if target.scheme == "tcp"]
    if strange or not urls or len({*urls}) < len(urls):
        raise InvalidError(
            f"in_flight.urls is {', '.join(shown(target.url) for target in urls) or 'empty'}",
            "http:// or https:// URLs, none of them twice",
        )
    return InFlight(urls, query, options["quiet"], options["timeout"], options["validate_certs"], options["ca_path"])
