"""What readers collect while they read: records told apart once, and the layer made of them.

A record is what one range says: country, subdivision, position, AS number. Millions of ranges
share some hundred thousand records; readers hand in records by number and ranges as arrays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from heliostat.geo.countries import clean_code, pack
from heliostat.geo.layers import (
    FIELDS,
    FamilyColumns,
    Indexes,
    Layer,
    Locations,
    SourceInfo,
    Starts,
    drop_repeats,
)

MAX_ASN = (1 << 32) - 1
MAX_NAME_CHARS = 200
"""Longer names of AS organisations and subdivisions are cut: they are for people's eyes only."""


@dataclass(slots=True)
class Records:
    """The distinct records of one source, in the order they were met; number 0 is "unknown"."""

    _locations: dict[tuple[int, str, float, float], int] = field(
        default_factory=lambda: {(0, "", math.inf, math.inf): 0}
    )
    _location: list[int] = field(default_factory=lambda: [0])
    _asn: list[int] = field(default_factory=lambda: [0])
    as_names: dict[int, str] = field(default_factory=dict)

    def add(
        self,
        country: str = "",
        subdivision: str = "",
        latitude: float | None = None,
        longitude: float | None = None,
        asn: int = 0,
        as_name: str = "",
    ) -> int:
        """The number of a record. What makes no sense (a latitude of 100) counts as unknown."""
        code = pack(clean_code(country))
        position = _position(latitude, longitude)
        key = (code, tidy_name(subdivision) if code or position[0] != math.inf else "", *position)
        self._location.append(self._locations.setdefault(key, len(self._locations)))
        known_asn = asn if 0 < asn <= MAX_ASN else 0
        self._asn.append(known_asn)
        if known_asn and as_name and known_asn not in self.as_names:
            self.as_names[known_asn] = tidy_name(as_name)
        return len(self._asn) - 1

    def __len__(self) -> int:
        return len(self._asn)

    def knows(self) -> tuple[str, ...]:
        """The fields that any record has."""
        has = {
            "country": any(key[0] for key in self._locations),
            "location": any(key[2] != math.inf for key in self._locations),
            "asn": any(self._asn),
        }
        return tuple(name for name in FIELDS if has[name])

    def locations(self) -> Locations:
        names: dict[str, int] = {"": 0}
        subdivision = [names.setdefault(key[1], len(names)) for key in self._locations]
        columns = list(zip(*self._locations, strict=True))
        latitude = np.array(columns[2], np.float32)
        longitude = np.array(columns[3], np.float32)
        latitude[np.isinf(latitude)] = np.nan
        longitude[np.isinf(longitude)] = np.nan
        return Locations(
            np.array(columns[0], np.uint16),
            np.array(subdivision, np.uint32),
            latitude,
            longitude,
            list(names),
        )

    def columns(self, starts: Starts, index: Indexes, is_ipv6: bool) -> FamilyColumns:
        """A family from `flatten`'s cover, whose `index` are record numbers (-1: unknown)."""
        number = np.maximum(index, 0)
        location = np.array(self._location, np.uint32)[number]
        asn: NDArray[np.uint32] = np.array(self._asn, np.uint32)[number]
        typed = starts.astype(np.uint64 if is_ipv6 else np.uint32)
        return FamilyColumns(*drop_repeats(typed, location, asn))

    def layer(
        self, info: SourceInfo, ipv4: FamilyColumns, ipv6: FamilyColumns, only: tuple[str, ...]
    ) -> Layer:
        """The finished layer; `only` limits what is taken from it, empty: all it has."""
        known = self.knows()
        fields = tuple(name for name in known if not only or name in only)
        info = replace(info, fields=fields, ranges4=len(ipv4), ranges6=len(ipv6))
        return Layer(info, ipv4, ipv6, self.locations(), self.as_names)


def tidy_name(name: str) -> str:
    """A name fit for a terminal: printable, one line, at most MAX_NAME_CHARS."""
    if not name.isprintable():
        name = "".join(char if char.isprintable() else " " for char in name)
    return " ".join(name[:MAX_NAME_CHARS].split())


def _position(latitude: float | None, longitude: float | None) -> tuple[float, float]:
    if latitude is None or longitude is None:
        return math.inf, math.inf
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        return math.inf, math.inf
    if latitude == 0 and longitude == 0:
        # Sources write the "null island" for "unknown"; nobody lives there.
        return math.inf, math.inf
    return latitude, longitude
