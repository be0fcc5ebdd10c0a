# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What HAProxy counts for a colour, its own answers among them. Private to this collection.

An answer that HAProxy itself gives, such as a 503 where no server takes the connection, is counted for the backend
and for no server of it. Source: HAProxy Management Guide, section 9.1 "CSV format".
"""

from __future__ import annotations

import typing as t

from .._errors import UnsupportedError
from .._traffic.router import Counted
from .members import Row

_ANSWERS = ("hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other")
_BROKEN = ("econ", "eresp")
"""Connections that failed, and answers that never came or were none."""


def of_backend(row: Row) -> Counted:
    """Of a colour that has the backend to itself."""
    if _is_http(row):
        return _counted([row], _sum(row, _ANSWERS), _number(row, "hrsp_5xx"))
    return _counted([row], _number(row, "stot"), min(_number(row, "stot"), _sum(row, _BROKEN)))


def of_servers(mine: t.Sequence[Row], servers: t.Sequence[Row], backends: t.Sequence[Row], alone: bool) -> Counted:
    """Of a colour among all servers of the backends.

    ``alone``: it is meant to have all the traffic, so that whatever no server did is its own.
    """
    count = _http if all(_is_http(row) for row in backends) else _tcp
    answers, errors = count(mine, servers, backends, alone)
    return _counted(mine, answers, errors)


def _http(mine: t.Sequence[Row], servers: t.Sequence[Row], backends: t.Sequence[Row], alone: bool) -> tuple[int, int]:
    by_haproxy = _beyond("hrsp_5xx", servers, backends)
    if not alone:
        by_haproxy = min(by_haproxy, sum(_sum(row, _BROKEN) for row in mine))
    answers = sum(_sum(row, _ANSWERS) for row in mine) + by_haproxy
    return answers, sum(_number(row, "hrsp_5xx") for row in mine) + by_haproxy


def _tcp(mine: t.Sequence[Row], servers: t.Sequence[Row], backends: t.Sequence[Row], alone: bool) -> tuple[int, int]:
    nowhere = _beyond("econ", servers, backends) if alone else 0
    total = sum(_number(row, "stot") for row in mine) + nowhere
    return total, min(total, sum(_sum(row, _BROKEN) for row in mine) + nowhere)


def _beyond(column: str, servers: t.Sequence[Row], backends: t.Sequence[Row]) -> int:
    """What is counted for the backends and for no server of theirs."""
    return max(0, sum(_number(row, column) for row in backends) - sum(_number(row, column) for row in servers))


def _counted(rows: t.Sequence[Row], answers: int, errors: int) -> Counted:
    requests = [_number(row, "stot") for row in rows]
    times = [_number(row, "rtime") * many for row, many in zip(rows, requests) if _is_http(row)]
    return Counted(
        in_flight=sum(_number(row, "scur") + _number(row, "qcur") for row in rows),
        requests=sum(requests),
        errors=errors,
        latency_ms=sum(times) / max(1, sum(requests)) if len(times) == len(rows) else None,
        answers=answers,
    )


def _is_http(row: Row) -> bool:
    return row.get("mode") != "tcp"


def _sum(row: Row, columns: t.Iterable[str]) -> int:
    return sum(_number(row, column) for column in columns)


def _number(row: Row, column: str) -> int:
    value = row.get(column)
    if not value:
        raise UnsupportedError(
            f"HAProxy counts no {column} for {row.get('pxname')}/{row.get('svname')}",
            "a number",
            "Watch the app itself",
        )
    return int(value)
