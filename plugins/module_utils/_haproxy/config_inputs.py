# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may stand in a HAProxy configuration, and nothing that ends its line or its word. Private to this collection.

Source: HAProxy Configuration Manual, section 2.2 "Quoting and escaping".
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import urlsplit

from .._errors import InvalidError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,254}")
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9!$%&*+.^_`|~-]{0,99}")
_WORDS = re.compile(r"[^\x00-\x1f\x7f\"'\\#]{0,1000}")
_PATH = re.compile(r"/[A-Za-z0-9_./@%+:=~-]{0,250}")
_FILE = re.compile(r"/[^\x00-\x1f\x7f]{0,4000}")
_HEALTH_PATH = re.compile(r"/[!$%&()*+,./0-9:;=?@A-Za-z\[\]^_`{|}~-]{0,1000}")
_TIME = re.compile(r"[0-9]{1,9}(us|ms|s|m|h|d)?")
_SECRET = re.compile(r"(?! )[ -~]{1,256}(?<! )")
_HOST = re.compile(r"[A-Za-z0-9_.-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_PORTS = {"http": 80, "https": 443}


def _checker(pattern: t.Pattern[str], allowed: str) -> t.Callable[[str, str], str]:
    def check(text: str, what: str) -> str:
        if not pattern.fullmatch(text):
            raise InvalidError(f"{what} is {text[:80]!r}", allowed, f"Change {what}")
        return text

    return check


name = _checker(_NAME, "a letter or digit, then letters, digits and _ . - only, 100 at most")
unit = _checker(_UNIT, "the name of a systemd unit")
header = _checker(_HEADER, "the name of an HTTP header or cookie")
path = _checker(_PATH, "an absolute path of letters, digits and _ . / @ % + : = ~ - only")
file = _checker(_FILE, "an absolute path without control characters")  # it stands in no configuration
health_path = _checker(_HEALTH_PATH, "a path that starts with / and has no space, quote, # or backslash")
duration = _checker(_TIME, "a time such as 500ms, 10s or 1h")
words = _checker(_WORDS, "words on one line, with no quote, # or backslash")


def word(text: str, what: str) -> str:
    """Words that are just one."""
    if len(text.split()) != 1:
        raise InvalidError(f"{what} is {text[:80]!r}", "one word", f"Change {what}")
    return words(text, what)


def secret(text: str, what: str) -> str:
    """A secret, whose value no message repeats."""
    if not _SECRET.fullmatch(text):
        raise InvalidError(
            f"{what} has {len(text)} characters, of which some cannot stand in a header",
            "printable ASCII, 256 at most, with no space at either end",
            f"Change {what}",
        )
    return text


def quoted(text: str) -> str:
    """The text as one word of a configuration."""
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'


def section(text: str, what: str) -> str:
    """Lines that are the user's own, as long as they are text."""
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text):
        raise InvalidError(f"{what} has a control character", "lines of text", f"Change {what}")
    return text


def address(url: str, what: str) -> tuple[str, bool]:
    """Host and port as C(server) takes them, and whether it speaks TLS there."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _no_url(url, what) from None
    host = parts.hostname or ""
    if parts.scheme not in _PORTS or parts.username is not None or not _HOST.fullmatch(host):
        raise _no_url(url, what)
    bare = f"[{host}]" if ":" in host else host
    return f"{bare}:{port or _PORTS[parts.scheme]}", parts.scheme == "https"


def _no_url(url: str, what: str) -> InvalidError:
    shown = re.sub(r"//[^/]*@", "//…@", url)[:80]
    return InvalidError(
        f"{what} has the bluegreen_url {shown!r}",
        "http:// or https://, a host and a port, without a user or password",
        f"Set bluegreen_url of {what} in the inventory",
    )
