# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from plugins.module_utils._haproxy import sentences
from plugins.module_utils._haproxy.members import STOPPED, Member


def some(many: int, colour: str | None = None, **changes: bool) -> list[Member]:
    return [Member("shop", f"s{number}", colour, **changes) for number in range(1, many + 1)]  # type: ignore[arg-type]


def test_more_than_a_few_are_not_named() -> None:
    assert sentences.names(some(3)) == "s1, s2, s3"
    assert sentences.names(some(9)) == "s1, s2, s3 and 6 more"


def test_servers_of_neither_colour_are_named_where_they_take_traffic() -> None:
    assert sentences.foreign([*some(1), *some(1, "blue")]).startswith("s1 of the backend take traffic")
    assert not sentences.foreign(some(2, "blue"))


def test_a_fail_over_is_told_with_its_reason() -> None:
    down = Member("shop", "blue1", "blue", op=STOPPED)
    spare = Member("shop", "green1", "green", backup=True)
    assert sentences.failed_over([down, spare]).startswith("blue1 is down, and HAProxy has gone over to backup servers")
    assert not sentences.failed_over([spare])


def test_backup_servers_are_a_reason() -> None:
    assert sentences.because_of_backups(some(1, "blue", backup=True)).startswith(": s1 are backup servers")
    assert not sentences.because_of_backups(some(1, "blue"))
