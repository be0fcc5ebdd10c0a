# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as a page of GitHub-flavoured Markdown. Private to this collection.

Load balancers that say the same share a row. Whatever a value holds, a row stays a row.
"""

from __future__ import annotations

import re
import typing as t
from collections import Counter
from datetime import timedelta

from .._traffic.split import WHOLE, Split, percent
from .values import Event, Report

SHOWN = 160
"""So many characters of one value are shown."""

Row = tuple[str, ...]

_STAGES = {
    "pre_deploy": "Pre-deployment",
    "switch": "During deployment",
    "post_deploy": "Post-deployment",
    "rollback": "Rollback",
}
_MARKS = {
    "pass": "✔ pass",
    "fail": "✘ **fail**",
    "inconclusive": "? **inconclusive**",
    "blind": "? **blind**",
    "not_run": "· not run",
}
_COUNTED = {"pass": "passed", "fail": "failed", "inconclusive": "inconclusive", "blind": "blind", "not_run": "not run"}
_BAR = 20
_SPECIAL = re.compile(r"[\\`*\[|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_LIVE = re.compile(r"(?<=@)|(?<=#)(?=\d)|(?<=:)(?=//)|(?i:(?<=www)(?=\.)|(?<=gh)(?=-\d))")
"""Where what would become a link, or call somebody, is cut by a space of no width."""
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def markdown(report: Report) -> str:
    parts = [
        f"# {escape(report.app)} {escape(report.version or '')}".rstrip() + f": {_outcome(report)}",
        f"**Why:** {escape(report.reason, 10 * SHOWN)}" if report.reason else "",
        _summary(report),
        *_checklist(report),
        *_timeline(report),
        *_figures(report),
        "Long values are cut short here. The JSON file of the same name has all of it.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def escape(text: str, limit: int = SHOWN) -> str:
    """Text that means itself in a paragraph, a heading and a cell, on one line; it links nowhere and calls nobody."""
    flat = " ".join(text.split())
    if len(flat) > limit:
        flat = flat[: limit - 1].rstrip() + "…"
    flat = "".join(char if char.isprintable() else "\ufffd" for char in flat)
    flat = _SPECIAL.sub(r"\\\g<0>", flat)
    return _LIVE.sub("&#8203;", re.sub("[&<>]", lambda char: _HTML[char[0]], flat))


def compact(value: t.Any) -> str:
    """Evidence in few characters: its own summary if it has one; the outermost brackets say nothing."""
    if isinstance(value, dict) and isinstance(value.get("summary"), str):
        return str(value["summary"])
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_nested(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(_nested, value))
    return "" if value is None else _nested(value)


def _nested(value: t.Any) -> str:
    if isinstance(value, dict):
        return f"{{{compact(value)}}}"
    if isinstance(value, list):
        return f"[{compact(value)}]"
    return {None: "null", True: "true", False: "false"}[value] if _is_word(value) else str(value)


def _is_word(value: t.Any) -> bool:
    return value is None or isinstance(value, bool)


def _outcome(report: Report) -> str:
    to, back = escape(report.to_colour or ""), escape(report.from_colour or "")
    words = {
        "open": ("under way", ""),
        "released": ("released", f", {to} is live" if to else ""),
        "rolled_back": ("rolled back", f", {back} is live again" if back else ""),
        "refused": ("refused before the switch", f", {back} stays live" if back else ""),
        "failed": ("failed", ""),
        "unchanged": ("unchanged", f", {to} was live already" if to else ""),
    }
    unproven = f"; not proven: {escape('; '.join(report.unproven))}" if report.unproven else ""
    return "".join((*words[report.outcome], unproven))


def _summary(report: Report) -> str:
    counts = Counter(check.verdict for one in report.load_balancers for check in one.checklist)
    rows = {
        "App": report.app,
        "Version": report.version,
        "Colours": " → ".join(filter(None, (report.from_colour, report.to_colour))),
        "Outcome": report.outcome.replace("_", " "),
        "Started": report.started_at and report.started_at.given,
        "Took": None if report.took is None else _duration(report.took),
        "Checks": ", ".join(f"{counts[key]} {word}" for key, word in _COUNTED.items() if counts[key]),
        "Load balancers": ", ".join(one.name for one in report.load_balancers) or "none",
    }
    return _table(("", ""), [(name, escape(text)) for name, text in rows.items() if text])


def _checklist(report: Report) -> t.Iterator[str]:
    for stage, title in _STAGES.items():
        rows = [
            (one.name, (_MARKS[check.verdict], escape(check.check), escape(compact(check.evidence))))
            for one in report.load_balancers
            for check in one.checklist
            if check.stage == stage
        ]
        if rows:
            yield f"## {title}"
            yield _merged(report, ("Result", "Check", "Evidence"), rows, by=1)


def _timeline(report: Report) -> t.Iterator[str]:
    found = [(one.name, event) for one in report.load_balancers for event in one.timeline]
    found.sort(key=lambda pair: pair[1].at.instant)
    if found:
        yield "## Timeline"
        rows = [(name, _event_row(report, event)) for name, event in found]
        yield _merged(report, ("Time (UTC)", "Since start", "Event", "Traffic"), rows, by=0)


def _event_row(report: Report, event: Event) -> Row:
    since = _duration(event.at.instant - report.started_at.instant) if report.started_at else ""
    traffic = _bar(event.split, report.to_colour) if event.split else ""
    return f"{event.at.instant:%Y-%m-%d %H:%M:%S.%f}"[:-3], since, escape(event.event), traffic


def _figures(report: Report) -> t.Iterator[str]:
    rows = [
        (one.name, (escape(name), escape(compact(value))))
        for one in report.load_balancers
        for name, value in one.figures.items()
    ]
    if rows:
        yield "## Figures"
        yield _merged(report, ("Figure", "Value"), rows, by=0)


def _bar(split: Split, to: str | None) -> str:
    """How far the traffic has come; a share that is not nothing is seen, and one short of all too."""
    colour = to if to in split.colours else split.second
    share = split.share(colour)
    filled = round(_BAR * share / WHOLE)
    if 0 < share < WHOLE:
        filled = min(max(filled, 1), _BAR - 1)
    return f"{'█' * filled}{'░' * (_BAR - filled)} {escape(colour)} {percent(share)} %"


def _duration(time: timedelta) -> str:
    seconds = time.total_seconds()
    if abs(seconds) < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(abs(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    sign = "-" if time < timedelta() else ""
    return f"{sign}{hours} h {minutes} min" if hours else f"{sign}{minutes} min {seconds} s"


def _merged(report: Report, heading: Row, rows: t.Iterable[tuple[str, Row]], by: int) -> str:
    """A table in which equal rows are one, and those with the same cell ``by`` stand together."""
    groups: dict[str, dict[Row, dict[str, None]]] = {}
    for name, row in rows:
        groups.setdefault(row[by], {}).setdefault(row, {})[name] = None
    found = [(row, names) for group in groups.values() for row, names in group.items()]
    everywhere = len(report.load_balancers)
    if everywhere == 1:
        return _table(heading, [row for row, _names in found])
    where = ["all" if len(names) == everywhere else escape(", ".join(names)) for _row, names in found]
    return _table((*heading, "Where"), [(*row, names) for (row, _names), names in zip(found, where)])


def _table(heading: Row, rows: t.Sequence[Row]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
