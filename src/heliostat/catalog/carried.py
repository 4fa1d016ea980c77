"""The small files that edges serve themselves, and zsync control files: kept beside the catalog.

Runs after a scan has published, in transactions of its own. Promises: a body has the size and
sha256 that its file has in the catalog; bodies of one tree are bounded in number and sum; nothing
is read when neither the catalog nor the wish has changed.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from heliostat.catalog.problems import ProblemKind, Problems
from heliostat.catalog.store import BESIDE, meta_value
from heliostat.model.tree import ALWAYS_CARRIED, Tree

MAX_CARRIED_TOTAL_BYTES: Final = 128 * 1024 * 1024
"""Bodies of one tree: each edge holds them all."""
MAX_CARRIED_FILES: Final = 200_000
NOT_SETTLED: Final = -1
"""No version and no wish."""
FETCH_ROWS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file whose bytes are to be kept. `sha256` is b"" when it isn't known."""

    path: bytes
    real_path: bytes
    """Where its bytes stand: another path for a symlink."""
    size_bytes: int
    sha256: bytes


class Carried:
    """The bodies of one tree, over the scan's connection."""

    def __init__(self, connection: sqlite3.Connection, tree: Tree, problems: Problems) -> None:
        self._db = connection
        self._tree = tree
        self._problems = problems
        wish = (tree.carried, tree.carried_max_bytes, tree.zsync)
        self._wish = zlib.crc32(repr((ALWAYS_CARRIED, *wish)).encode())
        self.is_whole = True
        """False: something failed that may go by itself, and the next scan is to try it again."""

    def is_settled(self) -> bool:
        """True when nothing can have changed since `settle`."""
        return (
            meta_value(self._db, "carried_version", NOT_SETTLED) == meta_value(self._db, "version")
            and meta_value(self._db, "carried_wish", NOT_SETTLED) == self._wish
        )

    def changed(self) -> None:
        """Part of each transaction that changes what stands beside the files: the number by which
        others see it grows with the change, whatever happens after."""
        self._db.execute(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)", (BESIDE, meta_value(self._db, BESIDE) + 1)
        )

    def settle(self) -> None:
        """Nothing is to be done before catalog or wish change (or what failed is tried again)."""
        version = meta_value(self._db, "version") if self.is_whole else NOT_SETTLED
        self._db.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            [("carried_version", version), ("carried_wish", self._wish)],
        )

    def wanted(self) -> tuple[list[Wanted], bool]:
        """The bodies that are lacking, and whether ones that are no longer meant were dropped."""
        held = dict(self._db.execute("SELECT path, sha256 FROM body"))
        is_carried, most = self._tree.is_carried(), self._tree.carried_max_bytes
        wanted: list[Wanted] = []
        kept: set[bytes] = set()
        total = count = over = 0
        for path, size, sha256, real in self._files():
            if not is_carried(path):
                continue
            if size > most:
                self._problem(
                    path, f"is over carried_max_bytes ({most:,}), so edges don't serve it"
                )
                continue
            total, count = total + size, count + 1
            if total > MAX_CARRIED_TOTAL_BYTES or count > MAX_CARRIED_FILES:
                over += 1
                continue
            if sha256 and held.get(path) == sha256:
                kept.add(path)
            else:
                wanted.append(Wanted(path, real or path, size, sha256))
        if over:
            self._problem(
                b"", f"{over:,} small files more than edges carry; name fewer in `carried`"
            )
        gone = [(path,) for path in held if path not in kept]
        self._db.executemany("DELETE FROM body WHERE path = ?", gone)
        return wanted, bool(gone)

    def keep(self, wanted: Wanted, body: bytes) -> bool:
        """Keeps a body, if it is the file's; else it is a problem.

        Of a file without digest these bytes say what it is.
        """
        digest = hashlib.sha256(body).digest()
        if len(body) != wanted.size_bytes or (wanted.sha256 and digest != wanted.sha256):
            self.refuse(wanted, "has changed since it was scanned")
            return False
        if not wanted.sha256:  # of the real file and all its names, or the next scan sets it back
            self._db.execute(
                "UPDATE file SET sha256 = ?1 WHERE size_bytes = ?3 AND (path = ?2"
                " OR alias_of = (SELECT file_id FROM file WHERE path = ?2))",
                (digest, wanted.real_path, wanted.size_bytes),
            )
        self._db.execute(
            "INSERT OR REPLACE INTO body VALUES (?, ?, ?)", (wanted.path, digest, body)
        )
        return True

    def refuse(self, wanted: Wanted, why: str) -> None:
        self.is_whole = False
        self._problem(wanted.path, f"{why}; edges don't serve it until the next scan")

    def _problem(self, path: bytes, message: str) -> None:
        self._problems.add(path, ProblemKind.CARRIED, message)

    def _files(self) -> Iterator[tuple[bytes, int, bytes, bytes | None]]:
        """(path, size, sha256, path of the real file for an alias), by path."""
        rows = self._db.execute(
            "SELECT f.path, f.size_bytes, f.sha256, r.path FROM file f"
            " LEFT JOIN file r ON f.alias_of <> 0 AND r.file_id = f.alias_of ORDER BY f.path"
        )
        while batch := rows.fetchmany(FETCH_ROWS):
            yield from batch
