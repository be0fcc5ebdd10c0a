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

from .._errors import MissingError
from .._traffic.router import Activity, Counted
from .runtime_api import RuntimeApi

Row = t.Mapping[str, str]

BACKEND_ROW, SERVER_ROW = "1", "2"
OUT_BY_HAND = 0x7B
"""The bits of srv_admin_state that take a server out: maintenance and drain, forced, inherited or by name.

0x04 is not one of them: it only tells that the configuration once said "disabled".
"""

_SESSION_WORD = re.compile(r"(\w+)=?(\[[^\]]*\]|[^\s\[]*)")


@dataclass(frozen=True)
class Server:
    """A row of ``show servers state``."""

    backend: str
    name: str
    is_up: bool
    is_out: bool
    """In maintenance or drain."""
    weight: int

    @classmethod
    def of(cls, row: Row) -> Server:
        return cls(
            backend=row["be_name"],
            name=row["srv_name"],
            is_up=row["srv_op_state"] != "0",
            is_out=bool(int(row["srv_admin_state"]) & OUT_BY_HAND),
            weight=int(row["srv_uweight"]),
        )


class Pool:
    """The servers of the backends, read anew at each call."""

    def __init__(self, api: RuntimeApi, backends: t.Iterable[str]) -> None:
        self._api = api
        self.backends = tuple(dict.fromkeys(backends))

    def servers(self) -> list[Server]:
        return [Server.of(row) for row in self._states()]

    def statistics(self) -> tuple[list[Row], list[Row]]:
        """The rows of ``show stat``: of the servers, and of the backends."""
        # By number: a name would find the frontend of that name, if there is one
        numbers = {row["be_name"]: row["be_id"] for row in self._states()}
        rows = self._rows("show stat {} 6 -1", ",", numbers)
        return [row for row in rows if row["type"] == SERVER_ROW], [row for row in rows if row["type"] == BACKEND_ROW]

    def long_lived(self) -> list[tuple[str, str]]:
        """Backend and server of each connection that no answer will end."""
        (answer,) = self._api.ask("show sess")
        sessions = [dict(_SESSION_WORD.findall(line)) for line in answer.splitlines() if line.startswith("0x")]
        return [(session.get("be", ""), session.get("srv", "")) for session in sessions if _only_passes_on(session)]

    def _states(self) -> list[Row]:
        return self._rows("show servers state {}", " ")

    def _rows(self, command: str, separator: str, numbers: t.Mapping[str, str] | None = None) -> list[Row]:
        named = numbers or {}
        answers = self._api.ask(*(command.format(named.get(backend, backend)) for backend in self.backends))
        return [row for backend, answer in zip(self.backends, answers) for row in _table(backend, answer, separator)]


def activity(servers: t.Sequence[Row], counted: t.Sequence[Row], ready: tuple[str, ...]) -> Activity:
    """``counted``: the rows that hold the counters; ``ready``: how the status of a ready server begins."""
    requests = [_number(row, "stot") for row in counted]
    times = sum(_number(row, "rtime") * many for row, many in zip(counted, requests))
    return Activity(
        members=len(servers),
        ready=sum(row["status"].startswith(ready) for row in servers),
        counted=Counted(
            in_flight=sum(_number(row, "scur") + _number(row, "qcur") for row in counted),
            requests=sum(requests),
            errors=sum(_number(row, "hrsp_5xx") for row in counted),
            latency_ms=times / max(1, sum(requests)),
        ),
    )


def all_out(servers: t.Sequence[Server]) -> bool:
    return bool(servers) and all(server.is_out for server in servers)


def _table(backend: str, answer: str, separator: str) -> list[Row]:
    _version, mark, text = answer.partition("# ")
    if not mark:
        raise MissingError(
            f"HAProxy has no backend {backend!r} (it answers {answer[:40]!r})",
            "a backend for each colour",
            "Name the backends in the route's haproxy options, or add it to HAProxy's configuration",
        )
    return list(csv.DictReader(text.splitlines(), delimiter=separator))


def _only_passes_on(session: Row) -> bool:
    """No analyser is left in either direction, as after a WebSocket's upgrade; seen on HAProxy 2.6 and 2.8."""
    return all("an=00h" in session.get(direction, "") for direction in ("rq", "rp"))


def _number(row: Row, column: str) -> int:
    return int(row.get(column) or 0)
