"""One geo source in memory: for each family, ranges in order with what the source says of them.

A layer covers the whole address space: range i goes from `starts[i]` to just before
`starts[i + 1]`, the first starts at 0, and 0 in a column means that the source doesn't know.
IPv4 starts are whole addresses (uint32), IPv6 starts the upper 64 bits (uint64): nobody is routed
by less than a /64. A range inside one /64 counts when it holds the /64's first address.

Columns, not objects: DB-IP's city data has 6,000,000 networks a family.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from heliostat.geo.countries import unpack

Field = Literal["country", "location", "asn"]
FIELDS: tuple[Field, ...] = ("country", "location", "asn")

Starts = NDArray[Any]
"""uint32 (IPv4) or uint64 (IPv6), sorted, the first is 0."""
Uint64s = NDArray[np.uint64]
Indexes = NDArray[np.int64]

IPV4_END = 1 << 32
IPV6_END = 1 << 64


@dataclass(frozen=True, slots=True, eq=False)
class Locations:
    """Places that ranges refer to by row; row 0 is "unknown".

    `country` is packed (see countries.pack), `subdivision` indexes `names`, `latitude` and
    `longitude` are WGS 84 degrees, NaN where unknown.
    """

    country: NDArray[np.uint16]
    subdivision: NDArray[np.uint32]
    latitude: NDArray[np.float32]
    longitude: NDArray[np.float32]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.country)

    def country_of(self, row: int) -> str:
        return unpack(int(self.country[row]))


@dataclass(frozen=True, slots=True, eq=False)
class FamilyColumns:
    """One family of a layer; all arrays have one entry a range."""

    starts: Starts
    location: NDArray[np.uint32]
    asn: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What people should know of a source: where it is from, its age, its licence."""

    name: str
    format: str
    path: Path | None = None
    """None: the built-in data."""
    size_bytes: int = 0
    built_at: datetime | None = None
    """When its maker built it, as the file says."""
    licence: str = ""
    attribution: str = ""
    fields: tuple[str, ...] = ()
    ranges4: int = 0
    ranges6: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One source, read. `as_names` may lack most of the AS numbers."""

    info: SourceInfo
    ipv4: FamilyColumns
    ipv6: FamilyColumns
    locations: Locations
    as_names: Mapping[int, str] = field(default_factory=dict)


def no_locations() -> Locations:
    """Only row 0, "unknown"."""
    return Locations(
        np.zeros(1, np.uint16),
        np.zeros(1, np.uint32),
        np.full(1, np.nan, np.float32),
        np.full(1, np.nan, np.float32),
        [""],
    )


def empty_family(is_ipv6: bool) -> FamilyColumns:
    """A family a source says nothing of: one range over everything."""
    return FamilyColumns(
        np.zeros(1, np.uint64 if is_ipv6 else np.uint32),
        np.zeros(1, np.uint32),
        np.zeros(1, np.uint32),
    )


def flatten(first: Uint64s, last: Uint64s, end: int) -> tuple[Uint64s, Indexes]:
    """Ranges `first[i]`..`last[i]` (both inclusive, any order) as a cover of 0..`end` - 1.

    Returns sorted starts, the first 0, and for each the index of the range that counts there, or
    -1. Where ranges overlap the shorter one counts (longest match), of equal ones the later.
    `end` is IPV4_END or IPV6_END.
    """
    count = len(first)
    if count == 0:
        return np.zeros(1, np.uint64), np.full(1, -1, np.int64)
    order = np.argsort(first, kind="stable").astype(np.int64)
    first, last = first[order], last[order]
    if np.any(first[1:] <= last[:-1]):
        starts, index = _flatten_overlapping(first, last, order, end)
    else:
        closes = last != np.uint64(end - 1)
        after = last[closes] + np.uint64(1)
        is_gap = np.ones(len(after), np.bool_)
        following = np.flatnonzero(closes) + 1
        inside = following < count
        is_gap[inside] = first[following[inside]] != after[inside]
        starts = np.concatenate((first, after[is_gap]))
        index = np.concatenate((order, np.full(int(is_gap.sum()), -1, np.int64)))
        sorting = np.argsort(starts, kind="stable")
        starts, index = starts[sorting], index[sorting]
    if starts[0] != 0:
        starts = np.concatenate((np.zeros(1, np.uint64), starts))
        index = np.concatenate((np.full(1, -1, np.int64), index))
    return starts, index


def _flatten_overlapping(
    first: Uint64s, last: Uint64s, order: Indexes, end: int
) -> tuple[Uint64s, Indexes]:
    """The general case by a sweep: a heap of the open ranges, shortest on top."""
    firsts, lasts, ids = first.tolist(), last.tolist(), order.tolist()
    edges = sorted({*firsts, *(value + 1 for value in lasts if value + 1 < end)})
    open_ranges: list[tuple[int, int, int]] = []
    index: list[int] = []
    taken = 0
    for edge in edges:
        while taken < len(firsts) and firsts[taken] == edge:
            length = lasts[taken] - firsts[taken]
            heapq.heappush(open_ranges, (length, -ids[taken], lasts[taken]))
            taken += 1
        while open_ranges and open_ranges[0][2] < edge:
            heapq.heappop(open_ranges)
        index.append(-open_ranges[0][1] if open_ranges else -1)
    return np.array(edges, np.uint64), np.array(index, np.int64)


def whole_64s(
    first_high: Uint64s, first_low: Uint64s, last_high: Uint64s
) -> tuple[Uint64s, Uint64s, NDArray[np.bool_]]:
    """IPv6 ranges as ranges of /64s: those whose first address lies in the range.

    Returns first and last upper halves, and which ranges hold any such /64; the others' entries
    mean nothing.
    """
    rounds_up = first_low != 0
    overflows = rounds_up & (first_high == np.uint64(IPV6_END - 1))
    first = first_high + (rounds_up & ~overflows).astype(np.uint64)
    return first, last_high, ~overflows & (first <= last_high)


def drop_repeats(starts: Starts, *columns: NDArray[Any]) -> list[NDArray[Any]]:
    """`starts` and `columns` without the entries that say the same as the one before."""
    differs = np.zeros(len(starts), np.bool_)
    differs[0] = True
    for column in columns:
        differs[1:] |= column[1:] != column[:-1]
    return [starts[differs], *(column[differs] for column in columns)]


def join_starts(parts: Sequence[Starts], dtype: Any) -> Starts:
    """All starts of several covers, sorted, each once.

    Not np.unique: its hash table takes twenty times as long on millions of nearly sorted numbers.
    """
    joined = np.concatenate([part.astype(dtype, copy=False) for part in parts])
    joined.sort(kind="stable")
    is_new = np.ones(len(joined), np.bool_)
    np.not_equal(joined[1:], joined[:-1], out=is_new[1:])
    return joined[is_new]
