# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether weights that are set at run time are taken, and stay. Private to this collection.

Source: HAProxy Configuration Manual, section 5.2, "resolve-opts", and 4.2, "hash-type"; seen on HAProxy 2.6 to 3.2.
"""

from __future__ import annotations

import typing as t

from .._errors import UnsupportedError
from .members import Member
from .sentences import names


def check(
    before: t.Sequence[Member],
    after: t.Sequence[Member],
    is_static: t.Callable[[Member], bool],
    *,
    ignore_dns: bool,
    whole: bool,
) -> None:
    """Refuse new weights that HAProxy would refuse, or would take back by itself.

    ``ignore_dns``: the configuration says that the weights of SRV records do not count. ``whole``: one colour is to
    have all of the traffic.
    """
    was = {member.place: member.weight for member in before}
    weighed = [member for member in after if member.takes and member.weight != was[member.place]]
    from_dns = [member for member in weighed if member.from_dns]
    if from_dns and not ignore_dns:
        raise UnsupportedError(
            f"the weights of {names(from_dns)} come from SRV records, and HAProxy takes them anew at each resolution",
            "weights that stay, as with 'resolve-opts ignore-weight'",
            f"{'Give them weights in DNS' if whole else 'Move all of the traffic at once'}, or add that to their "
            "server-template and set ignore_weight in the route's haproxy options",
        )
    unknown = [member for member in weighed if member.weight != member.initial]
    if unknown and is_static(unknown[0]):
        raise UnsupportedError(
            f"the balance of backend {unknown[0].backend} takes no weights at run time but 0 and the configuration's",
            "one that does, such as roundrobin, or this one with 'hash-type consistent' where it is a hash",
            f"{f'Give {names(unknown)} weights in the configuration' if whole else 'Move all of the traffic at once'}"
            ", or change the balance",
        )
