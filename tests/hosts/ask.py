# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A few requests, each on a connection of its own; prints the colour and the version that answered each."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request


def ask(url: str) -> tuple[str, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.headers.get("X-Colour", ""), answer.headers.get("X-Version", "")
    except urllib.error.HTTPError as error:
        return "", str(error.code)


if __name__ == "__main__":
    print(json.dumps([ask(sys.argv[1]) for _unused in range(int(sys.argv[2]))]))  # noqa: T201
