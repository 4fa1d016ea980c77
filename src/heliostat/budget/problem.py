"""What the solver is asked: who wants how much, who could serve it at what cost, what is scarce.

Pure. Demand is in bytes; a budget and a capacity limit the *redirected* bytes, so what a provider
counts less (broken downloads) is divided out before. DESIGN §9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from heliostat.routing.constants import SHARE_SCALE_MS

Floats = NDArray[np.float64]
Indexes = NDArray[np.int32]

MOST_CANDIDATES = 20
"""Of a zone in the problem. Edges use up to 8; the others come near when those get dear."""

MOST_ZONES = 5000
"""Zones of one problem; smaller ones are put together before."""


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A stretch of time with one demand. `demand_bytes[z]` is what zone z wants in it."""

    demand_bytes: Floats
    seconds: float
    has_capacity: bool = True
    """False: capacities aren't looked at, as it stands for many hours of different demand."""


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Row z of the candidates' arrays, shape (zones, candidates), is who could serve zone z.

    `mirror` is an index, -1 where a zone has fewer candidates; `cost_ms` is without the price of
    scarce bytes; `weight` is the bandwidth weight of shares.
    """

    mirror: Indexes
    cost_ms: Floats
    weight: Floats
    slots: Sequence[Slot]
    budgets: Mapping[int, float]
    """Mirror → redirected bytes that it has left for all slots together."""
    capacities: Mapping[int, float]
    """Mirror → redirected bytes a second that its line takes."""
    scale_ms: float = SHARE_SCALE_MS
    mirrors: int = field(init=False)
    """One more than the largest index."""

    def __post_init__(self) -> None:
        named = [int(self.mirror.max(initial=-1)), *self.budgets, *self.capacities]
        object.__setattr__(self, "mirrors", max(named) + 1)
        zones = len(self.mirror)
        if any(len(slot.demand_bytes) != zones for slot in self.slots):
            raise ValueError(f"each slot needs a demand of each of the {zones} zones")

    @classmethod
    def of(
        cls,
        ranked: Sequence[Sequence[tuple[float, int]]],
        weights: Sequence[float],
        slots: Sequence[Slot],
        budgets: Mapping[int, float],
        capacities: Mapping[int, float],
        scale_ms: float = SHARE_SCALE_MS,
    ) -> Problem:
        """A problem of zones whose eligible mirrors are `ranked[z]`: (cost in ms, mirror), sorted.

        The nearest MOST_CANDIDATES are taken, and every one with a budget, wherever it stands.
        """
        rows = []
        for entries in ranked:
            near = list(entries[:MOST_CANDIDATES])
            near += [entry for entry in entries[MOST_CANDIDATES:] if entry[1] in budgets]
            rows.append(near)
        width = max(map(len, rows), default=0)
        mirror = np.full((len(rows), width), -1, np.int32)
        cost_ms = np.zeros((len(rows), width))
        weight = np.zeros((len(rows), width))
        for zone, row in enumerate(rows):
            for place, (cost, index) in enumerate(row):
                mirror[zone, place] = index
                cost_ms[zone, place] = cost
                weight[zone, place] = weights[index]
        return cls(mirror, cost_ms, weight, slots, budgets, capacities, scale_ms)

    @property
    def total_bytes(self) -> float:
        """The demand of all slots that anybody can serve."""
        servable = self.weight.any(axis=1)
        return float(sum(slot.demand_bytes[servable].sum() for slot in self.slots))
