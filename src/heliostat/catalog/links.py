"""Symlinks of a listing: which of its files a link is another name of.

A link to a folder makes every file below that folder known under another name. Links inside of
linked folders are not followed, nor are links out of the tree: what they lead to is on no mirror.
"""

from __future__ import annotations

import posixpath
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from heliostat.catalog.errors import CatalogError
from heliostat.catalog.problems import ProblemKind, Problems, shown

MAX_HOPS = 8
"""Links that lead to links."""
MAX_ALIASES = 20_000_000


def aliases_of(
    links: Mapping[bytes, bytes], files: Sequence[bytes], problems: Problems
) -> Iterator[tuple[bytes, bytes]]:
    """(other name, real path) of every file that a link leads to; `files` is sorted.

    Raises: CatalogError: there are more than MAX_ALIASES.
    """
    count = 0
    for path in sorted(links):
        found = _target(path, links, problems)
        if found is None:
            continue
        real_files = list(_below(found, files))
        if not real_files:
            message = f"is a symlink to nothing ({shown(links[path])})"
            problems.add(path, ProblemKind.LINK_DANGLING, message)
        count += len(real_files)
        if count > MAX_ALIASES:
            raise CatalogError(f"links make more than {MAX_ALIASES:,} names of the tree's files")
        for real in real_files:
            yield path + real[len(found) :], real


def _target(path: bytes, links: Mapping[bytes, bytes], problems: Problems) -> bytes | None:
    """Where the link at `path` ends; None (and told) when that is nowhere in the tree."""
    at = path
    for _ in range(MAX_HOPS):
        target = links[at]
        to = posixpath.normpath(posixpath.join(posixpath.dirname(at), target))
        if target.startswith(b"/") or to == b".." or to.startswith(b"../"):
            message = f"is a symlink out of the tree, to {shown(target)}; not followed"
            problems.add(path, ProblemKind.LINK_OUT, message)
            return None
        if to == b"." or (path + b"/").startswith(to + b"/"):
            message = f"is a symlink to {shown(to)}, which it stands in; not followed"
            problems.add(path, ProblemKind.LINK_LOOP, message)
            return None
        if to not in links:
            return to
        at = to
    problems.add(path, ProblemKind.LINK_LOOP, "is a symlink that ends at itself")
    return None


def _below(place: bytes, files: Sequence[bytes]) -> Iterator[bytes]:
    """The file at `place`, or all files below it."""
    at = bisect_left(files, place)
    if at < len(files) and files[at] == place:
        yield place
        return
    front = place + b"/"
    for row in range(bisect_left(files, front), len(files)):
        if not files[row].startswith(front):
            return
        yield files[row]
