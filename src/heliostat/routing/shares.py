"""From costs to candidates and their shares, and from a client to one of them.

Candidates are the eligible mirrors within 15 % or 6 ms of the best, at most eight; a share is
proportional to bandwidth × exp(−(cost − best) / 3 ms). The choice is a hash of the client's network
and the path, so the same client gets the same mirror for the same file, on every edge.
"""

from __future__ import annotations

import math
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from heliostat.routing import constants as c

MAX_OTHERS = 16
"""Eligible mirrors kept behind the candidates."""

HASH_BITS = 30
"""Of the choice's hash: a number that CPython keeps in one digit, so that xor is one step."""

PATH_SPREAD = 0x9E3779B97F4A7C15
"""2**64 / golden ratio (Knuth, The Art of Computer Programming 3, 6.4): crc32 alone is linear."""

NETWORK_SPREAD = 0xD6E8FEB86659FD93
"""Another odd number without structure, so that paths and networks spread apart."""

HASH_SPAN = 1 << HASH_BITS

_MASK = (1 << 64) - 1
_SHIFT = 64 - HASH_BITS


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Who serves one class of requests: mirrors by index, all by rising cost.

    `thresholds[i]` is the sum of the first i + 1 shares in units of 2**-HASH_BITS, without the
    last, which is 1. `others` are the next eligible mirrors beyond the candidates: for links, and
    for repeats. Kept small: an edge remembers them by the ten thousand.
    """

    mirrors: tuple[int, ...]
    costs_ms: array[float]
    thresholds: array[int]
    others: tuple[int, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """Of each candidate, in [0, 1]; they sum to 1."""
        if not self.mirrors:
            return ()
        bounds = (0, *self.thresholds, HASH_SPAN)
        return tuple((high - low) / HASH_SPAN for low, high in pairwise(bounds))

    def pick(self, choice: int) -> int:
        """Position (not mirror index) of the candidate for a `choice_hash`."""
        return bisect_right(self.thresholds, choice)

    def in_turn(self, position: int) -> tuple[int, ...]:
        """Mirrors as a client of that position tries them: its own, the candidates, the others."""
        return self.mirrors[position:] + self.mirrors[:position] + self.others


EMPTY_ROW = Row((), array("d"), array("I"), ())


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
    thresholds = []
    running = 0.0
    for part in parts[:-1]:
        running += part
        thresholds.append(min(math.ceil(running / total * HASH_SPAN), HASH_SPAN))
    return Row(
        mirrors=tuple(index for _, index in taken),
        costs_ms=array("d", (cost_ms for cost_ms, _ in taken)),
        thresholds=array("I", thresholds),
        others=tuple(index for _, index in ranked[len(taken) : len(taken) + MAX_OTHERS]),
    )


def path_hash(path: bytes) -> int:
    """A path's half of the choice: HASH_BITS bits, the same on every edge."""
    return (zlib.crc32(path) * PATH_SPREAD & _MASK) >> _SHIFT


def network_hash(client_network: int) -> int:
    """A client network's half of the choice (IPv4: address >> 8; IPv6: address >> 80)."""
    return (client_network * NETWORK_SPREAD & _MASK) >> _SHIFT


def choice_hash(client_network: int, path: bytes) -> int:
    """What picks from a row, in [0, HASH_SPAN): the xor of both halves.

    For one path the networks, and for one network the paths, are spread evenly over it.
    """
    return path_hash(path) ^ network_hash(client_network)
