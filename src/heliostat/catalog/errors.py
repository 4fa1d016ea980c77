"""Errors of the catalog room: the message is what a person sees."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heliostat.model.errors import HeliostatError, RefusedError

NO_ROOM_BYTES = 1 << 20
"""With less than this free, an I/O error of SQLite means a full disk (it says so of its index)."""


class CatalogError(HeliostatError):
    """A tree can't be scanned, or its catalog can't be read or written."""


class TreeRootError(CatalogError):
    """The root of a tree isn't a folder that can be read."""


class EmptyTreeError(CatalogError, RefusedError):
    """A tree without files: an unmounted disk far more often than a wish."""

    def __init__(self, tree: str, root: str, files_before: int, left_out: int) -> None:
        before = f", and its catalog has {files_before:,} of them" if files_before else ""
        problems = f" ({left_out:,} entries could not be used)" if left_out else ""
        super().__init__(
            f'tree "{tree}": no file in {root}{problems}{before}; is the disk mounted? If it'
            " really is empty: heliostat tree scan --allow-empty"
        )


class ShrunkTreeError(CatalogError, RefusedError):
    """A remote listing that lost a large part of the tree: a fault far more often than a wish."""

    def __init__(self, tree: str, root: str, gone: int, before: int) -> None:
        super().__init__(
            f'tree "{tree}": {gone:,} of {before:,} files are gone from {root}; the catalog is as'
            " it was. If that is meant: heliostat tree scan --allow-shrink"
        )


class SourceError(CatalogError):
    """A remote tree can't be listed as a whole."""

    def __init__(self, tree: str, why: str) -> None:
        super().__init__(f'tree "{tree}": {why}; the catalog is as it was')


class ScanBusyError(CatalogError):
    """Another scan of the same tree is running."""


class ScanStoppedError(CatalogError):
    """The scan was asked to stop; what it hashed is kept for the next one."""


class UnwatchedError(CatalogError):
    """Changes of a folder can't be watched; looking at it now and then still works."""


class UnknownFileError(CatalogError):
    """The catalog has no file of that id."""


class CatalogDamagedError(CatalogError):
    """The file isn't a catalog that this release can read."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"{path}: {what}; move it away and run `heliostat tree scan` to make it anew (every"
            " file is hashed again, and no mirror counts as having any before its next scan;"
            " `heliostat mirror probe` does that at once)"
        )


class DiskFullError(CatalogError):
    """No room for the catalog."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: the disk is full; free some space and scan again. The catalog is as it was"
            " before this scan, and what was hashed is kept"
        )


@contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Turns what SQLite says of the catalog at `path` into a CatalogError."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explained(path, error) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(path) from error
        raise CatalogError(f"{path}: {error.strerror}") from error


def _free_bytes(folder: Path) -> int:
    info = os.statvfs(folder)
    return info.f_bavail * info.f_frsize


def _explained(path: Path, error: sqlite3.Error) -> CatalogError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    no_room = code == sqlite3.SQLITE_IOERR and _free_bytes(path.parent) < NO_ROOM_BYTES
    if code == sqlite3.SQLITE_FULL or no_room:
        return DiskFullError(path)
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return CatalogDamagedError(path, "is damaged, or no catalog at all")
    if code == sqlite3.SQLITE_BUSY:
        return CatalogError(f"{path}: another program holds it; try again when that has ended")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return CatalogError(f"{path}: can't be opened or written; check its owner and permissions")
    return CatalogError(f"{path}: {error}; check the disk, then scan again")
