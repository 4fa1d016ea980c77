"""Cuts a catalog into shards, and makes what of them stays while only mirrors change.

Cuts are made at folders whose name's hash says so, hence a new file changes one shard and leaves
the others, and their names on disk, as they were (content-defined chunking, as in LBFS, 2001).
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import marisa_trie
import numpy as np
from numpy.typing import NDArray

from heliostat.model.catalog import CatalogTable
from heliostat.state.extras import TreeExtras
from heliostat.state.records import write_records
from heliostat.state.shards import PLAIN_BYTES

MIN_SHARD_PATHS = 10_000
MAX_SHARD_PATHS = 65_535
"""As many as a shard can have patterns: each of its files may be a fileset of its own."""
CUT_ONE_IN = 64
"""A folder starts a new shard with this chance (by its name's hash) once the old is large."""


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

    __slots__ = ("_columns", "_flags", "contents", "count", "first", "is_plain", "rows")

    def __init__(self, catalog: CatalogTable, extras: TreeExtras, start: int, end: int) -> None:
        paths = catalog.paths[start:end]
        trie = marisa_trie.BinaryTrie(paths)
        ids = np.fromiter((trie[path] for path in paths), dtype=np.int64, count=len(paths))
        self.rows = np.empty(len(paths), dtype=np.int64)
        """The catalog's row of each id of the trie."""
        self.rows[ids] = np.arange(start, end)
        self.first, self.count = paths[0], len(paths)
        has_sha256 = catalog.has_sha256[self.rows]
        self._columns = (
            catalog.sizes_bytes[self.rows].astype("<u8").tobytes(),
            catalog.mtimes_s[self.rows].astype("<i8").tobytes(),
        )
        self._flags = extras.flags[self.rows].tobytes()
        digests = np.where(has_sha256[:, None], catalog.sha256[self.rows], 0)
        self.contents: dict[str, bytes] = {
            "paths": trie.tobytes(),
            "order": ids.astype("<u2").tobytes(),
            "digests": digests.astype("u1").tobytes(),
        }
        """By kind, what doesn't depend on mirrors."""
        for kind, records in extras.records.items():
            here = {int(ids[row - start]): records[row] for row in _within(records, start, end)}
            if here:
                self.contents[kind] = write_records(here)
        self.is_plain = not any(path.translate(None, PLAIN_BYTES) for path in paths)

    def forget_content(self) -> None:
        """It was written: only what filesets are put between is needed again."""
        self.contents = {}

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


def plan_shards(catalog: CatalogTable, extras: TreeExtras) -> Iterator[ShardPlan]:
    """The shards of a catalog."""
    for start, end in cut(catalog.paths):
        yield ShardPlan(catalog, extras, start, end)


def _within(rows: Collection[int], start: int, end: int) -> Iterable[int]:
    """Those of `rows` that are in a range, by the shorter of two ways."""
    if len(rows) < end - start:
        return [row for row in rows if start <= row < end]
    return [row for row in range(start, end) if row in rows]
