"""What vantage points say, put to the question whether the manager must suspect itself.

Import only after `setup_django`; synchronous.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from heliostat.manager.probing import models as rows
from heliostat.manager.probing.events import note_event
from heliostat.manager.probing.view import VIEW_FRESH_FOR
from heliostat.manager.publish import Recorded
from heliostat.manager.reports.suspicion import suspicion

MANAGER = ""
"""In the place of a mirror's name: an event that is about the manager itself."""


def doubts(recorded: Recorded, served: Collection[str]) -> str:
    """Why what was recorded should not be published, "" when it should."""
    meant = {mirror.name for mirror in recorded.mirrors if mirror.enabled}
    serving = {
        name for name, status in recorded.statuses.items() if status.state.serves and name in meant
    }
    still_meant = meant & set(served)
    if len(still_meant - serving) * 2 <= len(still_meant):
        return ""  # the usual case, without a query
    return suspicion(still_meant, serving, seen_down())


def seen_down(now: datetime | None = None) -> dict[str, set[str]]:
    """Vantage point → mirrors it sees as wholly down; of those that reported lately and trust
    themselves."""
    since = (now or datetime.now(UTC)) - VIEW_FRESH_FOR
    trusted = rows.Vantage.objects.filter(reported_at__gt=since, suspects_itself=False)
    found: dict[str, set[str]] = {name: set() for name in trusted.values_list("name", flat=True)}
    views = rows.VantageView.objects.filter(vantage__in=trusted).select_related("vantage", "mirror")
    for view in views:
        if view.lines and len(view.down) >= view.lines:
            found[view.vantage.name].add(view.mirror.name)
    return found


def note_suspicion(why: str) -> None:
    """An event: it began, with its reason, or it is over."""
    before, after = ("", "suspects itself") if why else ("suspects itself", "")
    text = why or "what most mirrors do is believed again"
    note_event(MANAGER, datetime.now(UTC), "suspicion", before, after, text, {})
