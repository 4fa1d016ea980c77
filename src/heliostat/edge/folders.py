"""Folders of the state: their entries in order, page by page, and who holds them whole.

Theory: all paths below a folder stand together in the order of paths. Files are stepped through; a
subfolder is named by the first path in it, and then leapt over by doubling steps, so that a folder
with few entries and millions of files below is as quick as any.

Pure, and read by threads beside the loop.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice

import numpy as np

from heliostat.edge import limits
from heliostat.state.opened import State
from heliostat.state.shards import FLAG_SHA256, Shard, TreeShards

_AFTER_SLASH = b"0"  # the byte after "/"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: a name without slash, and of a file what the state knows."""

    name: bytes
    is_folder: bool
    size_bytes: int = 0
    mtime_s: int = 0
    has_sha256: bool = False
    target: bytes = b""
    """Of an alias: the path on the edge that it stands for, without leading slash."""

    @property
    def key(self) -> bytes:
        """What entries are put in order by, and pages go on after."""
        return self.name + b"/" if self.is_folder else self.name


def is_folder(state: State, path: bytes) -> bool:
    """Whether there is something below `path`, which is "" or ends in a slash."""
    for tree, prefix, shards in state.mounts:
        if prefix.startswith(path) and len(prefix) > len(path):
            return True
        if path.startswith(prefix):
            relative = path[len(prefix) :]
            begin, end = _range(shards, relative)
            names = state.names[tree].alias_paths
            at = bisect_left(names, relative)
            return begin < end or (at < len(names) and names[at].startswith(relative))
    return False


def entries(state: State, path: bytes, after: bytes = b"") -> Iterator[Entry]:
    """The entries of the folder in order, those behind the key `after`.

    `path` is on the edge, "" or with a slash at the end.
    """
    parts: list[Iterator[Entry]] = [_mounted(state, path, after)]
    for tree, prefix, shards in state.mounts:
        if path.startswith(prefix):
            relative = path[len(prefix) :]
            parts.append(_files(shards, relative, after))
            parts.append(_aliases(state, tree, prefix, relative, after))
            break
    last = None
    for entry in merge(*parts, key=lambda entry: entry.key):
        # a key within a folder, which no page gives, lies behind the folder's own
        if entry.key > after and entry.key != last:
            last = entry.key
            yield entry


def page(state: State, path: bytes, after: bytes = b"") -> tuple[list[Entry], bool]:
    """PAGE_ENTRIES of them, and whether there are more."""
    found = list(islice(entries(state, path, after), limits.PAGE_ENTRIES + 1))
    return found[: limits.PAGE_ENTRIES], len(found) > limits.PAGE_ENTRIES


def files_below(state: State, path: bytes) -> int:
    """Files in the folder and in all folders below it, of all trees."""
    count = 0
    for _, prefix, shards in state.mounts:
        if prefix.startswith(path):
            count += len(shards)
        elif path.startswith(prefix):
            begin, end = _range(shards, path[len(prefix) :])
            return count + end - begin
    return count


def _mounted(state: State, path: bytes, after: bytes) -> Iterator[Entry]:
    """Trees that stand below the folder."""
    names = {
        prefix[len(path) :].partition(b"/")[0]
        for _, prefix, _ in state.mounts
        if prefix.startswith(path) and len(prefix) > len(path)
    }
    for name in sorted(names, key=lambda name: name + b"/"):
        if name + b"/" > after:
            yield Entry(name, True)


def _aliases(
    state: State, tree: int, prefix: bytes, relative: bytes, after: bytes
) -> Iterator[Entry]:
    names = state.names[tree]
    at = bisect_left(names.alias_paths, relative)
    found: dict[bytes, Entry] = {}
    while at < len(names.alias_paths) and names.alias_paths[at].startswith(relative):
        path = names.alias_paths[at]
        name, slash, _ = path[len(relative) :].partition(b"/")
        target = names.aliases[path][0]
        entry = Entry(name, bool(slash), target=b"" if slash else prefix + target)
        if entry.key > after:
            found.setdefault(entry.key, entry)
        at += 1
    yield from (found[key] for key in sorted(found))


def _files(shards: TreeShards, folder: bytes, after: bytes) -> Iterator[Entry]:
    if after.endswith(b"/"):
        begin = folder + after[:-1] + _AFTER_SLASH
    else:
        begin = folder + after + b"\0" if after else folder
    at = max(0, bisect_right(shards.firsts, begin) - 1)
    place = shards.shards[at].place_from(begin) if shards.shards else 0
    while at < len(shards.shards):
        shard = shards.shards[at]
        if place >= shard.count:
            at, place = at + 1, 0
            continue
        path = shard.path_at(place)
        if not path.startswith(folder):
            return
        name, slash, _ = path[len(folder) :].partition(b"/")
        if slash:
            yield Entry(name, True)
            beyond = folder + name + _AFTER_SLASH
            at, place = _leap(shards, at, place, beyond)
            continue
        row = shard.row_at(place)
        yield Entry(
            name,
            False,
            shard.sizes[row],
            shard.mtimes[row],
            bool(shard.flags[row] & FLAG_SHA256),
        )
        place += 1


def _leap(shards: TreeShards, at: int, place: int, beyond: bytes) -> tuple[int, int]:
    """(shard, place) of the first path that isn't below `beyond`, from there on."""
    shard = shards.shards[at]
    if shard.path_at(shard.count - 1) < beyond:
        at = max(at + 1, bisect_right(shards.firsts, beyond) - 1)
        return at, shards.shards[at].place_from(beyond) if at < len(shards.shards) else 0
    step = 1
    while place + step < shard.count and shard.path_at(place + step) < beyond:
        place += step
        step *= 2
    return at, shard.place_from(beyond, place, min(place + step, shard.count))


def _range(shards: TreeShards, folder: bytes) -> tuple[int, int]:
    """The places of all files below a folder, in the one order of the tree."""
    if not folder:
        return 0, len(shards)
    return _place(shards, folder), _place(shards, folder[:-1] + _AFTER_SLASH)


def _place(shards: TreeShards, path: bytes) -> int:
    at = bisect_right(shards.firsts, path) - 1
    if at < 0:
        return 0
    return shards.bases[at] - shards.bases[0] + shards.shards[at].place_from(path)


# who holds a folder

_MARKERS = (b"repodata/repomd.xml",)
"""Of a package repository: who has this one as it is now has the repository."""

_DISTRIBUTIONS = b"dists/"
_DISTRIBUTION_MARKERS = (b"InRelease", b"Release")


def markers(state: State, path: bytes) -> list[bytes]:
    """Files that say for a whole repository whether a mirror has it; none for other folders."""
    found = [path + name for name in _MARKERS if state.find(path + name) is not None]
    if not found:
        for entry in islice(entries(state, path + _DISTRIBUTIONS), limits.MARKERS):
            below = path + _DISTRIBUTIONS + entry.name + b"/"
            found += [
                below + name
                for name in _DISTRIBUTION_MARKERS
                if entry.is_folder and state.find(below + name) is not None
            ]
    return found[: limits.MARKERS]


def filesets_of(state: State, path: bytes) -> tuple[int, set[int]] | None:
    """(tree, filesets) of the files that stand directly in a folder, or else below it.

    None when there are none, or more than FOLDER_FILES.
    """
    for tree, prefix, shards in state.mounts:
        if path.startswith(prefix):
            relative = path[len(prefix) :]
            found = _direct(shards, relative) or _below(shards, relative)
            return (tree, found) if found else None
    return None


def _direct(shards: TreeShards, folder: bytes) -> set[int]:
    found = set()
    for entry in islice(_files(shards, folder, b""), limits.SUMS_FILES):
        if not entry.is_folder and (file := shards.find(folder + entry.name)):
            found.add(file.fileset)
    return found


def _below(shards: TreeShards, folder: bytes) -> set[int]:
    begin, end = _range(shards, folder)
    if end - begin > limits.FOLDER_FILES:
        return set()
    found: set[int] = set()
    for shard, base in zip(shards.shards, shards.bases, strict=True):
        low, high = begin - (base - shards.bases[0]), end - (base - shards.bases[0])
        if low < shard.count and high > 0:
            found |= _filesets(shard, max(low, 0), min(high, shard.count))
    return found


def _filesets(shard: Shard, low: int, high: int) -> set[int]:
    patterns = np.frombuffer(shard.patterns, np.uint8 if shard.has_few_patterns else np.uint16)
    rows = np.frombuffer(shard.order, np.uint16)[low:high]
    return {shard.filesets[pattern] for pattern in np.unique(patterns[rows]).tolist()}
