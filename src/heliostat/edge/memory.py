"""Gives memory that isn't used any more back to the system."""

from __future__ import annotations

import ctypes

_libc = ctypes.CDLL(None)


def give_back() -> None:
    """After something large was let go of: glibc keeps what was freed between other things."""
    trim = getattr(_libc, "malloc_trim", None)  # other libraries have none, and need none
    if trim is not None:
        trim(0)
