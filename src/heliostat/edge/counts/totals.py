"""What was counted since the steward started, by name: the numbers behind /metrics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heliostat.edge.counts.frame import (
    DECISION_BUCKETS_S,
    MIRROR_MASK,
    NO_MIRROR,
    NOT_DOWNLOAD,
    REASONS,
    CountFrame,
)
from heliostat.edge.counts.view import StateView

MAX_LABELS: Final = 25_000
"""Mirrors remembered by name, above what a state can have; those that are gone are then dropped."""


@dataclass(slots=True)
class Added:
    """What one batch of redirects came to."""

    mirrors: dict[str, int]
    """Redirects by mirror, of those that went to one."""
    damaged: int
    """Events that name what isn't in the state."""
    files: NDArray[np.uint32]
    """Of downloads: their file, country and mirror by the view's indexes."""
    countries: NDArray[np.uint16]
    download_mirrors: NDArray[np.uint16]


@dataclass(slots=True)
class Totals:
    """Counters; keys are the labels."""

    statuses: Counter[int] = field(default_factory=Counter)
    redirects: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(mirror or "", reason)"""
    countries: Counter[str] = field(default_factory=Counter)
    trees: Counter[str] = field(default_factory=Counter)
    promised_bytes: Counter[str] = field(default_factory=Counter)
    downloads: int = 0
    repeats: Counter[str] = field(default_factory=Counter)
    decisions: list[int] = field(default_factory=lambda: [0] * (len(DECISION_BUCKETS_S) + 1))
    decisions_s: float = 0.0
    hits: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    """Redirects that are in no other count of them, by why."""
    refused_frames: int = 0

    def add_frame(self, frame: CountFrame) -> None:
        """What needs no state: everything but redirects."""
        self.statuses.update(frame.statuses)
        for index, count in enumerate(frame.decisions):
            self.decisions[index] += count
        self.decisions_s += frame.decisions_s
        for name, (hits, misses) in frame.caches.items():
            self.hits[name] += hits
            self.misses[name] += misses
        redirects = len(frame.files) + len(frame.other_files)
        if redirects:
            self.statuses[302] += redirects
        self.lose("worker", frame.dropped)

    def lose(self, why: str, count: int) -> None:
        if count:
            self.lost[why] += count

    def add_redirects(
        self,
        view: StateView,
        files: NDArray[np.uint32],
        tags: NDArray[np.uint32],
        reason: str,
    ) -> Added:
        """Redirects of one reason; the cost is that of sorting them by file."""
        keys = np.sort(files.astype(np.uint64) << np.uint64(32) | tags)
        keys = keys[: int(np.searchsorted(keys, np.uint64(view.numbering.count) << np.uint64(32)))]
        zones = (keys >> np.uint64(16)).astype(np.uint16)
        mirrors = (keys & np.uint64(MIRROR_MASK)).astype(np.uint16)
        fits = (zones < len(view.country_of_zone)) & (
            (mirrors < len(view.mirrors)) | (mirrors == NO_MIRROR)
        )
        if not fits.all():
            keys, zones, mirrors = keys[fits], zones[fits], mirrors[fits]
        damaged = len(files) - len(keys)
        self.lose("damaged", damaged)
        sorted_files = (keys >> np.uint64(32)).astype(np.uint32)
        countries = view.country_of_zone[zones]
        trees, sizes = view.numbering.describe(sorted_files)
        by_mirror = {}
        for index, count in _nonzero(mirrors):
            name = "" if index == NO_MIRROR else view.mirrors[index]
            self.redirects[name, reason] += count
            if name:
                by_mirror[name] = count
        for index, count in _nonzero(countries):
            self.countries[view.countries[index]] += count
        for index, count in _nonzero(trees):
            self.trees[view.trees[index]] += count
        downloads = (keys & np.uint64(NOT_DOWNLOAD)) == 0
        down_mirrors = mirrors[downloads]
        self.downloads += len(down_mirrors)
        promised = np.bincount(down_mirrors, weights=sizes[downloads])
        for index in np.flatnonzero(promised).tolist():
            name = "" if index == NO_MIRROR else view.mirrors[index]
            self.promised_bytes[name] += int(promised[index])
        return Added(
            by_mirror, damaged, sorted_files[downloads], countries[downloads], down_mirrors
        )

    def forget_mirrors(self, known: set[str]) -> None:
        """Drops mirrors that are in no state any more, once there are too many of them."""
        if len(self.redirects) > MAX_LABELS * len(REASONS) or len(self.promised_bytes) > MAX_LABELS:
            for key in [key for key in self.redirects if key[0] and key[0] not in known]:
                del self.redirects[key]
            for counter in (self.promised_bytes, self.repeats):
                for name in [name for name in counter if name and name not in known]:
                    del counter[name]


def _nonzero(indexes: NDArray[np.uint16]) -> list[tuple[int, int]]:
    counts = np.bincount(indexes)
    present = np.flatnonzero(counts)
    return list(zip(present.tolist(), counts[present].tolist(), strict=True))
