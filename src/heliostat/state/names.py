"""What stands beside a tree's shards: aliases, and what stood under a file's name before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
                behind=_behind(row, catalog, mirrors, holdings),
            )
            for row in sorted(newest)
        ],
    )


def _former(former: Former) -> FormerDocument:
    digests = {name: getattr(former, name).hex() for name in _DIGESTS if getattr(former, name)}
    return FormerDocument(size_bytes=former.size_bytes, mtime_s=former.mtime_s, digests=digests)


def _behind(
    row: int, catalog: CatalogTable, mirrors: Sequence[Mirror], holdings: Sequence[Holding]
) -> str:
    """The mirrors that had the file before its last change, or have it in another form now.

    What they have is for the client to check: by one of the former contents, or not at all.
    """
    file_id, changed_in = int(catalog.file_ids[row]), int(catalog.changed_in[row])
    names = {
        holding.mirror
        for holding in holdings
        if holding.tree == catalog.tree
        and holding.catalog_identity == catalog.identity
        and (
            file_id in holding.differing
            or (holding.catalog_version < changed_in and file_id in holding.held)
        )
    }
    held = np.array([mirror.name in names for mirror in mirrors], dtype=np.bool_)
    return np.packbits(held, bitorder="little").tobytes().hex()
