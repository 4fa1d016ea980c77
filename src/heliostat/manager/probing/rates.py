"""A mirror's rate from many verifications: robust over days, and what it costs.

Each day counts once, by its median, so that neither one slow evening nor a day of many looks
decides; a mirror that was measured less than LEAST_RATES times has no price yet. Of several vantage
points the one that gets the most tells of the mirror: what others get less is their own line.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from statistics import median
from typing import Final

from heliostat.manager.probing import models as rows
from heliostat.manager.registry.models import Mirror
from heliostat.routing.prices import line_price_ms

RATES_WITHIN: Final = timedelta(days=7)
LEAST_RATES: Final = 3


def price_of(mirror: Mirror, now: datetime) -> tuple[float | None, float]:
    """(bytes a second, price in milliseconds) by the verifications of the last week."""
    query = rows.Verification.objects.filter(
        mirror=mirror, at__gt=now - RATES_WITHIN, rate_bytes_per_s__isnull=False
    )
    days: dict[str, dict[date, list[float]]] = defaultdict(lambda: defaultdict(list))
    count = 0
    for at, vantage, rate in query.values_list("at", "vantage", "rate_bytes_per_s"):
        days[vantage][at.date()].append(float(rate or 0))
        count += 1
    if not days:
        return None, 0.0
    best = max(median(median(rates) for rates in seen.values()) for seen in days.values())
    return best, line_price_ms(best) if count >= LEAST_RATES else 0.0
