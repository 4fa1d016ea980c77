"""The cost of every mirror for one client, in milliseconds of estimated round-trip time.

All mirrors at once, as columns: 500 mirrors cost about as much as one would in a Python loop.
The same arrays give the totals that choose and the parts that explain, so the two can't differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heliostat.model.decision import CostParts
from heliostat.model.mirror import Mirror, MirrorKind
from heliostat.model.place import EARTH_RADIUS_KM, Place
from heliostat.routing import constants as c

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class MirrorColumns:
    """What costs need to know of every mirror; row i of each column is one mirror.

    `networks[i]` are the indexes of the networks that mirror i declares, in the one list of all
    declared networks that zones refer to, too. Unknown positions are NaN.
    """

    latitude_rad: Floats
    longitude_rad: Floats
    country: NDArray[np.str_]
    continent: NDArray[np.str_]
    asns: tuple[frozenset[int], ...]
    networks: tuple[frozenset[int], ...]
    ipv4_only: Bools
    price_ms: Floats
    is_cdn: Bools
    pops: tuple[tuple[int, Floats, Floats], ...]
    """(mirror, latitudes, longitudes in radians) of the points of presence that CDNs name."""

    @classmethod
    def of(
        cls,
        mirrors: Sequence[Mirror],
        networks: Sequence[frozenset[int]],
        price_ms: Sequence[float] | None = None,
    ) -> MirrorColumns:
        """Columns of `mirrors`; `price_ms` defaults to 0 for each."""
        nan = float("nan")
        lat = [nan if m.place.latitude is None else m.place.latitude for m in mirrors]
        lon = [nan if m.place.longitude is None else m.place.longitude for m in mirrors]
        return cls(
            latitude_rad=np.radians(np.array(lat, dtype=np.float64)),
            longitude_rad=np.radians(np.array(lon, dtype=np.float64)),
            country=np.array([m.place.country for m in mirrors], dtype="U2"),
            continent=np.array([m.place.continent for m in mirrors], dtype="U2"),
            asns=tuple(frozenset(m.asns) for m in mirrors),
            networks=tuple(networks),
            ipv4_only=np.array([m.has_ipv4 and not m.has_ipv6 for m in mirrors], dtype=np.bool_),
            price_ms=np.array(price_ms or [0.0] * len(mirrors), dtype=np.float64),
            is_cdn=np.array([m.kind is MirrorKind.CDN for m in mirrors], dtype=np.bool_),
            pops=tuple(
                (index, np.radians([pop[0] for pop in m.pops]), np.radians([p[1] for p in m.pops]))
                for index, m in enumerate(mirrors)
                if m.pops
            ),
        )

    def __len__(self) -> int:
        return len(self.asns)


@dataclass(frozen=True, slots=True, eq=False)
class CostColumns:
    """The cost of every mirror for one client, whole and in parts (milliseconds)."""

    total_ms: Floats
    distance_ms: Floats
    country_ms: Floats
    continent_ms: Floats
    as_ms: Floats
    family_ms: Floats
    price_ms: Floats

    def parts(self, index: int) -> CostParts:
        return CostParts(
            float(self.distance_ms[index]),
            float(self.country_ms[index]),
            float(self.continent_ms[index]),
            float(self.as_ms[index]),
            float(self.family_ms[index]),
            float(self.price_ms[index]),
        )


def costs(
    place: Place, client_networks: frozenset[int], is_ipv6: bool, mirrors: MirrorColumns
) -> CostColumns:
    """Cost of each mirror for a client at `place`, inside the declared `client_networks`.

    A mirror that declares one of the client's networks costs 0 before its price. A CDN has no
    country: its nearest point of presence serves, and its networks meet the client's near there.
    """
    same_country = (mirrors.country == place.country) & (mirrors.country != "")
    same_continent = (mirrors.continent == place.continent) & (mirrors.continent != "")
    same_continent |= same_country
    distance_km = _distances_km(place, mirrors)
    assumed_km = np.where(
        same_country,
        c.SAME_COUNTRY_KM,
        np.where(same_continent, c.SAME_CONTINENT_KM, c.OTHER_CONTINENT_KM),
    )
    distance_km = np.where(np.isnan(distance_km), assumed_km, distance_km)
    distance_ms = c.BASE_MS + c.MS_PER_KM * distance_km
    country_ms = np.where(same_country, 0.0, c.OTHER_COUNTRY_MS)
    continent_ms = np.where(same_continent, 0.0, c.OTHER_CONTINENT_MS)
    if mirrors.is_cdn.any():
        distance_ms[mirrors.is_cdn] = c.BASE_MS + c.MS_PER_KM * c.CDN_KM
        for index, latitudes, longitudes in mirrors.pops:
            km = float(np.min(_great_circle_km(place, latitudes, longitudes)))
            if km == km:  # the client's position is known
                distance_ms[index] = c.BASE_MS + c.MS_PER_KM * km
        country_ms[mirrors.is_cdn] = continent_ms[mirrors.is_cdn] = 0.0
    as_ms = np.zeros(len(mirrors))
    if place.asn:
        as_ms[[place.asn in asns for asns in mirrors.asns]] = c.SAME_AS_MS
    family_ms = np.where(mirrors.ipv4_only & is_ipv6, c.IPV4_ONLY_FOR_IPV6_MS, 0.0)
    if client_networks:
        own = np.array([bool(n & client_networks) for n in mirrors.networks], dtype=np.bool_)
        for part in (distance_ms, country_ms, continent_ms, as_ms, family_ms):
            part[own] = 0.0
    total = distance_ms + country_ms + continent_ms + as_ms + family_ms + mirrors.price_ms
    return CostColumns(
        total, distance_ms, country_ms, continent_ms, as_ms, family_ms, mirrors.price_ms
    )


def _distances_km(place: Place, mirrors: MirrorColumns) -> Floats:
    return _great_circle_km(place, mirrors.latitude_rad, mirrors.longitude_rad)


def _great_circle_km(place: Place, latitude_rad: Floats, longitude_rad: Floats) -> Floats:
    """Great-circle distances (haversine); NaN where either position is unknown."""
    if place.latitude is None or place.longitude is None:
        return np.full(len(latitude_rad), np.nan)
    phi = np.radians(place.latitude)
    half_dphi = (latitude_rad - phi) / 2
    half_dlambda = (longitude_rad - np.radians(place.longitude)) / 2
    h = np.sin(half_dphi) ** 2 + np.cos(phi) * np.cos(latitude_rad) * np.sin(half_dlambda) ** 2
    km: Floats = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(1.0, h)))
    return km
