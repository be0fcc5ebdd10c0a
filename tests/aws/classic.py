# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Classic load balancers: who is deregistered, and connection draining.

docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-conn-drain.html and
docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_InstanceState.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.elb.exceptions import ELBClientError, LoadBalancerNotFoundError
from moto.elb.models import ELBBackend, LoadBalancer
from moto.elb.responses import ELBResponse

from .patches import instead_of
from .state import SETTINGS

Original = Callable[..., Any]

DEFAULT_TIMEOUT = 300  # seconds
LONGEST_TIMEOUT = 3600
IN_SERVICE = ("InService", "N/A", "N/A")
LEAVING = ("InService", "N/A", "Instance deregistration currently in progress.")
GONE = ("OutOfService", "Instance", "Instance is not currently registered with the LoadBalancer.")
STOPPED = ("OutOfService", "Instance", "Instance is in stopped state.")


def balancer_of(backend: ELBBackend, name: str) -> LoadBalancer:
    balancer = backend.load_balancers.get(name)
    if balancer is None:
        raise LoadBalancerNotFoundError(name)
    return balancer


def _leaving(balancer: LoadBalancer) -> dict[str, float]:
    """Who drains, and until when by the monotonic clock."""
    found: dict[str, float] = balancer.__dict__.setdefault("_bluegreen_leaving", {})
    now = time.monotonic()
    for identity in [identity for identity, ends in found.items() if ends <= now]:
        del found[identity]
    return found


def _delay(balancer: LoadBalancer) -> float:
    draining = balancer.attributes["connection_draining"]
    on = str(_either(draining, "enabled", False)).lower() == "true"
    return float(_either(draining, "timeout", DEFAULT_TIMEOUT)) * SETTINGS.drain_scale if on else 0.0


def _either(settings: dict[str, Any], name: str, default: Any) -> Any:
    """moto has them by the API's name once they were set, and by its own before."""
    return settings.get(name.capitalize(), settings.get(name, default))


@instead_of(ELBBackend, "register_instances")
def _register(
    original: Original,
    backend: ELBBackend,
    load_balancer_name: str,
    instance_ids: Iterable[str],
    from_autoscaling: bool = False,
) -> LoadBalancer:
    """Who is registered already is not registered twice."""
    balancer, ids = balancer_of(backend, load_balancer_name), list(instance_ids)
    _check(backend, ids)
    for identity in ids:
        _leaving(balancer).pop(identity, None)
    new = [identity for identity in ids if identity not in balancer.instance_ids]
    original(backend, load_balancer_name, new, from_autoscaling)
    return balancer


@instead_of(ELBBackend, "deregister_instances")
def _deregister(
    original: Original,
    backend: ELBBackend,
    load_balancer_name: str,
    instance_ids: Iterable[str],
    from_autoscaling: bool = False,
) -> LoadBalancer:
    balancer, ids = balancer_of(backend, load_balancer_name), list(instance_ids)
    if not from_autoscaling:
        _check(backend, ids)
    ends = time.monotonic() + _delay(balancer)
    _leaving(balancer).update({identity: ends for identity in ids if identity in balancer.instance_ids})
    original(backend, load_balancer_name, ids, from_autoscaling)
    if not from_autoscaling:  # who came by a group leaves by the API as well
        original(backend, load_balancer_name, ids, True)
    return balancer


def _check(backend: ELBBackend, ids: list[str]) -> None:
    ec2 = ec2_backends[backend.account_id][backend.region_name]
    for identity in ids:
        if ec2.get_instance_by_id(identity) is None:
            raise ELBClientError("InvalidInstance", f"Could not find EC2 instance {identity}.")


def _echo_instances(original: Original, response: ELBResponse) -> ActionResult:
    """Who is registered now."""
    original(response)
    balancer = balancer_of(response.elb_backend, response._get_param("LoadBalancerName"))
    return ActionResult({"Instances": balancer.instances})


for _name in ("register_instances_with_load_balancer", "deregister_instances_from_load_balancer"):
    instead_of(ELBResponse, _name)(_echo_instances)


@instead_of(ELBResponse, "describe_instance_health")
def _describe(_original: Original, response: ELBResponse) -> ActionResult:
    balancer = balancer_of(response.elb_backend, response._get_param("LoadBalancerName"))
    asked = [each["InstanceId"] for each in response._get_param("Instances", [])]
    _check(response.elb_backend, asked)
    ids = asked or list(dict.fromkeys([*balancer.instance_ids, *_leaving(balancer)]))
    return ActionResult({"InstanceStates": [_told(response.elb_backend, balancer, identity) for identity in ids]})


def _told(backend: ELBBackend, balancer: LoadBalancer, identity: str) -> dict[str, str]:
    instance = ec2_backends[backend.account_id][backend.region_name].get_instance_by_id(identity)
    if identity in _leaving(balancer):
        found = LEAVING
    elif identity not in balancer.instance_ids:
        found = GONE
    else:
        found = IN_SERVICE if instance and instance.is_running() else STOPPED
    state, reason, description = found
    return {"InstanceId": identity, "State": state, "ReasonCode": reason, "Description": description}


@instead_of(ELBResponse, "modify_load_balancer_attributes")
def _modify(original: Original, response: ELBResponse) -> Any:
    balancer = balancer_of(response.elb_backend, response._get_param("LoadBalancerName"))
    timeout = response._get_param("LoadBalancerAttributes.ConnectionDraining.Timeout")
    if timeout is not None and not 1 <= int(timeout) <= LONGEST_TIMEOUT:
        raise ELBClientError("InvalidConfigurationRequest", f"Timeout must be between 1 and {LONGEST_TIMEOUT}")
    answer = original(response)
    known = balancer.attributes["additional_attributes"]
    balancer.attributes["additional_attributes"] = list(dict.fromkeys(known))
    return answer


@instead_of(ELBResponse, "describe_load_balancer_attributes")
def _attributes(original: Original, response: ELBResponse) -> Any:
    balancer_of(response.elb_backend, response._get_param("LoadBalancerName"))
    return original(response)
