"""What a mirror holds, after its listing and its bytes were looked at: pure set arithmetic.

A listing says what a mirror has by name and size; reading says whether it is that. The rules:

- A file whose bytes were other than the catalog's is not held. If its content changed since the
  mirror was last compared, the mirror has the old one and is behind. Else the bytes are *wrong*,
  and the mirror is out.
- A file that the listing has and the server doesn't give out is not held.
- A file that changed since the mirror was last seen is held when it was read and right: of a file
  that kept its size a listing can't tell which one it is. (Where it can be read, that is.)
- A file of the tree's `metadata` patterns is held when it was read and right in its present
  version, and its other bytes are never *wrong*: mirrors may well be ahead with it.
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
    unsure: BitMap = field(default_factory=BitMap)
    """Files that changed since they were seen, and were not read in their present version."""
    complete_version: int = 0
    """The newest version of which the mirror had all it carries; 0: none."""
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
        if (self.catalog_identity, self.catalog_version) == (catalog.identity, catalog.version):
            return BitMap(ids)  # the usual case, without a look at every file
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
    unsure: BitMap
    lag: Lag
    wrong: tuple[WrongPiece, ...] = ()
    kept: frozenset[Spot] = frozenset()
    dropped: frozenset[Spot] = frozenset()
    """What was wrong before and isn't any more: right, or gone."""


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
    readable: NDArray[np.bool_],
    passed_over: NDArray[np.bool_] | None = None,
    ahead: NDArray[np.bool_] | None = None,
) -> Settled:
    """The holding that follows from a listing that is believed and from what was read.

    `readable` are the rows whose bytes can be verified at all; `passed_over` and `ahead` are as
    `lag_of` has them.
    """
    right = verified.right if verified else BitMap()
    held_before = known.held | known.differing | known.rejected | known.unsure
    changed = held_before - known.still(catalog, held_before)
    readable_ids = BitMap(catalog.file_ids[readable])
    metadata_ids = BitMap(catalog.file_ids[metadata])
    was_right = known.still(catalog, known.verified) | right
    unsure = ((known.still(catalog, known.unsure) | changed) & readable_ids) - was_right
    rejected = known.still(catalog, known.rejected) - right
    wrong = []
    if verified:
        innocent = changed | known.unsure | metadata_ids
        for file_id, piece in verified.wrong:
            if file_id not in innocent:  # else it has an old one, or is ahead
                wrong.append(piece)
            rejected.add(file_id)
        rejected |= verified.absent | verified.newer
        was_right -= rejected
    rejected |= (metadata_ids | unsure) & (listing.held - was_right)
    held = listing.held - rejected
    differing = listing.differing | (listing.held & rejected)
    kept = frozenset(_kept(known, catalog, listing, verified))
    return Settled(
        held=held,
        differing=differing,
        verified=(was_right & listing.held) - rejected,
        rejected=rejected & listing.held,
        unsure=unsure & listing.held,
        lag=lag_of(catalog, folders, held, differing, passed_over, ahead, known.complete_version),
        wrong=tuple(wrong),
        kept=kept,
        dropped=frozenset(known.spots) - kept,
    )


def _kept(
    known: Known, catalog: CatalogTable, listing: Holding, verified: VerifyResult | None
) -> Iterator[Spot]:
    """Spots of files that are in catalog and listing as they were, and that nobody saw right."""
    same = catalog.unchanged_since(known.catalog_identity, known.catalog_version)
    for spot in known.spots:
        row = bisect_left(catalog.paths, spot.path)
        if row == len(catalog) or catalog.paths[row] != spot.path or not same[row]:
            continue
        file_id = int(catalog.file_ids[row])
        is_gone = file_id not in listing.held or bool(verified and file_id in verified.absent)
        is_right = bool(verified and spot in verified.right_spots)
        if not is_gone and not is_right and bool(catalog.has_sha256[row]):
            yield spot
