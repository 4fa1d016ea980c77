"""Walks a tree on disk: every file, every other name of a file, everything that can't be used.

Theory. A folder reached through symlinks has two names: the one shown and the real one. A file
whose shown name differs from its real name is an alias of the real one, so one rule covers links
to files and to folders. A link leads into a loop exactly when its target holds a folder that the
walk is inside of: the folder the link stands in, or one that an earlier link was in.

Left out without a word (they are work of other programs, and gone in a moment): rsync's
`.~tmp~` and `.rsync-partial` folders, and its `.NAME.XXXXXX` files while only their owner may read
them, which is how rsync makes them.
"""

# ruff: noqa: PTH115, PTH116, PTH118  a file's name is bytes here, and pathlib takes none

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from heliostat.catalog.errors import CatalogError, TreeRootError
from heliostat.catalog.problems import ProblemKind, Problems, shown

MAX_DEPTH = 128
"""Folders below the root; deeper ones are reported and not entered."""
MAX_LINK_HOPS = 4
"""Folder symlinks on one way down; more is reported, as ways multiply with each."""
MAX_FILES = 50_000_000
"""Names in one tree, aliases counted: a net of folder links can make far more than the disk has."""

WORK_FOLDERS = frozenset({b".~tmp~", b".rsync-partial"})
_RSYNC_PARTIAL = re.compile(rb"\..+\.[A-Za-z0-9]{6}\Z", re.DOTALL)

DOT = ord(".")
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_GONE = (errno.ENOENT, errno.ENOTDIR)
_NOT_OURS = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG)


FileState = tuple[bytes, int, int, int, int, int]
"""Name, size in bytes, time in ns, inode, device, number of hard links."""


class FoundFolder(NamedTuple):
    """The real files that stand directly in a folder ("" or "a/b/"), sorted by name."""

    path: bytes
    files: list[FileState]


@dataclass(frozen=True, slots=True)
class FoundAlias:
    """Another name of the file at `real`; both are relative to the root."""

    path: bytes
    real: bytes


@dataclass(frozen=True, slots=True)
class _Folder:
    shown: bytes  # "" or "a/b/"
    real: bytes  # the same form
    depth: int
    hops: tuple[bytes, ...]  # real folders that the links on the way down stand in

    @property
    def is_aliased(self) -> bool:
        """Whether this is another name of a folder; its entries' faults are told there."""
        return self.shown != self.real


@dataclass(slots=True)
class Walk:
    """One walk over the folder `root` (already resolved); iterate once, then read the rest."""

    root: bytes
    problems: Problems
    left_out: int = 0
    """Work files of other programs that were passed over."""
    _stack: list[_Folder] = field(default_factory=list)
    _names: int = 0

    def __iter__(self) -> Iterator[FoundFolder | FoundAlias]:
        """Every usable name, in no particular order.

        Raises:
            TreeRootError: the root can't be read.
            CatalogError: the disk fails, or there are more than MAX_FILES names.
        """
        self._stack = [_Folder(b"", b"", 0, ())]
        self._names = 0
        while self._stack:
            yield from self._entries(self._stack.pop())

    def _count(self, names: int) -> None:
        self._names += names
        if self._names > MAX_FILES:
            raise CatalogError(
                f"{os.fsdecode(self.root)}: more than {MAX_FILES:,} names; do symlinks"
                " between folders multiply them?"
            )

    def _entries(self, folder: _Folder) -> Iterator[FoundFolder | FoundAlias]:
        aliased = folder.is_aliased
        files: list[FileState] = []
        try:
            # By a handle: the kernel then finds each entry by its name alone.
            handle = os.open(os.path.join(self.root, folder.real), _FOLDER_FLAGS)
            try:
                with os.scandir(handle) as entries:
                    for entry in entries:
                        name = os.fsencode(entry.name)
                        try:
                            if not entry.is_file(follow_symlinks=False):
                                yield from self._other(folder, entry, name)
                                continue
                            info = entry.stat(follow_symlinks=False)
                        except OSError as error:
                            self._report(folder.shown + name, error)
                            continue
                        if name[0] == DOT and _is_partial(name, info.st_mode):
                            self.left_out += 1
                        elif aliased:
                            self._count(1)
                            yield FoundAlias(folder.shown + name, folder.real + name)
                        else:
                            files.append(
                                (
                                    name,
                                    info.st_size,
                                    info.st_mtime_ns,
                                    info.st_ino,
                                    info.st_dev,
                                    info.st_nlink,
                                )
                            )
            finally:
                os.close(handle)
        except OSError as error:
            if not folder.shown:
                raise TreeRootError(
                    f"{os.fsdecode(self.root)}: can't be read: {error.strerror}"
                ) from error
            self._report(folder.shown, error)
        if files:
            self._count(len(files))
            files.sort()
            yield FoundFolder(folder.shown, files)

    def _other(
        self, folder: _Folder, entry: os.DirEntry[str], name: bytes
    ) -> Iterator[FoundFolder | FoundAlias]:
        """What is no file: a symlink, a folder, or nothing that can be published."""
        if entry.is_symlink():
            yield from self._link(folder, name)
        elif entry.is_dir(follow_symlinks=False):
            self._enter(folder, name)
        else:
            what = _special(entry.stat(follow_symlinks=False).st_mode)
            self._fault(folder, folder.shown + name, ProblemKind.SPECIAL, what)

    def _enter(self, folder: _Folder, name: bytes) -> None:
        if name in WORK_FOLDERS:
            self.left_out += 1
            return
        below = _Folder(
            folder.shown + name + b"/", folder.real + name + b"/", folder.depth + 1, folder.hops
        )
        self._push(below)

    def _push(self, folder: _Folder) -> None:
        if folder.depth > MAX_DEPTH:
            self.problems.add(
                folder.shown, ProblemKind.TOO_DEEP, f"is more than {MAX_DEPTH} folders deep"
            )
        else:
            self._stack.append(folder)

    def _link(self, folder: _Folder, name: bytes) -> Iterator[FoundAlias]:
        path = folder.shown + name
        place = os.path.join(self.root, folder.real, name)
        try:
            target = os.path.realpath(place, strict=True)
        except OSError as error:
            if error.errno in _GONE:
                message = f"is a symlink to nothing ({shown(os.readlink(place))})"
                self._fault(folder, path, ProblemKind.LINK_DANGLING, message)
            elif error.errno == errno.ELOOP:
                message = "is a symlink that ends at itself"
                self._fault(folder, path, ProblemKind.LINK_LOOP, message)
            else:
                self._report(path, error)
            return
        real = _inside(self.root, target)
        if real is None:
            message = f"is a symlink out of the tree, to {shown(target)}; not followed"
            self._fault(folder, path, ProblemKind.LINK_OUT, message)
            return
        info = os.stat(target)  # follows: the target is resolved already
        if stat.S_ISREG(info.st_mode):
            self._count(1)
            yield FoundAlias(path, real)
        elif stat.S_ISDIR(info.st_mode):
            self._follow(folder, path, real)
        else:
            self._fault(folder, path, ProblemKind.SPECIAL, _special(info.st_mode))

    def _follow(self, folder: _Folder, path: bytes, real: bytes) -> None:
        """Walks the folder `real` under the name `path`, unless that would never end."""
        target = real + b"/" if real else b""
        hops = (*folder.hops, folder.real)
        if folder.real.startswith(target) and folder.is_aliased:
            pass  # the same loop is told at the real folder
        elif any(hop.startswith(target) for hop in hops):
            name = shown(real) or "the root of the tree"
            message = f"is a symlink to {name}, which it stands in; not followed"
            self.problems.add(path, ProblemKind.LINK_LOOP, message)
        elif len(hops) > MAX_LINK_HOPS:
            message = f"is below more than {MAX_LINK_HOPS} folder symlinks; not followed"
            self.problems.add(path, ProblemKind.TOO_DEEP, message)
        else:
            self._push(_Folder(path + b"/", target, folder.depth + 1, hops))

    def _fault(self, folder: _Folder, path: bytes, kind: ProblemKind, message: str) -> None:
        if not folder.is_aliased:
            self.problems.add(path, kind, message)

    def _report(self, path: bytes, error: OSError) -> None:
        if error.errno in _GONE:
            self.problems.add(path, ProblemKind.VANISHED, "vanished while the tree was walked")
        elif error.errno in _NOT_OURS:
            message = f"can't be read ({error.strerror}); left out"
            self.problems.add(path, ProblemKind.UNREADABLE, message)
        else:  # a failing disk must not look like a tree that lost its files
            name = os.path.join(self.root, path)
            raise CatalogError(
                f"{shown(name)}: {error.strerror}; the scan was given up and the catalog is as it"
                " was. Check the disk or the mount"
            ) from error


def _is_partial(name: bytes, mode: int) -> bool:
    """Whether rsync is just writing this file: its temporary name, and for its owner alone."""
    return name.startswith(b".") and not mode & 0o077 and bool(_RSYNC_PARTIAL.match(name))


def _inside(root: bytes, target: bytes) -> bytes | None:
    """`target` relative to `root` ("" for the root itself); None when it is elsewhere."""
    if target == root:
        return b""
    base = root if root.endswith(b"/") else root + b"/"
    return target.removeprefix(base) if target.startswith(base) else None


def _special(mode: int) -> str:
    kinds = {
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return f"is {kinds.get(stat.S_IFMT(mode), 'no file')}, which can't be published; left out"
