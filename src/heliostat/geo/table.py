"""All geo sources joined: for every address its place, and which source said so.

`merge` lays the layers over each other. Country, location and ASN are three fields: of each, the
first layer that knows it says it, later ones fill what is open. A location is taken only from a
layer that has the address in the same country as the table (or in none): a position in another
country than the country's would send people there. Where a country is known and no location, the
location is the country's middle (mean of its places, weighted by IPv4 addresses), and nobody is
named for it.

6to4 and Teredo addresses are looked up by the IPv4 address inside.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heliostat.geo.addresses import EMBEDDING_RANGES_64, embedded_ipv4, parse_address
from heliostat.geo.countries import continent_of
from heliostat.geo.errors import GeoError
from heliostat.geo.layers import (
    IPV4_END,
    IPV6_END,
    FamilyColumns,
    Layer,
    Locations,
    SourceInfo,
    Starts,
    drop_repeats,
    join_starts,
    no_locations,
)
from heliostat.geo.means import unit_vectors, weighted_means
from heliostat.model.place import Place

MAX_LAYERS = 64
"""Most sources of one table; which of them spoke is kept in a byte."""

NOBODY = 255
"""In a `*_by` column: no source knows the field."""

MIDDLE = 254
"""In `location_by`: the country's middle stands in for a location that nobody knows."""

COUNTRY_MIDDLE = "the country's middle"


@dataclass(frozen=True, slots=True, eq=False)
class TableFamily:
    """One family of the table; `*_by` are indexes of sources, or NOBODY, or MIDDLE."""

    starts: Starts
    location: NDArray[np.uint32]
    asn: NDArray[np.uint32]
    country_by: NDArray[np.uint8]
    location_by: NDArray[np.uint8]
    asn_by: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class PlaceLookup:
    """What the table knows of one address.

    `network` is the largest CIDR network around the address of which the same is known.
    `sources` maps "country", "location" and "asn" to the name of the source that said it; a field
    that nobody knows is missing. `as_name` is "" when unknown.
    """

    place: Place
    network: str
    sources: dict[str, str]
    as_name: str


@dataclass(frozen=True, slots=True, eq=False)
class PlaceTable:
    """Every address of IPv4 and IPv6 with its place; immutable."""

    ipv4: TableFamily
    ipv6: TableFamily
    locations: Locations
    sources: tuple[SourceInfo, ...]
    """Where it all comes from, in the order of the merge."""
    as_names: tuple[Mapping[int, str], ...]
    """For each source the names of AS numbers that it has."""

    def lookup(self, address: str) -> PlaceLookup:
        """What is known of `address` (IPv4 or IPv6 text).

        Raises:
            ValueError: not an IP address.
        """
        high, low, is_ipv6 = parse_address(address)
        if not is_ipv6:
            return self._lookup(low, False)
        inside = embedded_ipv4(high, low)
        return self._lookup(high, True) if inside is None else self._lookup(inside, False)

    def place_of(self, row: int, asn: int) -> Place:
        """The place of a row of `locations`, with `asn`."""
        country = self.locations.country_of(row)
        latitude = float(self.locations.latitude[row])
        longitude = float(self.locations.longitude[row])
        is_known = not np.isnan(latitude)
        return Place(
            country=country,
            continent=continent_of(country),
            subdivision=self.locations.names[int(self.locations.subdivision[row])],
            asn=asn,
            latitude=round(latitude, 4) if is_known else None,
            longitude=round(longitude, 4) if is_known else None,
        )

    def as_name(self, asn: int) -> str:
        """The first name that any source has for an AS number; "" when there is none."""
        for names in self.as_names:
            if name := names.get(asn, ""):
                return name
        return ""

    def _lookup(self, value: int, is_ipv6: bool) -> PlaceLookup:
        family = self.ipv6 if is_ipv6 else self.ipv4
        row = int(np.searchsorted(family.starts, family.starts.dtype.type(value), "right")) - 1
        first = int(family.starts[row])
        end = IPV6_END if is_ipv6 else IPV4_END
        after = int(family.starts[row + 1]) if row + 1 < len(family) else end
        asn = int(family.asn[row])
        said = {
            "country": int(family.country_by[row]),
            "location": int(family.location_by[row]),
            "asn": int(family.asn_by[row]),
        }
        names = {
            field: COUNTRY_MIDDLE if by == MIDDLE else self.sources[by].name
            for field, by in said.items()
            if by != NOBODY
        }
        place = self.place_of(int(family.location[row]), asn)
        network = _network_around(value, first, after - 1, is_ipv6)
        return PlaceLookup(place, network, names, self.as_name(asn) if asn else "")


def merge(layers: Sequence[Layer]) -> PlaceTable:
    """One table of `layers`; an earlier layer wins, field by field.

    Raises:
        GeoError: more than MAX_LAYERS.
    """
    if len(layers) > MAX_LAYERS:
        raise GeoError(f"{len(layers)} geo sources; at most {MAX_LAYERS} can be merged")
    pool = _LocationPool(layers)
    fields = [layer.info.fields for layer in layers]
    ipv4, rows4 = _merge_family([layer.ipv4 for layer in layers], fields, pool, False)
    ipv6, rows6 = _merge_family([layer.ipv6 for layer in layers], fields, pool, True)
    pool.fill_middles(((ipv4, rows4), (ipv6, rows6)))
    locations, renumber = pool.compact(rows4, rows6)
    return PlaceTable(
        _finish(ipv4, renumber[rows4]),
        _finish(ipv6, renumber[rows6]),
        locations,
        tuple(layer.info for layer in layers),
        tuple(layer.as_names for layer in layers),
    )


@dataclass(slots=True, eq=False)
class _Said:
    """One family on its way: as TableFamily, with the country apart from the location."""

    starts: Starts
    country: NDArray[np.uint16]
    asn: NDArray[np.uint32]
    country_by: NDArray[np.uint8]
    location_by: NDArray[np.uint8]
    asn_by: NDArray[np.uint8]


class _LocationPool:
    """The locations of all layers in one numbering, and country-only rows behind them."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        parts = [no_locations(), *(layer.locations for layer in layers)]
        names: dict[str, int] = {"": 0}
        subdivisions = []
        for part in parts:
            known = [names.setdefault(name, len(names)) for name in part.names]
            subdivisions.append(np.array(known, np.uint32)[part.subdivision])
        self.offsets = np.cumsum([len(part) for part in parts])
        self.country = np.concatenate([part.country for part in parts])
        self.subdivision = np.concatenate(subdivisions)
        self.latitude = np.concatenate([part.latitude for part in parts])
        self.longitude = np.concatenate([part.longitude for part in parts])
        self.names = list(names)

    def fill_middles(self, families: Sequence[tuple[_Said, NDArray[np.int64]]]) -> None:
        """Gives every range with a country and no location the country's middle."""
        (ipv4, rows4), (ipv6, rows6) = families
        is_wanted = np.zeros(1 << 16, np.bool_)
        for said, rows in families:
            is_wanted[said.country[rows == 0]] = True
        is_wanted[0] = False
        wanted = np.flatnonzero(is_wanted).astype(np.uint16)
        if not len(wanted):
            return
        sizes4 = np.diff(np.append(ipv4.starts.astype(np.float64), float(IPV4_END)))
        sizes6 = np.diff(np.append(ipv6.starts.astype(np.float64), float(IPV6_END))) * 2.0**-60
        weights = np.bincount(rows4, sizes4, len(self.country)).astype(np.float64)
        weights += np.bincount(rows6, sizes6, len(self.country))
        group = np.searchsorted(wanted, self.country).clip(0, len(wanted) - 1)
        every = np.arange(len(self.country))
        vectors = unit_vectors(self.latitude, self.longitude)
        weights *= wanted[group] == self.country
        latitude, longitude = weighted_means(group, every, weights, vectors, len(wanted))
        base = len(self.country)
        self.country = np.concatenate((self.country, wanted))
        self.subdivision = np.append(self.subdivision, np.zeros(len(wanted), np.uint32))
        self.latitude = np.append(self.latitude, latitude)
        self.longitude = np.append(self.longitude, longitude)
        for said, rows in families:
            is_open = (rows == 0) & (said.country != 0)
            middle = np.searchsorted(wanted, said.country[is_open])
            rows[is_open] = base + middle
            said.location_by[is_open] = np.where(np.isnan(latitude[middle]), NOBODY, MIDDLE)

    def compact(self, *used: NDArray[np.int64]) -> tuple[Locations, NDArray[np.uint32]]:
        """The rows that are used, equal ones once, and old row → new row."""
        is_used = np.zeros(len(self.country), np.bool_)
        is_used[0] = True
        for rows in used:
            is_used[rows] = True
        kept = np.flatnonzero(is_used)
        keys = np.rec.fromarrays(
            [
                self.country[kept],
                self.subdivision[kept],
                np.nan_to_num(self.latitude[kept], nan=-999.0),
                np.nan_to_num(self.longitude[kept], nan=-999.0),
            ]
        )
        order = np.lexsort((keys["f3"], keys["f2"], keys["f1"], keys["f0"]))
        is_new = np.ones(len(order), np.bool_)
        is_new[1:] = keys[order[1:]] != keys[order[:-1]]
        firsts = kept[order[is_new]]
        renumber = np.zeros(len(self.country), np.uint32)
        renumber[kept[order]] = np.cumsum(is_new) - 1
        return (
            Locations(
                self.country[firsts],
                self.subdivision[firsts],
                self.latitude[firsts],
                self.longitude[firsts],
                self.names,
            ),
            renumber,
        )


def _merge_family(
    families: Sequence[FamilyColumns],
    fields: Sequence[tuple[str, ...]],
    pool: _LocationPool,
    is_ipv6: bool,
) -> tuple[_Said, NDArray[np.int64]]:
    """The joined ranges and for each the pool's row of its location (0: none)."""
    dtype = np.uint64 if is_ipv6 else np.uint32
    edges = [np.zeros(1, dtype), *(family.starts for family in families)]
    if is_ipv6:
        edges.append(np.array([e for a, b in EMBEDDING_RANGES_64 for e in (a, b + 1)], dtype))
    starts = join_starts(edges, dtype)
    count = len(starts)
    country = np.zeros(count, np.uint16)
    rows = np.zeros(count, np.int64)
    asn = np.zeros(count, np.uint32)
    by = [np.full(count, NOBODY, np.uint8) for _ in range(3)]
    for number, family in enumerate(families):
        index = np.searchsorted(family.starts, starts, "right") - 1
        if "country" in fields[number]:
            says = pool.country[family.location[index] + pool.offsets[number]]
            takes = (country == 0) & (says != 0)
            country[takes] = says[takes]
            by[0][takes] = number
        if "asn" in fields[number]:
            says_asn = family.asn[index]
            takes = (asn == 0) & (says_asn != 0)
            asn[takes] = says_asn[takes]
            by[2][takes] = number
    for number, family in enumerate(families):
        if "location" not in fields[number]:
            continue
        index = np.searchsorted(family.starts, starts, "right") - 1
        row = family.location[index] + pool.offsets[number]
        says = pool.country[row]
        is_near = (says == country) | (says == 0) | (country == 0)
        takes = (rows == 0) & ~np.isnan(pool.latitude[row]) & is_near
        rows[takes] = row[takes]
        by[1][takes] = number
    if is_ipv6:
        for first, last in EMBEDDING_RANGES_64:
            inside = slice(*np.searchsorted(starts, np.array([first, last + 1], dtype)).tolist())
            country[inside], rows[inside], asn[inside] = 0, 0, 0
            for column in by:
                column[inside] = NOBODY
    _check_countries(country, rows, pool)
    return _Said(starts, country, asn, *by), rows


def _check_countries(
    country: NDArray[np.uint16], rows: NDArray[np.int64], pool: _LocationPool
) -> None:
    """A location without a country gets a row of its own with the table's country."""
    strays = np.flatnonzero((rows != 0) & (pool.country[rows] != country))
    if not len(strays):
        return
    keys = rows[strays] << 16 | country[strays]
    unique, inverse = np.unique(keys, return_inverse=True)
    base = len(pool.country)
    copied = unique >> 16
    pool.country = np.append(pool.country, (unique & 0xFFFF).astype(np.uint16))
    pool.subdivision = np.append(pool.subdivision, pool.subdivision[copied])
    pool.latitude = np.append(pool.latitude, pool.latitude[copied])
    pool.longitude = np.append(pool.longitude, pool.longitude[copied])
    rows[strays] = base + inverse


def _finish(said: _Said, location: NDArray[np.uint32]) -> TableFamily:
    columns = drop_repeats(
        said.starts, location, said.asn, said.country_by, said.location_by, said.asn_by
    )
    return TableFamily(*columns)


def _network_around(value: int, first: int, last: int, is_ipv6: bool) -> str:
    """The largest CIDR network that holds `value` and lies within `first`..`last`."""
    bits = 64 if is_ipv6 else 32
    for length in range(bits + 1):
        base = value >> (bits - length) << (bits - length)
        if first <= base and base + (1 << (bits - length)) - 1 <= last:
            break
    if is_ipv6:
        return str(ipaddress.IPv6Network((base << 64, length)))
    return str(ipaddress.IPv4Network((base, length)))
