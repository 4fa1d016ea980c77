"""The SQLite file behind one tree's catalog: its form, opening it, and one scan at a time.

    file      what others read: one row a path. Ids are AUTOINCREMENT: never given twice.
    content   pieces and further digests, for the files that have them (content_id 0: none);
              pieces_sha1, layer and root are for torrents.
    body      small files that edges serve themselves, with their content.
    zsync     zsync control files.
    former    what stood under some names before (`heliostat.catalog.formers`).
    pending   digests of files that a scan has read but not yet published; a scan that was
              interrupted finds them again. They count while size, time and inode still agree.
    version_time  when each version was made (the newest MAX_VERSION_TIMES).
    meta      schema, tree, version, scanned_at_s.

Schema 3 had nothing for torrents, and no body, zsync and former, schema 2 no version_time either:
what is lacking is added when such a file is opened.

WAL: readers keep the catalog of before while a scan writes.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heliostat.catalog.errors import (
    CatalogDamagedError,
    CatalogError,
    ScanBusyError,
    clear_errors,
)

SCHEMA_VERSION = 4
OLDEST_SCHEMA = 2
"""From here on a file is brought up to date when it is opened."""
MAX_VERSION_TIMES = 10_000
IDENTITY_BYTES = 16
BUSY_TIMEOUT_S = 10.0
CACHE_KIB = 65_536

SCHEMA = """
CREATE TABLE file (
  file_id    INTEGER PRIMARY KEY AUTOINCREMENT,
  path       BLOB NOT NULL UNIQUE,
  size_bytes INTEGER NOT NULL,
  mtime_ns   INTEGER NOT NULL,
  inode      INTEGER NOT NULL,
  sha256     BLOB NOT NULL,
  content_id INTEGER NOT NULL,
  alias_of   INTEGER NOT NULL,
  changed_in INTEGER NOT NULL
);
CREATE TABLE content (
  content_id INTEGER PRIMARY KEY,
  sha1       BLOB,
  md5        BLOB,
  sha512     BLOB,
  pieces     BLOB NOT NULL,
  pieces_sha1 BLOB,
  layer      BLOB,
  root       BLOB
);
CREATE TABLE pending (
  path       BLOB PRIMARY KEY,
  size_bytes INTEGER NOT NULL,
  mtime_ns   INTEGER NOT NULL,
  inode      INTEGER NOT NULL,
  sha256     BLOB NOT NULL,
  content_id INTEGER NOT NULL
);
CREATE TABLE version_time (version INTEGER PRIMARY KEY, at_s INTEGER NOT NULL);
CREATE TABLE body (path BLOB PRIMARY KEY, sha256 BLOB NOT NULL, content BLOB NOT NULL);
CREATE TABLE zsync (path BLOB PRIMARY KEY, sha256 BLOB NOT NULL, control BLOB NOT NULL);
CREATE TABLE former (
  path BLOB NOT NULL, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
  replaced_at_s INTEGER NOT NULL, sha256 BLOB NOT NULL, sha1 BLOB, md5 BLOB, sha512 BLOB,
  PRIMARY KEY (path, sha256)
) WITHOUT ROWID;
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL);
"""

BESIDE = "beside"
"""In `meta`: a number that grows when what stands beside the files changes, and they don't."""

_ADDED = ("version_time", "body", "zsync", "former")

_TREE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def catalog_path(data_dir: Path, tree_name: str) -> Path:
    """Where the catalog of a tree is kept.

    Raises:
        CatalogError: `tree_name` can't be a file's name.
    """
    if not _TREE_NAME.fullmatch(tree_name):
        raise CatalogError(
            f'"{tree_name}" can\'t name a tree: letters, digits, ".", "_" and "-", at most 63'
        )
    return data_dir / "catalog" / f"{tree_name}.sqlite"


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """A connection to an existing catalog (`write=False`), or to one that is made if missing.

    Autocommit: transactions are begun and ended by SQL, so that the code shows where.

    Raises:
        CatalogError: it can't be opened, is damaged, or is of another schema.
    """
    with clear_errors(path):
        if write and not path.exists():
            _create(path)
        connection = _open(path, "rw")  # a reader of a WAL file writes its shared-memory index
        try:
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            if write:
                connection.execute("PRAGMA synchronous = FULL")
            _check_schema(connection, path)
            if not write:
                connection.execute("PRAGMA query_only = 1")
        except BaseException:
            connection.close()
            raise
    return connection


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _create(path: Path) -> None:
    """Makes an empty catalog under another name, so that no reader meets a half-made one."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    connection = _open(fresh, "rwc")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN; {SCHEMA}")
        # What mirrors were seen to hold goes by file ids, and those begin again here.
        identity = secrets.token_hex(IDENTITY_BYTES)
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?)", [("schema", SCHEMA_VERSION), ("identity", identity)]
        )
        connection.execute("COMMIT")
        connection.close()
        fresh.rename(path)
    except BaseException:
        connection.close()
        fresh.unlink(missing_ok=True)
        raise


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    try:
        schema = meta_value(connection, "schema")
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        raise CatalogDamagedError(path, "is no catalog") from None
    if OLDEST_SCHEMA <= schema < SCHEMA_VERSION:
        schema = _upgrade(connection)
    if schema != SCHEMA_VERSION:
        raise CatalogDamagedError(
            path, f"has schema {schema}, and this release reads {SCHEMA_VERSION}"
        )


def _upgrade(connection: sqlite3.Connection) -> int:
    """Brings a file of an earlier schema up to this one; safe when two do so at once."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        has = {row[1] for row in connection.execute("PRAGMA table_info(content)")}
        for column in ("pieces_sha1", "layer", "root"):
            if column not in has:
                connection.execute(f"ALTER TABLE content ADD COLUMN {column} BLOB")
        for statement in SCHEMA.split(";"):
            if any(f"CREATE TABLE {name} (" in statement for name in _ADDED):
                connection.execute(statement.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"))
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (SCHEMA_VERSION,))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return SCHEMA_VERSION


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite may have rolled back by itself (a full disk)
            connection.execute("ROLLBACK")
        raise


def meta_value(connection: sqlite3.Connection, key: str, default: int = 0) -> int:
    """A number from `meta`."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return int(row[0]) if row else default


def identity_of(connection: sqlite3.Connection, path: Path) -> str:
    """What tells this catalog from one that is made anew in its place.

    Raises:
        CatalogDamagedError: it has none.
    """
    row = connection.execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()
    if row is None or not row[0]:
        raise CatalogDamagedError(path, "has lost its identity")
    return str(row[0])


@contextmanager
def scan_lock(path: Path, tree_name: str) -> Iterator[None]:
    """Held by the one scan of a tree; the kernel frees it when the process ends, however it does.

    Raises:
        ScanBusyError: another scan holds it.
        CatalogError: the folder can't be written to.
    """
    with clear_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
            raise ScanBusyError(
                f'tree "{tree_name}": another scan of it is running (process {holder or "?"});'
                " wait until it has ended"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
