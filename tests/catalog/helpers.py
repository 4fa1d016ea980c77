"""A folder to publish, and short ways to scan it and look at its catalog."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heliostat.catalog import Catalog, ScanReport, catalog_path, load_table, scan
from heliostat.model.catalog import PIECE_BYTES, CatalogFile, CatalogTable
from heliostat.model.tree import Tree


@dataclass
class Workshop:
    """One tree and the data folder of its catalog."""

    root: Path
    data_dir: Path
    extra: tuple[str, ...] = ()
    wishes: dict[str, Any] = field(default_factory=dict)
    """Further fields of the tree."""

    @property
    def tree(self) -> Tree:
        return Tree("t", str(self.root), extra_digests=self.extra, **self.wishes)

    def write(self, name: str | bytes, content: bytes = b"content") -> Path:
        """Writes a file (and its folders); gives its path on disk."""
        path = self.root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def scan(self, **options: Any) -> ScanReport:
        return scan(self.tree, self.data_dir, **options)

    @property
    def table(self) -> CatalogTable:
        table = load_table(self.data_dir, "t")
        assert table is not None
        return table

    @property
    def files(self) -> dict[bytes, CatalogFile]:
        return {file.path: file for file in self.table.files()}

    @property
    def aliases(self) -> dict[bytes, bytes]:
        """Alias → the path it is another name of."""
        table = self.table
        names = {
            int(file_id): path for path, file_id in zip(table.paths, table.file_ids, strict=True)
        }
        return {
            path: names[int(target)]
            for path, target in zip(table.paths, table.alias_of, strict=True)
            if target
        }

    def open(self) -> Catalog:
        return Catalog.open(catalog_path(self.data_dir, "t"))

    def pieces(self, path: bytes) -> bytes:
        with self.open() as catalog:
            return catalog.pieces(self.files[path].file_id)


def pieces_of(content: bytes) -> bytes:
    """What the catalog should say of the pieces of `content`."""
    starts = range(0, len(content), PIECE_BYTES)
    return b"".join(
        hashlib.sha256(content[start : start + PIECE_BYTES]).digest() for start in starts
    )


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
