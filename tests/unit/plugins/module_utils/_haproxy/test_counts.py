# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from plugins.module_utils._errors import UnsupportedError
from plugins.module_utils._haproxy.counts import of_backend, of_servers
from plugins.module_utils._traffic.router import Counted


def row(mode: str = "http", **counted: int) -> dict[str, str]:
    columns = ("scur", "qcur", "stot", "econ", "eresp")
    http = ("hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other", "rtime")
    known = {**dict.fromkeys(columns, 0), **(dict.fromkeys(http, 0) if mode == "http" else {}), **counted}
    return {**dict.fromkeys(http, ""), **{name: str(number) for name, number in known.items()}, "mode": mode}


FINE = row(stot=30, hrsp_2xx=27, hrsp_4xx=2, hrsp_5xx=1, rtime=10, scur=1, qcur=2)
SLOW = row(stot=10, hrsp_2xx=10, rtime=50)
GONE = row(stot=20, econ=15, eresp=2, hrsp_2xx=3)


def test_of_servers_that_answer_all_is_what_they_count() -> None:
    backend = row(stot=40, hrsp_2xx=37, hrsp_4xx=2, hrsp_5xx=1)
    assert of_servers([FINE, SLOW], [FINE, SLOW], [backend], alone=True) == Counted(3, 40, 1, 20.0, 40)


def test_what_haproxy_answers_itself_belongs_to_the_colour_that_has_the_traffic() -> None:
    backend = row(hrsp_2xx=40, hrsp_5xx=101, econ=100)
    assert of_servers([FINE], [FINE, SLOW], [backend], alone=True) == Counted(3, 30, 101, 10.0, 130)
    assert of_servers([SLOW], [FINE, SLOW], [backend], alone=False) == Counted(0, 10, 0, 50.0, 10)


def test_in_a_canary_it_belongs_to_those_whose_connections_broke() -> None:
    backend = row(hrsp_2xx=30, hrsp_5xx=1 + 17)
    mine = of_servers([GONE], [FINE, GONE], [backend], alone=False)
    assert (mine.errors, mine.answered) == (17, 20)
    assert of_servers([FINE], [FINE, GONE], [backend], alone=False).errors == 1


def test_in_tcp_mode_connections_that_fail_are_the_errors_and_times_are_not_known() -> None:
    mine, other = row("tcp", stot=50, econ=4, eresp=1), row("tcp", stot=9)
    backend = row("tcp", stot=89, econ=34)
    assert of_servers([mine], [mine, other], [backend], alone=True) == Counted(0, 50, 35, None, 80)
    assert of_servers([mine], [mine, other], [backend], alone=False) == Counted(0, 50, 5, None, 50)


def test_a_backend_of_its_own_counts_all() -> None:
    assert of_backend(row(stot=12, hrsp_2xx=4, hrsp_5xx=8, rtime=3)) == Counted(0, 12, 8, 3.0, 12)
    assert of_backend(row("tcp", stot=12, econ=8, eresp=1)) == Counted(0, 12, 9, None, 12)


@pytest.mark.parametrize("mode", ["http", "tcp"])
@pytest.mark.parametrize("alone", [True, False])
def test_there_are_never_more_errors_than_answers(mode: str, alone: bool) -> None:
    """Whatever was counted between two rows of one answer."""
    rows = row(mode, stot=3, econ=9, eresp=9)
    seen = of_servers([rows], [rows], [row(mode, econ=20, **({"hrsp_5xx": 30} if mode == "http" else {}))], alone)
    assert seen.errors <= seen.answered


def test_what_is_not_counted_is_not_0() -> None:
    empty = {**row(), "hrsp_5xx": ""}
    with pytest.raises(UnsupportedError):
        of_servers([empty], [empty], [row()], alone=True)
    with pytest.raises(UnsupportedError):
        of_backend({**row("tcp"), "econ": ""})


def test_a_colour_without_servers_has_done_nothing() -> None:
    assert of_servers([], [], [row()], alone=False) == Counted(0, 0, 0, 0.0, 0)
