"""Errors of the infra room."""

from __future__ import annotations

from heliostat.model.errors import HeliostatError


class InfraError(HeliostatError):
    """An infrastructure repository can't be made, read or changed; the message says why."""
