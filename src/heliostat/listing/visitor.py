"""Who walks a tree of folders, and what the walk asks and tells.

One interface for walks over index pages and over FTP. A walk tells what it sees as it sees it;
only when it returns without an error has the visitor seen everything it wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from heliostat.listing.entries import FILE, LINK, Entry, ListingError, OnEntries, clean_path


class Shown(NamedTuple):
    """One name in a folder, as a server shows it: a file, a folder, a symlink (FTP only).

    `size_bytes` is exact or -1; then the size is from `low_bytes` to `high_bytes`, both -1 where
    nothing is said. `mtime_s` is rough (minutes, zone unknown) or 0; `exact_time` says when it is
    not. `shown` is size and date as the server has them (of a folder the date): what is shown
    alike twice is taken to be the same.
    """

    name: bytes
    size_bytes: int
    low_bytes: int
    high_bytes: int
    mtime_s: int
    shown: bytes
    exact_time: bool = False
    is_folder: bool = False
    target: bytes | None = None


class Visitor(Protocol):
    """Folders are relative paths without "/" at their end; the top is b""."""

    def wants(self, folder: bytes, shown: bytes) -> bool:
        """Whether to read `folder`, whose date its parent shows as `shown` (b"": not at all)."""

    def files(self, folder: bytes, entries: Sequence[Shown]) -> None:
        """Files of `folder`; may be called several times for a large one."""

    def done(self, folder: bytes, shown: bytes, *, is_leaf: bool) -> None:
        """All of `folder` was told. `is_leaf`: it has no folders in it."""

    def unlisted(self, folder: bytes, error: ListingError) -> Iterable[bytes]:
        """`folder` is there and gives no listing. Returns: folders in it to look at all the same.

        Raises: ListingError: `error` ends the walk.
        """


@dataclass(slots=True)
class WholeTree:
    """The visitor that wants everything, as entries: for trees whose bytes aren't local."""

    on_entries: OnEntries

    def wants(self, folder: bytes, shown: bytes) -> bool:
        return True

    def files(self, folder: bytes, entries: Sequence[Shown]) -> None:
        front = folder + b"/" if folder else b""
        found = []
        for shown in entries:
            path = clean_path(front + shown.name)
            if path is None:
                continue
            if shown.target is None:
                found.append(Entry(FILE, path, shown.size_bytes, shown.mtime_s))
            else:
                size_bytes = len(shown.target)
                found.append(Entry(LINK, path, size_bytes, shown.mtime_s, shown.target))
        self.on_entries(found)

    def done(self, folder: bytes, shown: bytes, *, is_leaf: bool) -> None:
        """Nothing is remembered."""

    def unlisted(self, folder: bytes, error: ListingError) -> Iterable[bytes]:
        raise error
