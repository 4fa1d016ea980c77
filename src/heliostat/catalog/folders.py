"""What tells an unchanged folder of a local tree at once: a digest of its files' stat data.

Theory. Most folders of a tree are as the last scan left them, and one comparison of 16 bytes says
so of all their files; only the others are compared file by file. A print is of the sorted (name,
size, time in ns, inode) of the real files that stand directly in a folder, so it says exactly as
much as that comparison would. Of aliases it says nothing.

Promises: a print counts only together with the version of the catalog that it was written with, and
with the same wish for digests. A folder of which a file isn't in the catalog as it was found has
the print NO_PRINT, which nothing equals: its files are compared again.
"""

from __future__ import annotations

import marshal
import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import blake2b

from heliostat.catalog.store import meta_value
from heliostat.catalog.walk import FoundFolder

PRINT_BYTES = 16
NO_PRINT = b""
MARSHAL_VERSION = 2
"""The last one that writes equal values as equal bytes (3 adds references between objects)."""

TABLE = """
CREATE TABLE IF NOT EXISTS folder (path BLOB PRIMARY KEY, print BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS file_alias ON file (path) WHERE alias_of <> 0;
"""
"""Made when a scan opens a catalog that hasn't them; readers don't need them."""


class Folders:
    """The prints that the catalog has, compared with those that a walk finds."""

    def __init__(self, connection: sqlite3.Connection, extra: Sequence[str]) -> None:
        self._db = connection
        key = ",".join(extra).encode()
        # a key that fits stays as it is, or every tree would be compared anew after an update
        self._key = key if len(key) <= blake2b.MAX_KEY_SIZE else blake2b(key).digest()
        connection.executescript(TABLE)
        self._valid = meta_value(connection, "version") == meta_value(
            connection, "folders_version", -1
        )
        rows = connection.execute("SELECT path, print FROM folder") if self._valid else ()
        self._before: dict[bytes, bytes] = dict(rows)
        self._same: set[bytes] = set()
        self._fresh: dict[bytes, bytes] = {}

    def is_same(self, folder: FoundFolder) -> bool:
        """Whether the folder's own files are as the catalog has them; ask once of each."""
        states = marshal.dumps([file[:4] for file in folder.files], MARSHAL_VERSION)
        found = blake2b(states, digest_size=PRINT_BYTES, key=self._key).digest()
        if self._before.get(folder.path) == found:
            self._same.add(folder.path)
            return True
        self._fresh[folder.path] = found
        return False

    def is_settled(self) -> bool:
        """Whether the walk found every folder the same, and none is missing."""
        return self._valid and not self._fresh and len(self._same) == len(self._before)

    def to_compare(self, rows: Iterable[tuple[bytes, int]]) -> list[bytes]:
        """The paths of (path, alias_of) that aren't known to be there still."""
        same = self._same
        return [
            path for path, alias_of in rows if alias_of or path[: path.rfind(b"/") + 1] not in same
        ]

    def doubt(self, path: bytes) -> None:
        """The file at `path` isn't in the catalog as the walk found it."""
        self._fresh[path[: path.rfind(b"/") + 1]] = NO_PRINT

    def write(self, version: int) -> None:
        """Part of the transaction that publishes `version`."""
        gone = [path for path in self._before if path not in self._same]
        if not self._valid:
            self._db.execute("DELETE FROM folder")
        self._db.executemany("DELETE FROM folder WHERE path = ?", ((path,) for path in gone))
        self._db.executemany("INSERT OR REPLACE INTO folder VALUES (?, ?)", self._fresh.items())
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('folders_version', ?)", (version,))
