"""Means of positions on a sphere: the sum of unit vectors, so that 179° and −179° meet at 180°."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32] | NDArray[np.float64]


def weighted_means(
    group: NDArray[np.int64], latitude: Floats, longitude: Floats, weight: Floats, groups: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean latitude and longitude (degrees) of each of `groups` groups; NaN for an empty one.

    `group`, `latitude`, `longitude` and `weight` have one entry a point; weights are ≥ 0 and
    positions known.
    """
    phi = np.radians(latitude.astype(np.float64))
    lam = np.radians(longitude.astype(np.float64))
    x = np.bincount(group, weight * np.cos(phi) * np.cos(lam), groups)
    y = np.bincount(group, weight * np.cos(phi) * np.sin(lam), groups)
    z = np.bincount(group, weight * np.sin(phi), groups)
    is_empty = np.bincount(group, weight, groups) == 0
    mean_latitude = np.degrees(np.arctan2(z, np.hypot(x, y)))
    mean_longitude = np.degrees(np.arctan2(y, x))
    mean_latitude[is_empty] = np.nan
    mean_longitude[is_empty] = np.nan
    return mean_latitude.astype(np.float32), mean_longitude.astype(np.float32)
