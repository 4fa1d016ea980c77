"""Files of a state, memory-mapped: all workers of an edge share their pages."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from heliostat.state.errors import DamagedStateError


def map_bytes(path: Path) -> mmap.mmap | bytes:
    """A file, mapped read-only: slices are bytes. An empty file is empty bytes.

    Raises:
        DamagedStateError: missing.
    """
    try:
        with path.open("rb") as handle:
            if os.fstat(handle.fileno()).st_size == 0:
                return b""
            return mmap.mmap(handle.fileno(), 0, prot=mmap.PROT_READ)
    except FileNotFoundError:
        raise DamagedStateError(f"{path}: is missing; publish the state again") from None


def map_file(path: Path) -> memoryview:
    """The same as a view.

    Raises:
        DamagedStateError: missing.
    """
    return memoryview(map_bytes(path))


def release_pages(mapped: object) -> None:
    """Forgets which pages of a mapped file were read: what is checked once isn't kept for that.

    They stay in the system's cache, and come back when they are read again.
    """
    if isinstance(mapped, mmap.mmap):
        mapped.madvise(mmap.MADV_DONTNEED)
