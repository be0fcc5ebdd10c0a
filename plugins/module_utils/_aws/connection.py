# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who we are to AWS, and where. Private to this collection."""

from __future__ import annotations

import os
import typing as t

from .._errors import InvalidError
from .._requires import require_botocore

AWS_SPEC: dict[str, t.Any] = {
    "region": {"type": "str"},
    "profile": {"type": "str"},
    "access_key": {"type": "str", "no_log": False},
    "secret_key": {"type": "str", "no_log": True},
    "session_token": {"type": "str", "no_log": True},
    "endpoint_url": {"type": "str"},
    "validate_certs": {"type": "bool", "default": True},
    "aws_ca_bundle": {"type": "path"},
    "timeout": {"type": "float", "default": 10.0},
}
"""Named as in amazon.aws; documented in doc_fragments/. What is not set is botocore's to find."""

REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
ATTEMPTS = 6
"""For one question: "standard" mode waits up to 1, 2, 4, … seconds in between, at random, so half a minute in all.

Source: docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
"""
AT_ONCE = 32
"""Connections kept to one service; botocore's own 10 made 64 calls three times slower."""


def open_session(options: t.Mapping[str, t.Any]) -> tuple[t.Any, dict[str, t.Any]]:
    """A botocore session, and what each client of it is made with. Asks nobody.

    Raises ``missing`` without the library, and ``invalid``.
    """
    library = require_botocore()
    if not 0 < options["timeout"] < float("inf"):
        raise InvalidError(f"timeout is {options['timeout']:g}", "a number of seconds above 0")
    if bool(options["access_key"]) != bool(options["secret_key"]):
        raise InvalidError("only one of access_key and secret_key is set", "both, or none")
    if options["profile"] and options["access_key"]:
        raise InvalidError("both profile and access_key are set", "one of them")
    session = library.session.Session(profile=options["profile"] or None)
    session.user_agent_extra = "bluegreen.deploy"
    region = options["region"] or next((os.environ[name] for name in REGIONS if os.environ.get(name)), None)
    keys = {
        "aws_access_key_id": options["access_key"],
        "aws_secret_access_key": options["secret_key"],
        "aws_session_token": options["session_token"],
    }
    return session, {
        "region_name": region,
        "endpoint_url": options["endpoint_url"],
        "verify": (options["aws_ca_bundle"] or None) if options["validate_certs"] else False,
        "config": library.config.Config(
            max_pool_connections=AT_ONCE,
            connect_timeout=options["timeout"],
            read_timeout=options["timeout"],
        ),
        **(keys if options["access_key"] else {}),
    }


def retrying(attempts: int) -> t.Any:
    """A configuration to merge."""
    return require_botocore().config.Config(retries={"mode": "standard", "total_max_attempts": attempts})
