"""Zones: the classes of client addresses that routing tells apart, ready to be looked up.

A zone is one combination of country, location, AS (only of those that mirrors stand in) and the
declared networks around the address; `zones.py` makes them. This module holds and opens the
result: flat arrays in which every address of IPv4 and IPv6 resolves, little-endian, so that an
edge maps them from disk and all its processes share the pages.

- IPv4: one zone for each of the 2²⁴ /24 networks. MIXED sends the reader to the exceptions: sorted
  whole addresses, each with the zone from there on; every mixed /24 has one for its first address.
- IPv6: sorted upper halves, each with the zone from there on. MIXED again leads to exceptions,
  which are whole addresses, for declared networks longer than /64.
- The places of zones and their declared networks are one JSON text.

Zone 0 is "nothing known". A lookup can't fail: every address has a zone.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heliostat.geo.addresses import embedded_ipv4, is_mapped, parse_address
from heliostat.geo.countries import CONTINENT_OF, continent_of
from heliostat.geo.errors import ZoneTableError
from heliostat.model.place import Place

MIXED = 65_535
"""Not a zone: the addresses below this entry are in several, see the exceptions."""

MAX_ZONES = 65_534
"""Most zones of a table: two bytes each, less MIXED and one for good measure."""

SLASH24_COUNT = 1 << 24
MAX_PLACES_BYTES = 64 * 1024 * 1024
MAX_ENTRIES = 1 << 27
"""Most entries of any sorted array of a table."""

Buffer = bytes | memoryview | NDArray[Any]

_ARRAYS = {
    "v4": "<u2",
    "v4-exception-starts": "<u4",
    "v4-exception-zones": "<u2",
    "v6-starts": "<u8",
    "v6-zones": "<u2",
    "v6-exception-highs": "<u8",
    "v6-exception-lows": "<u8",
    "v6-exception-zones": "<u2",
}
"""Name of a buffer → its numbers. No array is ever empty: an empty file can't be mapped."""

_PLACES = "places"


@dataclass(frozen=True, slots=True)
class ZonePlace:
    """What is common to the addresses of a zone; `networks` index the declared ones."""

    place: Place
    networks: tuple[int, ...] = ()


class ZoneTable:
    """Every address with its zone. Immutable; reading needs no lock and copies nothing."""

    __slots__ = (
        "_arrays",
        "_long6_high",
        "_long6_low",
        "_long6_zones",
        "_mixed4_starts",
        "_mixed4_zones",
        "_zones4",
        "_zones6",
        "_zones6_starts",
        "places",
    )

    def __init__(self, arrays: Mapping[str, NDArray[Any]], places: Sequence[ZonePlace]) -> None:
        """`arrays` has every name of the buffers but "places"; `places` one entry a zone.

        Raises:
            ZoneTableError: they don't fit together.
        """
        _check(arrays, len(places))
        self._arrays = dict(arrays)
        self.places = places
        # Typing knows no Buffer before Python 3.12: hence the ignores in this class.
        views = {name: memoryview(array) for name, array in arrays.items()}  # type: ignore[arg-type]
        self._zones4 = views["v4"]
        self._mixed4_starts = views["v4-exception-starts"]
        self._mixed4_zones = views["v4-exception-zones"]
        self._zones6_starts = views["v6-starts"]
        self._zones6 = views["v6-zones"]
        self._long6_high = views["v6-exception-highs"]
        self._long6_low = views["v6-exception-lows"]
        self._long6_zones = views["v6-exception-zones"]

    def __len__(self) -> int:
        """The number of zones."""
        return len(self.places)

    @property
    def slash24_zones(self) -> NDArray[np.uint16]:
        """The zone of each IPv4 /24, MIXED where it has several; read-only."""
        view = self._arrays["v4"].view()
        view.flags.writeable = False
        return view

    def zone4(self, address: int) -> int:
        """The zone of an IPv4 address given as a number below 2³²."""
        zone: int = self._zones4[address >> 8]
        if zone != MIXED:
            return zone
        found: int = self._mixed4_zones[bisect_right(self._mixed4_starts, address) - 1]
        return found

    def zone6(self, high64: int, low64: int) -> int:
        """The zone of an IPv6 address given as its two halves.

        IPv4-mapped, 6to4 and Teredo addresses have the zone of the IPv4 address inside, unless a
        declared network holds the IPv6 address itself (mapped ones are always IPv4).
        """
        if is_mapped(high64, low64):
            return self.zone4(low64 & 0xFFFF_FFFF)
        zone: int = self._zones6[bisect_right(self._zones6_starts, high64) - 1]
        if zone == MIXED:
            zone = self._exception6(high64, low64)
        if zone == 0 and (inside := embedded_ipv4(high64, low64)) is not None:
            return self.zone4(inside)
        return zone

    def zone_of(self, address: str) -> int:
        """The zone of an address as text.

        Raises:
            ValueError: not an IP address.
        """
        high, low, is_ipv6 = parse_address(address)
        return self.zone6(high, low) if is_ipv6 else self.zone4(low)

    def place(self, zone: int) -> Place:
        """What the zone's addresses have in common; unknown parts are empty."""
        return self.places[zone].place

    def networks(self, zone: int) -> tuple[int, ...]:
        """The declared networks around the zone, as indexes of what it was built with, sorted."""
        return self.places[zone].networks

    def to_buffers(self) -> dict[str, memoryview]:
        """Name → bytes; the same table always gives the same bytes."""
        buffers = {
            name: memoryview(np.ascontiguousarray(self._arrays[name], dtype)).cast("B")  # type: ignore[arg-type]
            for name, dtype in _ARRAYS.items()
        }
        buffers[_PLACES] = memoryview(_places_to_json(self.places))
        return buffers

    @classmethod
    def from_buffers(cls, buffers: Mapping[str, Buffer]) -> ZoneTable:
        """The table over what `to_buffers` gave; the buffers are read in place and kept alive.

        Raises:
            ZoneTableError: one is missing, has an impossible size, or they don't fit together.
        """
        arrays: dict[str, NDArray[Any]] = {}
        for name in (*_ARRAYS, _PLACES):
            if name not in buffers:
                raise ZoneTableError(f'the zone table has no "{name}"; publish the state again')
        for name, dtype in _ARRAYS.items():
            raw = memoryview(buffers[name]).cast("B")  # type: ignore[arg-type]
            size = np.dtype(dtype).itemsize
            if not len(raw) or len(raw) % size or len(raw) > MAX_ENTRIES * size:
                raise ZoneTableError(
                    f'the zone table\'s "{name}" has {len(raw)} bytes; publish the state again'
                )
            native = np.dtype(dtype).newbyteorder("=")
            arrays[name] = np.frombuffer(raw, dtype).astype(native, copy=False)
        places = memoryview(buffers[_PLACES]).cast("B")  # type: ignore[arg-type]
        return cls(arrays, _places_from_json(places))

    def _exception6(self, high64: int, low64: int) -> int:
        first = bisect_left(self._long6_high, high64)
        after = bisect_right(self._long6_high, high64)
        found: int = self._long6_zones[bisect_right(self._long6_low, low64, first, after) - 1]
        return found


def _check(arrays: Mapping[str, NDArray[Any]], zones: int) -> None:
    def damaged(what: str) -> ZoneTableError:
        return ZoneTableError(f"the zone table is damaged ({what}); publish the state again")

    if not 0 < zones <= MAX_ZONES:
        raise damaged(f"{zones} zones")
    if len(arrays["v4"]) != SLASH24_COUNT:
        raise damaged(f"{len(arrays['v4'])} networks instead of {SLASH24_COUNT}")
    for starts, values in (
        ("v4-exception-starts", "v4-exception-zones"),
        ("v6-starts", "v6-zones"),
        ("v6-exception-highs", "v6-exception-zones"),
        ("v6-exception-lows", "v6-exception-zones"),
    ):
        if len(arrays[starts]) != len(arrays[values]):
            raise damaged(f"{starts} and {values} differ in length")
    for name in ("v4-exception-starts", "v6-starts", "v6-exception-highs"):
        if np.any(arrays[name][1:] < arrays[name][:-1]):
            raise damaged(f"{name} isn't sorted")
    if arrays["v6-starts"][0] != 0 or arrays["v4-exception-starts"][0] != 0:
        raise damaged("it doesn't begin at the first address")
    for name in ("v4", "v6-zones"):
        if np.any((arrays[name] >= zones) & (arrays[name] != MIXED)):
            raise damaged(f"{name} names a zone that isn't there")
    for name in ("v4-exception-zones", "v6-exception-zones"):
        if np.any(arrays[name] >= zones):
            raise damaged(f"{name} names a zone that isn't there")


def _places_to_json(places: Sequence[ZonePlace]) -> bytes:
    rows = [
        [
            zone.place.country,
            zone.place.subdivision,
            zone.place.asn,
            zone.place.latitude,
            zone.place.longitude,
            list(zone.networks),
        ]
        for zone in places
    ]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()


def _places_from_json(raw: memoryview) -> list[ZonePlace]:
    damaged = "the zone table's places are damaged; publish the state again"
    if len(raw) > MAX_PLACES_BYTES:
        raise ZoneTableError(damaged)
    try:
        rows = json.loads(bytes(raw))
        return [_zone_place(*row) for row in rows]
    except (ValueError, TypeError, RecursionError):
        raise ZoneTableError(damaged) from None


def _zone_place(
    country: str,
    subdivision: str,
    asn: int,
    latitude: float | None,
    longitude: float | None,
    networks: list[int],
) -> ZonePlace:
    """One row of the JSON.

    Raises:
        ValueError, TypeError: it is none.
    """
    if country and country not in CONTINENT_OF:
        raise ValueError("no such country")
    if not isinstance(subdivision, str) or not isinstance(asn, int) or not 0 <= asn < 1 << 32:
        raise ValueError("not a place")
    if (latitude is None) != (longitude is None) or any(
        not math.isfinite(value) for value in (latitude, longitude) if value is not None
    ):
        raise ValueError("not a position")
    if not all(isinstance(network, int) and network >= 0 for network in networks):
        raise ValueError("not networks")
    place = Place(country, continent_of(country), subdivision, asn, latitude, longitude)
    return ZonePlace(place, tuple(networks))
