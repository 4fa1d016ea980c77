"""Errors of the state room; a state that raises one of these is never served."""

from __future__ import annotations

from heliostat.model.errors import HeliostatError, RefusedError


class StateError(HeliostatError):
    """A state can't be used."""


class NoStateError(StateError):
    """There is no state yet: run `heliostat state publish` (or `heliostat serve`)."""


class DamagedStateError(StateError):
    """A file of the state is missing, cut short or changed; publish again or fetch it anew."""


class StateRefusedError(RefusedError):
    """A state is whole, but taking it would break a safety rule."""
