"""Our own accounts and the provider's figures, joined to the one that a budget goes by.

Theory. We charge when we redirect, the provider counts what flows: later, and less, as people break
off; and its figures come late, and change. So what is spent is what the provider counted until some
time, plus all that we charged since shortly before it (transfers begun then may not have been
counted). What we charge is at least what a transfer comes to, so the sum is never too low.

A figure isn't believed when it is of long ago, negative, nothing while we sent much, far less than
we charged, or less than it was before, unless it says so for a day: counters are reset, months turn
over, and servers err.

Promises: pure, no clock; never less than a believed provider's own figure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from heliostat.budget.providers.base import Reading

TRANSFER: Final = timedelta(hours=1)
"""A download of 750 MB at 2 Mbit/s: what is charged may be counted so much later."""
OLDEST: Final = timedelta(days=3)
"""A figure of before isn't a help any more."""
LOWER_FOR: Final = timedelta(days=1)
"""A figure that falls is believed when it has stayed so for this long."""
LEAST_RATIO: Final = 0.2
"""Of what we charged by then: fewer are not all of our transfers."""
LEAST_JUDGED_BYTES: Final = 1_000_000_000
"""With less charged, nothing is concluded from a ratio."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a budget goes by, and what it was made of."""

    bytes: int
    own_bytes: int
    provider_bytes: int | None = None
    until: datetime | None = None
    ratio: float | None = None
    """What the provider counts of what we charge."""
    notes: tuple[str, ...] = ()
    """Why figures weren't believed, for people."""


def reconcile(
    own: Sequence[tuple[datetime, int]], readings: Sequence[Reading], now: datetime
) -> Spent:
    """What is spent at `now`.

    `own` is what we charged in the period, cumulative, by time, the last one now; `readings` are
    the provider's, in the order in which they came.
    """
    own_bytes = own[-1][1] if own else 0
    believed: Reading | None = None
    lower_since: datetime | None = None
    notes: list[str] = []
    trusted: list[Reading] = []
    for reading in readings:
        note = _why_not(reading, own, now)
        if not note and believed is not None and reading.bytes < believed.bytes:
            lower_since = lower_since or reading.read_at
            if reading.read_at - lower_since < LOWER_FOR:
                note = "the provider's figure fell; it is believed once it has stayed so for a day"
        else:
            lower_since = None if not note else lower_since
        if note:
            notes.append(note)
            continue
        if believed is not None and reading.bytes < believed.bytes:
            trusted, lower_since = [], None
        believed = reading
        trusted.append(reading)
    if believed is None:
        return Spent(own_bytes, own_bytes, notes=_last(notes))
    since = max(0, own_bytes - _at(own, believed.until - TRANSFER))
    spent = max(believed.bytes, believed.bytes + since)
    return Spent(
        spent, own_bytes, believed.bytes, believed.until, _ratio(own, trusted), _last(notes)
    )


def _why_not(reading: Reading, own: Sequence[tuple[datetime, int]], now: datetime) -> str:
    """Why a figure isn't believed; "" when it is."""
    if reading.bytes < 0:
        return "the provider's figure is negative"
    if reading.until > now + timedelta(minutes=5):
        return "the provider's figure is of the future"
    if now - reading.until > OLDEST:
        return f"the provider's figures are older than {OLDEST.days} days; ours count"
    charged = _at(own, reading.until - TRANSFER)
    if charged >= LEAST_JUDGED_BYTES and reading.bytes < LEAST_RATIO * charged:
        return (
            f"the provider counts less than {LEAST_RATIO:.0%} of what we charged; ours count"
            " (is it the right service?)"
        )
    return ""


def _ratio(own: Sequence[tuple[datetime, int]], readings: Sequence[Reading]) -> float | None:
    """Provider's over ours, between the first and the last figure that are believed.

    From the period's beginning where there is one figure only. Ours are of half a transfer's time
    before: that is when the bytes were asked for.
    """
    if not readings:
        return None
    last, first = readings[-1], readings[0] if len(readings) > 1 else None
    theirs = last.bytes - (first.bytes if first else 0)
    ours = _at(own, last.until - TRANSFER / 2)
    ours -= _at(own, first.until - TRANSFER / 2) if first else 0
    return theirs / ours if ours >= LEAST_JUDGED_BYTES else None


def _at(own: Sequence[tuple[datetime, int]], when: datetime) -> int:
    """What we had charged by then: the newest sample not after it, so rather too little."""
    place = bisect_right([at for at, _ in own], when)
    return own[place - 1][1] if place else 0


def _last(notes: Sequence[str]) -> tuple[str, ...]:
    """The newest of each, three at most."""
    return tuple(dict.fromkeys(reversed(notes)))[:3]
