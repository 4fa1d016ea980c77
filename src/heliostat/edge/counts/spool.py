"""The spool: download counts on disk until they are sent.

Promises: a block that `append` said yes to is on the disk (fsync), once and whole, whatever kills
this process or the machine; nothing here raises because of a disk. What a disk doesn't take is
dropped and counted.

Theory. A folder of segments. One, `*.part`, is being written; it is *closed* (cut after its last
whole record, renamed to `*.spool`) when it is long or old enough, or by the next process that opens
the spool. Closed ones never change. Before a byte of one is sent it becomes `*.sending`, and stays
that until it was taken: the manager may know such ones by their identity, so they are never merged.
Appending to an old segment would save a few files and cost the rule that a damaged end is the last
thing in it.

When the disk is waited for (fsync): after each block, before `append` says yes, and for the folder
after each new, renamed or removed segment. That is about one wait every ten seconds, in a thread
that nobody waits for.

When the spool is nearly full, old segments are added up (`compaction`). When it is full all the
same, new counts are dropped and what is kept stays: it is the work of months by then, in few bytes,
and budgets are settled in the order of time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from heliostat.edge.counts.block import Block, encode, split
from heliostat.edge.counts.compaction import Compaction
from heliostat.edge.counts.segment import (
    HEADER_BYTES,
    IDENTITY_BYTES,
    MAGIC,
    record,
    whole_bytes,
)

log = structlog.get_logger()

SPOOL_FOLDER: Final = "spool"

SEGMENT_BYTES: Final = 8 * 1024 * 1024
"""A segment this long is closed: one request to the manager."""

SEGMENT_TIME_S: Final = 300.0
"""The same of a segment's age: counts get to the manager within minutes."""

COMPACT_SHARE: Final = 0.75
"""Above this share of its bound old segments are added up to hours, then days."""

LEAST_SEGMENT_BYTES: Final = 4096
"""What a segment counts for at least: short ones take a block of the file system, too."""

_NAME: Final = re.compile(r"[0-9]{12}-[0-9a-f]{32}\.(part|spool|sending)")
_CLOSED: Final = ".spool"
_OPEN: Final = ".part"
_SENDING: Final = ".sending"


@dataclass(slots=True)
class SpoolFigures:
    """Since this process opened it, but for `bytes` and `segments`, which are now."""

    bytes: int = 0
    segments: int = 0
    written: int = 0
    """Downloads in blocks that are on the disk."""
    lost_full: int = 0
    """Downloads dropped because the spool has reached its longest."""
    lost_disk: int = 0
    """The same because the disk is full or failed."""
    merges: int = 0
    """How often old segments were added up."""
    sent: int = 0
    """Segments that the manager took."""
    refused: int = 0
    """Segments that it called damaged; they are dropped."""


class Spool:
    """One process at a time may have a spool open; one thread at a time may write to it.

    `begin_sending`, `taken` and `refused` may be called by another.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        *,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Closes what an earlier process left open. `clock` only goes forward (monotonic)."""
        self.figures = SpoolFigures()
        self._folder = folder
        self._max_bytes = max_bytes
        self._clock = clock
        self._random_bytes = random_bytes
        self._handle: int | None = None
        self._path = folder
        self._end = 0
        """Bytes of the open segment that are whole."""
        self._opened_at = 0.0
        self._has_complained = False
        self.closed_lock = threading.Lock()
        """Held by who gives closed segments another name: sending and merging go by turns."""
        self._compaction = Compaction(folder, random_bytes)
        with self._tolerating("the spool can't be opened"):
            folder.mkdir(parents=True, exist_ok=True)
            self._compaction.settle()
        self._recover()

    # writing

    def append(self, block: Block) -> bool:
        """Writes a block and waits for the disk; False when any of it was dropped (and counted)."""
        taken = [self._append(piece) for piece in split(block)]  # each, also after one is dropped
        return all(taken)

    def _append(self, block: Block) -> bool:
        data = record(encode(block))
        if self.figures.bytes > COMPACT_SHARE * self._max_bytes:
            self._compact()
        if self.figures.bytes + len(data) + LEAST_SEGMENT_BYTES > self._max_bytes:
            self._complain(f"the spool has {self._max_bytes} bytes: it is full")
            self.figures.lost_full += block.downloads
            return False
        try:
            self._write(data)
        except OSError as error:
            self._complain(f"counts can't be written: {error}")
            self.figures.lost_disk += block.downloads
            self._give_up()
            return False
        finally:
            self._measure()
        self._has_complained = False
        self.figures.written += block.downloads
        if self._end >= SEGMENT_BYTES:
            self.close()
        return True

    def _compact(self) -> None:
        with self.closed_lock, self._tolerating("old counts can't be added up"):
            if self._compaction.step():
                self.figures.merges += 1
        self._measure()

    def _write(self, data: bytes) -> None:
        if self._handle is None:
            self._begin()
        assert self._handle is not None
        self._write_all(data)
        os.fsync(self._handle)
        self._end += len(data)

    def _write_all(self, data: bytes) -> None:
        assert self._handle is not None
        left = memoryview(data)
        while left:
            left = left[os.write(self._handle, left) :]

    def _begin(self) -> None:
        """Opens a new segment, after all there are."""
        self._folder.mkdir(parents=True, exist_ok=True)
        identity = self._random_bytes(IDENTITY_BYTES)
        last = max((name for name in self._names()), default="0")
        number = int(last.partition("-")[0]) + 1
        self._path = self._folder / f"{number:012d}-{identity.hex()}{_OPEN}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._handle = os.open(self._path, flags, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)  # nobody else closes it while we live
        if not os.fstat(self._handle).st_nlink:  # somebody did just before
            raise FileNotFoundError(errno.ENOENT, "the new segment was removed", str(self._path))
        self._opened_at = self._clock()
        self._end = 0
        self._write_all(MAGIC + identity)
        self._end = HEADER_BYTES
        self._sync_folder()

    def _give_up(self) -> None:
        """After a fault: nothing of the block may stay, and nothing is added to this segment."""
        if self._handle is None:
            return
        with contextlib.suppress(OSError):  # else the next to open the spool cuts it
            os.ftruncate(self._handle, self._end)
        self.close()

    # what others do with it

    def tick(self) -> None:
        """Now and then: closes a segment that is old enough, and those of processes that died."""
        if self._handle is not None and self._clock() - self._opened_at >= SEGMENT_TIME_S:
            self.close()
        self._recover()

    def segments(self) -> list[Path]:
        """Closed segments, oldest first: read them with `read_segment`, then `remove` them."""
        return [self._folder / name for name in sorted(self._names()) if name.endswith(_CLOSED)]

    def begin_sending(self) -> Path | None:
        """The oldest closed segment, never to be merged from now on; None when there is none.

        The one whose sending was begun comes first, again and again until it is taken.
        """
        with self.closed_lock, self._tolerating("a segment can't be sent"):
            self._compaction.settle()
            names = sorted(self._names())
            if begun := [name for name in names if name.endswith(_SENDING)]:
                return self._folder / begun[0]
            if closed := [name for name in names if name.endswith(_CLOSED)]:
                path = self._folder / closed[0]
                sending = path.with_suffix(_SENDING)
                path.rename(sending)
                self._sync_folder()  # a merge after a crash must see it, too
                return sending
        return None

    def taken(self, segment: Path) -> None:
        """The manager has counted it."""
        self.figures.sent += 1
        self.remove(segment)

    def refused(self, segment: Path, reason: str) -> None:
        """The manager says that it is damaged: it can't be sent, and others must be."""
        log.error("a segment of counts is lost", segment=segment.name, reason=reason)
        self.figures.refused += 1
        self.remove(segment)

    def remove(self, segment: Path) -> None:
        """Removes a segment that was sent; one that isn't there any more is fine."""
        if _NAME.fullmatch(segment.name) and segment.parent == self._folder:
            with self._tolerating("a sent segment can't be removed"):
                segment.unlink(missing_ok=True)
                self._sync_folder()
        self._measure()

    def close(self) -> None:
        """Closes the segment that is being written, if there is one; `append` opens another."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        with self._tolerating("a segment can't be closed"):
            try:
                self._finish(self._path)
            finally:
                os.close(handle)
        self._measure()

    # the folder

    def _recover(self) -> None:
        """Closes what was being written when an earlier process ended.

        Not what one writes still: a process that is being replaced may take its time to end.
        """
        for name in self._names():
            path = self._folder / name
            if name.endswith(_OPEN) and (self._handle is None or path != self._path):
                with (
                    self._tolerating("a segment can't be recovered"),
                    path.open("rb") as handle,
                    contextlib.suppress(BlockingIOError),
                ):
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._finish(path)
        self._measure()

    def _finish(self, path: Path) -> None:
        """Cuts an open segment after its last whole record, and gives it its last name."""
        end = whole_bytes(path)
        if end <= HEADER_BYTES:
            path.unlink()
            self._sync_folder()
            return
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if os.fstat(handle).st_size != end:
                log.info("the spool's last block was cut off; dropped", segment=path.name)
                os.ftruncate(handle, end)
            os.fsync(handle)
        finally:
            os.close(handle)
        path.rename(path.with_suffix(_CLOSED))
        self._sync_folder()

    def _sync_folder(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _names(self) -> list[str]:
        with self._tolerating("the spool can't be read"):
            return [path.name for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]
        return []

    def _measure(self) -> None:
        """How much there is. By the disk: who sends segments may remove them from elsewhere."""
        sizes = []
        for name in self._names():
            with contextlib.suppress(OSError):
                sizes.append(max(LEAST_SEGMENT_BYTES, (self._folder / name).stat().st_size))
        self.figures.segments = len(sizes)
        self.figures.bytes = sum(sizes)

    @contextlib.contextmanager
    def _tolerating(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._complain(f"{what}: {error}")

    def _complain(self, reason: str) -> None:
        """Says so once, until a block could be written again."""
        if not self._has_complained:
            self._has_complained = True
            log.error("download counts are lost", folder=str(self._folder), reason=reason)
