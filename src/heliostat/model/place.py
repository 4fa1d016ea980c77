"""What is known of an address: country, continent, subdivision, AS, position."""

from __future__ import annotations

import math
from dataclasses import dataclass

EARTH_RADIUS_KM = 6371.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address or a mirror stands; empty, 0 and None mean "unknown".

    `country` is ISO 3166-1 alpha-2 in capitals, `continent` one of AF AN AS EU NA OC SA,
    `latitude` and `longitude` are WGS 84 degrees (both known or both None).
    """

    country: str = ""
    continent: str = ""
    subdivision: str = ""
    asn: int = 0
    latitude: float | None = None
    longitude: float | None = None

    @property
    def has_position(self) -> bool:
        return self.latitude is not None and self.longitude is not None


def distance_km(
    latitude_a: float, longitude_a: float, latitude_b: float, longitude_b: float
) -> float:
    """Great-circle distance in kilometres of two WGS 84 points (haversine, sphere of 6371 km)."""
    phi_a, phi_b = math.radians(latitude_a), math.radians(latitude_b)
    half_dphi = (phi_b - phi_a) / 2
    half_dlambda = math.radians(longitude_b - longitude_a) / 2
    h = math.sin(half_dphi) ** 2 + math.cos(phi_a) * math.cos(phi_b) * math.sin(half_dlambda) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, h)))
