"""Means of positions on a sphere: the sum of unit vectors, so that 179° and −179° meet at 180°."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32] | NDArray[np.float64]


def unit_vectors(latitude: Floats, longitude: Floats) -> NDArray[np.float64]:
    """Positions in degrees as unit vectors, shape (3, n)."""
    phi = np.radians(latitude.astype(np.float64))
    lam = np.radians(longitude.astype(np.float64))
    return np.stack((np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)))


def weighted_means(
    group: NDArray[np.int64],
    row: NDArray[np.int64],
    weight: NDArray[np.float64],
    vectors: NDArray[np.float64],
    groups: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean latitude and longitude (degrees) of each of `groups` groups; NaN for an empty one.

    `group`, `row` and `weight` (≥ 0) have one entry a point; `row` is the point's column in
    `vectors`. Columns of NaN are unknown positions and don't count.
    """
    is_placed = ~np.isnan(vectors[0])
    weight = weight * is_placed[row]
    x, y, z = (
        np.bincount(group, weight * np.where(is_placed, part, 0)[row], groups) for part in vectors
    )
    is_empty = np.bincount(group, weight, groups) == 0
    latitude = np.degrees(np.arctan2(z, np.hypot(x, y)))
    longitude = np.degrees(np.arctan2(y, x))
    latitude[is_empty] = np.nan
    longitude[is_empty] = np.nan
    return latitude.astype(np.float32), longitude.astype(np.float32)
