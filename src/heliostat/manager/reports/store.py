"""Stores what a node's watch sees, with an event for each mirror of which it changed.

A node that suspects itself says nothing of mirrors. Import only after `setup_django`; synchronous.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

from django.db import transaction

from heliostat.manager.probing import models as rows
from heliostat.manager.probing.events import note_event
from heliostat.manager.registry.models import Mirror
from heliostat.manager.reports.form import MAX_REASON_CHARS, WatchReport
from heliostat.probe.results import printable


def record_report(report: WatchReport, at: datetime | None = None) -> int:
    """Returns: of how many mirrors the node's view changed. The same report again changes none."""
    at = at or datetime.now(UTC)
    with transaction.atomic():
        vantage, _ = rows.Vantage.objects.update_or_create(
            name=report.node,
            defaults={
                "reported_at": at,
                "suspects_itself": report.suspects_itself,
                "detail": [printable(line) for line in report.detail],
            },
        )
        return 0 if report.suspects_itself else _record_views(vantage, report, at)


def _record_views(vantage: rows.Vantage, report: WatchReport, at: datetime) -> int:
    down: dict[str, list[list[str | int]]] = defaultdict(list)
    for line in report.down:
        if [line.scheme, line.family] not in down[line.mirror]:
            down[line.mirror].append([line.scheme, line.family])
    named = report.lines.keys() | down.keys()
    # not `name__in`: a stranger's names may be many, and have what no database takes (NUL)
    mirrors = {m.name: m for m in Mirror.objects.only("name") if m.name in named}
    known = {view.mirror_id: view for view in rows.VantageView.objects.filter(vantage=vantage)}
    changed = 0
    for name, mirror in mirrors.items():
        view = known.pop(mirror.pk, None)
        lines, now_down = report.lines.get(name, 0), sorted(down[name])
        if view is not None and (view.down, view.lines) == (now_down, lines):
            continue
        was_down = view.down if view is not None else []
        reason = printable(report.reasons.get(name, ""), MAX_REASON_CHARS) if now_down else ""
        view = view or rows.VantageView(vantage=vantage, mirror=mirror, since=at)
        if was_down != now_down:
            view.since = at
            changed += 1
            _event(vantage.name, name, was_down, now_down, reason, at)
        view.down, view.lines, view.reason = now_down, lines, reason
        view.save()
    gone = [view.pk for view in known.values()]  # no longer in the node's state
    rows.VantageView.objects.filter(pk__in=gone).delete()
    return changed


def _event(
    vantage: str,
    mirror: str,
    before: list[list[str | int]],
    now: list[list[str | int]],
    reason: str,
    at: datetime,
) -> None:
    def word(down: list[list[str | int]]) -> str:
        return "down" if down else "answers"

    lines = ", ".join(f"{scheme} over IPv{family}" for scheme, family in now)
    text = f"from {vantage}: {lines} down" if now else f"from {vantage}: all answers again"
    if reason:
        text += f" ({reason})"
    evidence = {"vantage": vantage, "down": now}
    note_event(mirror, at, "view", word(before), word(now), text, evidence)
