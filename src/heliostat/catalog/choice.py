"""Which checksum files of a listing are worth reading in this scan, in two steps.

First lists of digests, Release files and repomd.xml; then what those lead to: Packages, Sources and
primary.xml, each in one of the packings it comes in. A file that was read before and didn't change
is read again only when it tells of a part of the tree in which a file is new or changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from heliostat.catalog.checksums import Kind, KindName, kind_of
from heliostat.catalog.checksums.claims import folder_of

MAX_CHECKSUM_FILES = 200_000
"""Read in one scan; trees with one beside each file have as many as files."""
PACKINGS = ("xz", "zst", "gz", "bz2", "")
"""Of several packings of the same the first is read: the smallest to fetch."""

IsRead = Callable[[bytes], bool]


class Chooser:
    """Told of every listed file, by path; then asked what to read."""

    def __init__(self) -> None:
        self._files: dict[bytes, Kind] = {}
        self._fresh_files: set[bytes] = set()
        self._fresh_folders: set[bytes] = set()

    def add(self, path: bytes, *, fresh: bool) -> None:
        kind = kind_of(path)
        if kind is not None and len(self._files) < MAX_CHECKSUM_FILES:
            self._files[path] = kind
        if not fresh:
            return
        self._fresh_files.add(path)
        folder = folder_of(path)
        while folder not in self._fresh_folders:
            self._fresh_folders.add(folder)
            if folder:
                folder = folder_of(folder[:-1])

    def first(self, is_read: IsRead) -> list[bytes]:
        """What to read at once."""
        chosen = {
            path
            for path, kind in self._files.items()
            if kind.name not in (KindName.STANZAS, KindName.PRIMARY)
            and (self._tells_of_news(kind) or not is_read(path))
        }
        for path in self._indexes(is_read):  # and what says that they are right
            front = path
            while front:
                front = folder_of(front[:-1])
                for name in (b"InRelease", b"Release", b"repomd.xml"):
                    if front + name in self._files:
                        chosen.add(front + name)
        return sorted(chosen)

    def second(self, is_read: IsRead, claimed: Callable[[bytes], bytes | None]) -> list[bytes]:
        """What to read when the first ones were; `claimed` gives the sha256 of a file, if any.

        Of several primary.xml in one folder only those that its repomd.xml names are current.
        """
        return [
            path
            for path in self._indexes(is_read)
            if self._files[path].name is not KindName.PRIMARY
            or folder_of(path) + b"repomd.xml" not in self._files
            or claimed(path)
        ]

    def _indexes(self, is_read: IsRead) -> list[bytes]:
        same: dict[bytes, list[bytes]] = defaultdict(list)
        for path, kind in self._files.items():
            if kind.name in (KindName.STANZAS, KindName.PRIMARY):
                end = len(kind.packing) + 1 if kind.packing else 0
                same[path[: len(path) - end]].append(path)
        best = [
            min(paths, key=lambda path: PACKINGS.index(self._files[path].packing))
            for paths in same.values()
        ]
        return sorted(p for p in best if self._tells_of_news(self._files[p]) or not is_read(p))

    def _tells_of_news(self, kind: Kind) -> bool:
        return kind.of in self._fresh_files if kind.of else kind.scope in self._fresh_folders
