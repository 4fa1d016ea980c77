"""Errors of the failover room."""

from __future__ import annotations

from heliostat.model.errors import HeliostatError, RefusedError


class FailoverError(HeliostatError):
    """A provider of DNS doesn't answer, or doesn't do what it was asked to."""


class ThrottledError(FailoverError):
    """The provider asks for patience; tried again."""


class UnsafeError(FailoverError, RefusedError):
    """A safety rule says no to a plan."""


class StaleError(UnsafeError):
    """The records changed between plan and application."""
