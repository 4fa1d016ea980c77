"""Downloads of one minute and state on their way to the spool.

A key is file << 32 | country << 16 | mirror, by the state's numbers, so that sorting puts a file's
rows together. Keys are only kept until there is a block to write; sorting them is the whole cost,
and is done where nobody waits.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from heliostat.edge.counts.block import Block
from heliostat.edge.counts.frame import NO_MIRROR
from heliostat.edge.counts.view import StateView

MAX_KEYS: Final = 1_000_000
"""Downloads kept in memory for one block, 8 bytes each; then it is written early."""


class PendingDownloads:
    """Of one minute, under one state."""

    def __init__(self, view: StateView, minute: int, opened_at: float) -> None:
        self.view = view
        self.minute = minute
        self.opened_at = opened_at
        self.downloads = 0
        self._batches: list[NDArray[np.uint64]] = []

    @property
    def is_full(self) -> bool:
        return self.downloads >= MAX_KEYS

    def add(
        self,
        files: NDArray[np.uint32],
        countries: NDArray[np.uint16],
        mirrors: NDArray[np.uint16],
    ) -> None:
        """Downloads, one an entry; `countries` and `mirrors` by the view's indexes."""
        keys = files.astype(np.uint64) << np.uint64(32)
        keys |= countries.astype(np.uint64) << np.uint64(16)
        keys |= mirrors.astype(np.uint64)
        self._batches.append(keys)
        self.downloads += len(keys)

    def to_block(self, node: str) -> Block | None:
        """What there is in words; None for nothing. Slow: a path is read back for every file."""
        if not self.downloads:
            return None
        keys, counts = np.unique(np.concatenate(self._batches), return_counts=True)
        files, rows_of_path = np.unique(
            (keys >> np.uint64(32)).astype(np.uint32), return_counts=True
        )
        countries, country_of_row = _used(keys >> np.uint64(16) & np.uint64(0xFFFF))
        mirrors, mirror_of_row = _used(keys & np.uint64(0xFFFF))
        return Block(
            node,
            self.minute,
            tuple(self.view.countries[index] for index in countries),
            tuple("" if i == NO_MIRROR else self.view.mirrors[i] for i in mirrors),
            self.view.numbering.paths(files),
            rows_of_path.astype(np.uint32),
            country_of_row,
            mirror_of_row,
            counts.astype(np.uint32),
        )


def _used(indexes: NDArray[np.uint64]) -> tuple[list[int], NDArray[np.uint16]]:
    """The indexes that occur, and for each entry where it stands among them."""
    present = np.flatnonzero(np.bincount(indexes.astype(np.int64)))
    position = np.zeros(1 << 16, np.uint16)
    position[present] = np.arange(len(present), dtype=np.uint16)
    return present.tolist(), position[indexes]
