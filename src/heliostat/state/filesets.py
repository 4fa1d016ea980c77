"""Filesets: files that the same mirrors hold share one pattern.

Each mirror has a random 128-bit number; a file's signature is the XOR of its holders' numbers.
Equal signatures mean equal holders (two of 10^7 patterns collide with probability under 10^-24),
so 3,000,000 files × 500 mirrors never become a matrix. (Zobrist hashing, 1970.)

XOR undoes itself: when a mirror's holding changes, its number is put into (or out of) the files
that came or went, and the signatures of all others stay. And only differences between files count,
so a number may as well go into the files that a mirror lacks: most lack few.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from heliostat.model.catalog import CatalogTable
from heliostat.model.holding import Holding
from heliostat.model.mirror import Mirror

_NUMBER_BYTES = 16
_FRESH = "/fresh"
"""Stands for the new files as if they were a mirror's; no mirror has such a name."""


@dataclass(frozen=True, slots=True, eq=False)
class Filesets:
    """`pattern_of_row[i]` is the pattern of catalog row i; `holders[p]` says who holds it.

    `fresh[p]` says that its files are new.
    """

    pattern_of_row: NDArray[np.uint32]
    holders: NDArray[np.bool_]
    fresh: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Applied:
    """What of one mirror is in the signatures."""

    holding: Holding
    max_file_bytes: int
    held: BitMap


class FilesetMaker:
    """Makes the filesets of one tree, and makes them anew from what changed since."""

    def __init__(self) -> None:
        self._catalog_key: tuple[str, int, int, int] | None = None
        self._mirrors: tuple[str, ...] = ()
        self._applied: dict[str, _Applied] = {}
        self._fresh = BitMap()
        self._made: Filesets | None = None

    def make(
        self,
        catalog: CatalogTable,
        mirrors: Sequence[Mirror],
        holdings: Sequence[Holding],
        fresh_since_s: float = math.inf,
    ) -> Filesets:
        """Patterns of the tree's files; holders are indexes into `mirrors`.

        Files that changed after `fresh_since_s` (Unix time) are new, and have patterns of their
        own.

        A holding counts for what its scan was compared with: not for files whose content changed
        since, nor for a catalog that was made anew. A mirror that takes no files over some size
        doesn't count as a holder of larger ones. The same object again means: nothing changed.
        """
        # a release that is held back leaves the catalog what it is, without some of its files
        ids = int(catalog.file_ids.sum(dtype=np.uint64))
        key = (catalog.identity, catalog.version, len(catalog), ids)
        if self._catalog_key != key:
            self._begin(catalog)
            self._catalog_key = key
        by_name = {mirror.name: mirror for mirror in mirrors}
        wanted = {h.mirror: h for h in holdings if h.mirror in by_name and h.tree == catalog.tree}
        is_same = self._mirrors == tuple(by_name)
        for name in self._applied.keys() - wanted.keys():
            self._put(name, self._applied.pop(name).held)
            is_same = False
        for name, holding in wanted.items():
            most_bytes, before = by_name[name].max_file_bytes, self._applied.get(name)
            if before and before.holding is holding and before.max_file_bytes == most_bytes:
                continue
            held = self._counting(catalog, holding, most_bytes)
            self._put(name, held ^ before.held if before else held)
            self._applied[name] = _Applied(holding, most_bytes, held)
            is_same = False
        fresh = self._new_files(catalog, fresh_since_s)
        if fresh != self._fresh:
            self._put(_FRESH, fresh ^ self._fresh)
            self._fresh = fresh
            is_same = False
        if self._made is None or not is_same:
            self._mirrors = tuple(by_name)
            self._made = self._patterns(catalog, mirrors)
        return self._made

    def _begin(self, catalog: CatalogTable) -> None:
        rows = len(catalog)
        self._low = np.zeros(rows, dtype=np.uint64)
        self._high = np.zeros(rows, dtype=np.uint64)
        self._row_of_id = np.full(int(catalog.file_ids.max(initial=0)) + 1, -1, dtype=np.int32)
        self._row_of_id[catalog.file_ids] = np.arange(rows, dtype=np.int32)
        self._all = BitMap(catalog.file_ids)
        self._unchanged: dict[int, BitMap] = {}
        self._small: dict[int, BitMap] = {}
        self._applied = {}
        self._fresh = BitMap()
        self._made = None

    def _counting(self, catalog: CatalogTable, holding: Holding, max_file_bytes: int) -> BitMap:
        """The files of this catalog that the holding counts for."""
        if holding.catalog_identity != catalog.identity:
            return BitMap()
        version = holding.catalog_version
        if version not in self._unchanged:
            same = catalog.unchanged_since(catalog.identity, version)
            self._unchanged[version] = self._all if same.all() else BitMap(catalog.file_ids[same])
        held = holding.held & self._unchanged[version]
        if max_file_bytes:
            if max_file_bytes not in self._small:
                small = catalog.sizes_bytes <= max_file_bytes
                self._small[max_file_bytes] = BitMap(catalog.file_ids[small])
            held &= self._small[max_file_bytes]
        return held

    def _put(self, name: str, files: BitMap) -> None:
        """XORs the mirror's number into these files' signatures, or into all the others'."""
        if 2 * len(files) > len(self._all):
            files = self._all - files
        rows = self._row_of_id[np.frombuffer(files.to_array(), dtype=np.uint32)]
        digest = hashlib.blake2b(name.encode(), digest_size=_NUMBER_BYTES).digest()
        low, high = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
        self._low[rows] ^= low
        self._high[rows] ^= high

    def _patterns(self, catalog: CatalogTable, mirrors: Sequence[Mirror]) -> Filesets:
        _, first_row, pattern = np.unique(self._low, return_index=True, return_inverse=True)
        pattern = pattern.reshape(-1)
        if not np.array_equal(self._high[first_row][pattern], self._high):
            both = np.empty(len(self._low), dtype=[("high", np.uint64), ("low", np.uint64)])
            both["high"], both["low"] = self._high, self._low
            _, first_row, pattern = np.unique(both, return_index=True, return_inverse=True)
            pattern = pattern.reshape(-1)
        order = np.argsort(first_row, kind="stable")
        rank = np.empty(len(order), dtype=np.uint32)
        rank[order] = np.arange(len(order), dtype=np.uint32)
        examples = catalog.file_ids[first_row[order]]
        fresh = np.array([int(example) in self._fresh for example in examples], dtype=np.bool_)
        return Filesets(rank[pattern], self._holders(examples, mirrors), fresh)

    @staticmethod
    def _new_files(catalog: CatalogTable, since_s: float) -> BitMap:
        if since_s == math.inf:
            return BitMap()
        return BitMap(catalog.file_ids[catalog.changed_at_s > since_s])

    def _holders(
        self, examples: NDArray[np.uint32], mirrors: Sequence[Mirror]
    ) -> NDArray[np.bool_]:
        """Who holds each pattern's first file, and so all of its files."""
        holders = np.zeros((len(examples), len(mirrors)), dtype=np.bool_)
        asked = BitMap(examples)
        by_id = np.argsort(examples)
        for index, mirror in enumerate(mirrors):
            if applied := self._applied.get(mirror.name):
                found = np.frombuffer((applied.held & asked).to_array(), dtype=np.uint32)
                holders[by_id[np.searchsorted(examples, found, sorter=by_id)], index] = True
        return holders


def make_filesets(
    catalog: CatalogTable, mirrors: Sequence[Mirror], holdings: Sequence[Holding]
) -> Filesets:
    """As `FilesetMaker.make`, once."""
    return FilesetMaker().make(catalog, mirrors, holdings)
