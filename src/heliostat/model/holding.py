"""A holding: which files of a catalog a mirror really has, as a compressed bitmap of file ids."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyroaring import BitMap


@dataclass(frozen=True, slots=True)
class Holding:
    """What one scan of one mirror found for one tree.

    `held` has the `file_id` of every catalog file the mirror has at the right size (and time,
    where the tree asks). `differing` are files it has, but not as the catalog says.
    `catalog_identity` and `catalog_version` say which catalog that was: of a file whose content
    changed since, or of another catalog's, it says nothing.
    """

    mirror: str
    tree: str
    scanned_at_s: int
    method: str
    held: BitMap = field(default_factory=BitMap)
    differing: BitMap = field(default_factory=BitMap)
    catalog_identity: str = ""
    catalog_version: int = 0
