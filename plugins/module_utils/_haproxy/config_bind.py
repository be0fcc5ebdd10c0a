# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a C(bind) line of a HAProxy configuration takes. Private to this collection.

Source: HAProxy Configuration Manual, section 4.2 "bind".
"""

from __future__ import annotations

import re


def bare(socket: str) -> str:
    """An address without the word for its kind."""
    return re.sub(r"^(unix|ipv4|ipv6)@", "", socket)


def places(bind: str) -> list[tuple[str, str]]:
    """What a bind line takes: host and port of each address in it."""
    addresses, *options = bind.split()
    hosts_and_ports = []
    for address in addresses.split(","):
        host, _colon, ports = bare(address).rpartition(":")
        apart = " ".join(options[at] for at in range(1, len(options)) if options[at - 1] in ("interface", "namespace"))
        host = {"0.0.0.0": "", "*": "", "[::]": "::"}.get(host, host)  # noqa: S104 -- read, not bound
        first, _dash, last = ports.partition("-")
        if not first.isdigit() or not (last or first).isdigit() or int(last or first) - int(first) > 65535:
            hosts_and_ports.append((address, apart))
            continue
        both = [host, ""] if host == "::" and "v4v6" in options else [host]
        hosts_and_ports += [
            (each, f"{port} {apart}") for each in both for port in range(int(first), int(last or first) + 1)
        ]
    return hosts_and_ports
