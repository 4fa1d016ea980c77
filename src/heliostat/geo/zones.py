"""Makes zones: the classes of client addresses that routing can't tell apart.

Two addresses are in one zone when they have the same country, nearly the same location, the same
AS as far as a mirror stands in it, and the same declared networks around them. "Nearly" is a grid
of degrees: locations of one country in one cell count as one, at their mean weighted by addresses.
The finest grid of GRIDS_DEG with which the zones fit into MAX_ZONES is taken; when not even one
location a country is enough, the AS is given up, then the country: declared networks are kept to
the last. The same table, AS numbers and networks always give the same zones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heliostat.geo.countries import continent_of, unpack
from heliostat.geo.declared import Declared, declare
from heliostat.geo.errors import ZoneTableError
from heliostat.geo.layers import IPV4_END, IPV6_END, Locations, drop_repeats, join_starts
from heliostat.geo.means import unit_vectors, weighted_means
from heliostat.geo.table import PlaceTable, TableFamily
from heliostat.geo.zonetable import MAX_ZONES, MIXED, SLASH24_COUNT, ZonePlace, ZoneTable
from heliostat.model.place import Place

__all__ = ["MAX_ZONES", "MIXED", "ZonePlace", "ZoneTable", "build_zones"]

GRIDS_DEG = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 360.0)
"""Cell sizes tried in turn; 0 keeps every location apart, 360 puts a country into one."""

_IPV6_48_WEIGHT = 2.0**-16
"""A /48 counts as much as this many IPv4 addresses: where people are, IPv4 says better."""

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Pieces:
    """All pieces of the address space in a row: IPv4's, IPv6's, those inside single /64s."""

    starts4: NDArray[np.uint32]
    starts6: NDArray[np.uint64]
    location: Int64s
    asn_code: Int64s
    networks: Int64s
    weight: NDArray[np.float64]


def build_zones(table: PlaceTable, *, asns: frozenset[int], networks: Sequence[str]) -> ZoneTable:
    """The zones of `table` for mirrors that stand in `asns` and declare `networks` (CIDR text).

    Raises:
        ZoneTableError: a network is none; too many networks for MAX_ZONES.
    """
    declared = declare(networks)
    pieces = _pieces(table, declared, asns)
    for group, asn in _groupings(table.locations, pieces.asn_code):
        zones = _number(group[pieces.location], asn, pieces.networks)
        count = int(zones.max()) + 1
        if count <= MAX_ZONES:
            break
    else:
        raise ZoneTableError(
            f"the declared networks alone make {count} zones, more than {MAX_ZONES};"
            " declare larger networks instead of their parts"
        )
    asn_of = [0, *sorted(asns - {0})]
    places = _zone_places(table.locations, pieces, zones, count, asn, asn_of, declared)
    return ZoneTable(_arrays(pieces, zones, declared), places)


def _groupings(locations: Locations, asn: Int64s) -> Any:
    """(location → cell, AS code of every piece), from the finest to the coarsest."""
    for grid_deg in GRIDS_DEG:
        yield _cells(locations, grid_deg), asn
    nothing = np.zeros_like(asn)
    yield _cells(locations, GRIDS_DEG[-1]), nothing
    yield np.zeros(len(locations), np.int64), nothing


def _cells(locations: Locations, grid_deg: float) -> Int64s:
    """The cell of every location; cell 0 is "nothing known" and has only row 0."""
    if grid_deg == 0:
        return np.arange(len(locations), dtype=np.int64)
    is_placed = ~np.isnan(locations.latitude)
    row = np.floor((np.where(is_placed, locations.latitude, 0) + 90) / grid_deg).astype(np.int64)
    column = np.floor((np.where(is_placed, locations.longitude, 0) + 180) / grid_deg)
    key = (locations.country.astype(np.int64) << 32) + (row << 16) + column.astype(np.int64) + 1
    key[~is_placed] = locations.country[~is_placed].astype(np.int64) << 32
    cells = np.unique(key, return_inverse=True)[1]
    return cells.astype(np.int64)


def _pieces(table: PlaceTable, declared: Declared, asns: frozenset[int]) -> _Pieces:
    special = np.array(sorted(asns - {0}), np.uint32)
    starts4, location4, code4, sets4 = _join(table.ipv4, declared.starts4, declared.sets4, special)
    starts6, location6, code6, sets6 = _join(table.ipv6, declared.starts6, declared.sets6, special)
    highs = np.array([high for high, _, _ in declared.long6], np.uint64)
    row_long = np.searchsorted(table.ipv6.starts, highs, "right") - 1
    sets_long = np.array([number for _, _, number in declared.long6], np.int64)
    sizes4 = np.diff(np.append(starts4.astype(np.float64), float(IPV4_END)))
    sizes6 = np.diff(np.append(starts6.astype(np.float64), float(IPV6_END)))
    location_long = table.ipv6.location[row_long]
    code_long = _code(table.ipv6.asn[row_long], special)
    return _Pieces(
        starts4=starts4,
        starts6=starts6,
        location=np.concatenate((location4, location6, location_long)).astype(np.int64),
        asn_code=np.concatenate((code4, code6, code_long)),
        networks=np.concatenate((sets4, sets6, sets_long)),
        weight=np.concatenate((sizes4, sizes6 * (_IPV6_48_WEIGHT / 65_536), np.zeros(len(highs)))),
    )


def _join(
    family: TableFamily,
    starts: NDArray[Any],
    sets: Int64s,
    special: NDArray[np.uint32],
) -> tuple[NDArray[Any], NDArray[np.uint32], Int64s, Int64s]:
    """Starts of pieces, each with its location, AS code and number of declared networks."""
    kept, location, code = drop_repeats(family.starts, family.location, _code(family.asn, special))
    joined = join_starts((kept, starts), kept.dtype)
    rows = np.searchsorted(kept, joined, "right") - 1
    within = sets[np.searchsorted(starts, joined, "right") - 1]
    return joined, location[rows], code[rows], within


def _code(asn: NDArray[np.uint32], special: NDArray[np.uint32]) -> Int64s:
    """1 + the index in `special` (sorted) of each AS number, 0 for those that aren't in it."""
    if not len(special):
        return np.zeros(len(asn), np.int64)
    found = np.searchsorted(special, asn).clip(0, len(special) - 1)
    code: Int64s = found.astype(np.int64) + 1
    code[special[found] != asn] = 0
    return code


def _number(cell: Int64s, asn_code: Int64s, networks: Int64s) -> Int64s:
    """Numbers the combinations from 0 without gaps; (0, 0, 0) is 0 even when it doesn't occur.

    First those outside of all declared networks, which are nearly all pieces and are numbered by
    a table of what occurs; then the others, by sorting.
    """
    code = cell * (int(asn_code.max(initial=0)) + 1) + asn_code
    is_inside = networks != 0
    occurs = np.zeros(int(code.max(initial=0)) + 1, np.bool_)
    occurs[code[~is_inside]] = True
    occurs[0] = True
    number = np.cumsum(occurs) - 1
    zones: Int64s = number[code]
    sets = int(networks.max(initial=0)) + 1
    inside = np.unique(code[is_inside] * sets + networks[is_inside], return_inverse=True)[1]
    zones[is_inside] = int(number[-1]) + 1 + inside
    return zones


def _zone_places(
    locations: Locations,
    pieces: _Pieces,
    zones: Int64s,
    count: int,
    asn: Int64s,
    asn_of: Sequence[int],
    declared: Declared,
) -> list[ZonePlace]:
    """The place of every zone: its weightiest country and subdivision, its mean position."""
    # A piece without weight (inside a /64) still has a place: a grain of weight keeps it.
    weight = pieces.weight + 1e-9
    vectors = unit_vectors(locations.latitude, locations.longitude)
    latitude, longitude = weighted_means(zones, pieces.location, weight, vectors, count)
    heaviest_first = np.argsort(
        -np.bincount(pieces.location, weight, len(locations)), kind="stable"
    )
    rank = np.empty(len(locations), np.int64)
    rank[heaviest_first] = np.arange(len(locations))
    best = np.full(count, len(locations), np.int64)
    np.minimum.at(best, zones, rank[pieces.location])
    best[best == len(locations)] = rank[0]
    heaviest = heaviest_first[best]
    first_piece = np.full(count, -1, np.int64)
    first_piece[zones[::-1]] = np.arange(len(zones))[::-1]
    countries = locations.country[heaviest]
    positions = zip(latitude.tolist(), longitude.tolist(), strict=True)
    places = []
    for number, (lat, lon) in enumerate(positions):
        country = unpack(int(countries[number]))
        first = int(first_piece[number])
        is_known = lat == lat
        place = Place(
            country=country,
            continent=continent_of(country),
            subdivision=locations.names[int(locations.subdivision[heaviest[number]])],
            asn=asn_of[int(asn[first])] if first >= 0 else 0,
            latitude=round(lat, 3) if is_known else None,
            longitude=round(lon, 3) if is_known else None,
        )
        networks = declared.members[int(pieces.networks[first])] if first >= 0 else ()
        places.append(ZonePlace(place, networks))
    places[0] = ZonePlace(Place())
    return places


def _arrays(pieces: _Pieces, zones: Int64s, declared: Declared) -> dict[str, NDArray[Any]]:
    all4, all6 = len(pieces.starts4), len(pieces.starts6)
    zones16 = zones.astype(np.uint16)
    starts4, zones4 = drop_repeats(pieces.starts4, zones16[:all4])
    starts6, zones6 = drop_repeats(pieces.starts6, zones16[all4 : all4 + all6])
    long_zones = zones16[all4 + all6 :]
    v4, mixed_starts, mixed_zones = _slash24s(starts4, zones4)
    starts6, zones6 = _mark_mixed(starts6, zones6, sorted({high for high, _, _ in declared.long6}))
    return {
        "v4": v4,
        "v4-exception-starts": mixed_starts,
        "v4-exception-zones": mixed_zones,
        "v6-starts": starts6,
        "v6-zones": zones6,
        "v6-exception-highs": np.array([0, *(h for h, _, _ in declared.long6)], np.uint64),
        "v6-exception-lows": np.array([0, *(low for _, low, _ in declared.long6)], np.uint64),
        "v6-exception-zones": np.concatenate((np.zeros(1, np.uint16), long_zones)),
    }


def _slash24s(
    starts: NDArray[np.uint32], zones: NDArray[np.uint16]
) -> tuple[NDArray[np.uint16], NDArray[np.uint32], NDArray[np.uint16]]:
    """Zone or MIXED of every /24; and starts and zones of the pieces of the mixed ones.

    The pieces begin with an entry for address 0 that nothing leads to, so as never to be empty.
    """
    edges = np.append((starts.astype(np.int64) + 255) >> 8, SLASH24_COUNT)
    v4 = np.repeat(zones, np.diff(edges))
    uneven = starts[(starts & np.uint32(255)) != 0]
    mixed = np.unique(uneven >> np.uint32(8))
    v4[mixed] = MIXED
    pieces = np.unique(np.concatenate((uneven, mixed << np.uint32(8), np.zeros(1, np.uint32))))
    return v4, pieces, zones[np.searchsorted(starts, pieces, "right") - 1]


def _mark_mixed(
    starts: NDArray[np.uint64], zones: NDArray[np.uint16], highs: Sequence[int]
) -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
    """The same cover with MIXED at each of the /64s `highs` (sorted)."""
    if not highs:
        return starts, zones
    after = [high + 1 for high in highs if high + 1 < IPV6_END]
    cuts = join_starts((starts, np.array([*highs, *after], np.uint64)), np.uint64)
    marked = zones[np.searchsorted(starts, cuts, "right") - 1]
    marked[np.searchsorted(cuts, np.array(highs, np.uint64))] = MIXED
    return cuts, marked
