"""Filesets: files that the same mirrors hold share one pattern.

Each mirror gets a random 128-bit number; a file's signature is the XOR of its holders' numbers.
Equal signatures mean equal holders (two of 10^7 patterns collide with probability under 10^-24),
so 3,000,000 files × 500 mirrors never become a matrix. (Zobrist hashing, 1970.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heliostat.model.catalog import CatalogTable
from heliostat.model.holding import Holding
from heliostat.model.mirror import Mirror

_SEED = 0x48454C494F
"""Fixed: the same input gives the same files, so that edges fetch only what changed."""


@dataclass(frozen=True, slots=True, eq=False)
class Filesets:
    """`pattern_of_row[i]` is the pattern of catalog row i; `holders[p]` says who holds it."""

    pattern_of_row: NDArray[np.uint32]
    holders: list[NDArray[np.bool_]]


def make_filesets(
    catalog: CatalogTable, mirrors: Sequence[Mirror], holdings: Sequence[Holding]
) -> Filesets:
    """Patterns of one tree's files; holders are indexes into `mirrors`.

    A holding counts for what its scan was compared with: not for files whose content changed
    since, nor for a catalog that was made anew. A mirror that takes no files over some size doesn't
    count as a holder of larger ones.
    """
    rows = len(catalog)
    index_of = {mirror.name: index for index, mirror in enumerate(mirrors)}
    numbers = np.random.default_rng(_SEED).integers(
        1, 2**63, size=(len(mirrors), 2), dtype=np.uint64
    )
    low = np.zeros(rows, dtype=np.uint64)
    high = np.zeros(rows, dtype=np.uint64)
    held_rows: list[tuple[int, NDArray[np.uint8]]] = []
    for holding in holdings:
        index = index_of.get(holding.mirror)
        if index is None or holding.tree != catalog.tree:
            continue
        held = _rows_held(catalog, holding, mirrors[index])
        held_rows.append((index, np.packbits(held)))
        low[held] ^= numbers[index, 0]
        high[held] ^= numbers[index, 1]
    signatures = np.empty(rows, dtype=[("high", np.uint64), ("low", np.uint64)])
    signatures["high"], signatures["low"] = high, low
    _, first_row, pattern_of_row = np.unique(signatures, return_index=True, return_inverse=True)
    order = np.argsort(first_row, kind="stable")
    rank = np.empty(len(order), dtype=np.uint32)
    rank[order] = np.arange(len(order), dtype=np.uint32)
    holders = [np.zeros(len(mirrors), dtype=np.bool_) for _ in order]
    for index, packed in held_rows:
        for pattern, row in enumerate(first_row[order]):
            holders[pattern][index] = bool(packed[row >> 3] >> (7 - (row & 7)) & 1)
    return Filesets(rank[pattern_of_row.reshape(-1)].astype(np.uint32), holders)


def _rows_held(catalog: CatalogTable, holding: Holding, mirror: Mirror) -> NDArray[np.bool_]:
    top = int(catalog.file_ids.max(initial=0)) + 1
    by_id = np.zeros(top, dtype=np.bool_)
    ids = np.frombuffer(holding.held.to_array(), dtype=np.uint32)
    by_id[ids[ids < top]] = True
    held: NDArray[np.bool_] = by_id[catalog.file_ids]
    held &= catalog.unchanged_since(holding.catalog_identity, holding.catalog_version)
    if mirror.max_file_bytes:
        held &= catalog.sizes_bytes <= mirror.max_file_bytes
    return held
