"""What a release does to demand: a factor on top of the ordinary, that rises fast and fades.

Theory. Downloads of a release follow a peak that decays exponentially: excess(t) = (peak − 1) ×
exp(−(t − t0) / decay), times the ordinary demand. A surge is found where demand stands far above
the ordinary for hours; its peak and decay are medians over its hours, so one odd hour changes
little. Releases that came in regular intervals are expected again: not at an hour, but as likely
as the intervals so far say.

Promises: pure; nothing here is negative or without bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BEGINS_AT: Final = 3.0
"""Times the ordinary demand: what is less is noise or a busy evening."""
ENDS_AT: Final = 1.6
LEAST_HOURS: Final = 2
MOST_HOURS: Final = 14 * 24
"""A surge of more than two weeks is the new ordinary."""
MOST_PEAK: Final = 500.0
PRIOR_PEAK: Final = 10.0
PRIOR_DECAY_H: Final = 36.0
"""SystemRescue's and distributions' releases fade to a third in a day or two."""
LEAST_DECAY_H: Final = 3.0
MOST_DECAY_H: Final = 240.0
LEAST_GAP_SPREAD: Final = 0.15
"""Of the gap: no project keeps its dates better (one standard deviation)."""
LEAST_NOT_YET: Final = 0.3
"""A release later than seven in ten are is expected less and less."""
MOST_EXPECTED: Final = 12
LEAST_CHANCE: Final = 0.05
MOST_REMEMBERED: Final = 24


@dataclass(frozen=True, slots=True)
class Surge:
    """One release's effect, `at_hour` in hours since 1970."""

    at_hour: float
    peak: float
    """Times the ordinary demand, at the beginning."""
    decay_h: float

    def excess(self, hours: Floats) -> Floats:
        """By hour (its beginning, since 1970): how many times the ordinary comes on top."""
        since = np.asarray(hours, dtype=np.float64) + 0.5 - self.at_hour
        faded = (self.peak - 1) * np.exp(-np.maximum(since, 0.0) / self.decay_h)
        found: Floats = np.where(since >= 0, faded, 0.0)
        return found

    @property
    def volume_h(self) -> float:
        """What it brings, in hours of ordinary demand."""
        return (self.peak - 1) * self.decay_h


@dataclass(frozen=True, slots=True)
class Typical:
    """What a release is like here."""

    peak: float = PRIOR_PEAK
    decay_h: float = PRIOR_DECAY_H
    gap_h: float = 0.0
    """Between two; 0: no rhythm is known."""
    gap_spread_h: float = 0.0
    """One standard deviation of it."""
    last_hour: float = 0.0


def typical(surges: Sequence[Surge]) -> Typical:
    """Medians of earlier releases; the prior counts as one of them."""
    if not surges:
        return Typical()
    recent = sorted(surges, key=lambda surge: surge.at_hour)[-MOST_REMEMBERED:]
    weight = 1.0 / (1.0 + len(recent)) ** 3  # the first release already says more than we guess
    peak = float(np.exp(np.median([np.log(surge.peak) for surge in recent])))
    decay = float(np.median([surge.decay_h for surge in recent]))
    gaps = np.diff([surge.at_hour for surge in recent])
    gap = float(np.mean(gaps)) if len(gaps) else 0.0
    few = 1 + 2 / max(1, len(gaps))  # two gaps alike may be chance
    spread = few * max(LEAST_GAP_SPREAD * gap, float(np.std(gaps)) if len(gaps) else 0.0)
    return Typical(
        peak * (1 - weight) + PRIOR_PEAK * weight,
        decay * (1 - weight) + PRIOR_DECAY_H * weight,
        gap,
        spread,
        recent[-1].at_hour,
    )


def expected_excess(
    known: Typical, hours: Floats, named: Sequence[float], lead_h: float = 0.0
) -> Floats:
    """By hour, the expected excess of releases that nobody named yet, by their rhythm.

    One that comes with some chance stands as a whole one of so much less time: its height decides
    which lines are full, and a mean over its days would have none.

    `named` are the hours of releases that are announced or on their way: the rhythm goes on from
    the last of them. Where releases are announced `lead_h` before, none comes sooner than that.
    """
    found = np.zeros(len(hours))
    if not known.gap_h or not len(hours):
        return found
    now, end = float(hours[0]), float(hours[-1]) + 1
    due = max([known.last_hour, *named]) + known.gap_h
    spread = known.gap_spread_h
    for _ in range(MOST_EXPECTED):
        begin = now + lead_h
        if due - 3 * spread > end or begin >= end:
            break
        # Of a release that hasn't come yet; a very late one isn't expected for sure any more.
        not_yet = max(_later(now, due, spread), LEAST_NOT_YET)
        chance = (_later(begin, due, spread) - _later(end, due, spread)) / not_yet
        if chance > LEAST_CHANCE:
            at = min(max(due, begin), end - 1)
            found += Surge(at, known.peak, known.decay_h * min(1.0, chance)).excess(hours)
        due += known.gap_h
        spread *= math.sqrt(2)
    return found


def _later(hour: float, due: float, spread: float) -> float:
    """The chance that a release that is due then comes later than `hour`."""
    return 0.5 * math.erfc((hour - due) / (spread * math.sqrt(2)))


def find(ratio: Floats, first_hour: int) -> tuple[list[Surge], NDArray[np.bool_]]:
    """The surges in `ratio` (demand over the ordinary, by hour), and the hours they took."""
    surges: list[Surge] = []
    inside = np.zeros(len(ratio), dtype=np.bool_)
    high = ratio > BEGINS_AT
    hour = 0
    while hour < len(ratio):
        if not high[hour : hour + LEAST_HOURS].all() or hour + LEAST_HOURS > len(ratio):
            hour += 1
            continue
        end = hour
        while end < len(ratio) and ratio[end : end + 6].mean() > ENDS_AT:
            end += 1
        begin = hour
        while begin > 0 and ratio[begin - 1] > ENDS_AT:
            begin -= 1
        if end - begin <= MOST_HOURS:
            inside[begin:end] = True
            surges.append(_fitted(ratio[begin:end], first_hour + begin))
        hour = max(end, hour + 1)
    return surges, inside


def _fitted(ratio: Floats, first_hour: int) -> Surge:
    """Peak and decay of one surge by its hours: decay by how they fall, peak by their sum."""
    top = int(np.argmax(np.convolve(ratio, np.ones(3) / 3, mode="same")))
    peak = float(max(BEGINS_AT, np.median(ratio[max(0, top - 1) : top + 2])))
    after = np.maximum(ratio[top:] - 1, 1e-3)
    hours = np.arange(len(after), dtype=np.float64)
    usable = (after > ENDS_AT - 1) & (hours > 0)
    decay = PRIOR_DECAY_H
    if usable.sum() >= LEAST_HOURS:
        fades = np.log((peak - 1) / after[usable])
        decay = float(np.median(hours[usable] / np.maximum(fades, 1e-2)))
    decay = min(MOST_DECAY_H, max(LEAST_DECAY_H, decay))
    begin = int(np.argmax(ratio > BEGINS_AT))
    since = np.arange(len(ratio) - begin) + 0.5
    height = float((ratio[begin:] - 1).sum() / np.exp(-since / decay).sum())
    return Surge(float(first_hour + begin), min(MOST_PEAK, max(BEGINS_AT, 1 + height)), decay)
