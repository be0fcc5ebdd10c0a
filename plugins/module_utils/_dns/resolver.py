# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One DNS server, asked for the values of a name. Private to this collection.

Source: RFC 1035 and, for the time that an answer may be kept, RFC 2181 section 8.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass

from .._errors import InvalidError, NotReadyError, UnreachableError
from .._requires import require_dnspython

PORT = 53
TRIES = 2
PATIENCE = 2.0
"""Seconds for one try; a packet may be lost."""

Values = frozenset[t.Any]
"""Of dnspython's Rdata, which compare as DNS does."""

_FORM = re.compile(r"(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?")


@dataclass(frozen=True)
class Answer:
    values: Values
    """Empty: the name has none of that type, or there is no such name."""
    ttl: int
    """Seconds for which the server goes on giving it from its cache; an authoritative one always tells the whole."""

    def told(self) -> str:
        return " and ".join(sorted(value.to_text() for value in self.values)) or "nothing"


@dataclass(frozen=True)
class Resolver:
    address: str
    port: int = PORT

    def __str__(self) -> str:
        if self.port == PORT:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def ask(self, name: str, kind: str) -> Answer:
        """Over UDP, and over TCP where the answer is too long. Raises ``unreachable`` and ``not_ready``."""
        dns = require_dnspython()
        question = dns.message.make_query(name, kind)
        answer = self._answer(dns, question)
        try:
            found = answer.resolve_chaining()
        except dns.exception.DNSException as error:
            raise NotReadyError(f"{self} gives no sense for {name} {kind}: {error}", "an answer") from error
        return Answer(frozenset(found.answer or ()), found.minimum_ttl)

    def _answer(self, dns: t.Any, question: t.Any) -> t.Any:
        why = "it was not asked"
        for _each in range(TRIES):
            try:
                answer, _over_tcp = dns.query.udp_with_fallback(
                    question, self.address, timeout=PATIENCE, port=self.port, ignore_unexpected=True
                )
            except dns.exception.Timeout:
                why = f"no answer within {PATIENCE:g} s, {TRIES} times"
                continue
            except (OSError, EOFError, dns.exception.DNSException) as error:
                why = str(error) or type(error).__name__
                continue
            if answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                return answer
            code = dns.rcode.to_text(answer.rcode())
            raise NotReadyError(f"{self} answers {code}", "an answer", "See whether it serves this client and name")
        raise UnreachableError(f"{self} cannot be asked: {why}", "a DNS server", "See resolvers")


def parse(text: str) -> Resolver:
    """From an address, alone or with a port: C(192.0.2.53:5353), C([2001:db8::53]:5353). Raises ``invalid``."""
    found = _FORM.fullmatch(text)
    host, port = (found[1] or found[2], found[3] or PORT) if found else (text, PORT)
    try:
        resolver = Resolver(str(ipaddress.ip_address(host)), int(port))
    except ValueError as error:
        raise _wrong(text) from error
    if not 0 < resolver.port < 65536:
        raise _wrong(text)
    return resolver


def values_of(kind: str, texts: t.Iterable[str]) -> Values:
    """As an answer would hold them, from the form of a zone file."""
    dns = require_dnspython()
    return frozenset(dns.rdata.from_text("IN", kind, text, origin=dns.name.root, relativize=False) for text in texts)


def _wrong(text: str) -> InvalidError:
    return InvalidError(f"resolver {text} is no address", "an IP address, or one with a port as in 192.0.2.53:5353")
