"""From costs to candidates and their shares, and from a client to one of them.

Candidates are the eligible mirrors within 15 % or 6 ms of the best, at most eight; a share is
proportional to bandwidth × exp(−(cost − best) / 3 ms). The choice is a hash of the client's network
and the path, so the same client gets the same mirror for the same file, on every edge.
"""

from __future__ import annotations

import math
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from heliostat.routing import constants as c

MAX_OTHERS = 16
"""Eligible mirrors kept behind the candidates."""

HASH_BITS = 32
SPREAD = 0x9E3779B97F4A7C15
"""2**64 / golden ratio (Knuth, The Art of Computer Programming 3, 6.4): crc32 alone is linear."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Who serves one class of requests: mirrors by index, all by rising cost.

    `cumulative[i]` is the sum of the first i + 1 shares; the last is 1. `others` are the next
    eligible mirrors beyond the candidates: for links, and for retries when no candidate answers.
    Rows are compared by identity: one row stands for all requests that get it.
    """

    mirrors: tuple[int, ...]
    costs_ms: tuple[float, ...]
    shares: tuple[float, ...]
    cumulative: tuple[float, ...]
    others: tuple[int, ...]

    def pick(self, u: float) -> int:
        """Position (not mirror index) of the candidate for `u` in [0, 1)."""
        return min(bisect_right(self.cumulative, u), len(self.mirrors) - 1)


EMPTY_ROW = Row((), (), (), (), ())


def limit_ms(best_ms: float) -> float:
    """The highest cost of a candidate when the best costs `best_ms`."""
    return max(best_ms * c.CANDIDATE_RATIO, best_ms + c.CANDIDATE_EXTRA_MS)


def make_row(ranked: Sequence[tuple[float, int]], weights: Sequence[float]) -> Row:
    """A row from eligible mirrors as (cost in ms, index), sorted; `weights` are by index."""
    if not ranked:
        return EMPTY_ROW
    best_ms = ranked[0][0]
    highest_ms = limit_ms(best_ms)
    taken = [entry for entry in ranked[: c.MAX_CANDIDATES] if entry[0] <= highest_ms]
    parts = [
        weights[index] * math.exp(-(cost_ms - best_ms) / c.SHARE_SCALE_MS)
        for cost_ms, index in taken
    ]
    total = math.fsum(parts)
    shares = tuple(part / total for part in parts)
    cumulative: list[float] = []
    running = 0.0
    for share in shares:
        running += share
        cumulative.append(running)
    cumulative[-1] = 1.0
    return Row(
        mirrors=tuple(index for _, index in taken),
        costs_ms=tuple(cost_ms for cost_ms, _ in taken),
        shares=shares,
        cumulative=tuple(cumulative),
        others=tuple(index for _, index in ranked[len(taken) : len(taken) + MAX_OTHERS]),
    )


def fold(client_network: int) -> int:
    """A client network as the 32 bits that start the crc."""
    return (client_network ^ (client_network >> 32)) & 0xFFFFFFFF


def choice_hash(client_network: int, path: bytes) -> float:
    """u in [0, 1) for a client network (IPv4: address >> 8; IPv6: address >> 80) and a path."""
    mixed = zlib.crc32(path, fold(client_network)) * SPREAD & 0xFFFFFFFFFFFFFFFF
    return (mixed >> (64 - HASH_BITS)) / (1 << HASH_BITS)
