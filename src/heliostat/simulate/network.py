"""The simulated project as routing sees it: zones, mirrors, and the real router's rows for them.

Promises: rows, costs and candidates are those of `heliostat.routing`, as an edge computes them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heliostat.budget.planner import Terrain
from heliostat.budget.problem import Field
from heliostat.model.mirror import Mirror
from heliostat.model.place import Place
from heliostat.model.tree import Tree
from heliostat.routing.router import Router
from heliostat.routing.world import RoutedMirror, World

Floats = NDArray[np.float64]
Indexes = NDArray[np.int32]

TREE = Tree("simulated", "", prefix="/")


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Who serves each zone: (zones, candidates); index -1 and share 0 where there are fewer."""

    mirror: Indexes
    share: Floats
    is_served: NDArray[np.bool_]
    """By zone: somebody serves it."""

    def loads(self, demand_bytes: Floats, mirrors: int) -> Floats:
        """By mirror, of a demand by zone."""
        sent = self.share * demand_bytes[:, None]
        index = np.where(self.mirror < 0, mirrors, self.mirror)
        loads = np.bincount(index.reshape(-1), sent.reshape(-1), mirrors + 1)
        return loads[:-1].astype(np.float64)

    def part_of(self, mirror: int) -> Floats:
        """By zone, the share of one mirror."""
        part: Floats = np.where(self.mirror == mirror, self.share, 0.0).sum(axis=1)
        return part


class Rows:
    """The real router at some prices, asked for every zone."""

    def __init__(self, router: Router, zones: int) -> None:
        self._router, self._zones = router, zones
        self._known: dict[tuple[frozenset[int], frozenset[int]], Shares] = {}

    def shares(
        self, spent: frozenset[int] = frozenset(), full: frozenset[int] = frozenset()
    ) -> Shares:
        """While the mirrors `spent` have no allowance, and the lines of `full` are full."""
        shares = self._known.get((spent, full))
        if shares is not None:
            return shares
        self._router.set_spent(spent, spent)
        self._router.set_full(full)
        rows = [self._router.row(zone, 0, 0, True, False) for zone in range(self._zones)]
        width = max((len(row.mirrors) for row in rows), default=0)
        mirror = np.full((len(rows), width), -1, np.int32)
        share = np.zeros((len(rows), width))
        for zone, row in enumerate(rows):
            count = len(row.mirrors)
            mirror[zone, :count] = row.mirrors
            share[zone, :count] = row.shares
        shares = Shares(mirror, share, np.array([bool(row.mirrors) for row in rows]))
        self._known[spent, full] = shares
        return shares


class Network:
    """Mirrors and zones that stay as they are for a run."""

    def __init__(
        self,
        mirrors: Sequence[Mirror],
        places: Sequence[Place],
        group: NDArray[np.int64],
        part: Floats,
        *,
        held: Sequence[bool] | None = None,
    ) -> None:
        """Zone z is at `places[z]` and has `part[z]` of the demand of `group[z]`.

        `held` says which mirrors hold the files that are asked for; all by default.
        """
        self.mirrors = tuple(mirrors)
        self.places = tuple(places)
        self.group, self.part = group, part
        self._held = np.array([True] * len(mirrors) if held is None else held, dtype=np.bool_)
        self.index_of = {mirror.name: index for index, mirror in enumerate(mirrors)}
        plain = self._router({})
        self.cost_ms = np.array(
            [plain.costs_of(zone, False).total_ms for zone in range(len(places))]
        )
        """(zones, mirrors): without any price."""
        self.weights = plain.world.weights
        ranked = [plain.ranked(zone, False) for zone in range(len(places))]
        ranked = [[entry for entry in row if self._held[entry[1]]] for row in ranked]
        regions = [mirror.place.continent for mirror in mirrors]
        budgeted = {i for i, mirror in enumerate(mirrors) if mirror.budget is not None}
        self.terrain = Terrain(Field.of(ranked, self.weights, regions, budgeted), group, part)

    def without(self, names: Collection[str]) -> Network:
        """The same, but these mirrors hold nothing."""
        held = [
            bool(holds) and mirror.name not in names
            for mirror, holds in zip(self.mirrors, self._held, strict=True)
        ]
        return Network(self.mirrors, self.places, self.group, self.part, held=held)

    def rows(self, price_ms: Mapping[int, float]) -> Rows:
        """What edges make of these prices."""
        return Rows(self._router(price_ms), len(self.places))

    def shares(self, price_ms: Mapping[int, float]) -> Shares:
        """The same while nobody is out of allowances and no line is full."""
        return self.rows(price_ms).shares()

    def _router(self, price_ms: Mapping[int, float]) -> Router:
        world = World(
            trees=[TREE],
            mirrors=[
                RoutedMirror(
                    mirror,
                    "",
                    (f"https://{mirror.name}/",),
                    ("",),
                    charged=mirror.budget is not None,
                )
                for mirror in self.mirrors
            ],
            filesets=[self._held],
            zone_place=lambda zone: (self.places[zone], frozenset()),
            price_ms=[price_ms.get(index, 0.0) for index in range(len(self.mirrors))],
        )
        return Router(world)
