# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kubernetes_workers provider: Deployments without a Service, by their pods. Private to this collection.

Workers fetch their work, from a queue for instance: the colour that has pods has the work.
Source: kubernetes.io/docs/concepts/workloads/controllers/deployment, "Scaling a Deployment" and "Deployment status".
"""

from __future__ import annotations

import typing as t

from .._errors import ConflictError, DriftError, InvalidError, NotReadyError, TimeLimitError, UnsupportedError
from .._kubernetes.client import connect_in
from .._kubernetes.deployments import LIVE, Deployment, State, Wanted
from .._kubernetes.kubectl import patch_command
from .router import Activity, Capabilities, Router
from .split import WHOLE, Split, describe

LOOK = 5.0
"""Seconds that one look at a Deployment lasts."""

MEANWHILE = "They have changed since they were read, by somebody else or by an autoscaler"


class KubernetesWorkers(Router):
    """The new colour's pods are started and ready before the old one's are stopped."""

    capabilities = Capabilities(finest_step=WHOLE, sticky=False, counts_connections=False, survives_reload=True)

    def __init__(self, colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> None:
        names = options["deployments"]
        unnamed = [colour for colour in colours if not isinstance(names.get(colour), str)]
        if unnamed or len(set(names.values())) != len(colours):
            raise InvalidError(f"deployments is {names}", f"a Deployment for {' and '.join(colours)}")
        if options["replicas"] is not None and options["replicas"] < 1:
            raise InvalidError(f"replicas is {options['replicas']}", "1 or more")
        client, options = connect_in(options)
        self._colours, self._options = colours, options
        self._deployments = {colour: Deployment(client, options["namespace"], names[colour]) for colour in colours}
        self._states: dict[str, State] = {}

    def read(self) -> Split | None:
        self._states = {colour: each.read() for colour, each in self._deployments.items()}
        return self._split()

    def drift(self) -> tuple[str, ...]:
        return ()

    def check(self, wanted: Split) -> None:
        """What an autoscaler would change again is refused."""
        self.read()
        for colour, replicas in self._steps(wanted):
            self._deployments[colour].plan(Wanted(replicas))

    def rehearse(self, wanted: Split) -> None:
        for colour, replicas in self._steps(wanted):
            self._scale(colour, replicas, live=colour == wanted.leader, dry_run=True)

    def apply(self, wanted: Split, expected: Split | None, live: str | None = None) -> None:
        if not self._states:
            self.read()
        if self._split() != expected:
            raise ConflictError(f"the split is {describe(self._split())}", describe(expected), MEANWHILE)
        (raised, many), (lowered, none) = self._steps(wanted)
        self._scale(raised, many, live=True)
        self._wait(raised)
        try:
            self._scale(lowered, none, live=False)
        except ConflictError as error:  # the other one is raised already, and is to be put back
            raise DriftError(error.found, error.expected, MEANWHILE) from error

    def verify(self, wanted: Split) -> bool | None:
        """As many pods as there are to be, ready, and none of the other colour but those that are leaving.

        Their controllers are given a short while.
        """
        return self.read() == wanted and all(each.completes(LOOK) for each in self._deployments.values())

    def by_hand(self, wanted: Split) -> str:
        return " && ".join(
            patch_command(self._options, "deployment", self._deployments[colour].name, {"spec": {"replicas": replicas}})
            for colour, replicas in self._steps(wanted)
        )

    def shown(self, split: Split) -> dict[str, t.Any]:
        return {self._deployments[colour].name: {"replicas": replicas} for colour, replicas in self._steps(split)}

    def observe(self) -> dict[str, Activity] | None:
        """The idle colour has no pods before it is switched to: ``apply`` waits until they are ready."""
        return None

    def long_lived(self) -> dict[str, int] | None:
        return None

    def _split(self) -> Split | None:
        """By the pods that each colour is to have. Both have some only while a change is half made.

        Where something else gives them their number, as by the length of a queue, and neither has any, the mark counts.
        """
        first, second = (self._states[colour].replicas for colour in self._colours)
        if first + second:
            return Split.of_weights(self._colours, first, second)
        marked = self._marked()
        return Split.only(self._colours, marked) if marked and not self._options["replicas"] else None

    def _marked(self) -> str | None:
        """The colour that alone is marked as the live one."""
        marked = [colour for colour, each in self._deployments.items() if each.is_marked]
        return marked[0] if len(marked) == 1 else None

    def _steps(self, wanted: Split) -> tuple[tuple[str, int], tuple[str, int]]:
        """Who is to have how many pods, in the order in which that is done."""
        if wanted.leader is None or wanted.share(wanted.leader) != WHOLE:
            raise UnsupportedError(f"workers cannot hold the split {wanted}", "100 % for one colour")
        many = self._options["replicas"] or max(state.replicas for state in self._states.values())
        if not many and not any(each.is_marked for each in self._deployments.values()):
            names = " and ".join(each.name for each in self._deployments.values())
            raise InvalidError(
                f"{names} have 0 replicas each, and neither is marked as the live one",
                "replicas to say how many are to work, or the mark",
                f"Where something else scales them: kubectl annotate deployment <the live one> {LIVE}=true",
            )
        return (wanted.leader, many), (wanted.other(wanted.leader), 0)

    def _scale(self, colour: str, replicas: int, live: bool, dry_run: bool = False) -> None:
        before = self._states[colour]
        after = State(replicas, before.images)
        self._deployments[colour].change(after, dry_run, live)
        if not dry_run:
            self._states[colour] = after

    def _wait(self, colour: str) -> None:
        try:
            self._deployments[colour].wait(self._options["wait_timeout"])
        except TimeLimitError as error:
            raise NotReadyError(error.found, error.expected, error.todo) from error
