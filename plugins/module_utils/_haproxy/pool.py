# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of some HAProxy backends: their states and what HAProxy counts. Private to this collection.

Source: HAProxy Management Guide, sections 9.1 "CSV format" and 9.3 "show servers state", "show sess".
"""

from __future__ import annotations

import csv
import re
import typing as t
from dataclasses import dataclass
from operator import itemgetter

from .._errors import MissingError
from .members import Member, Row
from .runtime_api import RuntimeApi

BACKEND_ROW, SERVER_ROW = "1", "2"
WANTED = {
    *("be_id", "be_name", "srv_name", "srv_op_state", "srv_admin_state", "srv_uweight", "srv_iweight"),
    *("srv_agent_state", "srvrecord", "srv_check_state", "srv_check_status"),
    *("pxname", "svname", "type", "bck", "tracked", "last_chk", "mode", "algo", "cookie"),
    *("check_rise", "check_fall", "check_health"),
    *("scur", "qcur", "rate", "stot", "econ", "eresp", "rtime"),
    *("hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other"),
}
"""Of the hundred columns that there are: for a thousand servers the others would cost more than all the rest."""

_NO_SERVER = 2**31 - 1
"""A number that no server has, so that no entry of a table is told, but whether it stores such numbers."""
_SESSION_WORD = re.compile(r"(\w+)=?(\[[^\]]*\]|[^\s\[]*)")


Belongs = t.Callable[[str, str], "str | None"]
"""Backend and server to colour."""


@dataclass(frozen=True)
class Look:
    """What HAProxy says of the backends and their servers at one moment."""

    members: tuple[Member, ...]
    servers: t.Mapping[str, Row]
    """The rows of ``show stat``, by backend and server."""
    backends: t.Mapping[str, Row]

    def of(self, colour: str) -> list[Member]:
        return [member for member in self.members if member.colour == colour]


class Pool:
    """The servers of the backends, read anew at each call."""

    def __init__(self, api: RuntimeApi, backends: t.Iterable[str], belongs: Belongs) -> None:
        self._api = api
        self._belongs = belongs
        self._numbers: dict[str, str] = {}
        self.backends = tuple(dict.fromkeys(backends))

    def look(self) -> Look:
        states, rows = self._states_and_statistics()
        servers = {f"{row['pxname']}/{row['svname']}": row for row in rows if row["type"] == SERVER_ROW}
        return Look(
            tuple(
                Member.of(
                    state,
                    servers.get(f"{state['be_name']}/{state['srv_name']}", {}),
                    self._belongs(state["be_name"], state["srv_name"]),
                )
                for state in states
            ),
            servers,
            {row["pxname"]: row for row in rows if row["type"] == BACKEND_ROW},
        )

    def states(self, backend: str) -> t.Iterator[Member]:
        """The servers of one backend, without what only the statistics tell: a tenth of the work, or less if few of
        them are enough."""
        (answer,) = self._api.ask(f"show servers state {backend}")
        return (Member.of(row, {}, self._belongs(backend, row["srv_name"])) for row in _table(backend, answer, " "))

    def long_lived(self) -> list[tuple[str, str]]:
        """Backend and server of each connection that no answer will end."""
        (answer,) = self._api.ask("show sess")
        sessions = [dict(_SESSION_WORD.findall(line)) for line in answer.splitlines() if line.startswith("0x")]
        return [(session.get("be", ""), session.get("srv", "")) for session in sessions if _only_passes_on(session)]

    def sticky_tables(self) -> list[str]:
        """The stick tables that hold servers, of whatever section: no command tells which backend uses them."""
        (answer,) = self._api.ask("show table")
        names = re.findall(r"^# table: ([^,\s]+)", answer, re.MULTILINE)
        answers = self._api.ask(*(f"show table {name} data.server_id gt {_NO_SERVER}" for name in names))
        return [name for name, answer in zip(names, answers) if answer.startswith("# table:")]

    def is_static(self, member: Member) -> bool:
        """Whether the backend's balance takes no weight at run time but 0 and the configuration's.

        No command tells. But such a backend takes no further server either, and says so before it looks at anything
        else; of a server that is there already, and has no address here, nothing can come.
        """
        (answer,) = self._api.ask(f"add server {member.place}")
        return "dynamic load balancing" in answer

    def _states_and_statistics(self) -> tuple[list[Row], list[Row]]:
        """Of all backends, in one round trip once their numbers are known.

        The statistics are asked for by number: a name would find the frontend of that name, if there is one.
        """
        states = [f"show servers state {backend}" for backend in self.backends]
        if not self._numbers:
            rows = self._parsed(self._api.ask(*states), " ")
            self._numbers = _numbers(rows)
            return rows, self._parsed(self._api.ask(*self._statistics()), ",")
        answers = self._api.ask(*states, *self._statistics())
        rows = self._parsed(answers[: len(states)], " ")
        if _numbers(rows) != self._numbers:
            self._numbers = {}  # another configuration was loaded meanwhile
            return self._states_and_statistics()
        return rows, self._parsed(answers[len(states) :], ",")

    def _statistics(self) -> list[str]:
        return [f"show stat {self._numbers.get(backend, backend)} 6 -1" for backend in self.backends]

    def _parsed(self, answers: t.Sequence[str], separator: str) -> list[Row]:
        return [row for backend, answer in zip(self.backends, answers) for row in _table(backend, answer, separator)]


def _numbers(states: t.Iterable[Row]) -> dict[str, str]:
    return {row["be_name"]: row["be_id"] for row in states}


def _table(backend: str, answer: str, separator: str) -> t.Iterator[Row]:
    _version, mark, text = answer.partition("# ")
    if not mark:
        raise MissingError(
            f"HAProxy has no backend {backend!r} (it answers {answer[:40]!r})",
            "a backend for each colour",
            "Name the backends in the route's haproxy options, or add it to HAProxy's configuration",
        )
    header, _end, body = text.partition("\n")
    names, rows = header.split(separator), csv.reader(body.splitlines(), delimiter=separator)
    places = [place for place, name in enumerate(names) if name in WANTED]
    picked = itemgetter(*places)
    wanted = picked(names)
    for row in rows:
        if len(row) > places[-1]:
            yield dict(zip(wanted, picked(row)))


def _only_passes_on(session: Row) -> bool:
    """No analyser is left in either direction, as after a WebSocket's upgrade; seen on HAProxy 2.6 and 2.8."""
    return all("an=00h" in session.get(direction, "") for direction in ("rq", "rp"))
