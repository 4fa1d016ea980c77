"""What a tree's shards have beside their columns: flags, and records of single files.

Promises: nothing is taken for a file that isn't of its very content. The catalog may have been
scanned again since its table was read; what doesn't fit the table waits for the next state.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from heliostat.model.catalog import CatalogTable
from heliostat.model.extras import CatalogExtras, Former
from heliostat.model.patterns import PathTest, path_test
from heliostat.model.tree import Tree
from heliostat.state.records import LONG_FIELDS, SHORT_FIELDS, fits_size, pack
from heliostat.state.shards import (
    FLAG_BODY,
    FLAG_SHA256,
    FLAG_SIGNED,
    FLAG_TORRENT,
    FLAG_TRUSTED,
    FLAG_ZSYNC,
    RECORD_KINDS,
    SIGNATURE_SUFFIXES,
)

OpenExtras = Callable[[], AbstractContextManager[CatalogExtras]]


class TreeExtras:
    """Of one catalog. `flags` is a byte a row; `records[kind]` has the records by catalog row."""

    def __init__(
        self, catalog: CatalogTable, tree: Tree, opened: CatalogExtras | None = None
    ) -> None:
        self.flags: NDArray[np.uint8] = (catalog.has_sha256 * FLAG_SHA256).astype(np.uint8)
        self.records: Mapping[str, dict[int, bytes]] = {kind: {} for kind in RECORD_KINDS}
        self.formers: list[tuple[int, Former]] = []
        """(catalog row, what stood there), newest first."""
        self._catalog = catalog
        self._mark_signed()
        if opened is not None:
            self._take_details(opened, path_test(tree.torrents))
            self._take_bodies(opened)
            for path, control in opened.zsyncs():
                row = _row_of(catalog.paths, path)
                if row is not None:
                    self.records["zsyncs"][row] = control
                    self.flags[row] |= FLAG_ZSYNC
            for path, former in opened.formers():
                row = _row_of(catalog.paths, path)
                if row is not None:
                    self.formers.append((row, former))
        self._mark_trusted(tree)

    @classmethod
    def of(cls, catalog: CatalogTable, tree: Tree, opens: OpenExtras | None) -> TreeExtras:
        if opens is None:
            return cls(catalog, tree)
        with opens() as opened:
            return cls(catalog, tree, opened)

    def _mark_trusted(self, tree: Tree) -> None:
        is_carried = tree.is_carried()
        for row, path in enumerate(self._catalog.paths):
            if is_carried(path) and row not in self.records["bodies"]:
                self.flags[row] |= FLAG_TRUSTED

    def _mark_signed(self) -> None:
        paths = self._catalog.paths
        for path in paths:
            if path.endswith(SIGNATURE_SUFFIXES):
                row = _row_of(paths, path.rpartition(b".")[0])
                if row is not None:
                    self.flags[row] |= FLAG_SIGNED

    def _take_details(self, opened: CatalogExtras, wants_torrent: PathTest) -> None:
        catalog = self._catalog
        row_of_id = np.full(int(catalog.file_ids.max(initial=0)) + 1, -1, dtype=np.int64)
        row_of_id[catalog.file_ids] = np.arange(len(catalog))
        names: dict[int, list[int]] = {}
        for row in np.flatnonzero(catalog.alias_of).tolist():
            names.setdefault(int(catalog.alias_of[row]), []).append(row)
        for file_id, details in opened.details():
            if file_id >= len(row_of_id) or row_of_id[file_id] < 0:
                continue
            row = int(row_of_id[file_id])
            same = details.sha256 == catalog.sha256[row].tobytes()
            if not same or not fits_size(details, int(catalog.sizes_bytes[row])):
                continue
            for kind, fields in (("details", SHORT_FIELDS), ("pieces", LONG_FIELDS)):
                if record := pack(details, fields):
                    for each in (row, *names.get(file_id, ())):
                        self.records[kind][each] = record
            if details.has_torrent:
                for each in (row, *names.get(file_id, ())):
                    if wants_torrent(catalog.paths[each]):
                        self.flags[each] |= FLAG_TORRENT

    def _take_bodies(self, opened: CatalogExtras) -> None:
        catalog = self._catalog
        for path, body in opened.bodies():
            row = _row_of(catalog.paths, path)
            if row is None or not catalog.has_sha256[row]:
                continue
            if hashlib.sha256(body).digest() == catalog.sha256[row].tobytes():
                self.records["bodies"][row] = body
                self.flags[row] |= FLAG_BODY


def _row_of(paths: Sequence[bytes], path: bytes) -> int | None:
    row = bisect_left(paths, path)
    return row if row < len(paths) and paths[row] == path else None
