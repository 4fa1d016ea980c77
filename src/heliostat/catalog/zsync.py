"""Control files for zsync, made by the tool itself (Debian's package zsync) for local trees.

Promises: one is kept only for the content that it was made of; a tool that hangs is ended; a tool
that isn't there is one problem, not one a file.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Final
from urllib.parse import quote

from heliostat.catalog.problems import ProblemKind, Problems
from heliostat.model.patterns import path_test
from heliostat.model.tree import Tree

TOOL: Final = "zsyncmake"
LEAST_TIME_S: Final = 60.0
BYTES_PER_S: Final = 10_000_000
"""It reads a file from the disk at least so fast; slower is given up."""
MAX_CONTROL_BYTES: Final = 256 * 1024 * 1024
MAX_FILES: Final = 2_000
"""Of one tree, the first by path."""


def update(
    connection: sqlite3.Connection,
    tree: Tree,
    root: bytes,
    problems: Problems,
    stop: threading.Event,
) -> bool:
    """Makes the control files that are lacking, and drops others; whether anything changed."""
    fits = path_test(tree.zsync)
    if not tree.zsync:
        return connection.execute("DELETE FROM zsync").rowcount > 0
    files = [
        row
        for row in connection.execute(
            "SELECT path, sha256, size_bytes FROM file WHERE alias_of = 0 AND size_bytes > 0"
            " AND length(sha256) > 0 ORDER BY path"
        )
        if fits(row[0])
    ]
    if len(files) > MAX_FILES:
        message = f"{len(files) - MAX_FILES:,} files more than zsync files are made for"
        problems.add(b"", ProblemKind.ZSYNC, message)
    wanted = {path: (sha256, size) for path, sha256, size in files[:MAX_FILES]}
    held = dict(connection.execute("SELECT path, sha256 FROM zsync"))
    gone = [path for path in held if wanted.get(path, (b"", 0))[0] != held[path]]
    connection.executemany("DELETE FROM zsync WHERE path = ?", ((path,) for path in gone))
    lacking = [path for path in wanted if path in gone or path not in held]
    if lacking and shutil.which(TOOL) is None:
        message = f"{TOOL} isn't installed (package zsync), so no zsync files are made"
        problems.add(b"", ProblemKind.ZSYNC, message)
        return bool(gone)
    made = 0
    for path in lacking:
        if stop.is_set():
            break
        sha256, size_bytes = wanted[path]
        control = _make(root, path, size_bytes, problems)
        if control:
            connection.execute("INSERT INTO zsync VALUES (?, ?, ?)", (path, sha256, control))
            made += 1
    return bool(gone or made)


def _make(root: bytes, path: bytes, size_bytes: int, problems: Problems) -> bytes:
    """The control file of one file; b"" and a problem when there is none."""
    name = path.rpartition(b"/")[2]
    if b"\n" in name or b"\r" in name:
        message = "has a line's end in its name, which no zsync file can say"
        problems.add(path, ProblemKind.ZSYNC, message)
        return b""
    with tempfile.TemporaryDirectory(prefix="heliostat-zsync-") as folder:
        out = Path(folder) / "control"
        try:
            done = subprocess.run(
                [
                    # -Z: the file as it is, never what is packed in it
                    *(os.fsencode(TOOL), b"-Z", b"-u", quote(name).encode(), b"-f", name),
                    *(b"-o", os.fsencode(out), root + b"/" + path),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=LEAST_TIME_S + size_bytes / BYTES_PER_S,
            )
        except subprocess.TimeoutExpired:
            problems.add(path, ProblemKind.ZSYNC, f"{TOOL} took too long; it has no zsync file")
            return b""
        except OSError as error:
            why = f"{TOOL} can't be started ({error.strerror})"
            problems.add(path, ProblemKind.ZSYNC, f"{why}; it has no zsync file")
            return b""
        if done.returncode or not out.exists() or out.stat().st_size > MAX_CONTROL_BYTES:
            said = " ".join(done.stderr.decode("utf-8", "replace").split())[:160]
            problems.add(path, ProblemKind.ZSYNC, f"{TOOL} fails ({said}); it has no zsync file")
            return b""
        return out.read_bytes()
