# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What DNS resolvers make of a name's record sets. Private to this collection."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor

from .._dns.resolver import Resolver, Values, parse, values_of
from .._errors import NotReadyError, UnreachableError
from .._requires import require_dnspython
from .client import Json
from .records import plain


class Resolvers:
    """Those that the user names, asked all at once."""

    def __init__(self, texts: t.Sequence[str]) -> None:
        """Asks nobody. Raises ``invalid``."""
        self._all = [parse(text) for text in texts]

    def check(self) -> None:
        """Raises ``missing`` before anything is changed, if they could not be asked afterwards."""
        if self._all:
            require_dnspython()

    def leading_to(self, record: Json, other: Json) -> tuple[str, ...]:
        """Why each that does may still send clients to a record set, and not only to the other one, a sentence each."""
        return self._each(lambda resolver: _leading(resolver, record, other))

    def keeping(self, record: Json, ttl: int) -> tuple[str, ...]:
        """Who keeps an answer for more than the seconds, a sentence each."""
        return self._each(lambda resolver: _keeping(resolver, record, ttl))

    def _each(self, look: t.Callable[[Resolver], str]) -> tuple[str, ...]:
        def told(resolver: Resolver) -> str:
            try:
                return look(resolver)
            except (NotReadyError, UnreachableError) as error:
                return error.found

        with ThreadPoolExecutor(max(1, len(self._all))) as pool:
            return tuple(sentence for sentence in pool.map(told, self._all) if sentence)


def _leading(resolver: Resolver, record: Json, other: Json) -> str:
    name, kind = plain(record["Name"]), record["Type"]
    answer = resolver.ask(name, kind)
    if answer.values & _values(resolver, record):
        return f"{resolver} gives {name} {kind} {answer.told()}, for {answer.ttl} s more"
    if answer.values & _values(resolver, other):
        return ""
    return f"{resolver} gives {name} {kind} {answer.told()}, which is of neither colour"


def _keeping(resolver: Resolver, record: Json, ttl: int) -> str:
    name, kind = plain(record["Name"]), record["Type"]
    answer = resolver.ask(name, kind)
    return f"{resolver} keeps {name} {kind} for {answer.ttl} s" if answer.ttl > ttl else ""


def _values(resolver: Resolver, record: Json) -> Values:
    """An alias has those that its target has now."""
    if "AliasTarget" in record:
        return resolver.ask(plain(record["AliasTarget"]["DNSName"]), record["Type"]).values
    return values_of(record["Type"], (each["Value"] for each in record["ResourceRecords"]))
