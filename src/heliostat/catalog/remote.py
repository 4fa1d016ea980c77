"""Scans a tree whose bytes aren't here: lists it, reads its checksum files, publishes the catalog.

Promises: until the very end others read the catalog of before, and a listing that breaks off, is
empty or lost more than MAX_GONE of the files never replaces it. Only what is new or changed is
asked for: sizes that a listing rounds, and checksum files that changed or tell of files that did.
No file is fetched to be hashed: one that no checksum file names has no digest.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from heliostat.catalog.checksums import ChecksumFileError, by_hash_claim, kind_of, read_claims
from heliostat.catalog.choice import Chooser
from heliostat.catalog.errors import (
    CatalogError,
    EmptyTreeError,
    ShrunkTreeError,
    SourceError,
    clear_errors,
)
from heliostat.catalog.formers import keep_formers
from heliostat.catalog.links import aliases_of
from heliostat.catalog.problems import ProblemKind, Problems
from heliostat.catalog.remote_beside import Beside, until_stopped
from heliostat.catalog.remote_ledger import RemoteLedger
from heliostat.catalog.report import ScanPhase, ScanProgress, ScanReport
from heliostat.catalog.sources import Looked, Source, check_remote_root, open_source
from heliostat.catalog.store import catalog_path, connect, scan_lock
from heliostat.config.schema import ProbeSection
from heliostat.listing.entries import LINK, Entry, ListingError, ListingFault
from heliostat.model.tree import Tree

MAX_GONE = 0.3
"""Share of the files that a listing may lose; more needs a person's word. Lower than that of
scans of mirrors nobody waits for: a release that moves to an archive is a fifth of a tree."""
MIN_FILES_TO_SHRINK = 20
"""Smaller trees may shrink as they like."""
MAX_LINKS = 1_000_000
MAX_FILE_BYTES = 1 << 53
MAX_TIME_S = 1 << 33
"""The year 2242; what says to be later is read as that."""
MAX_LOOKS = 200_000
"""Files whose size is asked for one by one in one scan."""
TELL_S = 0.3

Tell = Callable[[ScanProgress], None]


def scan_remote(
    tree: Tree,
    data_dir: Path,
    settings: ProbeSection,
    progress: Tell | None = None,
    *,
    allow_empty: bool = False,
    allow_shrink: bool = False,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.time,
) -> ScanReport:
    """Brings the catalog of `tree` under `data_dir` up to date with its remote root.

    `settings` bound how the source is asked. `stop` ends the scan from another thread. Call it from
    a thread without an event loop.

    Raises:
        TreeRootError: the root isn't one that can be read.
        SourceError: the listing isn't whole.
        EmptyTreeError: there is no file in it, and `allow_empty` is not set.
        ShrunkTreeError: it lost too many files, and `allow_shrink` is not set.
        ScanBusyError, ScanStoppedError, DiskFullError, CatalogDamagedError, CatalogError.
    """
    started_s = time.monotonic()
    stop = stop or threading.Event()
    check_remote_root(tree.root)
    path = catalog_path(data_dir, tree.name)
    with scan_lock(path, tree.name), clear_errors(path):
        connection = connect(path, write=True)
        try:
            keep_formers(connection, tree, int(clock()))
            work = _RemoteScan(tree, RemoteLedger(connection), progress or (lambda _: None))
            asyncio.run(until_stopped(work.read(settings), tree.name, stop))
            work.refuse_lost(allow_empty=allow_empty, allow_shrink=allow_shrink)
            now_s = int(clock())
            work.tell(ScanPhase.WRITE)
            published, without_digest = work.ledger.publish(now_s)
            Beside(connection, tree, settings, work.problems).update(now_s, stop)
        except ListingError as error:
            raise SourceError(tree.name, str(error)) from error
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
        hashed_files=0,
        hashed_bytes=0,
        left_out=0,
        problems=tuple(work.problems.kept),
        problem_count=work.problems.count,
        duration_s=time.monotonic() - started_s,
        without_digest=without_digest,
        remarks=tuple(work.remarks),
    )


class _RemoteScan:
    """The steps of one scan."""

    def __init__(self, tree: Tree, ledger: RemoteLedger, tell: Tell) -> None:
        self.tree = tree
        self.ledger = ledger
        self.problems = Problems()
        self.remarks: list[str] = []
        self._links: dict[bytes, bytes] = {}
        self._found = 0
        self._one_at_a_time = asyncio.Lock()
        self._tell = tell
        self._told_s = 0.0

    def tell(self, phase: ScanPhase) -> None:
        self._tell(ScanProgress(self.tree.name, phase, self._found))

    async def read(self, settings: ProbeSection) -> None:
        """Everything that the source is asked for. Raises: ListingError."""
        async with open_source(self.tree, settings) as source:
            remark = await source.list(self._take)
            if remark:
                self.remarks.append(remark)
            await asyncio.to_thread(self.ledger.compare)
            await self._look(source)
            if self.tree.checksum_files:
                await self._read_checksum_files(source)
        if self._links:
            await asyncio.to_thread(self._add_aliases)

    def refuse_lost(self, *, allow_empty: bool, allow_shrink: bool) -> None:
        before, found, gone = self.ledger.counts()
        if not found:
            if allow_empty:
                return
            raise EmptyTreeError(self.tree.name, self.tree.root, before, self.problems.count)
        if before >= MIN_FILES_TO_SHRINK and gone > MAX_GONE * before and not allow_shrink:
            raise ShrunkTreeError(self.tree.name, self.tree.root, gone, before)

    def _take(self, entries: Sequence[Entry]) -> None:
        kept = []
        for entry in entries:
            if entry.kind == LINK:
                self._links[entry.path] = entry.target
            elif entry.size_bytes > MAX_FILE_BYTES:
                raise ListingError(
                    ListingFault.PROTOCOL,
                    f"{self.tree.root}: its listing says a size that no file has",
                )
            elif 0 <= entry.mtime_s <= MAX_TIME_S:
                kept.append(entry)
            else:
                time_s = min(max(entry.mtime_s, 0), MAX_TIME_S)
                kept.append(entry._replace(mtime_s=time_s))
        if len(self._links) > MAX_LINKS:
            raise CatalogError(f"{self.tree.root}: more than {MAX_LINKS:,} symlinks")
        self.ledger.add(kept)
        self._found += len(entries)
        if time.monotonic() - self._told_s >= TELL_S:
            self._told_s = time.monotonic()
            self.tell(ScanPhase.WALK)

    async def _look(self, source: Source) -> None:
        """Asks for the sizes that the listing doesn't say exactly."""
        unsure = self.ledger.unsure()
        if len(unsure) > MAX_LOOKS:
            raise ListingError(
                ListingFault.LIMIT,
                f"{self.tree.root}: its listing says no exact size of {len(unsure):,} files, and"
                f" at most {MAX_LOOKS:,} are asked for one by one; give a file_list with sizes",
            )

        def looked(path: bytes, found: Looked | None) -> None:
            if found is None:
                self.problems.add(path, ProblemKind.VANISHED, "is listed and isn't there")
                self.ledger.drop(path)
            else:
                mtime_s = min(max(found.mtime_s, 0), MAX_TIME_S)
                self.ledger.looked(path, found.size_bytes, mtime_s)

        if unsure:
            await source.look(unsure, looked)

    async def _read_checksum_files(self, source: Source) -> None:
        chooser = Chooser()
        by_hash = []
        for path, fresh in self.ledger.paths():
            chooser.add(path, fresh=fresh)
            claim = by_hash_claim(path)
            if claim is not None:
                by_hash.append(claim)
        self.ledger.claim(by_hash, 0)
        await self._fetch(source, chooser.first(self.ledger.is_read))
        await self._fetch(source, chooser.second(self.ledger.is_read, self.ledger.claimed))
        for path in self.ledger.disputed():
            message = "has different sha256 in two checksum files, so none is believed"
            self.problems.add(path, ProblemKind.CHECKSUM_FILE, message)

    async def _fetch(self, source: Source, paths: Sequence[bytes]) -> None:
        if paths:
            with tempfile.TemporaryDirectory(prefix="heliostat-checksums-") as folder:
                await source.fetch(paths, Path(folder), self._fetched)

    async def _fetched(self, path: bytes, place: Path | str) -> None:
        try:
            if isinstance(place, str):
                raise ChecksumFileError(place)
            async with self._one_at_a_time:
                await asyncio.to_thread(self._read_one, path, place)
        except ChecksumFileError as error:
            self.problems.add(path, ProblemKind.CHECKSUM_FILE, f"{error}; not used")

    def _read_one(self, path: bytes, place: Path) -> None:
        """What one checksum file claims, once it is known to be what others claim it to be."""
        kind = kind_of(path)
        assert kind is not None
        with place.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            claimed = self.ledger.claimed(path)
            if claimed and claimed != digest:
                raise ChecksumFileError("isn't what another checksum file says it is")
            file.seek(0)
            from_s = self.ledger.time_of(path)
            batches = read_claims(file, path, kind)
            found = [claim for batch in batches for claim in batch]
        self.ledger.claim(found, from_s)
        if not claimed:
            self.ledger.claim_own(path, digest)
        self.ledger.set_read(path)

    def _add_aliases(self) -> None:
        files = [path for path, _ in self.ledger.paths()]
        self.ledger.add_aliases(aliases_of(self._links, files, self.problems))
