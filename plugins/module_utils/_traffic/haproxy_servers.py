# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers way of the HAProxy provider. Private to this collection."""

from __future__ import annotations

import re
import typing as t

from .._errors import (
    InvalidError,
    MissingError,
    NotReadyError,
    UnsupportedError,
)
from .._haproxy import counts, plan, sentences, trial, weighing
from .._haproxy.change import Change
from .._haproxy.frontend import Taken, reached
from .._haproxy.members import DISABLED, DRAIN, MAINT, RUNNING, Member, carried, serving
from .._haproxy.pool import Look
from .._haproxy.sharing import HEAVIEST
from .haproxy_base import HAProxyRouter, by_hand
from .router import Activity, Capabilities
from .split import WHOLE, Split, describe, moved


class HAProxyServers(HAProxyRouter):
    """For a configuration that we did not write: servers are raised and lowered.

    Two backends, of which the configuration takes the one that has servers; or one backend whose servers
    belong to the colours by a pattern.
    """

    capabilities = Capabilities(finest_step=100, sticky=False, counts_connections=True, survives_reload=False)

    def __init__(self, colours: tuple[str, str], options: t.Mapping[str, t.Any]) -> None:
        one, two = options["backend"], options["backends"]
        if bool(one) == bool(two):
            raise InvalidError("way: servers has both or none of backend and backends", "one of them")
        self._patterns = _patterns(colours, options["servers"]) if one else None
        super().__init__(colours, options, two or dict.fromkeys(colours, one))
        self._change = Change(self._api, self._look, self._timeout)
        self._lower_with: str = options["lower_with"]
        self._found: Look | None = None
        """What was there before the first change."""
        self._last: Look | None = None
        self._ignore_dns: bool = options["ignore_weight"]
        self._taken: Taken | None = None
        self._after: Look | None = None
        """What there was right after the last change, where a request could tell more."""
        self._left: list[Member] = []
        """The members as the last change was to make them."""

    def read(self) -> Split | None:
        return self._split(self._look().members)

    def drift(self) -> tuple[str, ...]:
        look = self._look()
        found = [] if self.home else [sentences.foreign(look.members), sentences.failed_over(look.members)]
        split = self._split(look.members)
        if not self._patterns and split and 0 < split.first_share < WHOLE:
            idle = " ".join(f"set server {m.place} state {self._lower_with};" for m in look.of(self._colours[1])[:2])
            found.append(
                f"the servers of both {' and '.join(self._pool.backends)} take traffic, and the frontend's rules "
                f"decide between them: take out those of the idle colour first (if that is {self._colours[1]}: {idle})"
            )
        return tuple(sentence for sentence in found if sentence)

    def check(self, wanted: Split) -> None:
        self._check_rights()
        look = self._look()
        self._check_options(look, wanted)
        after = self._planned(look.members, wanted)
        self._check_ready(wanted, after)
        self._check_shares(wanted, after, look)

    def apply(self, wanted: Split, expected: Split | None, live: str | None = None) -> None:
        look = self._look()
        found = self._split(look.members)
        if found != expected:
            raise moved(found, expected)
        self._found = self._found or look
        after = self._planned(look.members, wanted)
        look, after = self._tried(look, after, wanted, expected)
        steps = plan.steps(look.members, after, self._shares(wanted))
        self._left = plan.halfway(look.members, after, self._shares(wanted))
        self._change.tell(*steps.weigh)
        self._change.tell(*steps.raise_)
        if steps.lower:
            self._prove(wanted, look)
            self._change.tell(*steps.lower)
        self._left = after
        self._after = self._look() if steps.lower or not self._patterns else None
        self._taken = Taken(self._after, self._backends) if self._after and not self._patterns else None

    def verify(self, wanted: Split) -> bool | None:
        look = self._look()
        if self._split(look.members) != wanted:
            return False
        chosen = serving(look.members)
        raised = [colour for colour in self._colours if wanted.share(colour)]
        down = [colour for colour in raised if not any(m.is_up for m in chosen if m.colour == colour)]
        if down:
            return None if self.forced or self.home or all(self._was_down(c, wanted) for c in down) else False
        if wanted.leader and all(m.awaits_check for m in chosen if m.is_up and m.colour == wanted.leader):
            return None
        if self._taken and wanted.leader and self._taken.looked(self._look, wanted.leader) is None:
            return None
        return None if self._may_differ(wanted, look) else True

    def as_left(self) -> bool | None:
        now = {member.place: member for member in self._look().members}
        ours = [member for member in self._left if member.colour and not member.has_agent]
        return all(plan.is_as_told(now.get(m.place), m) for m in ours) if ours else None

    def by_hand(self, wanted: Split) -> str:
        look = self._last or self._look()
        steps = plan.steps(look.members, self._planned(look.members, wanted), self._shares(wanted))
        return by_hand(self._socket, ["prompt", *steps.weigh, *steps.raise_, *steps.lower, "quit"])

    def observe(self) -> dict[str, Activity] | None:
        look = self._look()
        split = self._split(look.members)
        return {colour: self._activity(colour, look, split) for colour in self._colours}

    def caveats(self, wanted: Split) -> tuple[str, ...]:
        whole = wanted.first_share in (0, WHOLE)
        return (sentences.STICKS,) if whole and self._may_stick(wanted, self._look()) else ()

    # --- What is there ------------------------------------------------------------------------------------

    def _look(self) -> Look:
        self._last = super()._look()
        return self._last

    def _colour_of(self, backend: str, server: str) -> str | None:
        mine = [c for c in self._colours if self._belongs(c, backend, server)]
        return mine[0] if mine else None

    def _belongs(self, colour: str, backend: str, server: str) -> bool:
        if backend != self._backends[colour]:
            return False
        return not self._patterns or self._patterns[colour].fullmatch(server) is not None

    def _split(self, members: t.Sequence[Member]) -> Split | None:
        """None: nobody serves."""
        chosen = serving(members)
        first, second = (carried(chosen, colour) for colour in self._colours)
        if not first + second:
            return None
        step = self.capabilities.finest_step
        share = step * round(WHOLE / step * first / (first + second))
        return Split(*self._colours, min(max(share, bool(first)), WHOLE - bool(second)))

    def _activity(self, colour: str, look: Look, split: Split | None) -> Activity:
        """Ready are those that would be given a request now, or once the colour is raised."""
        members = look.of(colour)
        mine = {member.place for member in plan.ours(members, self._lower_with)}
        opened = {member.place: member for member in plan.raised(members, self._wish({colour: 1.0}))}
        able = {place for place in mine if opened[place].takes and opened[place].is_up}
        unready = [member for member in members if member.place not in able]
        return Activity(
            members=len(members),
            ready=len(able),
            counted=counts.of_servers(
                [look.servers[member.place] for member in members],
                [*look.servers.values()],
                [*look.backends.values()],
                alone=bool(split and split.share(colour) == WHOLE),
            ),
            unready=tuple((m if m.place not in mine else opened[m.place]).why_not() for m in unready[:3]),
            unchecked=sum(not member.is_known for member in members if member.place in able),
        )

    def _is_as_configured(self) -> bool:
        return all(
            member.weight == member.initial
            and not member.admin & DRAIN
            and bool(member.admin & MAINT) <= bool(member.admin & DISABLED)
            for member in self._look().members
            if member.colour
        )

    # --- What is to be ------------------------------------------------------------------------------------

    def _wish(self, shares: t.Mapping[str, float]) -> plan.Wish:
        return plan.Wish(shares, self._lower_with, self.forced)

    def _shares(self, wanted: Split) -> dict[str, float]:
        return {colour: wanted.share(colour) / WHOLE for colour in self._colours}

    def _planned(self, members: t.Sequence[Member], wanted: Split) -> list[Member]:
        """The way back restores what was found, also what does not show in the split."""
        wish = self._wish(self._shares(wanted))
        if self.home and self._found and self._split(self._found.members) == wanted:
            back = plan.restored(members, self._found.members, wish)
            if self._split(back) == wanted:
                return back
        after = plan.planned(members, wish)
        if after is None:
            many = " and ".join(str(len(plan.of(colour, members))) for colour in self._colours)
            raise UnsupportedError(
                f"no weights from 1 to {HEAVIEST} hold {wanted} over {many} servers",
                "a split that they can",
                "Take a larger share, or use way: map",
            )
        return after

    def _check_options(self, look: Look, wanted: Split) -> None:
        shared = [m.name for m in look.members if all(self._belongs(c, m.backend, m.name) for c in self._colours)]
        if shared:
            raise InvalidError(f"server {shared[0]!r} matches the patterns of both colours", "one of them")
        for colour in self._colours:
            if not look.of(colour):
                raise MissingError(
                    f"no server of {self._backends[colour]} belongs to {colour}",
                    "at least one",
                    "Correct the backend or the pattern of its servers",
                )
        if not self._patterns and 0 < wanted.first_share < WHOLE:
            raise UnsupportedError(
                f"two backends cannot hold the split {wanted}",
                "100 % for one colour",
                "Set bluegreen_canary_steps to [] and move all of it at once, or use way: map, or one backend with the "
                "servers of both colours",
            )

    def _check_ready(self, wanted: Split, after: t.Sequence[Member]) -> None:
        for colour in self._colours:
            mine = plan.of(colour, after)
            if wanted.share(colour) and not self.forced and not any(m.takes for m in mine):
                raise NotReadyError(
                    f"{colour} has {len(mine)} members and none can take traffic "
                    f"({'; '.join(member.why_not() for member in mine[:3])})",
                    "at least one",
                    "Take one out of maintenance with HAProxy's 'set server', or mend what keeps it out, "
                    "or set force to raise those in maintenance, too",
                )

    def _check_shares(self, wanted: Split, after: t.Sequence[Member], look: Look) -> None:
        """Whether HAProxy will do with the planned weights and states what is wanted."""
        foreign = "" if self.home else sentences.foreign(after)
        if foreign:
            raise UnsupportedError(
                foreign,
                f"servers of {' or '.join(self._colours)} only, as any share would be untrue",
                "Correct the patterns of the servers, or take them out of the backend",
            )
        split = self._split(after)
        whole = wanted.first_share in (0, WHOLE)
        if split != wanted and not (self.forced and whole):
            raise UnsupportedError(
                f"HAProxy would make it {describe(split)}{sentences.because_of_backups(after)}",
                f"{wanted}",
                "Move all of the traffic at once, or see that the servers of both colours are of one kind",
            )
        algorithms = {row.get("algo", "") for row in look.backends.values()} & {"static-rr", "first"}
        if algorithms and not whole:
            raise UnsupportedError(
                f"the backend has 'balance {algorithms.pop()}', which knows no weights at run time",
                "one such as roundrobin",
                "Move all of the traffic at once, or change the balance",
            )
        if not (self.home or (self.forced and whole)):
            weighing.check(look.members, after, self._pool.is_static, ignore_dns=self._ignore_dns, whole=whole)

    # --- Doing it -----------------------------------------------------------------------------------------

    def _tried(
        self, look: Look, after: list[Member], wanted: Split, expected: Split | None
    ) -> tuple[Look, list[Member]]:
        """Let those that come out of maintenance be checked first, unless there is nothing to lose by haste.

        Not with two backends: a frontend that asks C(srv_is_up) would take one whose server has weight 0.
        """
        entrants = trial.entrants(look.members, after) if self._patterns else []
        if not entrants or expected is None or self.home or self.forced:
            return look, after
        look = self._change.try_out(entrants)
        found = self._split(look.members)
        conflict = moved(found, expected) if found != expected else trial.interrupted(entrants, look.members)
        if conflict:
            self._change.tell(*trial.end(entrants))
            raise conflict
        return look, self._planned(trial.as_before(entrants, look.members), wanted)

    def _prove(self, wanted: Split, before: Look) -> None:
        """Never lower those that serve before HAProxy itself would send a request to the others.

        On the way home those that serve may be bad: nobody waits there for others to come up.
        """
        lowered = [colour for colour in self._colours if not wanted.share(colour)]
        nothing_to_lose = not any(m.is_up for m in serving(before.members) if m.colour in lowered)
        if self.forced or nothing_to_lose:
            return  # it may still come up
        raised = [c for c in self._colours if wanted.share(c) and not self._was_down(c, wanted)]
        self._change.prove(raised, patient=not self.home)
        if not (self._patterns or self.home):
            self._change.let_queues_pass([self._backends[colour] for colour in lowered])

    def _was_down(self, colour: str, wanted: Split) -> bool:
        """Whether this leads back to what was found, and none of the colour was up then either."""
        if self._found is None or self._split(self._found.members) != wanted:
            return False
        return not any(m.is_up for m in serving(self._found.members) if m.colour == colour)

    def _may_differ(self, wanted: Split, look: Look) -> bool:
        """Whether clients may get something else than the split says, or are seen to."""
        members = look.members
        shared = 0 < wanted.first_share < WHOLE
        by_weight = _by_weight(look) and all(member.op == RUNNING for member in serving(members))
        agents = any(member.has_agent for member in members if member.colour)
        if sentences.foreign(members) or agents or (shared and not by_weight):
            return True
        return self._may_stick(wanted, look) or self._is_reached(wanted, look)

    def _may_stick(self, wanted: Split, look: Look) -> bool:
        """Whether clients may be led elsewhere by a cookie or a stick table, which pass over drain and weights."""
        if self._lower_with == "maint" and wanted.first_share in (0, WHOLE):
            return False
        return any(row.get("cookie") for row in look.backends.values()) or bool(self._pool.sticky_tables())

    def _is_reached(self, wanted: Split, look: Look) -> bool:
        """Whether clients are seen to be led to the colour that has none of the traffic."""
        lowered = [member.place for member in look.members if member.colour and not wanted.share(member.colour)]
        return bool(self._patterns and self._after and lowered and reached(self._after, look, self._look, lowered))


def _by_weight(look: Look) -> bool:
    return all(row.get("algo") == "roundrobin" for row in look.backends.values())


def _patterns(colours: tuple[str, str], given: t.Mapping[str, str] | None) -> dict[str, re.Pattern[str]]:
    given = given or {}
    missing = [colour for colour in colours if not given.get(colour) or not isinstance(given[colour], str)]
    if missing:
        raise InvalidError(f"there is no pattern for the servers of {missing[0]}", "servers: a pattern for each colour")
    try:
        return {colour: re.compile(given[colour]) for colour in colours}
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidError(f"a pattern of servers does not parse: {error}", "a regular expression") from error
