"""How far behind a mirror is: the age of the oldest change that it lacks.

Theory: who mirrors copies at some moment T, and then has every change of before T in what it
carries. So the newest change that a mirror has (H) says how far it is, and what it lacks of newer
ones is what it is behind by. What it lacks of older ones it doesn't carry: partial mirrors (some
folders, only the newest releases) are normal. A folder that is newer than H counts when the mirror
carries the newest of those that stood beside it at H. A file that it has in another size or with
other bytes is behind, whenever it changed.

Pure; a catalog's folders are found once (`Folders`) and serve for all its mirrors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from heliostat.model.catalog import CatalogTable
from heliostat.model.rows import rows_of

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Lag:
    """`since_s` is when the oldest change was made that is lacking (Unix time); None: none is."""

    files: int
    since_s: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Folders:
    """The folders of a catalog: `of_row[i]` is that of row i, `parent[f]` that of folder f."""

    of_row: NDArray[np.uint32]
    parent: NDArray[np.uint32]

    @classmethod
    def of(cls, catalog: CatalogTable) -> Folders:
        """One look at every path: some seconds for 3,000,000."""
        numbers: dict[bytes, int] = {b"": 0}
        parents = [0]
        of_row = np.empty(len(catalog), dtype=np.uint32)
        last, number = b"", 0
        for row, path in enumerate(catalog.paths):
            end = path.rfind(b"/")
            here = path[:end] if end >= 0 else b""
            if here != last:
                last, number = here, _number(here, numbers, parents)
            of_row[row] = number
        return cls(of_row, np.array(parents, dtype=np.uint32))


def _number(folder: bytes, numbers: dict[bytes, int], parents: list[int]) -> int:
    found = numbers.get(folder)
    if found is not None:
        return found
    above = _number(folder.rpartition(b"/")[0], numbers, parents)
    number = numbers[folder] = len(parents)
    parents.append(above)
    return number


def lag_of(
    catalog: CatalogTable,
    folders: Folders,
    held: BitMap,
    differing: BitMap,
    passed_over: Bools | None = None,
    ahead: Bools | None = None,
    complete_version: int = 0,
) -> Lag:
    """How far behind a mirror is that holds `held` and has `differing` in another form.

    `passed_over` are rows that say nothing (a timestamp file changes all the time), `ahead` those
    that may come before what they are about (metadata), so that having them proves nothing.
    `complete_version` is the newest of which the mirror had all that it carries (0: none): of later
    ones whatever it lacks beside what it has counts.
    """
    has = rows_of(catalog.file_ids, held)
    says = has if ahead is None else has & ~ahead
    if not says.any():
        return Lag(0, None)
    differs = rows_of(catalog.file_ids, differing) & ~has
    at = catalog.changed_at_s
    newest = int(at[says].max())
    touched, carried = _carried(folders, has | differs, at, newest)
    lacks = ~has & carried[folders.of_row] & (at > newest)
    # Of the version it has a part of, what is missing in the same folder isn't there yet.
    lacks |= ~has & touched[folders.of_row] & (at == newest) & (catalog.changed_in > 1)
    if complete_version:
        lacks |= ~has & touched[folders.of_row] & (catalog.changed_in > complete_version)
    lacks |= differs
    if passed_over is not None:
        lacks &= ~passed_over
    count = int(lacks.sum())
    return Lag(count, int(at[lacks].min()) if count else None)


def _carried(
    folders: Folders, has: Bools, at: NDArray[np.int64], newest: int
) -> tuple[Bools, Bools]:
    """Folders with something of the mirror's directly in them; and those it should have more of.

    The latter are these, and folders that are newer than `newest` and beside one that was the
    newest there until then, and of which the mirror has something.
    """
    count = len(folders.parent)
    touched = np.zeros(count, dtype=np.bool_)
    touched[folders.of_row[has]] = True
    latest = np.full(count, -1, dtype=np.int64)  # change of before in a folder or below it
    before = at <= newest
    np.maximum.at(latest, folders.of_row[before], at[before])
    reached, leader, best = touched.tolist(), [0] * count, [-1] * count
    latest_of, parent = latest.tolist(), folders.parent.tolist()
    for number in range(count - 1, 0, -1):  # a folder's number is above its parent's
        above = parent[number]
        if reached[number]:
            reached[above] = True
        if latest_of[number] > best[above]:
            leader[above], best[above] = number, latest_of[number]
        latest_of[above] = max(latest_of[above], latest_of[number])
    is_new = np.array(latest_of) < 0
    leads = np.array([bool(one) and reached[one] for one in leader])
    known = leads | touched
    carried = touched.copy()
    for number in range(1, count):
        if is_new[number]:
            above = parent[number]
            carried[number] = known[above] or (is_new[above] and carried[above])
    return touched, carried
