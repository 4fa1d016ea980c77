"""Tells that something changed in a folder on this machine, by inotify.

    async for _ in changes_of(Path("/srv/tree"), quiet_s=2): scan

Promises: the first item comes as soon as every folder is watched, so that a scan made at each item
misses nothing; each later one when there was a change and then silence for `quiet_s`, so that a
release that is being copied is not hashed ten times. Where it never gets quiet an item comes after
MAX_HOLD_S all the same, the next after twice as long. Links are not followed (nor does a scan
follow them out of the tree). What can't be watched is an error: who calls goes by a schedule then.

Straight from inotify(7) instead of a package that watches any system: those follow symlinks out of
the tree, wake up by a timer, and drop the kernel's word that its queue ran over.
"""

# ruff: noqa: PTH118  a file's name is bytes here, and pathlib takes none

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from heliostat.catalog.errors import UnwatchedError

MAX_WATCHED_FOLDERS = 500_000
"""Of one tree; the kernel keeps about 1 KiB for each."""
MAX_HOLD_S = 30.0
"""A change is told after this though it doesn't get quiet."""
LONGEST_HOLD_S = 900.0
TICK_S = 0.1
"""Events are gathered for this long, so that a file being written costs ten wakes a second."""
READ_BYTES = 256 * 1024

_MODIFY, _ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_UNMOUNT, _OVERFLOW, _IGNORED, _IS_DIR = 0x2000, 0x4000, 0x8000, 0x40000000
_ONLY_DIR, _DONT_FOLLOW, _EXCL_UNLINK = 0x01000000, 0x02000000, 0x04000000
_MASK = (
    _MODIFY | _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
    | _DELETE_SELF | _MOVE_SELF | _ONLY_DIR | _DONT_FOLLOW | _EXCL_UNLINK
)  # fmt: skip
_EVENT = struct.Struct("iIII")
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.EACCES)


async def changes_of(
    root: Path, *, quiet_s: float, max_folders: int = MAX_WATCHED_FOLDERS
) -> AsyncIterator[None]:
    """One item when the watch stands, then one after each change that was followed by silence.

    Raises: UnwatchedError: `root` can't be watched, or not any more (its message says why).
    """
    loop = asyncio.get_running_loop()
    with _Watch(os.fsencode(root), max_folders) as watch:
        await asyncio.to_thread(watch.begin)
        readable = asyncio.Event()
        yield
        hold_s = MAX_HOLD_S
        while True:
            began_s: float | None = None
            while True:
                quiet = await _next(loop, watch, readable, None if began_s is None else quiet_s)
                held = began_s is not None and loop.time() - began_s > hold_s
                if quiet or held:
                    break
                if began_s is None and watch.changed:
                    began_s = loop.time()
            hold_s = MAX_HOLD_S if quiet else min(2 * hold_s, LONGEST_HOLD_S)
            watch.changed = False
            yield
            if watch.ended:
                raise UnwatchedError(f"{os.fsdecode(watch.root)}: is gone, so it isn't watched")


async def _next(
    loop: asyncio.AbstractEventLoop, watch: _Watch, readable: asyncio.Event, quiet_s: float | None
) -> bool:
    """Waits for events and takes them. Returns: whether it stayed quiet for `quiet_s` instead."""
    if watch.ended:
        return True
    readable.clear()
    loop.add_reader(watch.handle, readable.set)
    try:
        async with asyncio.timeout(quiet_s):
            await readable.wait()
    except TimeoutError:
        return True
    finally:
        loop.remove_reader(watch.handle)
    await asyncio.sleep(TICK_S)
    await asyncio.to_thread(watch.take)
    return False


class _Watch:
    """The inotify handle and its folders; used by one thread at a time.

    Leaving the `with` block stops a thread that a cancelled task left at work here, so that it
    can't go on with a handle that is another file's by then.
    """

    def __init__(self, root: bytes, max_folders: int) -> None:
        self.root = root
        self.changed = False
        self.ended = False
        self._max_folders = max_folders
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._folders: dict[int, bytes] = {}
        self._lock = threading.Lock()
        self._closing = False
        self.handle = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.handle < 0:
            why = os.strerror(ctypes.get_errno())
            limit = "; raise fs.inotify.max_user_instances (sysctl)"
            raise UnwatchedError(f"{os.fsdecode(root)}: can't be watched: {why}{limit}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing = True
        with self._lock:
            os.close(self.handle)

    def begin(self) -> None:
        """Watches every folder. Raises: UnwatchedError."""
        with self._lock:
            self._add_below(self.root)
        if not self._folders and not self._closing:
            raise UnwatchedError(f"{os.fsdecode(self.root)}: is no folder that can be watched")

    def take(self) -> None:
        """Reads the events that wait. Raises: UnwatchedError."""
        with self._lock:
            if self._closing:
                return
            try:
                data = os.read(self.handle, READ_BYTES)
            except BlockingIOError:
                return
            for number, mask, name in _events(data):
                self._take(number, mask, name)

    def _take(self, number: int, mask: int, name: bytes) -> None:
        self.changed = True
        if mask & _OVERFLOW:  # folders may have come and gone unseen
            self._folders.clear()
            self._add_below(self.root)
            return
        folder = self._folders.get(number)
        if folder is None:
            return
        if mask & _IGNORED:
            del self._folders[number]
        if mask & (_IGNORED | _UNMOUNT | _MOVE_SELF | _DELETE_SELF) and folder == self.root:
            self.ended = True
        elif mask & _IS_DIR and name:
            path = os.path.join(folder, name)
            if mask & _MOVED_FROM:
                self._drop_below(path)
            elif mask & (_CREATE | _MOVED_TO | _ATTRIB):
                self._add_below(path)

    def _add_below(self, top: bytes) -> None:
        waiting = [top]
        while waiting and not self._closing:
            path = waiting.pop()
            if not self._add(path):
                continue
            try:
                with os.scandir(path) as entries:
                    waiting.extend(e.path for e in entries if e.is_dir(follow_symlinks=False))
            except OSError as error:
                if error.errno not in _GONE:
                    raise UnwatchedError(
                        f"{os.fsdecode(path)}: can't be watched: {error.strerror}"
                    ) from error

    def _add(self, path: bytes) -> bool:
        number = self._libc.inotify_add_watch(self.handle, path, _MASK)
        if number >= 0:
            self._folders[number] = path
            if len(self._folders) > self._max_folders:
                what = f"more than {self._max_folders:,} folders are not watched"
                raise UnwatchedError(f"{os.fsdecode(self.root)}: {what}")
            return True
        code = ctypes.get_errno()
        if code in _GONE:
            return False
        why = os.strerror(code)
        if code == errno.ENOSPC:
            why = "inotify watches ran out; raise fs.inotify.max_user_watches (sysctl)"
        raise UnwatchedError(f"{os.fsdecode(path)}: can't be watched: {why}")

    def _drop_below(self, top: bytes) -> None:
        """Folders that were moved away are watched no more, wherever they are now."""
        front = top + b"/"
        gone = [n for n, path in self._folders.items() if path == top or path.startswith(front)]
        for number in gone:
            del self._folders[number]
            self._libc.inotify_rm_watch(self.handle, number)


def _events(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(watch, mask, name) of each event in `data`, as inotify(7) lays them out."""
    at = 0
    while at < len(data):
        number, mask, _, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size
        yield number, mask, data[at : at + length].rstrip(b"\0")
        at += length
