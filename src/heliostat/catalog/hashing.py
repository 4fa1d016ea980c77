"""Hashes many files on all cores: jobs in, outcomes out, one fault never ends the others.

Large files are a job each; small ones go many to a job, as handing a job to a thread costs more
than hashing a few kilobytes. While a core would idle (a single large file, the last one), the
pieces of a file are hashed beside the whole.
"""

# ruff: noqa: PTH118  a file's name is bytes here, and pathlib takes none

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from heliostat.catalog.digest import FileChangedError, FileDigests, NotAFileError, digest_file
from heliostat.catalog.errors import ScanStoppedError
from heliostat.catalog.ledger import Unread
from heliostat.catalog.problems import ProblemKind
from heliostat.model.patterns import PathTest

READ_ATTEMPTS = 2
"""A file that changes while it is read is read once more."""
JOB_FILES = 64
JOB_BYTES = 4 << 20
JOBS_PER_WORKER = 4
"""Jobs handed out ahead, so that no worker waits for the thread that writes results."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What reading one file gave: digests, or the reason why not."""

    file: Unread
    digests: FileDigests | None = None
    fault: ProblemKind | None = None
    message: str = ""


class HashPool:
    """Threads that hash files under `root`. Leaving the `with` block stops them within a piece."""

    def __init__(
        self,
        root: bytes,
        extra: Sequence[str] = (),
        workers: int | None = None,
        wants_torrent: PathTest = lambda path: False,
    ) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))
        self._root = root
        self._extra = tuple(extra)
        self._wants_torrent = wants_torrent
        self._files = ThreadPoolExecutor(self.workers, thread_name_prefix="hash")
        self._pieces = ThreadPoolExecutor(self.workers, thread_name_prefix="hash-pieces")
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._active = 0
        self._bytes_read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for pool in (self._files, self._pieces):
            pool.shutdown(wait=True, cancel_futures=True)

    @property
    def bytes_read(self) -> int:
        """All bytes read so far, of unfinished files, too."""
        return self._bytes_read

    def outcomes(self, files: Iterable[Unread], poll_s: float = 0.2) -> Iterator[list[Outcome]]:
        """Reads every file; yields outcomes as they come, if need be [] every `poll_s`."""
        jobs = _jobs(files)
        running: set[Future[list[Outcome]]] = set()
        more = True
        while more or running:
            while more and len(running) < self.workers * JOBS_PER_WORKER:
                job = next(jobs, None)
                if job is None:
                    more = False
                else:
                    running.add(self._files.submit(self._read_all, job))
            done, running = wait(running, timeout=poll_s, return_when=FIRST_COMPLETED)
            yield [outcome for future in done for outcome in future.result()]

    def _read_all(self, job: list[Unread]) -> list[Outcome]:
        with self._lock:
            self._active += 1
        try:
            return [self._read(file) for file in job]
        finally:
            with self._lock:
                self._active -= 1

    def _read(self, file: Unread) -> Outcome:
        path = os.path.join(self._root, file.path)
        for _ in range(READ_ATTEMPTS):
            try:
                digests = digest_file(
                    path,
                    self._extra,
                    with_torrent=self._wants_torrent(file.path),
                    on_bytes=self._count,
                    helper=self._idle_pool,
                )
                return Outcome(file, digests)
            except FileChangedError:
                continue
            except NotAFileError:
                return Outcome(file, fault=ProblemKind.CHANGING, message="is no file any more")
            except OSError as error:
                return _fault(file, error)
        return Outcome(
            file, fault=ProblemKind.CHANGING, message="changed each time while it was read"
        )

    def _count(self, size_bytes: int) -> None:
        if self._stop.is_set():
            raise ScanStoppedError("the scan was stopped")
        with self._lock:
            self._bytes_read += size_bytes

    def _idle_pool(self) -> Executor | None:
        return self._pieces if self._active < self.workers else None


def _jobs(files: Iterable[Unread]) -> Iterator[list[Unread]]:
    """The files in lists of at most JOB_FILES, and of little more than JOB_BYTES."""
    job: list[Unread] = []
    size = 0
    for file in files:
        job.append(file)
        size += file.size_bytes
        if len(job) >= JOB_FILES or size >= JOB_BYTES:
            yield job
            job, size = [], 0
    if job:
        yield job


def _fault(file: Unread, error: OSError) -> Outcome:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return Outcome(file, None, ProblemKind.VANISHED, "vanished before it was read")
    if error.errno in (errno.ELOOP, errno.ENXIO):  # a symlink or a socket by now
        return Outcome(file, None, ProblemKind.CHANGING, "is no file any more")
    message = f"can't be read ({error.strerror}); left out"
    return Outcome(file, None, ProblemKind.UNREADABLE, message)
