"""Repeats: has this client asked for this file within the last minute?

Somebody who asks again for what was just redirected probably had no luck with the mirror, so a
repeat goes to the next one. Theory: a table of 64-bit slots in memory that all workers share. A
request is a number of KEY_BITS made of the path's hash, and of the hash of the client's full
address and user agent; its low bits choose the slot, its high bits are kept there with the time and
the number of repeats so far. Newer requests overwrite older ones, so memory is fixed; two workers
that write one slot at once lose one of two notes, which costs nobody anything.
"""

from __future__ import annotations

import mmap
from typing import Final

from heliostat.edge import limits

KEY_BITS: Final = 60
"""Numbers of this size are two digits to CPython."""

STAMP_BITS: Final = 23
COUNT_BITS: Final = 4
_TIME_MASK: Final = (1 << (STAMP_BITS - COUNT_BITS)) - 1
_COUNT_MASK: Final = (1 << COUNT_BITS) - 1

SLOT_MASK: Final = limits.REPEAT_SLOTS - 1
PRINT_MASK: Final = (1 << KEY_BITS) - (1 << STAMP_BITS)
"""The part of a key that a slot keeps."""

OLDEST: Final = int(limits.REPEAT_TIME_S) << COUNT_BITS
"""Differences of a slot from now, up to this, are repeats."""
NEWEST: Final = -(1 << COUNT_BITS) - _COUNT_MASK
"""And down to this: another worker's clock may be a second ahead, as each ticks by itself."""


class RepeatTable:
    """The table. `slots` and `stamp` are open to those who count every step:

    `late = (key & PRINT_MASK) + stamp - slots[key & SLOT_MASK]` is between NEWEST and OLDEST for a
    repeat; otherwise `(key & PRINT_MASK) + stamp` is written there.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, limits.REPEAT_SLOTS * 8)  # shared with forked processes
        self.slots = memoryview(self._memory).cast("Q")
        self.stamp = 0

    def tick(self, now_s: float) -> None:
        """`now_s` is any clock that all processes share and that only goes forward."""
        self.stamp = (int(now_s) & _TIME_MASK) << COUNT_BITS

    def note(self, key: int) -> int:
        """Notes a request; how many times it was asked for already within the last minute.

        After the highest number the count begins again at 1.
        """
        at = key & SLOT_MASK
        now = (key & PRINT_MASK) + self.stamp
        late = now - self.slots[at]
        times = 0
        if NEWEST <= late <= OLDEST:
            times = (self.slots[at] & _COUNT_MASK) % _COUNT_MASK + 1
        self.slots[at] = now + times
        return times
