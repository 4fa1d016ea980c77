"""The database side of the scan of a tree whose bytes aren't here: what is listed, what is claimed
of it by checksum files, and publishing the result.

Nothing that others can see changes before `publish`, which is one transaction.

Theory. A file is *fresh* when its size, or the time that the listing shows, isn't that of the last
scan. What the listing shows is kept apart from the file's time, as index pages round it and leave
its zone out: in the column `inode`, as -1 - seconds, which no file here can have. A file that isn't
fresh keeps its digests, a fresh one gets those that checksum files claim, or none.
"""

# ruff: noqa: S608  only constants of this file are put into SQL, every value is bound

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from heliostat.catalog.checksums import Claim
from heliostat.catalog.errors import CatalogError
from heliostat.catalog.ledger import MAX_FILE_ID, Published
from heliostat.catalog.store import MAX_VERSION_TIMES, meta_value
from heliostat.listing.entries import LINK, UNKNOWN_BYTES, Entry

NS = 1_000_000_000
MAX_CHECKSUM_FILE_OLDER_S = 3600
"""A list of digests may be so much older than a file that it names (uploads have no order); one
that is older still tells of another content, unless it says the very size."""
WRITE_ROWS = 5_000
EXTRA = ("sha1", "md5", "sha512")

SCHEMA = """
CREATE TABLE IF NOT EXISTS source_note (
  path BLOB PRIMARY KEY, size_bytes INTEGER NOT NULL, stamp INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TEMP TABLE found (
  path BLOB PRIMARY KEY, size_bytes INTEGER, mtime_ns INTEGER, stamp INTEGER, fresh INTEGER
) WITHOUT ROWID;
CREATE TEMP TABLE alias (path BLOB PRIMARY KEY, real BLOB) WITHOUT ROWID;
CREATE TEMP TABLE claim (
  path BLOB, algorithm TEXT, digest BLOB, size_bytes INTEGER, from_s INTEGER,
  PRIMARY KEY (path, algorithm)
) WITHOUT ROWID;
CREATE TEMP TABLE final (
  path BLOB PRIMARY KEY, size_bytes INTEGER, mtime_ns INTEGER, inode INTEGER, sha256 BLOB,
  content_id INTEGER, is_other INTEGER
) WITHOUT ROWID;
"""
_SAME = "k.path = t.path AND k.alias_of = 0 AND k.inode = t.stamp"
_BELIEVED = f"""
  AND c_{{0}}.digest <> x'' AND CASE WHEN c_{{0}}.size_bytes >= 0
    THEN c_{{0}}.size_bytes = t.size_bytes
    ELSE c_{{0}}.from_s = 0 OR t.mtime_ns = 0
      OR c_{{0}}.from_s + {MAX_CHECKSUM_FILE_OLDER_S} >= t.mtime_ns / {NS} END
"""
_COLUMNS = "path, size_bytes, mtime_ns, inode, sha256, content_id, alias_of, changed_in"


class _Row(NamedTuple):
    """A listed file beside what the catalog has of it (None: it is new)."""

    path: bytes
    size_bytes: int
    mtime_ns: int
    stamp: int
    fresh: int
    old_size: int | None
    old_mtime_ns: int | None
    old_inode: int | None
    old_sha256: bytes | None
    old_content: int | None
    old_alias: int | None
    old_sha1: bytes | None
    old_md5: bytes | None
    old_sha512: bytes | None
    sha256: bytes | None
    sha1: bytes | None
    md5: bytes | None
    sha512: bytes | None


class RemoteLedger:
    """One scan's view of the open catalog `connection`; used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._db.executescript(SCHEMA)
        self._db.execute("BEGIN")

    def add(self, entries: Sequence[Entry]) -> None:
        """Notes files that are listed; links are passed over."""
        rows = [
            (e.path, e.size_bytes, e.mtime_s * NS, -1 - e.mtime_s, 1)
            for e in entries
            if e.kind != LINK
        ]
        self._db.executemany("INSERT OR REPLACE INTO found VALUES (?, ?, ?, ?, ?)", rows)

    def add_aliases(self, aliases: Iterable[tuple[bytes, bytes]]) -> None:
        """Notes (name, the listed file it is another name of)."""
        self._db.executemany("INSERT OR REPLACE INTO alias VALUES (?, ?)", aliases)
        self._db.execute("DELETE FROM alias WHERE path IN (SELECT path FROM found)")

    def compare(self) -> None:
        """Finds out which files are fresh; the others get what is known of them."""
        self._db.execute(
            "UPDATE found AS t SET fresh = 0, size_bytes = k.size_bytes, mtime_ns = k.mtime_ns"
            f" FROM file k WHERE {_SAME} AND (t.size_bytes = k.size_bytes"
            " OR (t.size_bytes = -1 AND t.mtime_ns <> 0))"
        )

    def unsure(self) -> list[bytes]:
        """Fresh files of which the listing says no exact size."""
        sql = "SELECT path FROM found WHERE size_bytes = ? ORDER BY path"
        return [path for (path,) in self._db.execute(sql, (UNKNOWN_BYTES,))]

    def looked(self, path: bytes, size_bytes: int, mtime_s: int) -> None:
        """Notes what the source said of one file when it was asked."""
        self._db.execute(
            "UPDATE found SET size_bytes = ?, mtime_ns = CASE WHEN ? THEN ? ELSE mtime_ns END"
            " WHERE path = ?",
            (size_bytes, mtime_s, mtime_s * NS, path),
        )
        self._db.execute(
            f"UPDATE found AS t SET fresh = 0 FROM file k WHERE t.path = ? AND {_SAME}"
            " AND k.size_bytes = t.size_bytes AND k.mtime_ns = t.mtime_ns",
            (path,),
        )

    def drop(self, path: bytes) -> None:
        self._db.execute("DELETE FROM found WHERE path = ?", (path,))

    def counts(self) -> tuple[int, int, int]:
        """Files before, files found, and files of before that are gone now."""
        before = self._count("SELECT count(*) FROM file")
        gone = self._count(
            "SELECT count(*) FROM file WHERE path NOT IN (SELECT path FROM found)"
            " AND path NOT IN (SELECT path FROM alias)"
        )
        return before, self._count("SELECT count(*) FROM found"), gone

    def paths(self) -> Iterator[tuple[bytes, bool]]:
        """Every listed file, by path, and whether it is fresh."""
        for path, fresh in self._db.execute("SELECT path, fresh FROM found ORDER BY path"):
            yield path, bool(fresh)

    def is_read(self, path: bytes) -> bool:
        """Whether this very checksum file was read by an earlier scan."""
        return bool(
            self._count(
                "SELECT count(*) FROM found t JOIN source_note n USING (path) WHERE path = ?"
                " AND fresh = 0 AND n.size_bytes = t.size_bytes AND n.stamp = t.stamp",
                path,
            )
        )

    def time_of(self, path: bytes) -> int:
        """The time of a listed file, Unix seconds; 0 where it isn't known."""
        return self._count("SELECT mtime_ns FROM found WHERE path = ?", path) // NS

    def claim(self, claims: Sequence[Claim], from_s: int) -> None:
        """Notes what a checksum file of the time `from_s` says; two that disagree say nothing."""
        self._db.executemany(
            "INSERT INTO claim SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS"
            " (SELECT 1 FROM found WHERE path = ?1) ON CONFLICT DO UPDATE SET"
            " digest = CASE WHEN digest = excluded.digest THEN digest ELSE x'' END,"
            " size_bytes = max(size_bytes, excluded.size_bytes),"
            " from_s = max(from_s, excluded.from_s)",
            [(c.path, c.algorithm, c.digest, c.size_bytes, from_s) for c in claims],
        )

    def claimed(self, path: bytes) -> bytes | None:
        """The sha256 that was claimed of a file."""
        row = self._db.execute(
            "SELECT digest FROM claim WHERE path = ? AND algorithm = 'sha256'", (path,)
        ).fetchone()
        return row[0] if row else None

    def claim_own(self, path: bytes, digest: bytes) -> None:
        """Notes the sha256 of a file that was read whole, so that nothing else has to say it."""
        self._db.execute(
            "INSERT OR IGNORE INTO claim VALUES (?, 'sha256', ?, -1, 0)", (path, digest)
        )

    def disputed(self) -> list[bytes]:
        """Files of which two checksum files say different sha256."""
        sql = "SELECT path FROM claim WHERE digest = x'' AND algorithm = 'sha256' ORDER BY path"
        return [path for (path,) in self._db.execute(sql)]

    def set_read(self, path: bytes) -> None:
        """Notes that this checksum file was read as a whole."""
        self._db.execute(
            "INSERT OR REPLACE INTO source_note SELECT path, size_bytes, stamp FROM found"
            " WHERE path = ?",
            (path,),
        )

    def publish(self, now_s: int) -> tuple[Published, int]:
        """Makes what was listed the catalog, in one transaction.

        Returns: what it did, and how many files have no sha256. Raises: CatalogError: ids used up.
        """
        version = meta_value(self._db, "version")
        fresh = version + 1
        self._decide()
        gone = "path NOT IN (SELECT path FROM found)"
        removed = self._db.execute(
            f"DELETE FROM file WHERE {gone} AND path NOT IN (SELECT path FROM alias)"
        ).rowcount
        changed, added = self._publish(
            "SELECT path, size_bytes, mtime_ns, inode, sha256, content_id, 0 AS alias_of, is_other"
            " FROM final",
            fresh,
        )
        aliases = self._publish(
            "SELECT a.path, t.size_bytes, t.mtime_ns, t.inode, t.sha256, t.content_id,"
            " t.file_id AS alias_of, t.changed_in = ?1 AS is_other"
            " FROM alias a JOIN file t ON t.path = a.real",
            fresh,
        )
        changed, added = changed + aliases[0], added + aliases[1]
        if self._count("SELECT coalesce(max(file_id), 0) FROM file") > MAX_FILE_ID:
            raise CatalogError("the catalog has used up its file ids; delete it and scan again")
        self._db.execute(f"DELETE FROM source_note WHERE {gone}")
        self._db.execute("DELETE FROM pending")
        if removed or changed or added or not version:
            version = fresh
            self._db.execute(
                "DELETE FROM content WHERE content_id NOT IN (SELECT content_id FROM file)"
            )
            self._db.execute("INSERT OR REPLACE INTO version_time VALUES (?, ?)", (version, now_s))
            self._db.execute(
                "DELETE FROM version_time WHERE version <= ?", (version - MAX_VERSION_TIMES,)
            )
        self._db.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            [("version", version), ("scanned_at_s", now_s)],
        )
        files, size = self._db.execute(
            "SELECT count(*), coalesce(sum(size_bytes) FILTER (WHERE alias_of = 0), 0) FROM file"
        ).fetchone()
        without = self._count("SELECT count(*) FROM file WHERE sha256 = x'' AND alias_of = 0")
        self._db.execute("COMMIT")
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")  # waits for no reader
        return Published(version, files, size, added, changed, removed), without

    def _decide(self) -> None:
        """Fills `final` with what isn't in the catalog as it should be."""
        joins = "".join(
            f" LEFT JOIN claim c_{name} ON c_{name}.path = t.path"
            f" AND c_{name}.algorithm = '{name}' {_BELIEVED.format(name)}"
            for name in ("sha256", *EXTRA)
        )
        rows = self._db.execute(
            "SELECT t.path, t.size_bytes, t.mtime_ns, t.stamp, t.fresh, k.size_bytes, k.mtime_ns,"
            " k.inode, k.sha256, k.content_id, k.alias_of, x.sha1, x.md5, x.sha512,"
            " c_sha256.digest, c_sha1.digest, c_md5.digest, c_sha512.digest"
            " FROM found t LEFT JOIN file k ON k.path = t.path"
            f" LEFT JOIN content x ON x.content_id = k.content_id {joins}"
            " WHERE t.fresh OR EXISTS (SELECT 1 FROM claim c WHERE c.path = t.path)"
        )
        while batch := rows.fetchmany(WRITE_ROWS):
            decided = [self._decided(_Row(*row)) for row in batch]
            self._db.executemany(
                "INSERT INTO final VALUES (?, ?, ?, ?, ?, ?, ?)",
                [row for row in decided if row is not None],
            )

    def _decided(self, row: _Row) -> tuple[object, ...] | None:
        before = (row.old_sha1, row.old_md5, row.old_sha512)
        claimed = (row.sha1, row.md5, row.sha512)
        sha256 = row.sha256 or b""
        extra: tuple[bytes | None, ...] = claimed
        if not row.fresh:
            sha256 = sha256 or row.old_sha256 or b""
            extra = tuple(new or old for new, old in zip(claimed, before, strict=True))
        is_same = bool(sha256) and sha256 == row.old_sha256
        if is_same and not any(extra):
            extra = before
        is_other = not is_same and (
            bool(row.fresh) or bool(row.old_sha256) or row.size_bytes != row.old_size
        )
        content_id = row.old_content or 0
        if extra != before or (content_id and is_other):
            content_id = self._content(extra) if any(extra) else 0
        old = (row.old_size, row.old_mtime_ns, row.old_inode, row.old_sha256, row.old_content)
        new = (row.size_bytes, row.mtime_ns, row.stamp, sha256, content_id)
        if old == new and row.old_alias == 0:
            return None
        return (row.path, *new, is_other)

    def _content(self, extra: Sequence[bytes | None]) -> int:
        cursor = self._db.execute(
            "INSERT INTO content (sha1, md5, sha512, pieces) VALUES (?, ?, ?, x'')", tuple(extra)
        )
        return int(cursor.lastrowid or 0)

    def _publish(self, rows: str, version: int) -> tuple[int, int]:
        changed = self._db.execute(
            "UPDATE file SET size_bytes = t.size_bytes, mtime_ns = t.mtime_ns, inode = t.inode,"
            " sha256 = t.sha256, content_id = t.content_id, alias_of = t.alias_of,"
            " changed_in = CASE WHEN t.is_other THEN ?1 ELSE file.changed_in END"
            f" FROM ({rows}) AS t WHERE t.path = file.path AND (file.alias_of <> t.alias_of"
            " OR file.size_bytes <> t.size_bytes OR file.mtime_ns <> t.mtime_ns"
            " OR file.inode <> t.inode OR file.sha256 <> t.sha256"
            " OR file.content_id <> t.content_id)",
            (version,),
        ).rowcount
        added = self._db.execute(
            f"INSERT INTO file ({_COLUMNS}) SELECT path, size_bytes, mtime_ns, inode, sha256,"
            f" content_id, alias_of, ?1 FROM ({rows}) AS t"
            " WHERE NOT EXISTS (SELECT 1 FROM file f WHERE f.path = t.path) ORDER BY path",
            (version,),
        ).rowcount
        return changed, added

    def _count(self, sql: str, *values: object) -> int:
        row = self._db.execute(sql, values).fetchone()
        return int(row[0]) if row else 0
