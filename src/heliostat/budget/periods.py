"""The billing month of a budget: from its reset day, 00:00 UTC, to the next one.

Pure. Reset days are 1 to 28, so that every month has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Period:
    """`start` belongs to it, `end` doesn't; both UTC."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()

    def left_s(self, now: datetime) -> float:
        """Seconds until its end; 0 after it."""
        return max(0.0, (self.end - now).total_seconds())

    def gone_share(self, now: datetime) -> float:
        """How much of it has passed, 0 to 1."""
        return min(1.0, max(0.0, (now - self.start).total_seconds() / self.seconds))

    @property
    def name(self) -> str:
        """Its first day, as 2026-11-15: what it is known by."""
        return self.start.strftime("%Y-%m-%d")


def period_of(reset_day: int, now: datetime) -> Period:
    """The period that `now` is in. Raises ValueError: a day that not every month has."""
    if not 1 <= reset_day <= 28:
        raise ValueError(f"a reset day is 1 to 28, not {reset_day}")
    now = now.astimezone(UTC)
    months = now.year * 12 + now.month - 1 - (now.day < reset_day)
    return Period(_day(months, reset_day), _day(months + 1, reset_day))


def _day(months: int, day: int) -> datetime:
    return datetime(months // 12, months % 12 + 1, day, tzinfo=UTC)
