"""What of a budget is spent: our own accounts and the provider's figures; and what they teach.

Import only after `setup_django`; synchronous.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from heliostat.budget.completion import CLASSES, Completion, Window, learn
from heliostat.budget.reconcile import TRANSFER, Spent, believable, reconcile
from heliostat.manager.budgets import models as rows
from heliostat.manager.budgets.demand import served_of
from heliostat.manager.budgets.readings import readings_of

WINDOW: Final = timedelta(days=1)
"""Of what completion ratios are learned by."""


def reconciled(account: rows.Account, taken: int, now: datetime) -> Spent:
    """`taken` is what purses reported of the period."""
    own = _charged(account.mirror, account.period_start)
    readings = readings_of(account.mirror, account.period_start)
    return reconcile([*own, (now, taken)], readings, now)


def learn_completion(mirror: str, period_start: datetime, now: datetime) -> Completion | None:
    """Learns from the days that both sides have whole figures of; None when there is none."""
    row = rows.Completion.objects.filter(mirror=mirror).first()
    state = row.learned if row else {}
    known = Completion(tuple(state["learned"]), int(state["windows"])) if state else Completion()
    begin = datetime.fromisoformat(state["until"]) if state else period_start.astimezone(UTC)
    begin = max(begin, period_start.astimezone(UTC))
    own, heard = _charged(mirror, period_start), readings_of(mirror, period_start)
    readings = [one for one in believable(own, heard, now) if one.until >= begin]
    windows, until = [], begin
    first = next((one for one in readings), None)
    for reading in readings:
        if first is None or reading.until - first.until < WINDOW:
            continue
        served = [0.0] * CLASSES
        shift = TRANSFER / 2
        for _, of_class, total in served_of(mirror, first.until - shift, reading.until - shift):
            served[min(of_class, CLASSES - 1)] += total
        if reading.bytes > first.bytes:
            windows.append(Window(tuple(served), float(reading.bytes - first.bytes)))
        first, until = reading, reading.until
    if not windows:
        return None
    learned = learn(known, windows)
    rows.Completion.objects.update_or_create(
        mirror=mirror,
        defaults={
            "learned": {
                "learned": list(learned.learned),
                "ratios": list(learned.ratios),
                "windows": learned.windows,
                "until": until.isoformat(),
            }
        },
    )
    return learned


def _charged(mirror: str, period_start: datetime) -> list[tuple[datetime, int]]:
    """What we charged in a period, cumulative, as it was noted."""
    samples = rows.Sample.objects.filter(mirror=mirror, period_start=period_start).order_by("at")
    return [(at.astimezone(UTC), total) for at, total in samples.values_list("at", "own_bytes")]
