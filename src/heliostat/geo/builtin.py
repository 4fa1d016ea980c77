"""The built-in places: shipped with the package, behind every configured source.

Made by tools/build_builtin_geo.py; docs/decisions/0001-builtin-places.md says from what and why.
"""

from __future__ import annotations

from importlib import resources

from heliostat.geo.errors import GeoError
from heliostat.geo.layers import Layer
from heliostat.geo.packed import PackedError, unpack_layers

DATA_PACKAGE = "heliostat.geo.data"
DATA_NAME = "places.bin"


def builtin_layers() -> list[Layer]:
    """The layers of the built-in data.

    Raises:
        GeoError: the installed file is missing or damaged.
    """
    try:
        raw = resources.files(DATA_PACKAGE).joinpath(DATA_NAME).read_bytes()
        return unpack_layers(raw)
    except (FileNotFoundError, ModuleNotFoundError, PackedError) as error:
        raise GeoError(
            f"the built-in places ({DATA_NAME}) are missing or damaged ({error});"
            " install heliostat again"
        ) from None
