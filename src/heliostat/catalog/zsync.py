"""Control files for zsync, made by the tool itself (Debian's package zsync) for local trees.

Promises: one is kept only for the content that it was made of; a tool that hangs is ended, and one
that runs when the scan is stopped, too; a tool that isn't there is one problem, not one a file;
each file's is kept as soon as it is made.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from heliostat.catalog.problems import ProblemKind, Problems
from heliostat.catalog.store import transaction
from heliostat.model.patterns import path_test
from heliostat.model.tree import Tree

TOOL: Final = "zsyncmake"
LEAST_TIME_S: Final = 60.0
BYTES_PER_S: Final = 10_000_000
"""It reads a file from the disk at least so fast; slower is given up."""
POLL_S: Final = 0.05
MAX_CONTROL_BYTES: Final = 64 * 1024 * 1024
"""Of one file: some 30 GB at the tool's own block size."""
MAX_TOTAL_BYTES: Final = 256 * 1024 * 1024
"""Of one tree: each edge holds them all."""
MAX_FILES: Final = 2_000
"""Of one tree, the first by path."""
SAID_CHARS: Final = 160
"""Of what the tool says when it fails."""


@dataclass(frozen=True, slots=True)
class _File:
    path: bytes
    sha256: bytes
    size_bytes: int
    mtime_ns: int
    inode: int


class Controls:
    """The control files of one tree, over the scan's connection."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        tree: Tree,
        root: bytes,
        problems: Problems,
        stop: threading.Event,
    ) -> None:
        self._db = connection
        self._tree = tree
        self._root = root
        self._problems = problems
        self._stop = stop
        self.is_whole = True
        """False: some are lacking that another scan may make."""

    def update(self) -> Iterator[None]:
        """Makes what is lacking and drops the rest; yields inside each transaction that does."""
        wanted = self._wanted()
        held = dict(self._db.execute("SELECT path, sha256 FROM zsync"))
        gone = [path for path in held if path not in wanted or wanted[path].sha256 != held[path]]
        if gone:
            with transaction(self._db):
                self._db.executemany("DELETE FROM zsync WHERE path = ?", ((p,) for p in gone))
                yield
        lacking = [file for path, file in wanted.items() if path in gone or path not in held]
        if lacking and shutil.which(TOOL) is None:
            self._fail(b"", f"{TOOL} isn't installed (package zsync), so no zsync files are made")
            return
        total = self._db.execute("SELECT coalesce(sum(length(control)), 0) FROM zsync").fetchone()[
            0
        ]
        for file in lacking:
            if self._stop.is_set():
                return
            control = self._make(file)
            if not control:
                continue
            total += len(control)
            if total > MAX_TOTAL_BYTES:
                self._problem(
                    b"",
                    f"zsync files of the tree are over {MAX_TOTAL_BYTES:,} bytes;"
                    " name fewer in `zsync`",
                )
                return
            with transaction(self._db):
                self._db.execute(
                    "INSERT OR REPLACE INTO zsync VALUES (?, ?, ?)",
                    (file.path, file.sha256, control),
                )
                yield

    def _wanted(self) -> dict[bytes, _File]:
        if not self._tree.zsync:
            return {}
        fits = path_test(self._tree.zsync)
        rows = self._db.execute(
            "SELECT path, sha256, size_bytes, mtime_ns, inode FROM file WHERE alias_of = 0"
            " AND size_bytes > 0 AND length(sha256) > 0 ORDER BY path"
        )
        files = [_File(*row) for row in rows if fits(row[0])]
        if len(files) > MAX_FILES:
            over = len(files) - MAX_FILES
            self._problem(b"", f"{over:,} files more than zsync files are made for")
        return {file.path: file for file in files[:MAX_FILES]}

    def _problem(self, path: bytes, message: str) -> None:
        self._problems.add(path, ProblemKind.ZSYNC, message)

    def _fail(self, path: bytes, message: str) -> None:
        """A problem that may go by itself."""
        self.is_whole = False
        self._problem(path, message)

    def _make(self, file: _File) -> bytes:
        """The control file of one file; b"" when there is none, with the problem told."""
        name = file.path.rpartition(b"/")[2]
        if b"\n" in name or b"\r" in name:
            self._problem(file.path, "has a line's end in its name, which no zsync file can say")
            return b""
        full = self._root + b"/" + file.path
        with tempfile.TemporaryDirectory(prefix="heliostat-zsync-") as folder:
            out, said = Path(folder) / "control", Path(folder) / "said"
            if not _is_same(full, file):
                self._fail(file.path, "has changed since it was scanned; it has no zsync file")
                return b""
            why = self._run(name, full, file.size_bytes, out, said)
            if self._stop.is_set():
                return b""
            if why or not out.exists():
                self._fail(file.path, f"{TOOL} {why or 'wrote nothing'}; it has no zsync file")
                return b""
            if not _is_same(full, file):
                self._fail(file.path, "changed while it was read; it has no zsync file")
                return b""
            if out.stat().st_size > MAX_CONTROL_BYTES:
                what = f"its zsync file would have over {MAX_CONTROL_BYTES:,} bytes"
                self._problem(file.path, what)
                return b""
            return out.read_bytes()

    def _run(self, name: bytes, full: bytes, size_bytes: int, out: Path, said: Path) -> str:
        """Runs the tool; what was wrong, for people, "" when nothing was."""
        until_s = time.monotonic() + LEAST_TIME_S + size_bytes / BYTES_PER_S
        with said.open("wb") as errors:
            try:
                process = subprocess.Popen(
                    [
                        # -Z: the file as it is, never what is packed in it
                        *(os.fsencode(TOOL), b"-Z", b"-u", quote(name).encode(), b"-f", name),
                        *(b"-o", os.fsencode(out), full),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                )
            except OSError as error:
                return f"can't be started ({error.strerror})"
            try:
                while process.poll() is None and not self._stop.is_set():
                    if time.monotonic() > until_s:
                        return "took too long"
                    self._stop.wait(POLL_S)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
        if process.returncode:
            text = said.read_text("utf-8", "replace")
            return f"fails ({' '.join(text.split())[:SAID_CHARS]})"
        return ""


def _is_same(path: bytes, file: _File) -> bool:
    """Whether the file stands there as the scan saw it."""
    try:
        now = os.stat(path, follow_symlinks=False)  # noqa: PTH116  a name is bytes here
    except OSError:
        return False
    return (now.st_size, now.st_mtime_ns, now.st_ino) == (
        file.size_bytes,
        file.mtime_ns,
        file.inode,
    )
