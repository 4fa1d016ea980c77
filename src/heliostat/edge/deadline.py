"""A point in time until which something may go on."""

from __future__ import annotations

import time


class Deadline:
    """`seconds` from now, by the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._at_s = time.monotonic() + seconds

    def is_past(self) -> bool:
        return time.monotonic() >= self._at_s
