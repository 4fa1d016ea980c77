"""Our own accounts and the provider's figures, joined to the one that a budget goes by.

Theory. We charge when we redirect, the provider counts what flows: later, and less, as people break
off; and its figures come late, and change. So what is spent is what the provider counted until some
time, plus all that we charged since shortly before it (transfers begun then may not have been
counted). What we charge is at least what a transfer comes to, so the sum is never too low.

A figure lowers what counts, so it has to fit what was known: it is judged by what we charged since
the one believed before. One that doesn't fit isn't believed, and changes nothing: ours count from
the last that did. One that stands still is of when it last moved; a source that moves in steps
is taken to be late by as long as it stood still. A count that began anew (a counter was reset, a
month turned over) is told from a slip by its growth: what grows no faster than we charge is a new
count, what jumps back was a slip. People may say that a figure is right, and are believed.

Promises: pure, no clock; never less than a believed provider's own figure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from heliostat.budget.providers.base import Reading

TRANSFER: Final = timedelta(hours=1)
"""A download of 750 MB at 2 Mbit/s: what is charged may be counted so much later."""
OLDEST: Final = timedelta(days=3)
"""A figure of before lowers nothing any more."""
LOWER_FOR: Final = timedelta(days=1)
"""A figure that falls a little is believed when it has stayed so for this long."""
MOST_FALL: Final = 0.25
"""Of what was to be expected: a figure that falls further is no correction."""
LEAST_RATIO: Final = 0.2
"""Of what we charged by then: fewer are not all of our transfers."""
LEAST_OF_RATIO: Final = 0.5
"""Of the ratio that was seen before: a figure that grows slower isn't the same count."""
MOST_RATIO: Final = 1.5
"""More than that of what we charge isn't foreseen for what isn't counted yet."""
LEAST_JUDGED_BYTES: Final = 1_000_000_000
"""With less charged, nothing is concluded from a ratio."""
NOTED_FOR: Final = timedelta(days=1)
"""What was wrong with a figure is shown for so long."""
MOST_NOTES: Final = 3
CLOCKS: Final = timedelta(minutes=5)
"""Clocks may differ by so much."""

ANEW: Final = "the provider's count began anew; ours count since"

Samples = Sequence[tuple[datetime, int]]


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


def reconcile(own: Samples, readings: Sequence[Reading], now: datetime) -> Spent:
    """What is spent at `now`.

    `own` is what we charged in the period, cumulative, by time, the last one now; `readings` are
    the provider's, in the order in which they came.
    """
    judge = _Judge(_Own(own), now)
    for reading in readings:
        judge.hear(reading)
    own_bytes = own[-1][1] if own else 0
    believed = judge.believed
    if believed is None:
        return Spent(own_bytes, own_bytes, notes=judge.noted())
    until, ratio = judge.until(), judge.ratio()
    since = max(0, own_bytes - judge.own.at(until - TRANSFER))
    spent = believed.bytes + int(since * min(MOST_RATIO, max(1.0, ratio or 1.0)))
    notes = judge.noted()
    if now - until > OLDEST:
        notes = (f"the provider's figures are older than {OLDEST.days} days; ours count", *notes)
        spent = max(spent, own_bytes)
    return Spent(spent, own_bytes, believed.bytes, until, ratio, notes[:MOST_NOTES])


def believable(own: Samples, readings: Sequence[Reading], now: datetime) -> list[Reading]:
    """Of a provider's figures those that are believed, in their order: what can be learned from."""
    judge = _Judge(_Own(own), now)
    for reading in readings:
        judge.hear(reading)
    return judge.history


class _Own:
    """What we charged, by time."""

    def __init__(self, samples: Samples) -> None:
        self._times = [at for at, _ in samples]
        self._bytes = [total for _, total in samples]

    def at(self, when: datetime) -> int:
        """What we had charged by then: the newest sample not after it, so rather too little."""
        place = bisect_right(self._times, when)
        return self._bytes[place - 1] if place else 0

    def between(self, begin: datetime, end: datetime) -> int:
        return max(0, self.at(end) - self.at(begin))


class _Judge:
    """Hears figures one by one; keeps the last that is believed."""

    def __init__(self, own: _Own, now: datetime) -> None:
        self.own, self._now = own, now
        self.believed: Reading | None = None
        self.history: list[Reading] = []
        self._notes: list[tuple[datetime, str]] = []
        self._first: Reading | None = None
        """Where the ratio begins."""
        self._said: dict[int, tuple[datetime, datetime]] = {}
        """By figure: of when it said it was, the first and the last time."""
        self._steps: list[tuple[datetime, timedelta]] = []
        """When it moved after standing still, and for how long it had."""
        self._lower_since: datetime | None = None
        self._anew: Reading | None = None
        """The last of a count that began anew, as far as we know."""

    def hear(self, reading: Reading) -> None:
        note = self._fault(reading)
        if not note and not reading.by_hand:
            reading = self._as_it_last_moved(reading)
        if not note and (self.believed is None or reading.by_hand):
            self._first, self._lower_since, self._anew = reading, None, None
            self._believe(reading)
        elif not note and self.believed is not None:
            note = self._compared(reading, self.believed)
        if note:
            self._notes.append((reading.read_at, note))

    def noted(self) -> tuple[str, ...]:
        """What was wrong of late, the newest first."""
        recent = [note for at, note in self._notes if self._now - at <= NOTED_FOR]
        return tuple(dict.fromkeys(reversed(recent)))[:MOST_NOTES]

    def until(self) -> datetime:
        """Of when the believed figure is, at the latest."""
        assert self.believed is not None
        recent = [late for at, late in self._steps if self._now - at <= OLDEST]
        return self.believed.until - max(recent, default=timedelta(0))

    def ratio(self) -> float | None:
        """Provider's over ours, between the first and the last figure that are believed.

        From the period's beginning where there is one figure only. Ours are of half a transfer's
        time before: that is when the bytes were asked for.
        """
        if self.believed is None or self._first is None:
            return None
        theirs, ours = self.believed.bytes, self.own.at(self.believed.until - TRANSFER / 2)
        if self._first is not self.believed:
            theirs -= self._first.bytes
            ours -= self.own.at(self._first.until - TRANSFER / 2)
        return theirs / ours if ours >= LEAST_JUDGED_BYTES else None

    def _fault(self, reading: Reading) -> str:
        """Why a figure can't be, by itself; "" when it can."""
        if reading.bytes < 0:
            return "the provider's figure is negative"
        if reading.until > min(reading.read_at, self._now) + CLOCKS:
            return "the provider's figure is of the future"
        if reading.by_hand:
            return ""
        if reading.bytes == 0 and self.believed is not None and self.believed.bytes > 0:
            return "the provider's figure is zero"
        return self._too_little(reading, None) if self.believed is None else ""

    def _compared(self, reading: Reading, believed: Reading) -> str:
        """Believes a figure that follows from the one before; else says why not."""
        if reading.until <= believed.until and reading.bytes <= believed.bytes:
            return ""  # said before, or of before
        if self._anew is not None and self._is_still_anew(reading, self._anew, believed):
            self._anew = reading
            return ANEW
        self._anew = None
        if reading.bytes > believed.bytes:
            self._lower_since = None
            note = self._too_little(reading, believed)
            if not note:
                self._believe(reading)
            return note
        growth = self.own.between(believed.until, reading.until)
        expected = believed.bytes + growth * max(1.0, self.ratio() or 1.0)
        if reading.bytes < (1 - MOST_FALL) * expected:
            self._anew = reading
            return ANEW
        self._lower_since = self._lower_since or reading.read_at
        if reading.read_at - self._lower_since < LOWER_FOR:
            return "the provider's figure fell; it is believed if it stays so for a day"
        self._first, self._lower_since = reading, None
        self._believe(reading)
        return ""

    def _is_still_anew(self, reading: Reading, anew: Reading, believed: Reading) -> bool:
        """Whether a figure may have grown from one that began anew, by what we charged since."""
        charged = self.own.at(reading.until) - self.own.at(anew.until - TRANSFER)
        most = anew.bytes + charged * max(1.0, self.ratio() or 1.0)
        return reading.bytes < believed.bytes or reading.bytes <= most

    def _too_little(self, reading: Reading, believed: Reading | None) -> str:
        """Why a figure is too low for what we charged; "" when it isn't."""
        charged = self.own.at(reading.until - TRANSFER)
        counted, least = reading.bytes, LEAST_RATIO
        if believed is not None:
            charged -= self.own.at(believed.until)
            counted -= believed.bytes
            least = max(least, LEAST_OF_RATIO * min(1.0, self.ratio() or 0.0))
        if charged < LEAST_JUDGED_BYTES or counted >= least * charged:
            return ""
        return (
            f"the provider counts less than {least:.0%} of what we charged; ours count"
            " (is it the right service?)"
        )

    def _as_it_last_moved(self, reading: Reading) -> Reading:
        """The figure, of the time when it was said first."""
        first, last = self._said.get(reading.bytes, (reading.until, reading.until))
        first, last = min(first, reading.until), max(last, reading.until)
        self._said[reading.bytes] = first, last
        return replace(reading, until=first)

    def _believe(self, reading: Reading) -> None:
        before = self.believed
        if before is not None and not reading.by_hand:
            first, last = self._said.get(before.bytes, (before.until, before.until))
            if self.own.between(first, last) >= LEAST_JUDGED_BYTES:
                self._steps.append((reading.until, last - first))
        self.believed = reading
        self.history.append(reading)
