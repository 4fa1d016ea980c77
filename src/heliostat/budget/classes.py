"""The zones that demand is shared out to: the largest of each country, with the country's demand.

Counts know countries; routing knows tens of thousands of zones. A country's demand is spread over
its largest zones by their addresses, and small zones' part goes to the larger ones beside them.

Promises: pure; every country that has an address has a zone; parts of a group sum to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heliostat.budget.problem import MOST_ZONES
from heliostat.geo.zonetable import MIXED, ZoneTable

LEAST_PART: Final = 0.01
"""Of a country's addresses: a zone with fewer is put to the others."""


@dataclass(frozen=True, slots=True, eq=False)
class ZoneClasses:
    """`zone[i]` of the table has `part[i]` of the demand of `groups[group[i]]`.

    Groups are countries, "" for addresses of which none is known.
    """

    zone: NDArray[np.int64]
    group: NDArray[np.int64]
    part: NDArray[np.float64]
    groups: tuple[str, ...]
    addresses: NDArray[np.float64]
    """By group: its /24 networks."""
    longitude: NDArray[np.float64]
    """By group, degrees: the mean of its zones, weighted; 0 where none is known."""


def zone_classes(table: ZoneTable, most: int = MOST_ZONES, a_country: int = 50) -> ZoneClasses:
    """At most `most` zones, and `a_country` of one country."""
    weight = np.bincount(table.slash24_zones, minlength=MIXED + 1)[: len(table.places)].astype(
        np.float64
    )
    country = [place.place.country for place in table.places]
    groups = tuple(sorted({name for name, w in zip(country, weight, strict=True) if w or not name}))
    groups = groups or ("",)
    number = {name: index for index, name in enumerate(groups)}
    of_group: list[list[int]] = [[] for _ in groups]
    for zone in np.argsort(-weight, kind="stable").tolist():
        if country[zone] in number and (weight[zone] or not of_group[number[country[zone]]]):
            of_group[number[country[zone]]].append(zone)
    kept = _kept(of_group, weight, most, a_country)
    zones, members, parts = [], [], []
    addresses, longitude = np.zeros(len(groups)), np.zeros(len(groups))
    for index, some in enumerate(kept):
        total = float(weight[of_group[index]].sum())
        addresses[index] = total
        weights = weight[some] if weight[some].sum() > 0 else np.ones(len(some))
        zones += some
        members += [index] * len(some)
        parts.append(weights / weights.sum())
        placed = [(w, table.places[z].place.longitude) for w, z in zip(weights, some, strict=True)]
        known = [(w, lon) for w, lon in placed if lon is not None]
        if known:
            turned = sum(w * np.exp(1j * np.radians(lon)) for w, lon in known)
            longitude[index] = float(np.degrees(np.angle(turned)))
    return ZoneClasses(
        np.array(zones, dtype=np.int64),
        np.array(members, dtype=np.int64),
        np.concatenate(parts),
        groups,
        addresses,
        longitude,
    )


def _kept(
    of_group: list[list[int]], weight: NDArray[np.float64], most: int, a_country: int
) -> list[list[int]]:
    """The zones of each group that stay: each group's first, then the largest of all."""
    kept = [zones[:1] for zones in of_group]
    more = []
    for index, zones in enumerate(of_group):
        total = float(weight[zones].sum())
        more += [
            (weight[zone], -zone, index)
            for zone in zones[1:a_country]
            if weight[zone] >= LEAST_PART * total
        ]
    more.sort(reverse=True)
    for _, minus_zone, index in more[: max(0, most - len(of_group))]:
        kept[index].append(-minus_zone)
    return kept
