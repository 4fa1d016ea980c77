"""The catalog: the list of a tree's files at one moment, as columns.

Columns, not one object a file: a distribution has 3,000,000 files, and comparing a mirror's
listing with them has to be an array operation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PIECE_BYTES = 1 << 20
"""Size of a piece whose sha256 the catalog keeps (the last piece of a file may be shorter)."""

SHA256_BYTES = 32


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """One file of a catalog, for people and small loops; `CatalogTable` is for the many."""

    file_id: int
    path: bytes
    size_bytes: int
    mtime_s: int
    sha256: bytes | None


@dataclass(frozen=True, slots=True)
class CatalogTable:
    """All files of one tree at one moment, sorted by `paths`; row i of every column is one file.

    `paths` are relative, "/"-separated bytes without a leading slash (bytes, as file names are).
    `file_ids` are stable for a path as long as it exists and are never given to another path, so
    that a mirror's holding (a bitmap of ids) outlives a scan of the tree. `sha256` has shape
    (n, 32); a row counts only where `has_sha256`. `alias_of` is the id of the file that this name
    is a symlink to, or 0. `version` grows with every scan that changed anything.

    `identity` is random, and another one when a catalog is made anew (ids and versions then begin
    again). `changed_in` is the version in which the file's content (size or sha256) last changed:
    what was seen of it in an older one was another content under the same name. `changed_at_s` is
    when that version was made (Unix time), or for the first one the file's own time.
    """

    tree: str
    identity: str
    version: int
    scanned_at_s: int
    paths: list[bytes]
    file_ids: NDArray[np.uint32]
    sizes_bytes: NDArray[np.uint64]
    mtimes_s: NDArray[np.int64]
    sha256: NDArray[np.uint8]
    has_sha256: NDArray[np.bool_]
    alias_of: NDArray[np.uint32]
    changed_in: NDArray[np.uint32]
    changed_at_s: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.paths)

    def unchanged_since(self, identity: str, version: int) -> NDArray[np.bool_]:
        """Rows of which that version of the catalog of that identity had the very same content."""
        if identity != self.identity:
            return np.zeros(len(self), dtype=np.bool_)
        return self.changed_in <= version

    def files(self) -> Iterator[CatalogFile]:
        """The rows, one object a file: convenient, and slow on large catalogs."""
        for row, path in enumerate(self.paths):
            digest = self.sha256[row].tobytes() if self.has_sha256[row] else None
            yield CatalogFile(
                int(self.file_ids[row]),
                path,
                int(self.sizes_bytes[row]),
                int(self.mtimes_s[row]),
                digest,
            )
