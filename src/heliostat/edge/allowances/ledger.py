"""The ledger of allowances: one small file that all processes of this node take from.

Promises: what `take` gives is noted on the disk (fsync) before it gives it, so it is never given
twice, whoever is killed when; a ledger that is lost or damaged begins anew as another purse, with
nothing; what is reported is on the disk. At most LOCK_TIME_S is waited for other processes.

Theory. The file is written whole beside its place and renamed there, under a lock that ends with
its holder. What was taken counts as spent until it is given back: a worker that is killed loses
its chunk, and nobody spends it twice. Time only goes forward here: the latest time that an epoch
was taken from at is kept with it, and while a process lives its steady clock goes on from the first
it saw, so a clock that is set back opens no period again. One set forward ends an allowance early;
the next epoch begins with what the clock says then.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from heliostat.edge.allowances.accounts import (
    MAX_LEDGER_BYTES,
    Accounts,
    DamagedLedgerError,
)
from heliostat.edge.allowances.form import Allowance

log = structlog.get_logger()

ALLOWANCES_FOLDER: Final = "allowances"
LEDGER_NAME: Final = "ledger"
LOCK_NAME: Final = "lock"
LOCK_TIME_S: Final = 5.0
LOCK_POLL_S: Final = 0.005
PURSE_BYTES: Final = 16
CHUNK_PART: Final = 8
"""A worker takes 1 / (CHUNK_PART × workers) of what is left: less and less, so that little is
stranded in purses."""


class Wanted(NamedTuple):
    """What a worker asks for."""

    mirror: str
    part: str
    least_bytes: int
    """Less is of no use to it."""
    usual_bytes: int = 0
    """What one request may come to: it had better get that."""


@dataclass(slots=True)
class Chunk:
    """Bytes of one allowance that one worker may spend; its own alone."""

    mirror: str
    part: str
    epoch: int
    left_bytes: int
    ends_s: float | None
    """Unix time: nothing of it is spent after that."""


class Ledger:
    """One process's way to the node's ledger. Threads may share it."""

    def __init__(
        self,
        folder: Path,
        owner: str,
        *,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`owner` is this node: a copy of its disk on another one is another purse."""
        self._folder, self._owner = folder, owner
        self._wall, self._steady = wall, steady
        self._random_bytes = random_bytes
        self._met: dict[str, tuple[int, float, float]] = {}
        """By mirror the newest epoch, and when this process met it, by both clocks."""

    # for workers

    def take(self, wanted: Sequence[Wanted], workers: int) -> list[Chunk]:
        """Chunks for a worker, one of `workers`; none of a part of which less than `least` is left.

        Raises:
            OSError: the disk; nothing is given, though it may count as taken.
        """
        with self._open() as accounts:
            chunks, is_news = [], False
            for mirror, part, least_bytes, usual_bytes in wanted:
                epoch = accounts.current(mirror)
                if epoch is None or epoch.is_over(0.0):
                    continue
                epoch.seen_s = max(epoch.seen_s, self.now_s(mirror, epoch.number))
                if epoch.is_over(epoch.seen_s):
                    is_news = True  # whatever the clock says after a restart
                    continue
                left_bytes = epoch.left(part)
                size_bytes = max(least_bytes, usual_bytes, left_bytes // (CHUNK_PART * workers), 1)
                size_bytes = min(size_bytes, left_bytes)
                if size_bytes < max(least_bytes, 1):
                    continue
                epoch.taken[part] += size_bytes
                chunks.append(Chunk(mirror, part, epoch.number, size_bytes, epoch.ends_s))
            if chunks or is_news:
                self._write(accounts)
            return chunks

    def give_back(self, chunks: Iterable[Chunk]) -> None:
        """What of chunks wasn't spent, once: others may take it.

        Raises:
            OSError: the disk; it counts as spent.
        """
        with self._open() as accounts:
            for chunk in chunks:
                for epoch in accounts.epochs.get(chunk.mirror, ()):
                    if epoch.number == chunk.epoch:
                        epoch.taken[chunk.part] -= min(chunk.left_bytes, epoch.taken[chunk.part])
            self._write(accounts)

    def now_s(self, mirror: str, epoch: int) -> float:
        """Unix time as far as an epoch goes by it: never earlier than it was."""
        wall_s, steady_s = self._wall(), self._steady()
        met = self._met.get(mirror)
        if met is None or met[0] < epoch:
            met = self._met[mirror] = (epoch, wall_s, steady_s)
        return max(wall_s, met[1] + steady_s - met[2])

    def mark(self) -> tuple[int, int]:
        """Another pair when the ledger was written since; (0, 0) when there is none."""
        try:
            found = (self._folder / LEDGER_NAME).stat()
        except OSError:
            return 0, 0
        return found.st_ino, found.st_mtime_ns

    # for the steward

    def accept(self, allowances: Iterable[Allowance]) -> bool:
        """Notes what the manager gives; True when anything changed.

        Raises:
            OSError: the disk; nothing changed.
        """
        with self._open() as accounts:
            changed = [accounts.accept(one) for one in allowances]
            if any(changed):
                self._write(accounts)
            return any(changed)

    def read(self) -> Accounts:
        """All of it, as it is on the disk for good: for reports. Made when there is none.

        Raises:
            OSError: the disk.
        """
        with self._open() as accounts:
            self._sync_folder()  # who wrote it may have been killed before
            return accounts

    # the file

    @contextlib.contextmanager
    def _open(self) -> Iterator[Accounts]:
        """The accounts, while nobody else has them."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        lock = os.open(self._folder / LOCK_NAME, flags, 0o600)
        try:
            self._lock(lock)
            yield self._load()
        finally:
            os.close(lock)

    def _lock(self, handle: int) -> None:
        until_s = self._steady() + LOCK_TIME_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._steady() >= until_s:
                    raise TimeoutError(
                        f"{self._folder}: another process keeps the ledger of allowances"
                        f" locked for {LOCK_TIME_S:g} s; look for one that is stopped"
                    ) from None
                time.sleep(LOCK_POLL_S)
            else:
                return

    def _load(self) -> Accounts:
        try:
            with (self._folder / LEDGER_NAME).open("rb") as file:
                raw = file.read(MAX_LEDGER_BYTES)
        except FileNotFoundError:
            return self._begin()
        try:
            accounts = Accounts.unpack(raw)
        except DamagedLedgerError as error:
            log.error(
                "the ledger of allowances is damaged; beginning anew with nothing",
                folder=str(self._folder),
                reason=str(error),
            )
            return self._begin()
        if accounts.owner != self._owner:
            log.warning(
                "the ledger of allowances is another node's; beginning anew with nothing",
                owner=accounts.owner,
                node=self._owner,
            )
            return self._begin()
        return accounts

    def _begin(self) -> Accounts:
        accounts = Accounts(self._random_bytes(PURSE_BYTES).hex(), self._owner)
        self._write(accounts)
        return accounts

    def _write(self, accounts: Accounts) -> None:
        path, beside = self._folder / LEDGER_NAME, self._folder / f"{LEDGER_NAME}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        handle = os.open(beside, flags, 0o600)
        try:
            left = memoryview(accounts.pack())
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        beside.rename(path)
        self._sync_folder()

    def _sync_folder(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
