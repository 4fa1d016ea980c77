"""Errors of the counts; none of them ever reaches an answer."""

from __future__ import annotations

from heliostat.model.errors import HeliostatError


class CountsError(HeliostatError):
    """Something of the counts can't be used."""


class BadFrameError(CountsError):
    """A worker's frame isn't of its form; it is dropped and counted."""


class DamagedBlockError(CountsError):
    """A block of the spool isn't of its form."""


class DamagedSegmentError(CountsError):
    """A segment of the spool isn't whole: what stands before the damage was given, the rest is
    lost; move the file away."""
