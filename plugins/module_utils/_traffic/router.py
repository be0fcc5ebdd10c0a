# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the switch engine needs of a route, whatever its provider. Private to this collection."""

from __future__ import annotations

import abc
import typing as t
from dataclasses import dataclass

from .split import Split


@dataclass(frozen=True)
class Capabilities:
    """What a provider can do, declared, so that it is refused before anything is touched."""

    finest_step: int
    """The smallest share it can hold, in units of 0.01 %."""
    sticky: bool
    """A client that has seen a colour stays on it while the share grows."""
    counts_connections: bool
    """It knows how many requests and connections are in flight for each colour."""
    survives_reload: bool
    """The split is kept when the load balancer reloads or restarts."""


@dataclass(frozen=True)
class Counted:
    """What a load balancer counts for one colour."""

    in_flight: int
    """Requests and connections open or queued now, long-lived ones included."""
    requests: int
    """Requests sent to the colour since the load balancer started."""
    errors: int
    """Answers with status 5xx since the load balancer started, those that it gave itself in the colour's stead
    included; where it knows no answers, connections that failed."""
    latency_ms: float | None
    """Mean response time of the latest requests (HAProxy: the last 1024), in milliseconds. None: it cannot tell."""
    answers: int | None = None
    """Of which ``errors`` are a part. None: as many as requests."""

    @property
    def answered(self) -> int:
        return self.requests if self.answers is None else self.answers


@dataclass(frozen=True)
class Activity:
    """What the load balancer itself knows of one colour."""

    members: int
    ready: int
    """Members that would be given a request now."""
    counted: Counted | None = None
    """None: the provider does not count."""
    unready: tuple[str, ...] = ()
    """Why members are not ready, a sentence for each of the first few, where the provider knows."""
    gaps: tuple[str, ...] = ()
    """Where too few of them are ready for the colour to serve, such as an availability zone, a sentence each."""
    unchecked: int = 0
    """Of the ready ones, those whose health nothing checks: dead or alive, they would be given requests."""


class Router(abc.ABC):
    """One route. Knows its provider, not Ansible.

    ``Split`` is what it reads and applies; planning, comparing, waiting and undoing belong to ``switch``.
    Each method raises a ``BlueGreenError`` when it cannot do its work.
    """

    capabilities: t.ClassVar[Capabilities]
    caches_answers: t.ClassVar[bool] = False
    """Whoever asks anew may be led to the colour that was lowered, too, by an answer that somebody keeps, as with DNS;
    otherwise only those who were there before."""
    home = False
    """What is applied is the way home: clients that would stay with a colour are to leave it, too."""
    forced = False
    """The user wants the change whatever is not ready, so that nothing is refused which may be mended later."""

    @abc.abstractmethod
    def read(self) -> Split | None:
        """What clients would get now. None: nobody serves, a state like any other, which ``apply`` leads out of."""

    @abc.abstractmethod
    def drift(self) -> tuple[str, ...]:
        """Places that should say the same and do not, a sentence each; nothing is guessed."""

    @abc.abstractmethod
    def check(self, wanted: Split) -> None:
        """Refuse, having changed nothing, when this route cannot be written or cannot hold ``wanted``, or when a
        colour would get traffic and could not serve it."""

    def rehearse(self, wanted: Split) -> None:
        """Try the change that ``apply`` would make, where the provider can try one without making it.

        Else to look as ``check`` does is all that can be tried.
        """
        self.check(wanted)

    @abc.abstractmethod
    def apply(self, wanted: Split, expected: Split | None, live: str | None = None) -> None:
        """Put ``wanted`` in force, in one atomic call where the provider has one.

        Refuses with ``conflict``, and changes nothing, when the split in force is not ``expected``.
        ``live`` is the colour that is to be the live one while both take traffic, where the provider knows one.
        """

    @abc.abstractmethod
    def verify(self, wanted: Split) -> bool | None:
        """Is ``wanted`` really in force? None: cannot tell."""

    @abc.abstractmethod
    def by_hand(self, wanted: Split) -> str:
        """The shell command that puts ``wanted`` in force by hand, on the host that this runs on."""

    @abc.abstractmethod
    def observe(self) -> dict[str, Activity] | None:
        """What the load balancer knows of each colour. None: nothing."""

    @abc.abstractmethod
    def long_lived(self) -> dict[str, int] | None:
        """Open connections of each colour that no answer will end, such as WebSockets. None: cannot tell."""

    def as_left(self) -> bool | None:
        """Whether all that the last ``apply`` of this router wrote still stands, whatever the split has become by
        itself, as when a member died. None: cannot tell, or nothing was written."""
        return None

    def changed_by_itself(self, since: float) -> str | None:
        """Why the split may have changed after ``since`` (seconds since the epoch) without anybody's move, such as a
        load balancer that started anew without its state. None: no such thing is known."""
        return None

    def lingers(self, before: Split | None, after: Split) -> float | None:
        """Seconds after a change during which clients may still reach the colour that was lowered, as they hold on
        to what they were told before. None: cannot tell."""
        return None

    def leads_to(self, colour: str) -> tuple[str, ...]:
        """Who else may still send clients to the colour, such as a DNS resolver that keeps an old answer, a sentence
        each; one that was to be asked and gave no answer counts. Empty: nobody, or nobody was to be asked."""
        return ()

    def caveats(self, wanted: Split) -> tuple[str, ...]:
        """What will be otherwise than somebody may expect when the split is in force, a sentence each."""
        return ()

    def shown(self, split: Split) -> dict[str, t.Any]:
        """What the provider holds when the split is in force, for a diff. Contacts nobody."""
        return split.percents()

    def live(self) -> str | None:
        """The colour that serves: the one a release started from while a canary is out. None: even shares."""
        split = self.read()
        return split.leader if split else None


@dataclass(frozen=True)
class Provider:
    """A kind of route: the argument spec of its dict, and how to make its router from one.

    ``build`` gets the two colours and the validated dict, and contacts nobody.
    """

    name: str
    spec: dict[str, t.Any]
    build: t.Callable[[tuple[str, str], t.Mapping[str, t.Any]], Router]
