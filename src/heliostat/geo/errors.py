"""Errors of the geo room: which file, where in it, and what to do."""

from __future__ import annotations

from pathlib import Path

from heliostat.model.errors import EXIT_REFUSED, EXIT_USAGE, HeliostatError


class GeoError(HeliostatError):
    """Root of everything that can go wrong with places."""


class SourceFileError(GeoError):
    """A geo source can't be used; the message names the file, the place in it and the remedy."""

    def __init__(self, path: Path | str, message: str, line: int | None = None) -> None:
        self.path = Path(path)
        self.line = line
        where = f"{path}:{line}" if line else f"{path}"
        super().__init__(f"{where}: {message}")


class AddressError(GeoError):
    """What someone asks for is no IP address."""

    exit_code = EXIT_USAGE


class ZoneTableError(GeoError):
    """A zone table can't be made or opened."""


class DownloadError(GeoError):
    """A newer geo file could not be fetched; the one held stays in use."""


class ImplausibleUpdateError(GeoError):
    """A fetched geo file differs too much from the one held, which stays in use."""

    exit_code = EXIT_REFUSED
