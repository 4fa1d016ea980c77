"""`heliostat mirror show` for people: one mirror on a page, and its history."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.markup import escape

from heliostat.cli.context import Settings

if TYPE_CHECKING:
    from heliostat.manager.probing.view import MirrorView

STATE_COLOURS = {
    "good": "green",
    "lagging": "yellow",
    "failing": "yellow",
    "returning": "yellow",
    "new": "yellow",
    "out": "red",
    "disabled": "dim",
}


def coloured(state: str) -> str:
    """A state's name in its colour."""
    return f"[{STATE_COLOURS.get(state, 'default')}]{state}[/]"


def show_mirror(settings: Settings, view: MirrorView) -> None:
    """What was declared, what the probes saw, the newest events."""
    out = settings.out
    out.print(f"[bold]{escape(view.name)}[/]  {coloured(view.shown_state)}")
    if view.shown_reason:
        out.print(f"  {escape(view.shown_reason)}")
    since = datetime.fromtimestamp(view.status.since_s, UTC)
    out.print(f"  probes say {view.status.state} since {_time(since)}")
    _declared(settings, view)
    _endpoints(settings, view)
    _scans(settings, view)
    if view.seen_from:
        out.print("seen from")
    for seen in view.seen_from:
        down = ", ".join(f"{scheme} over IPv{family}" for scheme, family in seen.down)
        word = f"[red]down[/]: {down}" if down else "[green]answers[/]"
        old = "" if seen.is_fresh else "  [dim](not heard of lately)[/]"
        out.print(f"  {escape(seen.vantage)}  {word}, since {_time(seen.since)}{old}")
        if seen.reason and down:
            out.print(f"    {escape(seen.reason)}")
    out.print("events")
    for event in view.events:
        out.print(f"  {_time(event.at)}  {escape(event.sentence)}")
    if view.events:
        name = escape(view.name)
        out.print(f"  [dim]all of a year, with evidence: heliostat mirror show {name} --history[/]")


def show_history(settings: Settings, view: MirrorView) -> None:
    """Every event of the last year with its evidence, oldest first."""
    out = settings.out
    for event in reversed(view.events):
        out.print(f"[bold]{_time(event.at)}[/]  {escape(event.sentence)}")
        for key, value in event.evidence.items():
            for text in _texts(value):
                out.print(f"    [dim]{escape(key)}[/] {escape(text)}")


def _declared(settings: Settings, view: MirrorView) -> None:
    out, mirror = settings.out, view.mirror
    if mirror.sponsor:
        out.print(f"  sponsor    {escape(mirror.sponsor)}")
    if mirror.place.country or mirror.place.has_position:
        position = ""
        if mirror.place.has_position:
            position = f"  {mirror.place.latitude}, {mirror.place.longitude}"
        out.print(f"  place      {mirror.place.country}{position}")
    if mirror.asns:
        out.print(f"  AS         {', '.join(str(asn) for asn in mirror.asns)}")
    if mirror.networks:
        out.print(f"  networks   {', '.join(mirror.networks)}")
    if mirror.scan_hours:
        out.print(f"  scanned    {mirror.scan_hours} {mirror.time_zone}")
    if view.rate_bytes_per_s is not None:
        price = f", which costs {view.status.price_ms:g} ms" if view.status.price_ms else ""
        out.print(f"  line       {view.rate_bytes_per_s / 1e6:.1f} MB/s{price}")


def _endpoints(settings: Settings, view: MirrorView) -> None:
    out = settings.out
    checked = {status.endpoint: status for status in view.status.endpoints}
    out.print("endpoints")
    for endpoint in view.mirror.endpoints:
        status = checked.get(endpoint)
        word = "" if status is None else "  [green]alive[/]" if status.alive else "  [red]dead[/]"
        out.print(f"  {escape(endpoint.tree)}  {escape(endpoint.url)}{word}")
        if status is not None and status.reason:
            out.print(f"    {escape(status.reason)}")
        detail = view.details.get(endpoint.url)
        if detail and detail.certificate_expires:
            out.print(f"    certificate until {detail.certificate_expires:%Y-%m-%d}")
        for note in detail.notes.values() if detail else ():
            out.print(f"    [yellow]{escape(note)}[/]")


def _scans(settings: Settings, view: MirrorView) -> None:
    out = settings.out
    out.print("scans")
    for scan in view.scans:
        found = f"{scan.held:,} files held by {scan.method}" if scan.held_at else "never succeeded"
        when = f", {_time(scan.held_at)}" if scan.held_at else ""
        out.print(f"  {escape(scan.tree)}  {found}{when}")
        if scan.behind_since:
            files = f" with {scan.behind_files:,} files" if scan.behind_files else ""
            out.print(f"    behind{files}; the oldest change is of {_time(scan.behind_since)}")
        if scan.timestamp_at:
            out.print(f"    its timestamp file says {_time(scan.timestamp_at)}")
        if scan.reason:
            prefix = "" if scan.succeeded else "last one failed: "
            out.print(f"    {prefix}{escape(scan.reason)}")
    if not view.scans:
        out.print("  none yet")


def _texts(value: object) -> list[str]:
    """A piece of evidence, line by line; nothing for what is empty."""
    if isinstance(value, dict):
        return [f"{key}: {text}" for key, one in value.items() for text in _texts(one)]
    if isinstance(value, list):
        if value and all(isinstance(one, dict) and "sentence" in one for one in value):
            return [one["sentence"] for one in value]
        return [json.dumps(value, ensure_ascii=False)] if value else []
    return [str(value)] if value not in ("", None) else []


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
