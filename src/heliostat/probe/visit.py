"""Walks a mirror's folders for a comparison: what to read, what may be taken from memory.

Only folders that the catalog has files in are read. Promises: a file whose exact size isn't known
yet is in `unsure`, never held; a folder goes into memory only when all its files are decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from heliostat.listing.entries import ListingError
from heliostat.probe.limits import MAX_HEAD_CHECKS, MAX_UNLISTED_FOLDERS, RELIST_S
from heliostat.probe.memory import LeafSeen, ScanMemory, shown_check

if TYPE_CHECKING:
    from heliostat.listing.visitor import Shown
    from heliostat.model.catalog import CatalogTable
    from heliostat.probe.compare import Comparison

NOT_LISTED = -1
SPREAD_S = 7919
"""A prime: neighbours in the catalog are asked for again at quite different times."""


class CatalogVisitor:
    """The visitor (see `heliostat.listing.visitor`) of one scan."""

    def __init__(
        self,
        catalog: CatalogTable,
        comparison: Comparison,
        memory: ScanMemory,
        now_s: int,
        seen: Callable[[int], None],
    ) -> None:
        """`memory` is what the last scan left, `seen` is told how many more entries were seen."""
        self._catalog, self._comparison, self._memory = catalog, comparison, memory
        self._now_s, self._seen = now_s, seen
        self._unlisted = 0
        self._same_catalog = memory.identity == catalog.identity
        self._may_skip = self._same_catalog and not comparison.match_times
        self.unsure: dict[int, int] = {}
        """Row → checksum of what its page shows (NOT_LISTED where there is no page)."""
        self.asked: dict[int, int] = {}
        """File id → that checksum, of those whose exact size is known from HEAD."""
        self.leaves: dict[bytes, LeafSeen] = {}
        self.skipped = 0
        """Folders that were taken from memory."""

    def wants(self, folder: bytes, shown: bytes) -> bool:
        low, high = self._comparison.span(folder)
        if low == high:
            return False
        leaf = self._memory.leaves.get(folder)
        if leaf is None or not self._may_skip or not leaf.still_holds(shown, self._now_s):
            return True
        catalog, memory = self._catalog, self._memory
        if catalog.alias_of[low:high].any():  # what it leads to may change elsewhere
            return True
        if (catalog.changed_in[low:high] > memory.version).any():
            return True
        self._comparison.carry(low, high, memory.held, memory.differing)
        for file_id in catalog.file_ids[low:high].tolist():
            if file_id in memory.sizes_asked:
                self.asked[file_id] = memory.sizes_asked[file_id]
        self.leaves[folder] = leaf
        self.skipped += 1
        self._seen(high - low)
        return False

    def files(self, folder: bytes, entries: Sequence[Shown]) -> None:
        comparison = self._comparison
        odd = comparison.sizes(folder, entries, exact=not comparison.match_times)
        for path, row, entry in odd:
            if entry.target is not None:
                comparison.symlink(path, entry.target)
            elif row is None:
                continue
            elif entry.size_bytes >= 0 and entry.exact_time:
                comparison.row(row, entry.size_bytes, entry.mtime_s)
            elif comparison.rounded(row, entry.low_bytes, entry.high_bytes):
                self._ask_for(row, entry.shown)
        self._seen(len(entries))

    def done(self, folder: bytes, shown: bytes, *, is_leaf: bool) -> None:
        if not is_leaf or not shown or b"1970" in shown:  # a date that stands for none
            return
        date = shown.decode("latin-1")
        before = self._memory.leaves.get(folder)
        same = before is not None and before.shown == date
        first_seen_s = before.first_seen_s if before is not None and same else self._now_s
        self.leaves[folder] = LeafSeen(date, first_seen_s, self._now_s)

    def unlisted(self, folder: bytes, error: ListingError) -> Iterable[bytes]:
        self._unlisted += 1
        low, high = self._comparison.span(folder)
        if not folder or self._unlisted > MAX_UNLISTED_FOLDERS:
            raise error
        start = len(folder) + 1
        below: dict[bytes, None] = {}
        for row in range(low, high):
            name, slash, _ = self._catalog.paths[row][start:].partition(b"/")
            if slash:
                below[folder + b"/" + name] = None
            else:
                self.unsure[row] = NOT_LISTED
        if len(self.unsure) > MAX_HEAD_CHECKS:
            raise error
        return below

    def settle(self, decided: Iterable[int]) -> int:
        """HEAD has decided these rows. Returns: how many of `unsure` it hasn't.

        Folders with files that aren't decided aren't remembered.
        """
        for row in decided:
            check = self.unsure.pop(row)
            if check != NOT_LISTED:
                self.asked[int(self._catalog.file_ids[row])] = check
        for row in self.unsure:
            self.leaves.pop(self._catalog.paths[row].rpartition(b"/")[0], None)
        return len(self.unsure)

    def _ask_for(self, row: int, shown: bytes) -> None:
        """The page doesn't tell all that counts: HEAD has to, if it hasn't done so already."""
        memory, file_id = self._memory, int(self._catalog.file_ids[row])
        if not shown:  # each file on another second of the day, so that they aren't asked at once
            shown = b"%d" % ((self._now_s + file_id * SPREAD_S % RELIST_S) // RELIST_S)
        check = shown_check(shown, int(self._catalog.mtimes_s[row]))
        if (
            self._same_catalog
            and memory.sizes_asked.get(file_id) == check
            and self._catalog.changed_in[row] <= memory.version
            and file_id in memory.held
        ):
            self._comparison.carry(row, row + 1, memory.held, memory.differing)
            self.asked[file_id] = check
        else:
            self.unsure[row] = check
