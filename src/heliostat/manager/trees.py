"""Scans of trees as the manager does them, and the catalogs they leave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from heliostat.catalog.reader import load_table
from heliostat.catalog.report import ScanProgress, ScanReport
from heliostat.catalog.scan import scan
from heliostat.config.load import LoadedConfig
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
    """Scans a tree; `stop` ends it from another thread.

    Mirrors no longer count as holders of files whose content changed, as the catalog says so itself
    (`CatalogTable.changed_in`).

    Raises:
        CatalogError: see `heliostat.catalog.scan.scan`.
    """
    return scan(tree, loaded.data_dir, progress, allow_empty=allow_empty, stop=stop)


def load_catalogs(loaded: LoadedConfig) -> Mapping[str, CatalogTable]:
    """The catalogs of all trees that were scanned, by tree."""
    tables = {tree.name: load_table(loaded.data_dir, tree.name) for tree in loaded.config.trees}
    return {name: table for name, table in tables.items() if table is not None}
