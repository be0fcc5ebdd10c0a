# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two colours' weights in the actions of a listener or rule; pure functions. Private to this collection.

Source: docs.aws.amazon.com/elasticloadbalancing/latest/APIReference, ForwardActionConfig and TargetGroupTuple; the user
guide for application load balancers, "Sticky sessions".
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._errors import DriftError, MissingError, UnsupportedError
from .._traffic.split import Split
from .client import Json

MOST_WEIGHT = 999
MOST_GROUPS = 5
"""Target groups in one action; AWS's limit."""


@dataclass(frozen=True)
class Forward:
    """The actions of a listener or rule, as they were read, one of which forwards."""

    what: str
    actions: t.Sequence[Json]
    groups: t.Mapping[str, str]
    """By colour, the ARN of its target group."""

    def split(self) -> Split | None:
        """Of what the two colours have. None: all weights are 0, for which AWS answers 503."""
        weights = self._weights()
        first, second = (weights.get(arn, 0) for arn in self.groups.values())
        return Split.of_weights(self._colours(), first, second) if first + second else None

    def strangers(self) -> tuple[str, ...]:
        """Who else has a share, a sentence each."""
        return tuple(
            f"{self.what} gives a share to target group {short(arn)}, which is neither colour's "
            "(on_drift: mend leaves it)"
            for arn, weight in self._weights().items()
            if arn not in self.groups.values() and weight
        )

    def unattached(self) -> list[str]:
        """The colours whose target groups are not in the action."""
        weights = self._weights()
        return [colour for colour, arn in self.groups.items() if arn not in weights]

    def is_sticky(self) -> bool:
        return bool(_stickiness(self.actions[self._place()]))

    def sticky_for(self) -> float | None:
        """Seconds. None: nobody says."""
        return sticky_seconds(self.actions[self._place()])

    def holding(self, wanted: Split, only: bool = False) -> list[Json]:
        """The actions with other weights, and all else as it is; one whose group is missing gets it.

        ``only``: the group of a colour without a share is left out, so that nobody stays with it.
        """
        shares = dict(zip(self.groups.values(), wanted.as_weights(MOST_WEIGHT, (100, 1000))))
        if only:
            shares = {arn: weight for arn, weight in shares.items() if weight}
        before = self._config()
        known = [each for each in self._tuples() if each["TargetGroupArn"] not in self.groups.values()]
        ours = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in shares.items()]
        if len(known) + len(ours) > MOST_GROUPS:
            raise UnsupportedError(f"{self.what} would forward to {len(known) + len(ours)} target groups", "at most 5")
        config = {**before, "TargetGroups": [*ours, *known]}
        forward = {key: value for key, value in self.actions[self._place()].items() if key != "TargetGroupArn"}
        return [
            {**forward, "ForwardConfig": config} if number == self._place() else _sent(action)
            for number, action in enumerate(self.actions)
        ]

    def check(self) -> Forward:
        """Raises ``unsupported`` where the actions forward to nobody, and ``missing`` where to none of the colours."""
        if not {*self.groups.values()} & {*self._weights()}:
            raise MissingError(
                f"{self.what} forwards to {' and '.join(map(short, self._weights()))}",
                f"{' or '.join(map(short, self.groups.values()))}",
                "Name the target groups that it has, or another listener or rule",
            )
        return self

    def _colours(self) -> tuple[str, str]:
        first, second = self.groups
        return first, second

    def _place(self) -> int:
        places = [number for number, action in enumerate(self.actions) if action["Type"] == "forward"]
        if len(places) != 1:
            kinds = ", ".join(action["Type"] for action in self.actions) or "nothing"
            raise UnsupportedError(f"the action of {self.what} is {kinds}", "one that forwards to target groups")
        return places[0]

    def _config(self) -> Json:
        found: Json = self.actions[self._place()].get("ForwardConfig") or {}
        return found

    def _tuples(self) -> list[Json]:
        action = self.actions[self._place()]
        return self._config().get("TargetGroups") or [{"TargetGroupArn": action["TargetGroupArn"], "Weight": 1}]

    def _weights(self) -> dict[str, int]:
        """By ARN. A single group without a weight has it all."""
        weights: dict[str, int] = {}
        for each in self._tuples():
            if each["TargetGroupArn"] in weights:
                raise DriftError(f"{self.what} names target group {short(each['TargetGroupArn'])} twice", "once")
            weights[each["TargetGroupArn"]] = int(each.get("Weight", 1))
        return weights


def group_weights(action: Json) -> dict[str, int]:
    """By the ARN of each target group that an action forwards to. A single group without a weight has it all."""
    alone = [{"TargetGroupArn": action["TargetGroupArn"]}] if action.get("TargetGroupArn") else []
    groups = (action.get("ForwardConfig") or {}).get("TargetGroups") or alone
    return {each["TargetGroupArn"]: int(each.get("Weight", 1)) for each in groups}


def sticky_seconds(action: Json) -> float | None:
    """For how long a client stays with the target group that it got first, whatever the weights say; or 0.

    None: without an end that is known, as with a network load balancer, where it has no duration.
    """
    config = _stickiness(action)
    if not config:
        return 0.0
    return float(config["DurationSeconds"]) if config.get("DurationSeconds") else None


def _stickiness(action: Json) -> Json:
    """Empty where it is off."""
    config: Json = (action.get("ForwardConfig") or {}).get("TargetGroupStickinessConfig") or {}
    return config if config.get("Enabled") else {}


def short(arn: str) -> str:
    """The name in an ARN of a load balancer or target group, and what else tells it apart."""
    parts = arn.rpartition(":")[2].split("/")
    return parts[1] if parts[0] == "targetgroup" and len(parts) > 1 else "/".join(parts)


def _sent(action: Json) -> Json:
    """What is read of an action holds no secret, which must then be sent as unchanged."""
    oidc = action.get("AuthenticateOidcConfig")
    return {**action, "AuthenticateOidcConfig": {**oidc, "UseExistingClientSecret": True}} if oidc else action
