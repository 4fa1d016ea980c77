"""Makes room in a spool that is nearly full: old segments are added up to hours, then to days.

Promises: whatever is killed at whatever moment, each download is in exactly one segment that is
ever sent; nothing whose sending was begun is touched; a disk that takes no more changes nothing.

Theory. Segments (`*.spool`, never `*.sending`: the manager may have counted those) become one:
    1. NAME.merged   the sum, written and synced; nobody reads it
    2. NAME.merge    the journal: names of the parts, put there by a rename
    3. NAME.merged becomes NAME.spool: from this moment the sum counts, and the parts don't
    4. the parts are removed
    5. the journal is removed
`settle` finishes what was begun: with a NAME.spool there it goes on at 4, else the sum is removed.
As long as there is a journal nothing is merged or sent, so that a sum and its parts never both are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from heliostat.edge.counts.block import Block, encode, split
from heliostat.edge.counts.errors import DamagedSegmentError
from heliostat.edge.counts.merge import merged
from heliostat.edge.counts.segment import IDENTITY_BYTES, MAGIC, read_segment, record

MERGE_BYTES: Final = 16 * 1024 * 1024
"""Of the parts of one merge, which takes a second or two."""
MERGE_PARTS: Final = 1000
WORTH_SHARE: Final = 0.9
"""A sum that is longer than this share of its parts isn't worth it."""
LEAST_BYTES: Final = 4096
"""What a file takes on disk at least."""
SPANS: Final = (60, 1440)

_SUM: Final = ".merged"
_JOURNAL: Final = ".merge"
_DRAFT: Final = ".draft"
_CLOSED: Final = ".spool"
_SENDING: Final = ".sending"
MAX_JOURNAL_BYTES: Final = 1024 * 1024


class Compaction:
    """Of one spool's folder. Who calls it holds the spool's `closed_lock`."""

    def __init__(self, folder: Path, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._folder = folder
        self._random_bytes = random_bytes
        self._tired: dict[str, int] = {}
        """Segment → the span at which nothing is gained by merging it; forgotten at the end."""

    def settle(self) -> None:
        """Finishes merges that were begun.

        Raises:
            OSError: the disk; then nothing may be sent or merged.
        """
        for journal in sorted(self._folder.glob(f"*{_JOURNAL}")):
            if any(journal.with_suffix(end).exists() for end in (_CLOSED, _SENDING)):
                for name in json.loads(journal.read_bytes()[:MAX_JOURNAL_BYTES]):
                    (self._folder / Path(name).name).unlink(missing_ok=True)
                self._sync()
            else:
                journal.with_suffix(_SUM).unlink(missing_ok=True)
            journal.unlink()
            self._sync()
        for end in (_SUM, _DRAFT):
            for left in self._folder.glob(f"*{end}"):
                left.unlink()

    def step(self) -> bool:
        """One merge, of the oldest that are worth it; False when there is nothing to gain.

        Raises:
            OSError: the disk; what was begun is settled by the next call.
        """
        self.settle()
        names = sorted(path.name for path in self._folder.glob(f"*{_CLOSED}"))
        self._tired = {name: span for name, span in self._tired.items() if name in set(names)}
        for span in SPANS:
            while parts := self._parts(names, span):
                if self._merge(parts, span):
                    return True
                for part in parts:
                    self._tired[part.name] = span
        return False

    def _parts(self, names: Sequence[str], span: int) -> list[Path]:
        """The oldest segments that were not found tired, within the bounds of one merge."""
        found: list[Path] = []
        total = 0
        for name in names:
            if self._tired.get(name, 0) >= span:
                continue
            path = self._folder / name
            total += path.stat().st_size
            if found and (total > MERGE_BYTES or len(found) >= MERGE_PARTS):
                break
            found.append(path)
        return found

    def _merge(self, parts: Sequence[Path], span: int) -> bool:
        try:
            blocks = merged(_blocks(parts), span)
        except DamagedSegmentError:  # the manager will say so
            return False
        if blocks is None:
            return False
        identity = self._random_bytes(IDENTITY_BYTES)
        data = b"".join(
            [
                MAGIC + identity,
                *(record(encode(piece)) for block in blocks for piece in split(block)),
            ]
        )
        before = sum(max(LEAST_BYTES, path.stat().st_size) for path in parts)
        if max(LEAST_BYTES, len(data)) > WORTH_SHARE * before:
            return False
        number = parts[0].name.partition("-")[0]
        target = self._folder / f"{number}-{identity.hex()}{_CLOSED}"
        self._write(target.with_suffix(_SUM), data)
        journal = target.with_suffix(_JOURNAL)
        draft = journal.with_suffix(_DRAFT)
        self._write(draft, json.dumps([path.name for path in parts]).encode())
        draft.rename(journal)
        self._sync()
        target.with_suffix(_SUM).rename(target)
        self._sync()
        self.settle()
        return True

    def _write(self, path: Path, data: bytes) -> None:
        with path.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())

    def _sync(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _blocks(parts: Sequence[Path]) -> Iterator[Block]:
    for part in parts:
        yield from read_segment(part)
