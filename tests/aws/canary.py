# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accepts the installed moto as the one that the patches were written for: ``python -m tests.aws.canary``.

Read what has changed in the functions that the canary test names, and mend the patches, before.
"""

from __future__ import annotations

import json

from .patches import CANARY, digests
from .world import MENDED


def main() -> None:
    CANARY.write_text(json.dumps(digests(), indent=2, sort_keys=True) + "\n")
    print(f"accepted what {', '.join(module.__name__ for module in MENDED)} mend of moto")  # noqa: T201


if __name__ == "__main__":
    main()
