"""Catalogs without the files of releases that are held back: they are in no state, so 404.

Promises: the same catalog and versions give the same object again, so that what publishers remember
of it stays; pure but for that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from heliostat.model.catalog import CatalogTable


def rows_of(catalog: CatalogTable, version: str) -> NDArray[np.bool_]:
    """The files of a version: those that have it in their path, as a word of its own.

    11.02 is in "sysresccd-11.02-amd64.iso" and "11.02/x", not in "111.02" or "11.02.1".
    """
    word = re.escape(version.encode("utf-8", "surrogateescape"))
    found = re.compile(rb"(?<![0-9A-Za-z.])(?<![0-9]\.)" + word + rb"(?![0-9A-Za-z])(?!\.[0-9])")
    plain = version.encode("utf-8", "surrogateescape")
    return np.array(
        [plain in path and found.search(path) is not None for path in catalog.paths], dtype=np.bool_
    )


class Unlisted:
    """Remembers the cut catalogs of one publisher."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[CatalogTable, tuple[str, ...], CatalogTable]] = {}

    def without(
        self, catalogs: Mapping[str, CatalogTable], held_back: Mapping[str, Sequence[str]]
    ) -> Mapping[str, CatalogTable]:
        """`held_back` are versions by tree."""
        if not any(held_back.get(tree) for tree in catalogs):
            self._made.clear()
            return catalogs
        found = {}
        for tree, catalog in catalogs.items():
            versions = tuple(sorted(held_back.get(tree, ())))
            known = self._made.get(tree)
            if not versions:
                found[tree] = catalog
            elif known is not None and known[0] is catalog and known[1] == versions:
                found[tree] = known[2]
            else:
                found[tree] = _cut(catalog, versions)
                self._made[tree] = catalog, versions, found[tree]
        return found


def _cut(catalog: CatalogTable, versions: Sequence[str]) -> CatalogTable:
    held = np.zeros(len(catalog), dtype=np.bool_)
    for version in versions:
        held |= rows_of(catalog, version)
    if not held.any():
        return catalog
    kept = ~held
    hidden = catalog.file_ids[held]
    # A name that points to a file held back ("latest.iso") has its content, too.
    kept &= ~np.isin(catalog.alias_of, hidden[hidden > 0])
    return replace(
        catalog,
        paths=[path for path, keep in zip(catalog.paths, kept, strict=True) if keep],
        file_ids=catalog.file_ids[kept],
        sizes_bytes=catalog.sizes_bytes[kept],
        mtimes_s=catalog.mtimes_s[kept],
        sha256=catalog.sha256[kept],
        has_sha256=catalog.has_sha256[kept],
        alias_of=catalog.alias_of[kept],
        changed_in=catalog.changed_in[kept],
        changed_at_s=catalog.changed_at_s[kept],
    )
