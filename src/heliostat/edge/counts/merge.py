"""Adds blocks of minutes up to blocks of hours or days. Pure; the cost is that of sorting rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from heliostat.edge.counts.block import MAX_LIST, Block

MAX_ROWS: Final = 3_000_000
"""Rows that are added up at once, 16 bytes each and as much again to sort them."""
MAX_COUNT: Final = (1 << 32) - 1
"""What a row holds."""

Rows = tuple[NDArray[np.uint64], NDArray[np.uint32]]
"""Keys (path << 32 | country << 16 | mirror, by their numbers here), downloads of each."""


def merged(blocks: Iterable[Block], span: int) -> list[Block] | None:
    """The same downloads, in one block for each period of `span` minutes (or of a longer one where
    they were added up before); None when they are too many to be added up at once."""
    paths: dict[bytes, int] = {}
    countries: dict[str, int] = {}
    mirrors: dict[str, int] = {}
    periods: defaultdict[tuple[int, int, str], list[Rows]] = defaultdict(list)
    rows = 0
    for block in blocks:
        rows += len(block.counts)
        if rows > MAX_ROWS:
            return None
        numbers = _numbers(block.paths, paths)
        keys = np.repeat(numbers, block.rows_of_path) << np.uint64(32)
        keys |= _numbers(block.countries, countries)[block.country_of_row] << np.uint64(16)
        keys |= _numbers(block.mirrors, mirrors)[block.mirror_of_row]
        if len(countries) > MAX_LIST or len(mirrors) > MAX_LIST:
            return None
        long = max(span, block.span)
        periods[block.minute // long * long, long, block.node].append((keys, block.counts))
    names = list(paths), list(countries), list(mirrors)
    found = []
    for (minute, long, node), some in periods.items():
        keys, which = np.unique(np.concatenate([k for k, _ in some]), return_inverse=True)
        # exact: a sum of at most MAX_ROWS numbers below 2**32 is below 2**53
        sums = np.bincount(which, np.concatenate([c for _, c in some]), len(keys))
        if len(sums) and sums.max() > MAX_COUNT:
            return None
        found.append(_block(node, minute, long, names, keys, sums.astype(np.uint32)))
    return found


def _numbers(names: Iterable[bytes] | Iterable[str], known: dict[Any, int]) -> NDArray[np.uint64]:
    return np.array([known.setdefault(name, len(known)) for name in names], np.uint64)


def _block(
    node: str,
    minute: int,
    span: int,
    names: tuple[list[bytes], list[str], list[str]],
    keys: NDArray[np.uint64],
    counts: NDArray[np.uint32],
) -> Block:
    paths, rows_of_path = np.unique(keys >> np.uint64(32), return_counts=True)
    countries, country_of_row = np.unique(
        keys >> np.uint64(16) & np.uint64(0xFFFF), return_inverse=True
    )
    mirrors, mirror_of_row = np.unique(keys & np.uint64(0xFFFF), return_inverse=True)
    return Block(
        node,
        minute,
        tuple(names[1][number] for number in countries.tolist()),
        tuple(names[2][number] for number in mirrors.tolist()),
        [names[0][number] for number in paths.tolist()],
        rows_of_path.astype(np.uint32),
        country_of_row.astype(np.uint16),
        mirror_of_row.astype(np.uint16),
        counts,
        span,
    )
