"""One way to scan a tree, wherever its root is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from heliostat.catalog.remote import scan_remote
from heliostat.catalog.report import ScanProgress, ScanReport
from heliostat.catalog.scan import resolve_root, scan
from heliostat.catalog.sources import check_remote_root
from heliostat.config.schema import ProbeSection
from heliostat.model.tree import Tree, is_remote


def check_root(root: str, data_dir: Path | None = None) -> None:
    """Whether `root` can be a tree's: a folder that is there, or a URL that is written right.

    Raises: TreeRootError: what is wrong with it.
    """
    if is_remote(root):
        check_remote_root(root)
    else:
        resolve_root(root, data_dir)


def scan_tree(
    tree: Tree,
    data_dir: Path,
    settings: ProbeSection,
    progress: Callable[[ScanProgress], None] | None = None,
    *,
    allow_empty: bool = False,
    allow_shrink: bool = False,
    stop: threading.Event | None = None,
) -> ScanReport:
    """Brings the catalog of `tree` up to date with its root: see `scan` and `scan_remote`.

    Raises: CatalogError: what they raise.
    """
    if is_remote(tree.root):
        return scan_remote(
            tree,
            data_dir,
            settings,
            progress,
            allow_empty=allow_empty,
            allow_shrink=allow_shrink,
            stop=stop,
        )
    return scan(tree, data_dir, progress, allow_empty=allow_empty, stop=stop)
