"""What scans need to know of a catalog beside its columns, found once for all mirrors."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heliostat.model.catalog import CatalogTable
from heliostat.model.patterns import path_test
from heliostat.model.tree import Tree
from heliostat.probe.freshness import Folders


@dataclass(frozen=True, slots=True, eq=False)
class Insight:
    """Of one catalog: its folders, the rows of metadata files, and those that say no age."""

    folders: Folders
    metadata: NDArray[np.intp]
    passed_over: NDArray[np.bool_] | None


class Insights:
    """Remembers the newest insight of each tree; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[object, Insight]] = {}

    def of(self, tree: Tree, catalog: CatalogTable) -> Insight:
        """Takes some seconds for 3,000,000 files the first time."""
        key = (catalog.identity, catalog.version, tree.metadata, tree.timestamp_file)
        with self._lock:  # one makes it, the others wait for it
            kept = self._kept.get(tree.name)
            if kept is None or kept[0] != key:
                kept = self._kept[tree.name] = key, _insight(tree, catalog)
            return kept[1]


def _insight(tree: Tree, catalog: CatalogTable) -> Insight:
    metadata = np.empty(0, dtype=np.intp)
    if tree.metadata:
        is_metadata = path_test(tree.metadata)
        rows = [row for row, path in enumerate(catalog.paths) if is_metadata(path)]
        metadata = np.array(rows, dtype=np.intp)
    passed_over = None
    if tree.timestamp_file:
        timestamp = tree.timestamp_file.encode()
        passed_over = np.zeros(len(catalog), dtype=np.bool_)
        passed_over[[row for row, path in enumerate(catalog.paths) if path == timestamp]] = True
    return Insight(Folders.of(catalog), metadata, passed_over)
