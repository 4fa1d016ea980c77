"""What scans need to know of a catalog beside its columns, found once for all mirrors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from heliostat.model.catalog import CatalogTable
from heliostat.model.patterns import path_test
from heliostat.model.tree import Tree
from heliostat.probe.freshness import Folders

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Insight:
    """Of one catalog: its folders, the rows of metadata files; `passed_over` and `ahead` are as
    `heliostat.probe.freshness.lag_of` has them."""

    folders: Folders
    metadata: NDArray[np.intp]
    passed_over: NDArray[np.bool_] | None
    ahead: NDArray[np.bool_] | None


class Insights:
    """Remembers the newest insight of each tree, and has the one thread in which scans compute.

    One, and none that is shared: hundreds of scans of a large tree would fill the threads in which
    names are looked up, and every mirror would look dead.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scan")
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[object, Insight]] = {}

    async def compute(self, work: Callable[..., T], *arguments: object) -> T:
        """Runs `work(*arguments)` in that thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work, *arguments)

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
    ahead = passed_over
    if len(metadata):
        ahead = np.zeros(len(catalog), dtype=np.bool_) if ahead is None else ahead.copy()
        ahead[metadata] = True
    return Insight(Folders.of(catalog), metadata, passed_over, ahead)
