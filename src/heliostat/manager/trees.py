"""Scans of trees as the manager does them, and the catalogs they leave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial

from heliostat.catalog import scans
from heliostat.catalog.reader import Catalog, load_table
from heliostat.catalog.report import ScanProgress, ScanReport
from heliostat.catalog.store import catalog_path
from heliostat.config.load import LoadedConfig
from heliostat.model.catalog import CatalogTable
from heliostat.model.tree import Tree
from heliostat.probe.liveness import newest_samples
from heliostat.probe.results import Sample
from heliostat.state.extras import OpenExtras


def scan_tree(
    loaded: LoadedConfig,
    tree: Tree,
    progress: Callable[[ScanProgress], None] | None = None,
    *,
    allow_empty: bool = False,
    allow_shrink: bool = False,
    stop: threading.Event | None = None,
) -> ScanReport:
    """Scans a tree; `stop` ends it from another thread.

    Mirrors no longer count as holders of files whose content changed, as the catalog says so itself
    (`CatalogTable.changed_in`).

    Raises:
        CatalogError: see `heliostat.catalog.scans.scan_tree`.
    """
    return scans.scan_tree(
        tree,
        loaded.data_dir,
        loaded.config.probe,
        progress,
        allow_empty=allow_empty,
        allow_shrink=allow_shrink,
        stop=stop,
    )


def load_catalogs(loaded: LoadedConfig) -> Mapping[str, CatalogTable]:
    """The catalogs of all trees that were scanned, by tree."""
    tables = {tree.name: load_table(loaded.data_dir, tree.name) for tree in loaded.config.trees}
    return {name: table for name, table in tables.items() if table is not None}


def open_extras(loaded: LoadedConfig) -> Mapping[str, OpenExtras]:
    """By tree: what opens its catalog for what is known of single files."""
    paths = {tree.name: catalog_path(loaded.data_dir, tree.name) for tree in loaded.config.trees}
    return {name: partial(Catalog.open, path) for name, path in paths.items()}


class KeptCatalogs:
    """The catalogs of all trees, kept in memory: reading 3,000,000 files takes seconds.

    `tables` and `newest` are replaced, never changed, so that any thread may read them; `refresh`
    is for one thread at a time.
    """

    def __init__(self, loaded: LoadedConfig) -> None:
        self._data_dir = loaded.data_dir
        self._versions: dict[str, tuple[int, int, int] | None] = {}
        self.tables: Mapping[str, CatalogTable] = {}
        self.newest: Mapping[str, tuple[Sample, ...]] = {}
        """By tree: files that liveness may ask a mirror for of which nothing is known."""

    def refresh(self, tree: str) -> bool:
        """Reads a tree's catalog if it has another version than the one kept.

        Returns: whether it had. Raises: CatalogError: it can't be read; the one kept stays.
        """
        version = self._version(tree)
        if version == self._versions.get(tree):
            return False
        table = load_table(self._data_dir, tree)
        tables = {name: kept for name, kept in self.tables.items() if name != tree}
        newest = {name: kept for name, kept in self.newest.items() if name != tree}
        if table is not None:
            tables[tree] = table
            newest[tree] = newest_samples(table)
        self.tables, self.newest = tables, newest
        self._versions[tree] = version
        return True

    def _version(self, tree: str) -> tuple[int, int, int] | None:
        """The catalog's file, version and what stands beside; None before the first scan ended."""
        path = catalog_path(self._data_dir, tree)
        try:
            inode = path.stat().st_ino
        except FileNotFoundError:
            return None
        with Catalog.open(path) as catalog:
            return (inode, catalog.version, catalog.beside) if catalog.version else None
