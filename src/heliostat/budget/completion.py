"""What a redirect comes to: the part of a file's bytes that is really sent, by class of its size.

Theory. Of each window (a day) we know what we redirected in each class, and what the provider sent
in all. The ratios are moved so that their sum fits it: each in proportion to its part of the bytes
(multiplicative updates, as in Kivinen, Warmuth 1997), a little each time, as windows are noisy and
transfers reach over their ends. What is charged lies MARGIN above what was learned, which rises
faster than it falls: a budget that is charged too much is used a little less, one that is charged
too little is overdrawn.

Promises: pure; every ratio stays within LEAST and MOST.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from heliostat.model.budget import SIZE_CLASSES

CLASSES: Final = len(SIZE_CLASSES) + 1
LEAST: Final = 0.05
MOST: Final = 1.5
"""More than the whole: headers, and what is fetched twice."""
MARGIN: Final = 1.06
RATE: Final = 0.5
"""Part of what is wrong that a window mends."""
MOST_RISE: Final = 0.2
"""Of a ratio, in one window."""
MOST_FALL: Final = 0.05
"""Less than MARGIN, so that one odd window doesn't bring charges below the truth."""
LEAST_WINDOW_BYTES: Final = 10_000_000_000
"""Less in a window says nothing."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was redirected by class, and what the provider counted in all, in the same time."""

    redirected_bytes: tuple[float, ...]
    provider_bytes: float


@dataclass(frozen=True, slots=True)
class Completion:
    """What was learned so far; `ratios` by class, 1 at first."""

    learned: tuple[float, ...] = (1.0,) * CLASSES
    windows: int = 0

    @property
    def ratios(self) -> tuple[float, ...]:
        """What is charged: a margin above what was learned, the whole until something was."""
        if not self.windows:
            return (1.0,) * CLASSES
        return tuple(min(MOST, ratio * MARGIN) for ratio in self.learned)


def learn(known: Completion, windows: Sequence[Window]) -> Completion:
    """`known`, and what further windows say, in their order."""
    learned, count = list(known.learned), known.windows
    for window in windows:
        sent = [ratio * part for ratio, part in zip(learned, window.redirected_bytes, strict=True)]
        total = sum(sent)
        if sum(window.redirected_bytes) < LEAST_WINDOW_BYTES or window.provider_bytes < 1:
            continue
        wrong = math.log(window.provider_bytes / total)
        heaviest = max(sent)
        for index, part in enumerate(sent):
            step = RATE * wrong * (part / heaviest)
            step = min(MOST_RISE, max(-MOST_FALL, step))
            learned[index] = min(MOST, max(LEAST, learned[index] * math.exp(step)))
        count += 1
    return Completion(tuple(learned), count)
