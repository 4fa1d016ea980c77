"""What the solver is asked: who wants how much, who could serve it at what cost, what is scarce.

Pure. Demand is in bytes; a budget and a capacity limit the *redirected* bytes, so what a provider
counts less (broken downloads) is divided out before. DESIGN §9.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heliostat.routing.constants import SHARE_SCALE_MS

Floats = NDArray[np.float64]
Indexes = NDArray[np.int32]

MOST_CANDIDATES = 20
"""Of a zone in the problem. Edges use up to 8; the others come near when those get dear."""

FAR_CANDIDATES = 8
OF_A_REGION = 2

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
class Field:
    """Who could serve each zone: row z of each array, shape (zones, candidates), is zone z.

    `mirror` is an index, -1 where a zone has fewer candidates; `cost_ms` is without the price of
    scarce bytes; `weight` is the bandwidth weight of shares, 0 where there is no mirror.
    """

    mirror: Indexes
    cost_ms: Floats
    weight: Floats

    @classmethod
    def of(
        cls,
        ranked: Sequence[Sequence[tuple[float, int]]],
        weights: Sequence[float],
        regions: Sequence[str],
        always: Collection[int] = (),
    ) -> Field:
        """Of zones whose eligible mirrors are `ranked[z]`: (cost in ms, mirror), sorted.

        Most are the nearest. FAR_CANDIDATES are the nearest of what lies beyond, a few of each of
        the mirrors' `regions` (continents): where a whole region is full, they are what is left.
        Those of `always` are taken wherever they stand.
        """
        rows = []
        for entries in ranked:
            near = list(entries[: MOST_CANDIDATES - FAR_CANDIDATES])
            taken: dict[str, int] = {}
            far: list[tuple[float, int]] = []
            rest: list[tuple[float, int]] = []
            for entry in entries[len(near) :]:
                region = regions[entry[1]]
                if len(far) < FAR_CANDIDATES and taken.get(region, 0) < OF_A_REGION:
                    taken[region] = taken.get(region, 0) + 1
                    far.append(entry)
                elif entry[1] in always:
                    rest.append(entry)
            rows.append(near + far + rest)
        width = max(map(len, rows), default=0)
        mirror = np.full((len(rows), width), -1, np.int32)
        cost_ms = np.zeros((len(rows), width))
        weight = np.zeros((len(rows), width))
        for zone, row in enumerate(rows):
            count = len(row)
            mirror[zone, :count] = [index for _, index in row]
            cost_ms[zone, :count] = [cost for cost, _ in row]
            weight[zone, :count] = [weights[index] for _, index in row]
        return cls(mirror, cost_ms, weight)

    @property
    def parts(self) -> Floats:
        """Each candidate's part of its zone's weights; 0 where nobody serves the zone."""
        total = self.weight.sum(axis=1, keepdims=True)
        parts: Floats = self.weight / np.where(total > 0, total, 1.0)
        return parts


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Demand and limits over a field."""

    field: Field
    slots: Sequence[Slot]
    budgets: Mapping[int, float]
    """Mirror → redirected bytes that it has left for all slots together."""
    capacities: Mapping[int, float]
    """Mirror → redirected bytes a second that its line takes."""
    scale_ms: float = SHARE_SCALE_MS

    def __post_init__(self) -> None:
        zones = len(self.field.mirror)
        if any(len(slot.demand_bytes) != zones for slot in self.slots):
            raise ValueError(f"each slot needs a demand of each of the {zones} zones")

    @property
    def mirrors(self) -> int:
        """One more than the largest index."""
        named = [int(self.field.mirror.max(initial=-1)), *self.budgets, *self.capacities]
        return max(named) + 1

    @property
    def total_bytes(self) -> float:
        """The demand of all slots that anybody can serve."""
        servable = self.field.weight.any(axis=1)
        return float(sum(slot.demand_bytes[servable].sum() for slot in self.slots))
