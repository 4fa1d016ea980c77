"""Shards: a tree's files cut into pieces of at most 65,535 paths, each three files of the state.

Cuts are made at folders whose name's hash says so, hence a new file changes one shard and leaves
the others, and their names on disk, as they were (content-defined chunking, as in LBFS, 2001).

Form of a shard, all little-endian, row = the path's id in its trie:
  paths    marisa-trie (BinaryTrie) of the paths relative to the tree
  files    n × u64 size, n × i64 mtime (s), n × u16 pattern (of the shard's own list), n × u8 flags
  digests  n × 32 bytes sha256 (zero where the flag HAS_SHA256 is missing)
"""

from __future__ import annotations

import mmap
import os
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple

import marisa_trie
import numpy as np
from numpy.typing import NDArray

from heliostat.model.catalog import SHA256_BYTES, CatalogTable
from heliostat.state.errors import DamagedStateError

MIN_SHARD_PATHS = 10_000
MAX_SHARD_PATHS = 65_535
"""As many as a shard can have patterns: each of its files may be a fileset of its own."""
CUT_ONE_IN = 64
"""A folder starts a new shard with this chance (by its name's hash) once the old is large."""

FLAG_SHA256 = 1

PLAIN_BYTES = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_~+-./"
"""A path of these only means itself: it needs no decoding, and stands in a URL as it is."""

SMALL_PATTERNS = 256
"""A shard with no more patterns keeps them as one byte a path, which is read twice as fast."""

_ROW_BYTES = 8 + 8 + 2 + 1


def cut(paths: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """(start, end) of each shard of sorted `paths`."""
    start, folder = 0, None
    for row, path in enumerate(paths):
        here = path.rpartition(b"/")[0]
        size = row - start
        full = size >= MAX_SHARD_PATHS
        if full or (
            here != folder and size >= MIN_SHARD_PATHS and zlib.crc32(here) % CUT_ONE_IN == 0
        ):
            yield start, row
            start = row
        folder = here
    if start < len(paths):
        yield start, len(paths)


class ShardPlan:
    """One shard of a catalog without its filesets: what stays while only mirrors change."""

    __slots__ = ("_columns", "_flags", "count", "digests", "first", "is_plain", "paths", "rows")

    def __init__(self, catalog: CatalogTable, start: int, end: int) -> None:
        paths = catalog.paths[start:end]
        trie = marisa_trie.BinaryTrie(paths)
        ids = np.fromiter((trie[path] for path in paths), dtype=np.int64, count=len(paths))
        self.rows = np.empty(len(paths), dtype=np.int64)
        """The catalog's row of each id of the trie."""
        self.rows[ids] = np.arange(start, end)
        self.first, self.count, self.paths = paths[0], len(paths), trie.tobytes()
        has_sha256 = catalog.has_sha256[self.rows]
        self._columns = (
            catalog.sizes_bytes[self.rows].astype("<u8").tobytes(),
            catalog.mtimes_s[self.rows].astype("<i8").tobytes(),
        )
        self._flags = (has_sha256 * FLAG_SHA256).astype("u1").tobytes()
        digests = np.where(has_sha256[:, None], catalog.sha256[self.rows], 0)
        self.digests = digests.astype("u1").tobytes()
        self.is_plain = not any(path.translate(None, PLAIN_BYTES) for path in paths)

    def forget_content(self) -> None:
        """Paths and digests were written: only what filesets are put between is needed again."""
        self.paths = self.digests = b""

    def files(self, local: NDArray[np.integer[Any]]) -> bytes:
        """The files file; `local` is each row's number in the shard's own list of patterns."""
        return b"".join((*self._columns, local.astype("<u2").tobytes(), self._flags))

    def patterns(
        self, pattern_of_row: NDArray[np.uint32]
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """The shard's own list of patterns in the order in which they appear, and its rows' own.

        So a file changes only when the parting of its rows does, not when patterns are numbered
        anew elsewhere.
        """
        found, first, local = np.unique(
            pattern_of_row[self.rows], return_index=True, return_inverse=True
        )
        order = np.argsort(first, kind="stable")
        rank = np.empty(len(order), dtype=np.uint32)
        rank[order] = np.arange(len(order), dtype=np.uint32)
        return found[order].astype(np.uint32), rank[local.reshape(-1)]


def plan_shards(catalog: CatalogTable) -> Iterator[ShardPlan]:
    """The shards of a catalog."""
    for start, end in cut(catalog.paths):
        yield ShardPlan(catalog, start, end)


class FoundFile(NamedTuple):
    """One file of the state. `fileset` is the state's pattern of its holders.

    A tuple, because one is made for every request.
    """

    tree: int
    relative: bytes
    size_bytes: int
    mtime_s: int
    fileset: int
    sha256: bytes | None
    number: int
    """Of the file, in the one row of all files of the state."""


class Shard:
    """A shard opened from disk, memory-mapped: workers share its pages.

    `patterns`, `flags` and `digests` are its columns for those who count every step.
    """

    __slots__ = (
        "_mtimes",
        "_sizes",
        "_trie",
        "all_have_sha256",
        "count",
        "digests",
        "filesets",
        "first",
        "flags",
        "is_plain",
        "patterns",
        "role",
        "row_of",
    )

    def __init__(
        self,
        paths: Path,
        files: Path,
        digests: Path,
        first: bytes,
        count: int,
        filesets: Sequence[int],
        *,
        is_plain: bool,
        role: str = "",
    ) -> None:
        self.role = role
        self.first = first
        self.is_plain = is_plain
        self.count = count
        self.filesets = list(filesets)
        try:
            self._trie = marisa_trie.BinaryTrie().mmap(str(paths))
        except RuntimeError:
            raise DamagedStateError(
                f"{paths}: is not a path index; publish the state again"
            ) from None
        self.row_of: Callable[[bytes], int | None] = self._trie.get
        view = map_file(files)
        self.digests = map_bytes(digests)
        if (
            len(self._trie) != count
            or len(view) != count * _ROW_BYTES
            or len(self.digests) != count * SHA256_BYTES
        ):
            raise DamagedStateError(f"{files}: doesn't fit its path index; publish the state again")
        self._sizes = view[: 8 * count].cast("Q")
        self._mtimes = view[8 * count : 16 * count].cast("q")
        patterns = view[16 * count : 18 * count].cast("H")
        self.flags = view[18 * count :]
        self.all_have_sha256 = bool(np.all(np.frombuffer(self.flags, np.uint8) & FLAG_SHA256))
        if count and int(np.frombuffer(patterns, np.uint16).max()) >= len(self.filesets):
            raise DamagedStateError(f"{files}: names a fileset that isn't there; publish again")

        self.patterns: memoryview | bytes = patterns
        if len(self.filesets) <= SMALL_PATTERNS:
            self.patterns = np.frombuffer(patterns, np.uint16).astype(np.uint8).tobytes()
        release_pages(view.obj)

    def with_filesets(self, filesets: Sequence[int]) -> Shard:
        """The same files, where a newer state numbers their filesets in another way."""
        shard = copy(self)
        shard.filesets = list(filesets)
        return shard

    def find(self, tree: int, base: int, relative: bytes) -> FoundFile | None:
        row = self.row_of(relative)
        if row is None:
            return None
        digest = None
        if self.flags[row] & FLAG_SHA256:
            digest = self.digests[row * SHA256_BYTES : (row + 1) * SHA256_BYTES]
        return FoundFile(
            tree,
            relative,
            self._sizes[row],
            self._mtimes[row],
            self.filesets[self.patterns[row]],
            digest,
            base + row,
        )

    @property
    def sizes(self) -> memoryview:
        """The size in bytes of each row's file."""
        return self._sizes

    def path_of(self, row: int) -> bytes:
        """The path of a row below `count`: slower than `find`, for those who need no speed."""
        path: bytes = self._trie.restore_key(row)
        return path


class TreeShards:
    """All shards of one tree, found by their first path; `firsts[i]` is that of `shards[i]`.

    `bases[i]` is the number of its first file.
    """

    __slots__ = ("_tree", "bases", "firsts", "shards")

    def __init__(self, tree: int, shards: Sequence[Shard]) -> None:
        self._tree = tree
        self.shards = sorted(shards, key=lambda shard: shard.first)
        self.firsts = [shard.first for shard in self.shards]
        self.bases: list[int] = []
        self.number_from(0)

    def __len__(self) -> int:
        return sum(shard.count for shard in self.shards)

    def number_from(self, base: int) -> int:
        """Numbers the files from `base` on; the number after the last."""
        self.bases = []
        for shard in self.shards:
            self.bases.append(base)
            base += shard.count
        return base

    def find(self, relative: bytes) -> FoundFile | None:
        at = bisect_right(self.firsts, relative) - 1
        return self.shards[at].find(self._tree, self.bases[at], relative) if at >= 0 else None


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
