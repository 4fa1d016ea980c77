"""The networks that mirrors declare, as a cover of the address space by sets of networks.

Declared networks nest, overlap, repeat and may be as long as one address. A sweep over their edges
gives sorted starts and for each the set of networks around it. Every set gets a number; 0 is the
empty set. This is the one loop in the making of zones that is Python's: it runs over declared
networks (thousands), never over the ranges of geo sources (millions).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heliostat.geo.errors import ZoneTableError

MAX_NETWORKS = 32_768
"""Most declared networks of all mirrors together. Each adds at most two pieces to a sweep."""

MAX_OVERLAP = 1_024
"""Most declared networks around one address."""

Span = tuple[int, int, int]
"""First address, last address, index of the network."""


@dataclass(slots=True)
class NetworkSets:
    """The sets met so far and their numbers."""

    number_of: dict[tuple[int, ...], int] = field(default_factory=lambda: {(): 0})

    def number(self, members: Iterable[int]) -> int:
        return self.number_of.setdefault(tuple(sorted(members)), len(self.number_of))

    @property
    def members(self) -> list[tuple[int, ...]]:
        """Every set, at its number."""
        return list(self.number_of)


@dataclass(frozen=True, slots=True, eq=False)
class Declared:
    """All declared networks: IPv4 by address, IPv6 by upper half, and pieces inside single /64s.

    `long6` has (upper half, lower half, set): from there on, within that /64, the set counts; each
    upper half in it has an entry for lower half 0.
    """

    starts4: NDArray[np.uint32]
    sets4: NDArray[np.int64]
    starts6: NDArray[np.uint64]
    sets6: NDArray[np.int64]
    long6: list[tuple[int, int, int]]
    members: list[tuple[int, ...]]


def declare(networks: Sequence[str]) -> Declared:
    """The sets of `networks` (CIDR text; host bits may be set) around every address.

    Raises:
        ZoneTableError: not a network, too many, too many around one address.
    """
    if len(networks) > MAX_NETWORKS:
        raise ZoneTableError(
            f"the mirrors declare {len(networks)} networks; at most {MAX_NETWORKS} are possible"
        )
    spans4: list[Span] = []
    spans6: list[Span] = []
    long6: dict[int, list[Span]] = {}
    for index, text in enumerate(networks):
        first, last, is_ipv6 = _bounds(text)
        if not is_ipv6:
            spans4.append((first, last, index))
        elif first >> 64 != last >> 64 or last - first == (1 << 64) - 1:
            spans6.append((first >> 64, last >> 64, index))
        else:
            low = (1 << 64) - 1
            long6.setdefault(first >> 64, []).append((first & low, last & low, index))
    sets = NetworkSets()
    starts4, sets4 = _arrays(_sweep(spans4, 1 << 32), sets, np.uint32)
    cover6 = _sweep(spans6, 1 << 64)
    starts6, sets6 = _arrays(cover6, sets, np.uint64)
    pieces: list[tuple[int, int, int]] = []
    for high in sorted(long6):
        row = int(np.searchsorted(starts6, np.uint64(high), "right")) - 1
        around = cover6[row][1]
        for low, members in _sweep(long6[high], 1 << 64):
            pieces.append((high, low, sets.number({*around, *members})))
    return Declared(starts4, sets4, starts6, sets6, pieces, sets.members)


def _bounds(text: str) -> tuple[int, int, bool]:
    """First and last address and is_ipv6; networks of IPv4-mapped addresses count as IPv4."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ZoneTableError(
            f'a mirror declares "{text}", which is no network; write it like 198.51.100.0/24'
        ) from None
    first, last = int(network.network_address), int(network.broadcast_address)
    if network.version == 6 and first >> 32 == 0xFFFF and network.prefixlen >= 96:
        return first & 0xFFFF_FFFF, last & 0xFFFF_FFFF, False
    return first, last, network.version == 6


def _sweep(spans: Sequence[Span], end: int) -> list[tuple[int, frozenset[int]]]:
    """(start, networks from there on), sorted, the first start 0, `end` the space's end."""
    events: dict[int, tuple[list[int], list[int]]] = {0: ([], [])}
    for first, last, index in spans:
        events.setdefault(first, ([], []))[0].append(index)
        if last + 1 < end:
            events.setdefault(last + 1, ([], []))[1].append(index)
    active: set[int] = set()
    cover = []
    for edge in sorted(events):
        opened, closed = events[edge]
        active.difference_update(closed)
        active.update(opened)
        if len(active) > MAX_OVERLAP:
            raise ZoneTableError(
                f"more than {MAX_OVERLAP} declared networks lie around one address;"
                " take repeated ones out of the mirrors' files"
            )
        cover.append((edge, frozenset(active)))
    return cover


def _arrays(
    cover: Sequence[tuple[int, frozenset[int]]], sets: NetworkSets, dtype: Any
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    starts = np.array([start for start, _ in cover], dtype)
    return starts, np.array([sets.number(members) for _, members in cover], np.int64)
