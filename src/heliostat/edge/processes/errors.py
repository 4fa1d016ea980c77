"""What keeps an edge's processes from starting."""

from __future__ import annotations

from heliostat.model.errors import HeliostatError


class ListenError(HeliostatError):
    """An address can't be listened on."""


class EdgeRunningError(HeliostatError):
    """Another edge runs on this data_dir."""

    def __init__(self, holder: str) -> None:
        super().__init__(
            f"an edge (process {holder}) runs on this data_dir already; stop that one, or take its"
            " place without losing a request: heliostat edge --replace"
        )


class TakeoverError(HeliostatError):
    """Another edge's listening descriptors can't be had."""


class StartError(HeliostatError):
    """The workers of a new edge don't come into service."""
