"""Writes what `make fleet` saw as a page: `python -m tests.fleet.report LINES.jsonl PAGE.md`."""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HEAD = """\
# A fleet, broken on purpose

`make fleet` builds two edges at two providers, a manager, PowerDNS, four mirrors in two countries,
an S3-compatible store and people who download, as network namespaces with real processes, and
breaks one thing after the other. Each download is followed to its last byte and compared by its
sha256; a person takes the name's addresses in turns and tries again up to five times, as
`curl --retry 5` does. This page is written by that command.

| fault | downloads | tried again | failed | longest wait of a person | seen after | over after |
| --- | --- | --- | --- | --- | --- | --- |
"""

EDGE_FAULTS = (
    "edge kill -9",
    "edge SIGSTOP",
    "network of an edge cut",
    "IPv6 of an edge cut",
    "one-way loss at an edge",
)
MONITOR_FAULTS = ("network of an edge cut, with monitors (RFC 2136)",)
MIRROR_FAULTS = ("mirror dead while the manager is stopped", "all mirrors of a country dead")
FIGURES = (
    ("dead edge out of PowerDNS' answers", EDGE_FAULTS, 15.0),
    ("dead edge out of an RFC 2136 server's answers, by our monitors", MONITOR_FAULTS, 20.0),
    ("dead mirror out of both edges' choice", MIRROR_FAULTS, 25.0),
)
"""(what, the faults that show it, seconds it must not exceed)."""

ELSEWHERE = """
Route 53's are arithmetic, which `heliostat dns plan` shows: with checks every 10 s, a threshold of
3 and a TTL of 60 s, 90 s; every 30 s, 150 s. What `kill -9` loses, and how soon an emptied edge is
filled, is measured by `make soak`.
"""


def figures(lines: list[dict[str, Any]]) -> str:
    """What must be reached, and the worst that was seen."""
    failed = sum(one["failed"] for one in lines)
    rows = [
        "| what | must reach | reached |",
        "| --- | --- | --- |",
        f"| downloads that failed, over all faults | 0 | {failed} |",
    ]
    for what, faults, limit_s in FIGURES:
        seen = [one["detection_s"] for one in lines if one["fault"] in faults]
        worst = max((s for s in seen if s is not None), default=None)
        reached = "not tried" if worst is None else f"{worst:.1f} s, the longest of {len(seen)}"
        rows.append(f"| {what} | ≤ {limit_s:.0f} s | {reached} |")
    return "\n".join(rows) + "\n"


def seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def page(lines: list[dict[str, Any]], took_s: float) -> str:
    """The report in Markdown."""
    rows = "".join(
        f"| {one['fault']} | {one['downloads']:,} | {one['retried']:,} | {one['failed']:,} |"
        f" {seconds(one['longest_gap_s'])} | {seconds(one['detection_s'])} |"
        f" {seconds(one['recovery_s'])} |\n"
        for one in lines
    )
    downloads = sum(one["downloads"] for one in lines)
    failed = sum(one["failed"] for one in lines)
    when = datetime.now(UTC)
    return (
        HEAD
        + rows
        + f"\n{len(lines)} faults in {took_s / 60:.0f} minutes, {downloads:,} downloads, {failed}"
        f" failed. {when:%Y-%m-%d}, Linux {platform.release()}, Python"
        f" {platform.python_version()}.\n\n"
        "*Longest wait*: the longest a person waited for a whole file, tries and pauses included."
        " *Seen*: the dead\nedge out of PowerDNS' answers, the dead mirror out of an edge's choice,"
        " the refused state told in the edge's\nstatus. *Over*: from the repair to everything as"
        " before.\n\n## Figures\n\n" + figures(lines) + ELSEWHERE
    )


def main() -> int:
    source, target = map(Path, sys.argv[1:])
    raw = source.read_text().splitlines() if source.exists() else []
    lines = [json.loads(line) for line in raw]
    if not lines:
        sys.stderr.write("no fault was tried: this needs root and network namespaces\n")
        return 1
    took_s = max(one["at"] for one in lines) - min(one["begun"] for one in lines)
    target.write_text(page(lines, took_s))
    sys.stdout.write(target.read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
