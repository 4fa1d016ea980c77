"""What stands beside a tree's shards: aliases, and what stood under a file's name before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from heliostat.model.catalog import CatalogTable
from heliostat.model.extras import Former
from heliostat.model.holding import Holding
from heliostat.model.mirror import Mirror
from heliostat.state.documents import (
    AliasDocument,
    FormerDocument,
    ReplacedDocument,
    TreeNamesDocument,
)
from heliostat.state.remembered import TreeWork

MAX_REPLACED = 10_000
"""Files of a tree whose earlier contents a state tells; the newest changes count."""

_DIGESTS = ("sha256", "sha1", "md5", "sha512")


def names_of(
    work: TreeWork, catalog: CatalogTable, mirrors: Sequence[Mirror], holdings: Sequence[Holding]
) -> TreeNamesDocument:
    """Of one tree."""
    by_row: dict[int, list[Former]] = {}
    for row, former in work.formers:
        by_row.setdefault(row, []).append(former)
    newest = sorted(by_row, key=lambda row: -by_row[row][0].replaced_at_s)[:MAX_REPLACED]
    behind = _behind(newest, catalog, mirrors, holdings)
    return TreeNamesDocument(
        aliases=[
            AliasDocument(
                path=alias.path.decode("latin-1"),
                target=alias.target.decode("latin-1"),
                answer=alias.answer,
            )
            for alias in work.aliases
        ],
        replaced=[
            ReplacedDocument(
                path=catalog.paths[row].decode("latin-1"),
                formers=[_former(former) for former in by_row[row]],
                behind=np.packbits(behind[row], bitorder="little").tobytes().hex(),
            )
            for row in sorted(newest)
        ],
    )


def _former(former: Former) -> FormerDocument:
    digests = {name: getattr(former, name).hex() for name in _DIGESTS if getattr(former, name)}
    return FormerDocument(size_bytes=former.size_bytes, mtime_s=former.mtime_s, digests=digests)


def _behind(
    rows: Sequence[int],
    catalog: CatalogTable,
    mirrors: Sequence[Mirror],
    holdings: Sequence[Holding],
) -> dict[int, NDArray[np.bool_]]:
    """By row: the mirrors that had the file before its last change, or have another form of it.

    What they have is for the client to check: by one of the former contents, or not at all.
    """
    row_of = {int(catalog.file_ids[row]): row for row in rows}
    everything, changed_after = BitMap(row_of), dict[int, BitMap]()
    index_of = {mirror.name: index for index, mirror in enumerate(mirrors)}
    behind = {row: np.zeros(len(mirrors), dtype=np.bool_) for row in rows}
    for holding in holdings:
        index, version = index_of.get(holding.mirror), holding.catalog_version
        if index is None or holding.catalog_identity != catalog.identity:
            continue
        if version not in changed_after:
            changed_after[version] = BitMap(
                file_id for file_id, row in row_of.items() if catalog.changed_in[row] > version
            )
        for file_id in (holding.differing & everything) | (holding.held & changed_after[version]):
            behind[row_of[file_id]][index] = True
    return behind
