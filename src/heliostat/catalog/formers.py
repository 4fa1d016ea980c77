"""What stood under a name before: kept for files that mirrors are often one step behind with.

A trigger of the scan's own connection notes the earlier content in the very transaction that
replaces it, whichever ledger does so. Kept are the newest MAX_FORMERS of a path, FORMER_DAYS long.
"""

from __future__ import annotations

import sqlite3

from heliostat.model.patterns import path_test
from heliostat.model.tree import Tree

MAX_FORMERS = 8
FORMER_DAYS = 14
_DAY_S = 86_400

ALWAYS_KEPT = ("repomd.xml",)
"""Beside the tree's `metadata` patterns."""

_TRIGGER = """
CREATE TEMP TRIGGER keep_former AFTER UPDATE OF sha256 ON main.file
WHEN length(old.sha256) > 0 AND old.sha256 <> new.sha256 AND keeps_former(old.path)
BEGIN
  INSERT OR REPLACE INTO former
  SELECT old.path, old.size_bytes, old.mtime_ns, former_now_s(), old.sha256,
    (SELECT sha1 FROM content WHERE content_id = old.content_id),
    (SELECT md5 FROM content WHERE content_id = old.content_id),
    (SELECT sha512 FROM content WHERE content_id = old.content_id);
END
"""


def keep_formers(connection: sqlite3.Connection, tree: Tree, now_s: int) -> None:
    """From now on the connection notes what it replaces; `now_s` is Unix time."""
    is_kept = path_test((*tree.metadata, *ALWAYS_KEPT))
    connection.create_function("keeps_former", 1, is_kept, deterministic=True)
    connection.create_function("former_now_s", 0, lambda: now_s)
    connection.execute("DROP TRIGGER IF EXISTS keep_former")
    connection.execute(_TRIGGER)


def prune_formers(connection: sqlite3.Connection, now_s: int) -> bool:
    """Drops what is too old, too much, or there again; whether that was anything."""
    before = connection.total_changes
    connection.execute(
        "DELETE FROM former WHERE replaced_at_s < ?", (now_s - FORMER_DAYS * _DAY_S,)
    )
    connection.execute(
        "DELETE FROM former WHERE EXISTS (SELECT 1 FROM file"
        " WHERE file.path = former.path AND file.sha256 = former.sha256)"
    )
    connection.execute(
        "DELETE FROM former WHERE path NOT IN (SELECT path FROM file) OR"
        " (SELECT count(*) FROM former AS newer WHERE newer.path = former.path"
        "  AND newer.replaced_at_s > former.replaced_at_s) >= ?",
        (MAX_FORMERS,),
    )
    return connection.total_changes != before
