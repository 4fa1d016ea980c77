"""What the project publishes: scanning a tree, digests, and the catalog that is kept of it.

    scan_tree(tree, data_dir, ...)  brings `data_dir/catalog/NAME.sqlite` up to date with any root
    scan(tree, data_dir)            the same of a folder on this machine
    load_table(data_dir, "NAME")    the catalog as columns, or None
    Catalog.open(path).pieces(id)   what only some callers need

Promises: file ids are stable for a path and never given to another one; readers always see one
whole version.
"""

from heliostat.catalog.errors import CatalogError, EmptyTreeError
from heliostat.catalog.reader import Catalog, CatalogSummary, load_summary, load_table
from heliostat.catalog.report import ScanPhase, ScanProgress, ScanReport
from heliostat.catalog.scan import resolve_root, scan
from heliostat.catalog.scans import check_root, scan_tree
from heliostat.catalog.store import catalog_path

__all__ = [
    "Catalog",
    "CatalogError",
    "CatalogSummary",
    "EmptyTreeError",
    "ScanPhase",
    "ScanProgress",
    "ScanReport",
    "catalog_path",
    "check_root",
    "load_summary",
    "load_table",
    "resolve_root",
    "scan",
    "scan_tree",
]
