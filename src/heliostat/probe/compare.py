"""What a mirror shows, against the catalog: a holding.

Theory: listings come nearly in the catalog's order, so each path is first tried at the row after
the last one found, and only else looked up by bisection. Nothing but one byte a catalog row is
kept of the listing (and its symlinks), so a mirror of 3,000,000 files costs 3 MB while it is read.
"""

from __future__ import annotations

import posixpath
import random
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pyroaring import BitMap

from heliostat.listing.entries import Entry
from heliostat.listing.visitor import Shown
from heliostat.model.catalog import CatalogTable
from heliostat.probe.limits import (
    EXAMPLES_KEPT,
    MAX_LINK_HOPS,
    MAX_SYMLINKS,
    SAMPLES_KEPT,
    TIME_SLACK_S,
)
from heliostat.probe.results import Sample, printable, sample_of

UNSEEN, HELD, DIFFERING = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Compared:
    """The outcome: bitmaps of file ids, a few files held, and a remark on those that differ."""

    held: BitMap
    differing: BitMap
    samples: tuple[Sample, ...]
    remark: str


class Comparison:
    """One mirror against one catalog: feed it what the mirror shows, then `finish`."""

    def __init__(self, catalog: CatalogTable, *, match_times: bool) -> None:
        self._catalog = catalog
        self.match_times = match_times
        self._sizes = np.ascontiguousarray(catalog.sizes_bytes).data
        self._state = bytearray(len(catalog))
        self._next_row = 0
        self._links: dict[bytes, bytes] = {}
        self._examples: list[str] = []

    def take(self, entries: Iterable[Entry]) -> None:
        """What an rsync listing shows."""
        # Written out instead of calling `file`: this loop runs 3,000,000 times a large mirror.
        paths, sizes, state, times = self._catalog.paths, self._sizes, self._state, self.match_times
        count, row = len(paths), self._next_row
        for kind, path, size_bytes, mtime_s, target in entries:
            if kind == b"-":
                if row >= count or paths[row] != path:
                    at = bisect_left(paths, path)
                    if at == count or paths[at] != path:
                        continue
                    row = at
                if sizes[row] == size_bytes and not times:
                    state[row] = HELD
                else:
                    self.row(row, size_bytes, mtime_s)
                row += 1
            elif kind == b"l":
                self.symlink(path, target)
        self._next_row = row

    def sizes(
        self, folder: bytes, entries: Sequence[Shown], *, exact: bool
    ) -> list[tuple[bytes, int | None, Shown]]:
        """What one folder shows. With `exact`, files whose size is known are judged by it at once.

        Returns: path, row and entry of symlinks, and of the files that aren't judged yet.
        """
        # Written out for the same reason as `take`.
        paths, sizes, state = self._catalog.paths, self._sizes, self._state
        front = folder + b"/" if folder else b""
        count, row = len(paths), self._next_row
        left: list[tuple[bytes, int | None, Shown]] = []
        for entry in entries:
            path = front + entry[0]
            if row >= count or paths[row] != path:
                at = bisect_left(paths, path)
                if at == count or paths[at] != path:
                    if entry.target is not None:
                        left.append((path, None, entry))
                    continue
                row = at
            if not exact or entry[1] < 0 or entry.target is not None:
                left.append((path, row, entry))
            elif sizes[row] == entry[1]:
                state[row] = HELD
            else:
                self.row(row, entry[1], None)
            row += 1
        self._next_row = row
        return left

    def file(self, path: bytes, size_bytes: int, mtime_s: int | None) -> None:
        """The mirror has a regular file there (`mtime_s` None: it doesn't say from when)."""
        row = self._row(path)
        if row is not None:
            self.row(row, size_bytes, mtime_s)

    def symlink(self, path: bytes, target: bytes) -> None:
        """The mirror has a symlink there; beyond MAX_SYMLINKS they are not remembered."""
        if len(self._links) < MAX_SYMLINKS:
            self._links[path] = target

    def row(self, row: int, size_bytes: int, mtime_s: int | None) -> None:
        """The mirror has the file of that catalog row, with that size and time."""
        expected_bytes = self._sizes[row]
        if size_bytes != expected_bytes:
            self._differs(row, f"{size_bytes:,} bytes, the catalog says {expected_bytes:,}")
        elif self.match_times and not self._same_time(row, mtime_s):
            self._differs(row, "another modification time than the catalog's")
        else:
            self._state[row] = HELD

    def rounded(self, row: int, low_bytes: int, high_bytes: int) -> bool:
        """The mirror has the file of that row with a size in that range (-1: unknown).

        Returns: whether it may be the right one; if not, it differs.
        """
        expected_bytes = self._sizes[row]
        if high_bytes < 0 or low_bytes <= expected_bytes <= high_bytes:
            return True
        about = f"{low_bytes:,} to {high_bytes:,} bytes"
        self._differs(row, f"{about}, the catalog says {expected_bytes:,}")
        return False

    def span(self, folder: bytes) -> tuple[int, int]:
        """The catalog's rows below `folder`, from the first to behind the last."""
        if not folder:
            return 0, len(self._state)
        paths = self._catalog.paths
        low = bisect_left(paths, folder + b"/")
        return low, bisect_left(paths, folder + b"0", low)  # "0" follows "/"

    def carry(self, low: int, high: int, held: BitMap, differing: BitMap) -> None:
        """Rows from `low` to `high` are as an earlier scan found them, by file ids."""
        for row, file_id in enumerate(self._catalog.file_ids[low:high].tolist(), low):
            if file_id in held:
                self._state[row] = HELD
            elif file_id in differing:
                self._state[row] = DIFFERING

    def finish(self, rng: random.Random) -> Compared:
        """The holding; `rng` picks the samples."""
        self._resolve_aliases()
        state = np.frombuffer(self._state, dtype=np.uint8)
        ids = self._catalog.file_ids
        held_rows = np.flatnonzero(state == HELD)
        differing = BitMap(ids[state == DIFFERING])
        return Compared(
            held=BitMap(ids[held_rows]),
            differing=differing,
            samples=self._samples(held_rows, rng),
            remark=self._remark(len(held_rows), len(differing)),
        )

    def _row(self, path: bytes) -> int | None:
        paths, guess = self._catalog.paths, self._next_row
        if guess >= len(paths) or paths[guess] != path:
            guess = bisect_left(paths, path)
            if guess == len(paths) or paths[guess] != path:
                return None
        self._next_row = guess + 1
        return guess

    def _same_time(self, row: int, mtime_s: int | None) -> bool:
        if mtime_s is None:
            return False
        return abs(mtime_s - int(self._catalog.mtimes_s[row])) <= TIME_SLACK_S

    def _differs(self, row: int, how: str) -> None:
        self._state[row] = DIFFERING
        if len(self._examples) < EXAMPLES_KEPT:
            name = printable(self._catalog.paths[row].decode("utf-8", "backslashreplace"), 100)
            self._examples.append(f"{name}: {how}")

    def _resolve_aliases(self) -> None:
        """An alias that the listing has as a symlink is held when what it leads to is."""
        if not self._links:
            return
        row_of_id: dict[int, int] | None = None
        for row in np.flatnonzero(self._catalog.alias_of):
            if self._state[row] != UNSEEN:
                continue  # the mirror has a file of its own there, already judged
            end = self._follow(self._catalog.paths[row])
            if end is None:
                continue
            target_row = self._row(end) if end else None
            if target_row is None:  # leads somewhere we can't see: believe the catalog's target
                if row_of_id is None:
                    row_of_id = {int(id_): r for r, id_ in enumerate(self._catalog.file_ids)}
                target_row = row_of_id.get(int(self._catalog.alias_of[row]))
            if target_row is None or self._state[target_row] == UNSEEN:
                continue
            same = self._catalog.sizes_bytes[target_row] == self._catalog.sizes_bytes[row]
            self._state[row] = self._state[target_row] if same else DIFFERING

    def _follow(self, path: bytes) -> bytes | None:
        """Where `path` ends after all symlinks of the listing (also of its folders).

        None: no symlink is in it, or they go in a circle. b"": it leaves the listing.
        """
        followed = False
        for _ in range(MAX_LINK_HOPS):
            link = self._first_link(path)
            if link is None:
                return path if followed else None
            followed = True
            target = self._links[link]
            rest = path[len(link) :]
            path = posixpath.normpath(posixpath.join(posixpath.dirname(link), target + rest))
            if path.startswith((b"/", b"../")) or path == b"..":
                return b""
        return None

    def _first_link(self, path: bytes) -> bytes | None:
        end = path.find(b"/")
        while end != -1:
            if path[:end] in self._links:
                return path[:end]
            end = path.find(b"/", end + 1)
        return path if path in self._links else None

    def _samples(self, held_rows: np.ndarray, rng: random.Random) -> tuple[Sample, ...]:
        count = min(SAMPLES_KEPT, len(held_rows))
        chosen = sorted(rng.sample(range(len(held_rows)), count))
        return tuple(
            sample_of(self._catalog, row) for row in (int(held_rows[index]) for index in chosen)
        )

    def _remark(self, held: int, differing: int) -> str:
        total = len(self._catalog)
        if differing:
            return (
                f"{differing:,} of {total:,} files differ from the catalog,"
                f" for instance {'; '.join(self._examples)}"
            )
        if not held:
            return f"has none of the catalog's {total:,} files"
        return ""
