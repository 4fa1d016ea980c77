"""Shards: a tree's files cut into pieces of at most 65,535 paths, each some files of the state.

Form of a shard, all little-endian, row = the path's id in its trie:
  paths    marisa-trie (BinaryTrie) of the paths relative to the tree
  order    n × u16: the rows in the order of their paths, for listings
  files    n × u64 size, n × i64 mtime (s), n × u16 pattern (of the shard's own list), n × u8 flags
  digests  n × 32 bytes sha256 (zero where the flag SHA256 is missing)
and where any of its files has such, as `heliostat.state.records`:
  details  further digests of whole files
  pieces   digests of pieces
  bodies   the content of small files
  zsyncs   zsync control files
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import NamedTuple

import marisa_trie
import numpy as np

from heliostat.model.catalog import SHA256_BYTES
from heliostat.state.errors import DamagedStateError
from heliostat.state.mapped import map_bytes, map_file, release_pages
from heliostat.state.records import Records

BASE_KINDS = ("paths", "order", "files", "digests")
RECORD_KINDS = ("details", "pieces", "bodies", "zsyncs")
SHARD_KINDS = BASE_KINDS + RECORD_KINDS

FLAG_SHA256 = 1
FLAG_BODY = 2
"""Edges serve the file themselves."""
FLAG_TORRENT = 4
FLAG_ZSYNC = 8
FLAG_SIGNED = 16
"""A detached signature stands beside it (SIGNATURE_SUFFIXES)."""
FLAG_TRUSTED = 32
"""Edges should serve it themselves, and the state hasn't got it: too large, or not fetched yet."""

SIGNATURE_SUFFIXES = (b".asc", b".sig", b".sign", b".minisig")
"""Of several signatures the first of these is meant."""

PLAIN_BYTES = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_~+-./"
"""A path of these only means itself: it needs no decoding, and stands in a URL as it is."""

SMALL_PATTERNS = 256
"""A shard with no more patterns keeps them as one byte a path, which is read twice as fast."""

_ROW_BYTES = 8 + 8 + 2 + 1


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
    flags: int
    """FLAG_… of this module."""


class Shard:
    """A shard opened from disk, memory-mapped: workers share its pages.

    `patterns`, `flags` and `digests` are its columns for those who count every step.
    """

    __slots__ = (
        "_mtimes",
        "_sizes",
        "_trie",
        "count",
        "digests",
        "filesets",
        "first",
        "flags",
        "has_few_patterns",
        "is_plain",
        "order",
        "patterns",
        "records",
        "role",
        "row_of",
    )

    def __init__(
        self,
        disk: Mapping[str, Path],
        first: bytes,
        count: int,
        filesets: Sequence[int],
        *,
        is_plain: bool,
        role: str = "",
    ) -> None:
        """`disk` has the path of each kind of file: all of BASE_KINDS, and some of RECORD_KINDS."""
        paths, files = disk["paths"], disk["files"]
        self.role = role
        self.records = {kind: Records(disk[kind]) for kind in RECORD_KINDS if kind in disk}
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
        self.digests = map_bytes(disk["digests"])
        self.order = map_file(disk["order"]).cast("H")
        if (
            len(self._trie) != count
            or len(view) != count * _ROW_BYTES
            or len(self.digests) != count * SHA256_BYTES
            or len(self.order) != count
            or int(np.frombuffer(self.order, np.uint16).max(initial=0)) >= max(count, 1)
        ):
            raise DamagedStateError(f"{files}: doesn't fit its path index; publish the state again")
        self._sizes = view[: 8 * count].cast("Q")
        self._mtimes = view[8 * count : 16 * count].cast("q")
        patterns = view[16 * count : 18 * count].cast("H")
        self.flags = view[18 * count :]
        if count and int(np.frombuffer(patterns, np.uint16).max()) >= len(self.filesets):
            raise DamagedStateError(f"{files}: names a fileset that isn't there; publish again")

        self.patterns: memoryview | bytes = patterns
        self.has_few_patterns = len(self.filesets) <= SMALL_PATTERNS
        """True: `patterns` are one byte each, else two."""
        if self.has_few_patterns:
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
        digest, flags = None, self.flags[row]
        if flags & FLAG_SHA256:
            digest = self.digests[row * SHA256_BYTES : (row + 1) * SHA256_BYTES]
        return FoundFile(
            tree,
            relative,
            self._sizes[row],
            self._mtimes[row],
            self.filesets[self.patterns[row]],
            digest,
            base + row,
            flags,
        )

    def path_at(self, place: int) -> bytes:
        """The path at a place in the order of paths, below `count`."""
        path: bytes = self._trie.restore_key(self.order[place])
        return path

    def row_at(self, place: int) -> int:
        """The row of that path."""
        return self.order[place]

    def place_from(self, path: bytes, low: int = 0, high: int | None = None) -> int:
        """The first place from `low` on whose path isn't below `path`; `high` when all are."""
        high = self.count if high is None else high
        while low < high:
            middle = (low + high) // 2
            if self.path_at(middle) < path:
                low = middle + 1
            else:
                high = middle
        return low

    def record(self, kind: str, row: int) -> bytes | None:
        """What a file has of one of RECORD_KINDS."""
        records = self.records.get(kind)
        return records.get(row) if records else None

    @property
    def mtimes(self) -> memoryview:
        """The modification time of each row's file, Unix time in seconds."""
        return self._mtimes

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

    def shard_of(self, number: int) -> tuple[Shard, int]:
        """The shard that has the file of a number, and its row there."""
        at = bisect_right(self.bases, number) - 1
        return self.shards[at], number - self.bases[at]

    def find(self, relative: bytes) -> FoundFile | None:
        at = bisect_right(self.firsts, relative) - 1
        return self.shards[at].find(self._tree, self.bases[at], relative) if at >= 0 else None
