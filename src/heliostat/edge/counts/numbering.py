"""Files of a state by their number: their trees, sizes and paths.

A file's number is its shard's base plus its row (`state.opened.State`, `TreeShards.bases`); both
the workers and the steward have them from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heliostat.state.opened import State
from heliostat.state.shards import Shard

MAX_FILES: Final = 1 << 31
"""More than any state has; numbers are 32 bits."""


class Numbering:
    """All files of one state; keeps its shards' memory maps, and nothing else of it."""

    def __init__(self, state: State) -> None:
        self._shards: list[tuple[int, int, bytes, Shard]] = [
            (base, tree, prefix, shard)
            for tree, prefix, found in state.mounts
            for base, shard in zip(found.bases, found.shards, strict=True)
        ]
        self._shards.sort(key=lambda entry: entry[0])
        self._bases = np.array([base for base, *_ in self._shards], dtype=np.int64)
        self._sizes = [np.frombuffer(shard.sizes, "<u8") for *_, shard in self._shards]
        last = self._shards[-1] if self._shards else None
        self.count = last[0] + last[3].count if last else 0
        """Files in all; numbers are below it."""

    def _parts(self, numbers: NDArray[np.uint32]) -> Iterator[tuple[int, int, int]]:
        """(shard, start, end) of `numbers`, which are sorted and below `count`."""
        cuts = np.append(np.searchsorted(numbers, self._bases), len(numbers)).tolist()
        for index in range(len(self._shards)):
            if cuts[index] < cuts[index + 1]:
                yield index, cuts[index], cuts[index + 1]

    def describe(
        self, numbers: NDArray[np.uint32]
    ) -> tuple[NDArray[np.uint16], NDArray[np.uint64]]:
        """Tree and size in bytes of each of `numbers`, which are sorted and below `count`."""
        trees = np.zeros(len(numbers), np.uint16)
        sizes = np.zeros(len(numbers), np.uint64)
        for index, start, end in self._parts(numbers):
            base, tree, _, _ = self._shards[index]
            trees[start:end] = tree
            sizes[start:end] = self._sizes[index][numbers[start:end] - np.uint32(base)]
        return trees, sizes

    def paths(self, numbers: NDArray[np.uint32]) -> list[bytes]:
        """Whole paths (with their trees' prefixes, without the leading slash); as `describe`."""
        paths: list[bytes] = []
        for index, start, end in self._parts(numbers):
            base, _, prefix, shard = self._shards[index]
            path_of = shard.path_of
            rows = (numbers[start:end] - np.uint32(base)).tolist()
            paths += [prefix + path_of(row) for row in rows]
        return paths
