"""The database side of one scan: what was found, what has to be read, and publishing the result.

Folders whose files are all as they were are known by one comparison (`heliostat.catalog.folders`).
The files of the others go into the temporary table `todo`, and those of them that are in the
catalog just so are taken out again; what the catalog has there and the walk didn't find is `gone`.
Nothing that others can see changes before `publish`, which is one transaction; `commit` keeps what
was read so far for a later scan.
"""

# ruff: noqa: S608  only constants of this file are put into SQL, every value is bound

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from heliostat.catalog.digest import FileDigests
from heliostat.catalog.errors import CatalogError
from heliostat.catalog.folders import Folders
from heliostat.catalog.problems import ProblemKind, Problems, shown
from heliostat.catalog.store import MAX_VERSION_TIMES, meta_value
from heliostat.catalog.torrent import TorrentDigests
from heliostat.catalog.walk import FoundAlias, FoundFolder
from heliostat.model.patterns import path_test

TELL_ROWS = 2_000
QUEUE_ROWS = 10_000
MAX_FILE_ID = 2**32 - 1
"""Holdings are bitmaps of 32-bit ids."""
LARGE_BYTES = 16 << 20
"""Files from here on are read first, largest first, so that none is left for one core at the end;
the others in the order of their inodes, which is near their order on a disk."""
MOVED_MIN_BYTES = 1 << 20
"""From this size on a file is known again under another path by size, time and inode; below it
reading is cheap, and files of one size and time (signatures) that reuse an inode are common."""

TEMPORARY = """
CREATE TEMP TABLE gone (path BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE alias (path BLOB PRIMARY KEY, real BLOB) WITHOUT ROWID;
CREATE TEMP TABLE todo (
  path BLOB PRIMARY KEY, size_bytes INTEGER, mtime_ns INTEGER, inode INTEGER, device INTEGER,
  links INTEGER, sha256 BLOB, content_id INTEGER
) WITHOUT ROWID;
CREATE TEMP TABLE queue (path BLOB, size_bytes INTEGER, inode INTEGER, device INTEGER,
  links INTEGER);
"""

_SAME_STATE = """
  k.size_bytes = t.size_bytes AND k.mtime_ns = t.mtime_ns AND k.inode = t.inode
"""
_EXTRA = "(SELECT sha1, md5, sha512, root FROM content WHERE content_id = {})"
_CHANGED = f"""
  f.size_bytes <> t.size_bytes OR f.mtime_ns <> t.mtime_ns OR f.sha256 <> t.sha256
  OR f.alias_of <> 0 OR {_EXTRA.format("f.content_id")} IS NOT {_EXTRA.format("t.content_id")}
"""
_COLUMNS = "path, size_bytes, mtime_ns, inode, sha256, content_id, alias_of, changed_in"
_CHANGED_IN = """
  changed_in = CASE WHEN file.size_bytes <> t.size_bytes OR file.sha256 <> t.sha256
    THEN ? ELSE file.changed_in END
"""


@dataclass(frozen=True, slots=True)
class Unread:
    """A file whose digests have to be made."""

    path: bytes
    size_bytes: int
    inode: int
    device: int
    links: int


@dataclass(frozen=True, slots=True)
class Published:
    """What `publish` did; `version` is the catalog's now."""

    version: int
    files: int
    size_bytes: int
    added: int
    changed: int
    removed: int


class Ledger:
    """One scan's view of the open catalog `connection`; used from one thread."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        extra: Sequence[str] = (),
        torrents: Sequence[str] = (),
    ) -> None:
        """`torrents` are patterns of the files whose torrent's digests are wanted."""
        self._db = connection
        self._has_torrents = bool(torrents)
        connection.create_function("wants_torrent", 1, path_test(torrents), deterministic=True)
        self._extra = tuple(name for name in ("sha1", "md5", "sha512") if name in extra)
        self._unchanged = 0
        self._db.executescript(TEMPORARY)
        self._folders = Folders(connection, (*self._extra, *torrents))
        self._db.execute("PRAGMA temp.cache_size = -65536")
        self._db.execute("BEGIN")

    def commit(self) -> None:
        """Keeps what was read so far, whatever happens next."""
        if self._db.in_transaction:  # SQLite may have rolled back by itself (a full disk)
            self._db.execute("COMMIT")
        self._db.execute("BEGIN")

    def _has_extra(self, table: str) -> str:
        wanted = "".join(f" AND c.{name} IS NOT NULL" for name in self._extra)
        of_it = f"c.content_id = {table}.content_id"
        has = f" AND EXISTS (SELECT 1 FROM content c WHERE {of_it}{{}})"
        clause = has.format(wanted) if wanted else ""
        if self._has_torrents:
            root = has.format(" AND c.root IS NOT NULL").removeprefix(" AND ")
            clause += f" AND (t.size_bytes = 0 OR NOT wants_torrent(t.path) OR {root})"
        return clause

    def add(self, found: Iterable[FoundFolder | FoundAlias]) -> Iterator[int]:
        """Notes what the walk finds; yields the count so far, now and then."""
        aliases: list[tuple[bytes, bytes]] = []
        count = told = 0
        for item in found:
            if isinstance(item, FoundAlias):
                aliases.append((item.path, item.real))
                count += 1
            else:
                count += len(item.files)
                if self._folders.is_same(item):
                    self._unchanged += len(item.files)
                else:
                    self._add_files(item)
            if count - told >= TELL_ROWS:
                self._add_aliases(aliases)
                yield count
                told = count
        self._add_aliases(aliases)
        self._compare()
        yield count

    def _add_files(self, folder: FoundFolder) -> None:
        # OR REPLACE: a name that is replaced while its folder is read may be listed twice
        self._db.executemany(
            "INSERT OR REPLACE INTO todo VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)",
            ((folder.path + file[0], *file[1:]) for file in folder.files),
        )

    def _add_aliases(self, aliases: list[tuple[bytes, bytes]]) -> None:
        self._db.executemany("INSERT OR REPLACE INTO alias VALUES (?, ?)", aliases)
        aliases.clear()

    def _compare(self) -> None:
        """Takes what is as it was out of `todo`, and puts what is missing into `gone`."""
        if self._folders.is_settled():
            before = self._db.execute("SELECT path, alias_of FROM file WHERE alias_of <> 0")
        else:
            before = self._db.execute("SELECT path, alias_of FROM file")
        while rows := before.fetchmany(TELL_ROWS):
            paths = self._folders.to_compare(rows)
            self._db.executemany(
                "INSERT OR IGNORE INTO gone SELECT ?1 WHERE"
                " NOT EXISTS (SELECT 1 FROM todo WHERE path = ?1)"
                " AND NOT EXISTS (SELECT 1 FROM alias WHERE path = ?1)",
                ((path,) for path in paths),
            )
        self._unchanged += self._db.execute(
            "DELETE FROM todo AS t WHERE EXISTS (SELECT 1 FROM file k WHERE k.path = t.path"
            f" AND k.alias_of = 0 AND {_SAME_STATE} {self._has_extra('k')})"
        ).rowcount

    def files_before(self) -> int:
        return self._count("SELECT count(*) FROM file")

    def files_found(self) -> int:
        return self._unchanged + self._count("SELECT count(*) FROM todo")

    def plan(self) -> tuple[int, int]:
        """Finds the files whose digests aren't known; their count and bytes."""
        has_extra = self._has_extra("k")
        self._reuse(
            "SELECT t.path, k.sha256, k.content_id FROM todo t JOIN pending k ON k.path = t.path"
            f" WHERE {_SAME_STATE} {has_extra}"
        )
        if self._count("SELECT count(*) FROM todo WHERE size_bytes >= ?", MOVED_MIN_BYTES):
            self._db.execute("CREATE INDEX temp.todo_inode ON todo (inode)")
            self._reuse(
                "SELECT t.path, k.sha256, k.content_id FROM file k CROSS JOIN todo t"
                f" WHERE t.size_bytes >= {MOVED_MIN_BYTES} AND k.alias_of = 0 AND {_SAME_STATE}"
                f" {has_extra}"
            )
            self._db.execute("DROP INDEX temp.todo_inode")
        self._db.execute(
            "INSERT INTO queue SELECT path, size_bytes, inode, device, links FROM todo"
            " WHERE sha256 IS NULL ORDER BY CASE WHEN size_bytes >= ? THEN -size_bytes ELSE 0 END,"
            " device, inode",
            (LARGE_BYTES,),
        )
        files, size = self._db.execute(
            "SELECT count(*), coalesce(sum(size_bytes), 0) FROM queue"
        ).fetchone()
        return files, size

    def _reuse(self, select: str) -> None:
        rows = [(sha, content, path) for path, sha, content in self._db.execute(select)]
        self._db.executemany("UPDATE todo SET sha256 = ?, content_id = ? WHERE path = ?", rows)

    def unread(self) -> Iterator[Unread]:
        """The files that `plan` found, in the order in which they are best read."""
        last = 0
        while rows := self._db.execute(
            "SELECT rowid, path, size_bytes, inode, device, links FROM queue WHERE rowid > ?"
            " ORDER BY rowid LIMIT ?",
            (last, QUEUE_ROWS),
        ).fetchall():
            for row in rows:
                yield Unread(*row[1:])
            last = rows[-1][0]

    def store(self, paths: Sequence[bytes], digests: FileDigests) -> None:
        """Notes the digests of one file that has these paths (hard links)."""
        content_id = 0
        if digests.pieces or digests.extra or digests.torrent:
            torrent = digests.torrent or TorrentDigests()
            cursor = self._db.execute(
                "INSERT INTO content (sha1, md5, sha512, pieces, pieces_sha1, layer, root)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(digests.extra.get(name) for name in ("sha1", "md5", "sha512")),
                    digests.pieces,
                    torrent.pieces_sha1 or None,
                    torrent.layer or None,
                    torrent.root or None,
                ),
            )
            content_id = int(cursor.lastrowid or 0)
        state = (digests.size_bytes, digests.mtime_ns, digests.inode, digests.sha256, content_id)
        for path in paths:
            walked = self._db.execute(
                "SELECT size_bytes, mtime_ns, inode FROM todo WHERE path = ?", (path,)
            ).fetchone()
            if walked != state[:3]:
                self._folders.doubt(path)
            self._db.execute(
                "INSERT OR REPLACE INTO pending VALUES (?, ?, ?, ?, ?, ?)", (path, *state)
            )
            self._db.execute(
                "UPDATE todo SET size_bytes = ?, mtime_ns = ?, inode = ?, sha256 = ?,"
                " content_id = ? WHERE path = ?",
                (*state, path),
            )

    def drop(self, path: bytes) -> None:
        """The file can't be used: it won't be in the catalog."""
        self._folders.doubt(path)
        self._db.execute("DELETE FROM todo WHERE path = ?", (path,))
        self._db.execute("INSERT OR REPLACE INTO gone VALUES (?)", (path,))

    def keep_last(self, path: bytes) -> bool:
        """The file stays in the catalog as it was; False (and dropped) when it wasn't there."""
        known = self._count("SELECT count(*) FROM file WHERE path = ? AND alias_of = 0", path)
        if not known:
            self.drop(path)
            return False
        self._folders.doubt(path)
        self._db.execute("DELETE FROM todo WHERE path = ?", (path,))
        self._unchanged += 1
        return True

    def publish(self, now_s: int, problems: Problems) -> Published:
        """Makes what was found the catalog, in one transaction.

        Raises:
            CatalogError: ids are used up.
        """
        self.commit()
        self._drop_lost_aliases(problems)
        version = meta_value(self._db, "version")
        fresh = version + 1
        removed = self._db.execute(
            "DELETE FROM file WHERE path IN (SELECT path FROM gone)"
            " AND path NOT IN (SELECT path FROM alias)"  # a name that was listed twice
        ).rowcount
        changed, added = self._publish_files(fresh)
        changed_aliases, added_aliases = self._publish_aliases(fresh)
        changed += changed_aliases
        added += added_aliases
        if self._count("SELECT coalesce(max(file_id), 0) FROM file") > MAX_FILE_ID:
            raise CatalogError("the catalog has used up its file ids; delete it and scan again")
        had_pending = self._db.execute("DELETE FROM pending").rowcount
        if removed or changed or added or had_pending:
            self._db.execute(
                "DELETE FROM content WHERE content_id NOT IN (SELECT content_id FROM file)"
            )
        if removed or changed or added or not version:
            version = fresh
            self._db.execute("INSERT OR REPLACE INTO version_time VALUES (?, ?)", (version, now_s))
            self._db.execute(
                "DELETE FROM version_time WHERE version <= ?", (version - MAX_VERSION_TIMES,)
            )
        self._db.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            [("version", version), ("scanned_at_s", now_s)],
        )
        self._folders.write(version)
        files, size = self._db.execute(
            "SELECT count(*), coalesce(sum(size_bytes) FILTER (WHERE alias_of = 0), 0) FROM file"
        ).fetchone()
        self._db.execute("COMMIT")
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")  # waits for no reader
        return Published(version, files, size, added, changed, removed)

    def _drop_lost_aliases(self, problems: Problems) -> None:
        lost = self._db.execute(
            "SELECT path, real FROM alias a WHERE"
            " NOT EXISTS (SELECT 1 FROM todo t WHERE t.path = a.real) AND"
            " NOT EXISTS (SELECT 1 FROM file f WHERE f.path = a.real AND f.alias_of = 0"
            "  AND f.path NOT IN (SELECT path FROM gone)"
            "  AND f.path NOT IN (SELECT path FROM alias))"
        ).fetchall()
        for path, real in lost:
            message = f"is another name of {shown(real)}, which is left out"
            problems.add(path, ProblemKind.LINK_TO_LEFT_OUT, message)
            self._db.execute("DELETE FROM alias WHERE path = ?", (path,))
            self._db.execute("INSERT OR REPLACE INTO gone VALUES (?)", (path,))

    def _publish_files(self, version: int) -> tuple[int, int]:
        changed = self._count(
            f"SELECT count(*) FROM todo t JOIN file f ON f.path = t.path WHERE {_CHANGED}"
        )
        self._db.execute(
            "UPDATE file SET size_bytes = t.size_bytes, mtime_ns = t.mtime_ns, inode = t.inode,"
            f" sha256 = t.sha256, content_id = t.content_id, alias_of = 0, {_CHANGED_IN}"
            " FROM todo t WHERE t.path = file.path",
            (version,),
        )
        added = self._db.execute(
            f"INSERT INTO file ({_COLUMNS})"
            " SELECT path, size_bytes, mtime_ns, inode, sha256, content_id, 0, ? FROM todo t"
            " WHERE NOT EXISTS (SELECT 1 FROM file f WHERE f.path = t.path) ORDER BY path",
            (version,),
        ).rowcount
        return changed, added

    def _publish_aliases(self, version: int) -> tuple[int, int]:
        targets = (
            "SELECT a.path, t.size_bytes, t.mtime_ns, t.inode, t.sha256, t.content_id,"
            " t.file_id AS alias_of FROM alias a JOIN file t ON t.path = a.real"
        )
        changed = self._db.execute(
            "UPDATE file SET size_bytes = t.size_bytes, mtime_ns = t.mtime_ns, inode = t.inode,"
            f" sha256 = t.sha256, content_id = t.content_id, alias_of = t.alias_of, {_CHANGED_IN}"
            f" FROM ({targets}) AS t WHERE t.path = file.path AND (file.alias_of <> t.alias_of"
            " OR file.size_bytes <> t.size_bytes OR file.mtime_ns <> t.mtime_ns"
            " OR file.sha256 <> t.sha256 OR file.content_id <> t.content_id)",
            (version,),
        ).rowcount
        added = self._db.execute(
            f"INSERT INTO file ({_COLUMNS}) SELECT *, ? FROM ({targets}) AS t"
            " WHERE NOT EXISTS (SELECT 1 FROM file f WHERE f.path = t.path) ORDER BY path",
            (version,),
        ).rowcount
        return changed, added

    def _count(self, sql: str, *values: object) -> int:
        return int(self._db.execute(sql, values).fetchone()[0])
