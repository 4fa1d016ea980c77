"""What a mirror holds, after its listing and its bytes were looked at: pure set arithmetic.

A listing says what a mirror has by name and size; reading says whether it is that. The rules:

- A file whose bytes were other than the catalog's is not held. If its content changed since the
  mirror was last compared, the mirror has the old one and is behind. Else the bytes are *wrong*,
  and the mirror is out.
- A file that the listing has and the server doesn't give out is not held.
- A file of the tree's `metadata` patterns is held only when it was just read and right.
- What was rejected stays so until it is read again and right, or its content changes.
- A listing that lost more than SHRINK_SHARE of the files is not believed before a second agrees.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from heliostat.model.catalog import CatalogTable
from heliostat.model.holding import Holding
from heliostat.probe.choose import Spot
from heliostat.probe.freshness import Folders, Lag, lag_of
from heliostat.probe.verify import VerifyResult, WrongPiece

SHRINK_SHARE = 0.2
SHRINK_MIN_FILES = 5
"""A mirror with fewer files may lose them at once: half of two files is no suspicion."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of one mirror and tree before a scan. Bitmaps are of file ids."""

    catalog_identity: str = ""
    catalog_version: int = 0
    held: BitMap = field(default_factory=BitMap)
    differing: BitMap = field(default_factory=BitMap)
    verified: BitMap = field(default_factory=BitMap)
    rejected: BitMap = field(default_factory=BitMap)
    doubtful: BitMap | None = None
    has_holding: bool = False
    spots: tuple[Spot, ...] = ()
    """Where its bytes were wrong."""
    memory: bytes | None = None
    spent_bytes: int = 0
    """Read for verification within the last day."""
    tried_at_s: float = 0.0

    def still(self, catalog: CatalogTable, ids: BitMap) -> BitMap:
        """Those of `ids` whose content is what it was when they were noted."""
        same = catalog.unchanged_since(self.catalog_identity, self.catalog_version)
        return BitMap(catalog.file_ids[same]) & ids


@dataclass(frozen=True, slots=True)
class Settled:
    """What is stored. `wrong` is what was found now, `kept` what was wrong before and wasn't seen
    right since."""

    held: BitMap
    differing: BitMap
    verified: BitMap
    rejected: BitMap
    lag: Lag
    wrong: tuple[WrongPiece, ...] = ()
    kept: frozenset[Spot] = frozenset()


def shrunken(known: Known, catalog: CatalogTable, listed: BitMap) -> tuple[int, int] | None:
    """(files lost, files had) of a listing that lost suspiciously many; None: it is believed.

    Files that left the catalog, or changed in it, are no loss. One that agrees with the doubtful
    listing before it is believed.
    """
    had = known.still(catalog, known.held | known.rejected)
    lost = had - listed
    if len(had) < SHRINK_MIN_FILES or len(lost) <= SHRINK_SHARE * len(had):
        return None
    if known.doubtful is not None:
        again_lost = had - known.doubtful
        if len(lost ^ again_lost) <= SHRINK_SHARE * len(lost):
            return None
    return len(lost), len(had)


def settle(
    known: Known,
    catalog: CatalogTable,
    listing: Holding,
    verified: VerifyResult | None,
    folders: Folders,
    metadata: NDArray[np.intp],
    passed_over: NDArray[np.bool_] | None = None,
) -> Settled:
    """The holding that follows from a listing that is believed and from what was read."""
    right = verified.right if verified else BitMap()
    held_before = known.held | known.differing | known.rejected
    wrong = []
    rejected = known.still(catalog, known.rejected) - right
    if verified:
        changed = held_before - known.still(catalog, held_before)
        for file_id, piece in verified.wrong:
            if file_id not in changed and file_id not in rejected:  # else it has the old one
                wrong.append(piece)
            rejected.add(file_id)
        rejected |= verified.absent
    metadata_ids = BitMap(catalog.file_ids[metadata])
    rejected |= (metadata_ids & listing.held) - right
    held = listing.held - rejected
    differing = listing.differing | (listing.held & rejected)
    was_right = known.still(catalog, known.verified) | right
    lag = lag_of(catalog, folders, held, differing, passed_over)
    return Settled(
        held=held,
        differing=differing,
        verified=(was_right & listing.held) - rejected,
        rejected=rejected & listing.held,
        lag=lag,
        wrong=tuple(wrong),
        kept=frozenset(_kept(known, catalog, verified)),
    )


def _kept(known: Known, catalog: CatalogTable, verified: VerifyResult | None) -> Iterator[Spot]:
    """Spots that are still in the catalog as they were, and that nobody saw right since."""
    same = catalog.unchanged_since(known.catalog_identity, known.catalog_version)
    for spot in known.spots:
        row = bisect_left(catalog.paths, spot.path)
        is_there = row < len(catalog) and catalog.paths[row] == spot.path and bool(same[row])
        if is_there and not (verified and spot in verified.right_spots):
            yield spot
