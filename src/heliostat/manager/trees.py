"""Scans of trees as the manager does them: the catalog, and what mirrors were known to hold of it.

Import only after `setup_django`; synchronous, and meets the database.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import numpy as np
from pyroaring import BitMap

from heliostat.catalog.reader import load_table
from heliostat.catalog.report import ScanProgress, ScanReport
from heliostat.catalog.scan import scan
from heliostat.config.load import LoadedConfig
from heliostat.manager.database_errors import clear_database_errors
from heliostat.manager.probing.records import forget_files
from heliostat.model.catalog import CatalogTable
from heliostat.model.tree import Tree


def scan_tree(
    loaded: LoadedConfig,
    tree: Tree,
    progress: Callable[[ScanProgress], None] | None = None,
    *,
    allow_empty: bool = False,
    stop: threading.Event | None = None,
) -> ScanReport:
    """Scans a tree; mirrors no longer count as holders of files whose content changed.

    `stop` ends it from another thread.

    Raises:
        CatalogError: see `heliostat.catalog.scan.scan`.
    """
    before = load_table(loaded.data_dir, tree.name)
    report = scan(tree, loaded.data_dir, progress, allow_empty=allow_empty, stop=stop)
    if before is not None and report.changed:
        after = load_table(loaded.data_dir, tree.name)
        if after is not None:
            with clear_database_errors():
                forget_files(tree.name, changed_ids(before, after), after.version)
    return report


def changed_ids(before: CatalogTable, after: CatalogTable) -> BitMap:
    """Ids of files that are in both and differ in size or sha256."""
    ids, rows_before, rows_after = np.intersect1d(
        before.file_ids, after.file_ids, assume_unique=True, return_indices=True
    )
    differs = before.sizes_bytes[rows_before] != after.sizes_bytes[rows_after]
    differs |= (before.sha256[rows_before] != after.sha256[rows_after]).any(axis=1)
    return BitMap(ids[differs])


def load_catalogs(loaded: LoadedConfig) -> Mapping[str, CatalogTable]:
    """The catalogs of all trees that were scanned, by tree."""
    tables = {tree.name: load_table(loaded.data_dir, tree.name) for tree in loaded.config.trees}
    return {name: table for name, table in tables.items() if table is not None}
