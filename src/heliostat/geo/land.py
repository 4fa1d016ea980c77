"""The world's land as an SVG path, and where a position is on it.

Made by tools/make_land.py, whose notice (land-NOTICE.txt) says from what: Natural Earth, public
domain. Equirectangular: x and y are linear in longitude and latitude.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final

from heliostat.geo.errors import GeoError

UNITS_PER_DEGREE: Final = 4
"""Whole units of a quarter of a degree: as fine as the 1:110m outlines."""
WIDTH_UNITS: Final = 360 * UNITS_PER_DEGREE
NORTH_DEG: Final = 84
SOUTH_DEG: Final = -57
"""Edges of a map: all land that people live on lies between."""
MAX_LAND_BYTES: Final = 12_000
"""It stands in every page with a map."""

DATA_PACKAGE: Final = "heliostat.geo.data"
LAND_NAME: Final = "land.txt"


@cache
def land_path() -> str:
    """The value of an SVG path's `d`.

    Raises:
        GeoError: the installed file is missing.
    """
    try:
        return resources.files(DATA_PACKAGE).joinpath(LAND_NAME).read_text("ascii").strip()
    except (FileNotFoundError, ModuleNotFoundError) as error:
        raise GeoError(
            f"the land of the maps ({LAND_NAME}) is missing ({error}); install heliostat again"
        ) from None


def on_map(latitude: float, longitude: float) -> tuple[float, float]:
    """x and y in units of the path; `latitude` and `longitude` are WGS 84 degrees."""
    return ((longitude + 180) * UNITS_PER_DEGREE, (90 - latitude) * UNITS_PER_DEGREE)
