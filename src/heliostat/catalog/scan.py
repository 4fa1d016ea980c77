"""Scans a tree: walks it, hashes what is new or changed, publishes the catalog in one step.

Promises: until the very end others read the catalog of before. Stopped at any moment, also by
SIGKILL, a scan loses at most the last second of hashing; the next one goes on from there. Trouble
with one file is reported and touches no other file; trouble with the disk ends the scan.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from heliostat.catalog.carried import Carried, Wanted
from heliostat.catalog.errors import (
    CatalogError,
    EmptyTreeError,
    ScanStoppedError,
    TreeRootError,
    clear_errors,
)
from heliostat.catalog.formers import keep_formers, prune_formers
from heliostat.catalog.hashing import HashPool, Outcome
from heliostat.catalog.ledger import Ledger, Unread
from heliostat.catalog.problems import ProblemKind, Problems
from heliostat.catalog.report import ScanPhase, ScanProgress, ScanReport
from heliostat.catalog.store import catalog_path, connect, scan_lock, transaction
from heliostat.catalog.walk import Walk
from heliostat.catalog.zsync import Controls
from heliostat.model.patterns import path_test
from heliostat.model.tree import Tree

COMMIT_S = 1.0
"""Time between commits of digests: what an interrupted scan may lose."""

Tell = Callable[[ScanProgress], None]


def scan(
    tree: Tree,
    data_dir: Path,
    progress: Tell | None = None,
    *,
    allow_empty: bool = False,
    stop: threading.Event | None = None,
    workers: int | None = None,
    clock: Callable[[], float] = time.time,
) -> ScanReport:
    """Brings the catalog of `tree` under `data_dir` up to date with the folder.

    `stop` ends the scan from another thread; `workers` is the number of hashing threads (default:
    one a core); `clock` gives Unix time in seconds.

    Raises:
        TreeRootError: the root is no local folder, isn't there, or can't be read.
        EmptyTreeError: there is no file in it, and `allow_empty` is not set.
        ScanBusyError: another scan of this tree is running.
        ScanStoppedError: `stop` was set.
        DiskFullError, CatalogDamagedError, CatalogError: the catalog can't be written.
    """
    started = time.monotonic()
    root = resolve_root(tree.root, data_dir)
    path = catalog_path(data_dir, tree.name)
    tell = progress or (lambda _: None)
    with scan_lock(path, tree.name), clear_errors(path):
        connection = connect(path, write=True)
        try:
            keep_formers(connection, tree, int(clock()))
            ledger = Ledger(connection, tree.extra_digests, tree.torrents)
            work = _Scan(tree, root, ledger, tell, stop)
            work.walk()
            work.refuse_empty(allow_empty)
            work.hash_new_files(workers)
            work.refuse_empty(allow_empty)
            tell(ScanProgress(tree.name, ScanPhase.WRITE, work.files_found))
            now_s = int(clock())
            published = work.ledger.publish(now_s, work.problems)
            work.keep_beside(connection, now_s)
        finally:
            connection.close()
    return ScanReport(
        tree=tree.name,
        version=published.version,
        scanned_at_s=now_s,
        files=published.files,
        size_bytes=published.size_bytes,
        added=published.added,
        changed=published.changed,
        removed=published.removed,
        hashed_files=work.hashed_files,
        hashed_bytes=work.hashed_bytes,
        left_out=work.left_out,
        problems=tuple(work.problems.kept),
        problem_count=work.problems.count,
        duration_s=time.monotonic() - started,
    )


def resolve_root(root: str, data_dir: Path | None = None) -> Path:
    """The real folder that `root` names.

    Raises:
        TreeRootError: not a local folder, not there, not a folder, or `data_dir` is inside it.
    """
    if "://" in root:
        raise TreeRootError(
            f"{root}: is no folder on this machine; trees elsewhere are listed, not read"
        )
    try:
        resolved = Path(root).resolve(strict=True)
    except OSError as error:
        raise TreeRootError(
            f"{root}: no such folder ({error.strerror}); is the disk mounted, the name right?"
        ) from None
    if not resolved.is_dir():
        raise TreeRootError(f"{root}: is not a folder; a tree's root is the folder to publish")
    if data_dir is not None and data_dir.resolve().is_relative_to(resolved):
        raise TreeRootError(
            f"{root}: data_dir ({data_dir}) is inside this tree and would be published with it;"
            " move data_dir elsewhere"
        )
    return resolved


class _Scan:
    """The steps of one scan, and what they count."""

    def __init__(
        self, tree: Tree, root: Path, ledger: Ledger, tell: Tell, stop: threading.Event | None
    ) -> None:
        self.tree = tree
        self.root = os.fsencode(root)
        self.ledger = ledger
        self.problems = Problems()
        self.files_found = 0
        self.left_out = 0
        self.hashed_files = 0
        self.hashed_bytes = 0
        self._linked_bytes = 0
        self._tell = tell
        self._stop = stop or threading.Event()
        self._wants_torrent = path_test(tree.torrents)
        self._followers: dict[tuple[int, int], list[Unread]] = defaultdict(list)

    def walk(self) -> None:
        walk = Walk(self.root, self.problems)
        for count in self.ledger.add(walk):
            self.files_found = count
            self._tell(ScanProgress(self.tree.name, ScanPhase.WALK, count))
            self._check_stop()
        self.left_out = walk.left_out

    def refuse_empty(self, allow_empty: bool) -> None:
        if allow_empty or self.ledger.files_found():
            return
        raise EmptyTreeError(
            self.tree.name, self.tree.root, self.ledger.files_before(), self.problems.count
        )

    def hash_new_files(self, workers: int | None) -> None:
        files, size = self.ledger.plan()
        try:
            with HashPool(self.root, self.tree.extra_digests, workers, self._wants_torrent) as pool:
                self._read(pool, self._leaders(self.ledger.unread()), files, size)
                while again := [file for group in self._followers.values() for file in group]:
                    # their leader failed: a name may vanish while another one stays
                    self._followers.clear()
                    self._read(pool, self._leaders(again), files, size)
        finally:
            self.ledger.commit()  # also when interrupted: this is what the next scan goes on from

    def _read(self, pool: HashPool, queue: Iterable[Unread], files: int, size: int) -> None:
        committed = time.monotonic()
        for outcomes in pool.outcomes(queue):
            for outcome in outcomes:
                self._note(outcome)
            if time.monotonic() - committed >= COMMIT_S:
                self.ledger.commit()
                committed = time.monotonic()
            self._tell(
                ScanProgress(
                    self.tree.name,
                    ScanPhase.HASH,
                    self.files_found,
                    files,
                    size,
                    self.hashed_files,
                    min(pool.bytes_read + self._linked_bytes, size),
                )
            )
            self._check_stop()

    def _leaders(self, queue: Iterable[Unread]) -> Iterator[Unread]:
        """One file of each group of hard links; the others wait for its digests."""
        for file in queue:
            if file.links > 1:
                group = (file.device, file.inode)
                if group in self._followers:
                    self._followers[group].append(file)
                    continue
                self._followers[group] = []
            yield file

    def _note(self, outcome: Outcome) -> None:
        file = outcome.file
        if outcome.digests is not None:
            group = self._followers.pop((file.device, file.inode), ())
            lacks_torrent = outcome.digests.torrent is None
            again = [one for one in group if lacks_torrent and self._wants_torrent(one.path)]
            if again:  # read once more, the one that wants it first
                self._followers[file.device, file.inode] = again
                group = [one for one in group if one not in again]
            self.ledger.store([file.path, *(other.path for other in group)], outcome.digests)
            self.hashed_files += 1 + len(group)
            self._linked_bytes += len(group) * outcome.digests.size_bytes
            self.hashed_bytes += outcome.digests.size_bytes
            return
        assert outcome.fault is not None
        message = outcome.message
        if outcome.fault is ProblemKind.CHANGING:
            kept = self.ledger.keep_last(file.path)
            message += "; stays as the last scan saw it" if kept else "; left out for now"
        else:
            self.ledger.drop(file.path)
        self.problems.add(file.path, outcome.fault, message)

    def keep_beside(self, connection: sqlite3.Connection, now_s: int) -> None:
        """Brings what stands beside the catalog up to date."""
        carried = Carried(connection, self.tree, self.problems)
        with transaction(connection):
            if prune_formers(connection, now_s):
                carried.changed()
        if carried.is_settled():
            return
        with transaction(connection):
            wanted, changed = carried.wanted()
            for one in wanted:
                self._check_stop()
                body = self._read_small(one)
                if body is None:
                    carried.refuse(one, "can't be read")
                else:
                    changed |= carried.keep(one, body)
            if changed:
                carried.changed()
        controls = Controls(connection, self.tree, self.root, self.problems, self._stop)
        for _ in controls.update():
            carried.changed()
        self._check_stop()
        carried.is_whole &= controls.is_whole
        with transaction(connection):
            carried.settle()

    def _read_small(self, wanted: Wanted) -> bytes | None:
        path = self.root + b"/" + wanted.real_path
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as file:
                return file.read(wanted.size_bytes + 1)
        except OSError:
            return None

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise ScanStoppedError(
                f'tree "{self.tree.name}": the scan was stopped; the next one goes on from here'
            )


__all__ = ["CatalogError", "ScanProgress", "ScanReport", "resolve_root", "scan"]
