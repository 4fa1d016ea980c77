"""Providers' figures as they are kept. Import only after `setup_django`; synchronous."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from heliostat.budget.providers import Reading
from heliostat.manager.budgets import models as rows
from heliostat.probe.results import printable

READINGS_KEPT: Final = 2_000
"""Of one budget and period: ten minutes apart, two weeks; then every other is dropped."""


def store_reading(
    mirror: str, period_start: datetime, reading: Reading, *, by_hand: bool = False
) -> None:
    """Keeps a figure; the same one again is kept once."""
    known = rows.Reading.objects.filter(mirror=mirror, period_start=period_start)
    last = known.order_by("-read_at").first()
    if last is not None and (last.bytes, last.until) == (reading.bytes, reading.until):
        return
    rows.Reading.objects.create(
        mirror=mirror,
        period_start=period_start,
        read_at=reading.read_at,
        until=reading.until,
        bytes=reading.bytes,
        is_partial=reading.is_partial,
        by_hand=by_hand,
        detail=printable(reading.detail, 400),
    )
    if known.count() > READINGS_KEPT:
        old = list(known.order_by("read_at").values_list("id", flat=True)[: READINGS_KEPT // 2 : 2])
        rows.Reading.objects.filter(id__in=old).delete()


def readings_of(mirror: str, period_start: datetime) -> list[Reading]:
    """All of a period, in the order in which they came."""
    found = rows.Reading.objects.filter(mirror=mirror, period_start=period_start)
    return [
        Reading(
            row.bytes,
            row.until.astimezone(UTC),
            row.read_at.astimezone(UTC),
            row.is_partial,
            row.detail,
            row.by_hand,
        )
        for row in found.order_by("read_at")
    ]
