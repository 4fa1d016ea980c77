"""A price between two solves: it follows what is really spent, damped.

Theory. A solve says how many bytes would be spent by when at its price, and how many fewer for each
millisecond more. What is spent beyond the plan has to be saved over the rest: error / slope
milliseconds do it. The whole error every time would chase noise, so a part of it is taken, none
within a deadband, and no more than a slew a step. The error is that since the solve, not a sum of
errors; what a price at its bound can't mend is dropped (anti-windup: Åström, Hägglund, Advanced PID
Control, 3.5), or the price would stay at the bound long after the reason has gone.

Promises: pure; within 0 and MAX_PRICE_MS.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from heliostat.budget.solver import MAX_PRICE_MS

GAIN: Final = 0.5
"""Part of the error that a step mends."""
DEADBAND: Final = 0.02
"""Of what is left: an error below is noise."""
SLEW_MS_PER_STEP: Final = 2.0
"""Shares fall by half with 2 ms: faster, and edges would swing between mirrors."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """The price of one budget, and the plan it is held against."""

    price_ms: float
    base_ms: float
    """As the solve said."""
    slope_bytes_per_ms: float
    """How much less is spent over the rest for each millisecond more; > 0."""
    left_bytes: float
    """What the plan spends until the period's end."""
    dropped_bytes: float = 0.0
    """Of the error, what a price at its bound couldn't mend."""

    @classmethod
    def of(cls, price_ms: float, slope_bytes_per_ms: float, left_bytes: float) -> Feedback:
        return cls(price_ms, price_ms, slope_bytes_per_ms, left_bytes)

    def followed(self, spent_bytes: float, planned_bytes: float) -> Feedback:
        """After a step; both are since the solve."""
        error = spent_bytes - planned_bytes - self.dropped_bytes
        if abs(error) <= DEADBAND * max(self.left_bytes, 1.0) or self.slope_bytes_per_ms <= 0:
            return self
        wanted = self.base_ms + GAIN * error / self.slope_bytes_per_ms
        step = min(SLEW_MS_PER_STEP, max(-SLEW_MS_PER_STEP, wanted - self.price_ms))
        price_ms = min(MAX_PRICE_MS, max(0.0, self.price_ms + step))
        dropped = self.dropped_bytes
        if price_ms in (0.0, MAX_PRICE_MS) and wanted != price_ms:
            dropped += error - (price_ms - self.base_ms) * self.slope_bytes_per_ms / GAIN
        return replace(self, price_ms=price_ms, dropped_bytes=dropped)
