"""Events: what happened to a mirror, when, and the evidence; kept for a year.

Import only after `setup_django`; synchronous.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from heliostat.manager.probing import models as rows
from heliostat.manager.registry.models import Event
from heliostat.probe.results import printable

EVENTS_KEPT: Final = timedelta(days=366)
REACHED_KEPT: Final = timedelta(days=60)
VERIFICATIONS_KEPT: Final = timedelta(days=30)
"""Rates are those of a week; the rest is for people who ask what was read."""


def note_event(
    mirror: str,
    at: datetime,
    kind: str,
    before: str,
    after: str,
    reason: str,
    evidence: Mapping[str, Any],
) -> None:
    """One thing that happened."""
    Event.objects.create(
        at=at,
        mirror=mirror,
        kind=kind,
        before=before,
        after=after,
        reason=printable(reason, 1000),
        evidence=dict(evidence),
    )


def changed_note(
    mirror: str, at: datetime, url: str, before: Mapping[str, str], after: Mapping[str, str]
) -> None:
    """An event for each oddity of an endpoint that came or went; not for one worded anew."""
    for kind in sorted(before.keys() | after.keys()):
        if kind in after and kind not in before:
            note_event(mirror, at, "note", "", kind, f"{url} {after[kind]}", {"url": url})
        elif kind in before and kind not in after:
            text = f"{url}: no more so: {before[kind]}"
            note_event(mirror, at, "note", kind, "", text, {"url": url})


def prune(now: datetime) -> int:
    """Forgets what is older than it is kept; returns how many rows that were."""
    gone = [
        Event.objects.filter(at__lt=now - EVENTS_KEPT),
        rows.Reached.objects.filter(at__lt=now - REACHED_KEPT),
        rows.Verification.objects.filter(at__lt=now - VERIFICATIONS_KEPT),
    ]
    return sum(query.delete()[0] for query in gone)
