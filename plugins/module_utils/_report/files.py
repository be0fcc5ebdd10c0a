# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on disk, one file a form of it. Private to this collection."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

from .._errors import DeniedError, InvalidError
from .._files import replace_file
from .markdown import markdown
from .values import Report, as_json, parse_report

RENDERERS: dict[str, tuple[str, t.Callable[[Report], str]]] = {
    "json": (".json", as_json),
    "markdown": (".md", markdown),
}
"""By the name of the result that holds the path: the suffix, and what makes the text."""

_NAME = re.compile(r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*")
_LONGEST = 200


def write_report(options: t.Mapping[str, t.Any], *, dry_run: bool, diff: bool) -> dict[str, t.Any]:
    """Write what differs from what is there; the result of the module."""
    report = parse_report(options)
    name = _name(options.get("name")) or report.default_name
    folder, fallback = _folder(options["dest"]), options.get("fallback")
    try:
        return _written(report, folder, name, dry_run, diff)
    except DeniedError:
        if not fallback:
            raise
        return _written(report, _folder(fallback), name, dry_run, diff)


def _written(report: Report, folder: Path, name: str, dry_run: bool, diff: bool) -> dict[str, t.Any]:
    paths = {form: folder / f"{name}{suffix}" for form, (suffix, _render) in RENDERERS.items()}
    before = {form: _read(path) for form, path in paths.items()}
    after = {form: render(report) for form, (_suffix, render) in RENDERERS.items()}
    stale = [form for form in paths if before[form] != after[form].encode()]
    if stale and not dry_run:
        _make(folder)
        for form in stale:
            _write(paths[form], after[form])
    shown = {form: str(path) for form, path in paths.items()}
    result = {"changed": bool(stale), "text": after["markdown"], **shown}
    if diff:
        result["diff"] = {
            "before": (before["markdown"] or b"").decode(errors="replace"),
            "after": after["markdown"],
            "before_header": shown["markdown"],
            "after_header": shown["markdown"],
        }
    return result


def _folder(dest: str) -> Path:
    if not dest:
        raise InvalidError("dest is empty", "the directory for the report")
    return Path(dest)


def _name(name: str | None) -> str | None:
    if name and (not _NAME.fullmatch(name) or len(name.encode(errors="replace")) > _LONGEST):
        raise InvalidError(
            f"name is {name[:60]!r}",
            f"a file name of at most {_LONGEST} bytes, with no path separator and no dot in front",
            "Put the directory into dest",
        )
    return name


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _denied(path, "read", error) from error


def _make(folder: Path) -> None:
    if folder.is_dir():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # the umask may keep the report from its readers
    except OSError as error:
        raise _denied(folder, "made", error) from error


def _write(path: Path, text: str) -> None:
    try:
        replace_file(str(path), text.encode())
    except OSError as error:
        raise _denied(path, "written", error) from error


def _denied(path: Path, verb: str, error: OSError) -> DeniedError:
    return DeniedError(
        f"{path} cannot be {verb}: {error.strerror}",
        "a directory that this user may write to, with room in it",
        "Mend dest, or use become",
    )
