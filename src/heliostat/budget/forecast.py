"""Demand foreseen: bytes by hour and group of zones, from what was counted.

Theory. Demand = level × trend × hour of the week × each group's part by hour of the day. Every
factor is a mean of many hours in which the largest are cut to a multiple of the median
(winsorised): one broken day changes little, and a release's surge is taken out before and put on
top by itself (`heliostat.budget.surges`). Groups of which little is counted are drawn towards the
whole's curve (pseudo-counts). Without any history, weights by country and a day's curve by
longitude serve.

Promises: pure; finite and not negative; bounded memory (WEEKS of hours); what is counted k-fold
is foreseen k-fold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heliostat.budget.surges import MOST_PEAK, Surge, Typical, expected_excess, find, typical

Floats = NDArray[np.float64]

WEEKS: Final = 8
DAY_H: Final = 24
WEEK_H: Final = 168
MEMORY_H: Final = WEEKS * WEEK_H
CUT: Final = 2.5
"""Times the median: what is above counts as that."""
LEVEL_H: Final = 14 * DAY_H
"""The level is that of the last two weeks."""
LEAST_HISTORY_H: Final = 2 * DAY_H
"""Less is no history: the prior serves, at the level of what was seen."""
PSEUDO_HOURS: Final = 12.0
"""What a group's curve is drawn to the whole's by: as much as so many hours of its demand."""
MOST_TREND_A_WEEK: Final = 0.03
TREND_DAMPING: Final = 0.8
"""A week ahead, the trend is this part of what it was the week before (Gardner 1985)."""
REFIT_H: Final = DAY_H
RUNNING_H: Final = 12
"""The hours that say how high a surge is that is there now."""
BEGIN_RUNNING: Final = 2.0
"""Times the foreseen, over the last hours: a surge is on its way."""
SETTLED_H: Final = 8.0
"""So long after an announced release what is seen of it is what it is."""
LATE_H: Final = 6.0
"""An announced release that hasn't come by then isn't waited for any more."""
DAY_SWING: Final = 0.45
EVENING_H: Final = 20.0
"""Without history, demand swings by DAY_SWING around its mean and is highest at this local hour."""


class Forecaster:
    """Learns hour by hour; `ahead` foresees. Hours are counted since 1970."""

    def __init__(
        self,
        groups: Sequence[str],
        weights: Floats,
        bytes_per_hour: float,
        utc_offset_h: Floats | None = None,
    ) -> None:
        """`weights` (they sum to 1) and `bytes_per_hour` are what is foreseen without history.

        `utc_offset_h` is the groups' local time; 0 by default.
        """
        self.groups = tuple(groups)
        self._index = {group: number for number, group in enumerate(self.groups)}
        self._weights = np.asarray(weights, dtype=np.float64)
        self._prior_level = bytes_per_hour
        self._offset = np.zeros(len(self.groups)) if utc_offset_h is None else utc_offset_h
        self._bytes = np.zeros((MEMORY_H, len(self.groups)))
        self._is_known = np.zeros(MEMORY_H, dtype=np.bool_)
        self._newest = -1
        self._announced: list[float] = []
        self._lead_h = 0.0
        self._past: list[Surge] = []
        self._fitted_at = -1
        self._level = bytes_per_hour
        self._trend = 0.0
        self._week = np.ones(WEEK_H)
        self._parts = self._prior_parts()

    def observe(self, hour: int, by_group: Floats) -> None:
        """What was counted in an hour. Later hours only; a gap between is unknown, not zero."""
        if hour <= self._newest:
            raise ValueError(f"hour {hour} comes after {self._newest}")
        if self._newest >= 0:
            gap = np.arange(max(self._newest + 1, hour - MEMORY_H), hour) % MEMORY_H
            self._is_known[gap] = False
            self._bytes[gap] = 0.0
        self._bytes[hour % MEMORY_H] = by_group
        self._is_known[hour % MEMORY_H] = True
        self._newest = hour
        if self._fitted_at < 0 or hour - self._fitted_at >= REFIT_H:
            self._fit()

    def observe_named(self, hour: int, by_group: Mapping[str, float]) -> None:
        """The same by name; groups that aren't known are left out."""
        row = np.zeros(len(self.groups))
        for group, value in by_group.items():
            if group in self._index:
                row[self._index[group]] = value
        self.observe(hour, row)

    def announce(self, releases: Sequence[tuple[float, float]]) -> None:
        """(hour in which it was said, hour of the release), past ones too; replaces all before."""
        self._announced = sorted(at for _, at in releases)
        leads = [at - said for said, at in releases if at > said]
        self._lead_h = float(np.median(leads)) if leads else 0.0

    @property
    def past(self) -> tuple[Surge, ...]:
        """The surges that were found so far."""
        return tuple(self._past)

    def ordinary(self, from_hour: int, hours: int) -> Floats:
        """(hours, groups): what is foreseen without releases."""
        at = np.arange(from_hour, from_hour + hours)
        newest = self._newest if self._newest >= 0 else from_hour
        weeks = np.maximum(at - newest, 0) / WEEK_H
        damped = (1 - TREND_DAMPING**weeks) / (1 - TREND_DAMPING)
        total = self._level * self._week[at % WEEK_H] * np.exp(self._trend * damped)
        found: Floats = total[:, None] * self._parts[at % DAY_H]
        return found

    def ahead(self, from_hour: int, hours: int) -> Floats:
        """(hours, groups): bytes foreseen, releases included."""
        at = np.arange(from_hour, from_hour + hours, dtype=np.float64)
        known = typical(self._past)
        excess = np.zeros(hours)
        running = self._running(known)
        if running is not None:
            excess += running.excess(at)
        for hour in self._announced:
            if self._is_coming(hour, running):
                excess += Surge(hour, known.peak, known.decay_h).excess(at)
        named = [*self._announced, *([running.at_hour] if running else [])]
        excess += expected_excess(known, at, named, self._lead_h)
        found: Floats = self.ordinary(from_hour, hours) * (1 + excess)[:, None]
        return found

    def now(self) -> Floats:
        """By group: bytes an hour as they are asked for now, by the hour just seen.

        The whole's last hour, in the parts that are foreseen.
        """
        if self._newest < 0:
            return np.asarray(self.ordinary(0, 1).sum(axis=0))
        seen = float(self._bytes[self._newest % MEMORY_H].sum())
        was, is_now = self.ordinary(self._newest, 2)
        if was.sum() <= 0:
            return np.asarray(is_now)
        found: Floats = is_now * (seen / was.sum())
        return found

    def _is_coming(self, hour: float, running: Surge | None) -> bool:
        """Whether an announced release still has to come: not the one that is running."""
        if running is not None and abs(hour - running.at_hour) < WEEK_H / 2:
            return False
        return hour > self._newest - LATE_H

    def _running(self, known: Typical) -> Surge | None:
        """A surge that is there now: its height by the last hours, its decay as usual.

        One that was announced is first expected to be as usual, and believed to be what is seen
        only as hours pass: the first one may be half over before people hear of it.
        """
        if self._newest < 0:
            return None
        last = np.arange(self._newest - RUNNING_H + 1, self._newest + 1)
        last = last[self._is_known[last % MEMORY_H] & (last >= 0)]
        if not len(last):
            return None
        seen = self._bytes[last % MEMORY_H].sum(axis=1)
        was = np.array([self.ordinary(int(hour), 1).sum() for hour in last])
        ratios = seen / np.maximum(was, 1e-9)
        ratio = _faded_ratio(ratios, known.decay_h)
        now = float(self._newest) + 1.0
        for hour in self._announced:
            since = now - hour
            if 0 <= since < SETTLED_H:
                usual = 1 + (known.peak - 1) * math.exp(-since / known.decay_h)
                believed = since / SETTLED_H
                ratio = math.exp(
                    (1 - believed) * math.log(usual) + believed * math.log(max(ratio, 1.0))
                )
        if ratio <= BEGIN_RUNNING:
            return None
        return Surge(now - 0.5, min(ratio, MOST_PEAK), known.decay_h)

    def _fit(self) -> None:
        """All factors anew from the hours in memory."""
        first = max(0, self._newest - MEMORY_H + 1)
        at = np.arange(first, self._newest + 1)
        at = at[self._is_known[at % MEMORY_H]]
        self._fitted_at = self._newest
        values = self._bytes[at % MEMORY_H]
        total = values.sum(axis=1)
        if len(at) < LEAST_HISTORY_H or total.sum() <= 0:
            if total.sum() > 0:
                shape = self._week[at % WEEK_H]
                self._level = float(np.median(total / shape))
            return
        ordinary = np.ones(len(at), dtype=np.bool_)
        week = self._week_curve(at, total, ordinary)
        for _ in range(2):
            level = _rolling_level(at, total / week[at % WEEK_H], ordinary)
            surges, inside = _surges(at, total / np.maximum(week[at % WEEK_H] * level, 1e-9))
            ordinary = ~inside
            if ordinary.sum() < DAY_H:
                ordinary[:] = True
            fading = np.ones(len(at))
            for surge in surges:
                fading += surge.excess(at.astype(np.float64))
            week = self._week_curve(at, total / fading, ordinary)
        self._remember(surges)
        self._week = week
        plain = total / fading / week[at % WEEK_H]
        recent = ordinary & (at > self._newest - LEVEL_H)
        if recent.sum() < DAY_H:
            recent = ordinary
        self._level = _cut_mean(plain[recent])
        self._trend = self._trend_of(at[ordinary], plain[ordinary])
        self._parts = self._parts_of(at[ordinary], values[ordinary])

    def _week_curve(
        self, at: NDArray[np.int64], total: Floats, ordinary: NDArray[np.bool_]
    ) -> Floats:
        """Hour of the week, mean 1; drawn to the hour of the day where weeks are few."""
        level = max(float(np.median(total[ordinary])), 1e-9)
        ratio = total / level
        day = np.array([_cut_mean(ratio[ordinary & (at % DAY_H == h)], 1.0) for h in range(DAY_H)])
        curve = np.empty(WEEK_H)
        for hour in range(WEEK_H):
            of_hour = ratio[ordinary & (at % WEEK_H == hour)]
            drawn = np.append(of_hour, [day[hour % DAY_H]] * 2)
            curve[hour] = _cut_mean(drawn, 1.0)
        curve = np.maximum(curve, 1e-3)
        scaled: Floats = curve / curve.mean()
        return scaled

    def _trend_of(self, at: NDArray[np.int64], plain: Floats) -> float:
        """Log of the growth a week; 0 with less than four weeks."""
        if at[-1] - at[0] < 4 * WEEK_H:
            return 0.0
        middle = (at[0] + at[-1]) / 2
        early, late = _cut_mean(plain[at <= middle]), _cut_mean(plain[at > middle])
        if early <= 0 or late <= 0:
            return 0.0
        growth = np.log(late / early) / ((at[-1] - at[0]) / 2 / WEEK_H)
        return float(np.clip(growth, -MOST_TREND_A_WEEK, MOST_TREND_A_WEEK))

    def _parts_of(self, at: NDArray[np.int64], values: Floats) -> Floats:
        """(24, groups): each group's part of the whole by hour of the day."""
        total = values.sum(axis=1, keepdims=True)
        parts = np.divide(values, total, out=np.zeros_like(values), where=total > 0)
        mean = parts.mean(axis=0)
        prior = self._prior_parts()
        few = PSEUDO_HOURS / (PSEUDO_HOURS + len(at))
        mean = mean * (1 - few) + self._weights * few
        shape = prior / np.maximum(prior.mean(axis=0), 1e-12)
        found = np.empty((DAY_H, len(self.groups)))
        for hour in range(DAY_H):
            of_hour = parts[at % DAY_H == hour]
            weight = len(of_hour) / (len(of_hour) + PSEUDO_HOURS)
            seen = of_hour.mean(axis=0) if len(of_hour) else mean
            found[hour] = seen * weight + mean * shape[hour] * (1 - weight)
        found /= np.maximum(found.sum(axis=1, keepdims=True), 1e-12)
        return found

    def _prior_parts(self) -> Floats:
        hours = np.arange(DAY_H)[:, None] + self._offset[None, :]
        swing = 1 + DAY_SWING * np.cos(2 * np.pi * (hours - EVENING_H) / DAY_H)
        parts = self._weights[None, :] * swing
        found: Floats = parts / np.maximum(parts.sum(axis=1, keepdims=True), 1e-12)
        return found

    def _remember(self, surges: Sequence[Surge]) -> None:
        """Surges of hours that are still in memory are found anew; older ones stay known."""
        oldest = self._newest - MEMORY_H + WEEK_H
        kept = [surge for surge in self._past if surge.at_hour < oldest]
        self._past = [*kept, *(surge for surge in surges if surge.at_hour >= oldest)][-24:]


def _faded_ratio(ratios: Floats, decay_h: float) -> float:
    """What a surge has come to by the last hour, by all its hours, each as it faded since.

    While it still rises the last hour alone says it.
    """
    low = np.flatnonzero(ratios < BEGIN_RUNNING)
    begin = int(low[-1]) + 1 if len(low) else 0
    excess = ratios[begin:] - 1
    if len(excess) <= 2 or excess[-1] > 2 * np.median(excess):
        return float(ratios[-1])
    ago = np.arange(len(excess))[::-1]
    weight = np.exp(ago / decay_h)
    return 1 + float(np.minimum(excess[1:], 3 * np.median(excess)).sum() / weight[1:].sum())


def _cut_mean(values: Floats, otherwise: float = 0.0) -> float:
    """The mean with the largest cut to CUT medians; `otherwise` of nothing."""
    if not len(values):
        return otherwise
    median = float(np.median(values))
    return float(np.minimum(values, CUT * median).mean()) if median > 0 else float(values.mean())


def _rolling_level(at: NDArray[np.int64], plain: Floats, ordinary: NDArray[np.bool_]) -> Floats:
    """By hour: the level of its own week and those beside it."""
    week = at // WEEK_H
    level = np.empty(len(at))
    for one in np.unique(week):
        near = ordinary & (np.abs(week - one) <= 1)
        level[week == one] = np.median(plain[near]) if near.any() else np.median(plain)
    return level


def _surges(at: NDArray[np.int64], ratio: Floats) -> tuple[list[Surge], NDArray[np.bool_]]:
    """As `surges.find`, of hours that may have gaps: those count as ordinary."""
    span = int(at[-1] - at[0]) + 1
    whole = np.ones(span)
    whole[at - at[0]] = ratio
    surges, inside = find(whole, int(at[0]))
    return surges, inside[at - at[0]]
